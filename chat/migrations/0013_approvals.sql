-- A run waits for a person (docs/adr/0014), all or nothing: its calls so far are written and the rest of what it held is
-- given back (public.usage_park), what it goes on from is stored, and what is to be decided. 'ok'; 'stopped', somebody
-- wants it stopped, and nothing has changed; NULL, p_park's fence does not hold.
-- p_park: run, fence, expires_at, calls, first_seq, last_seq, task (chat/tasks.py), trace (as finish_turn takes it),
-- tainted, approvals (a list of: id, call, path, name, effect, arguments, hash, reason). p_events: the last stretch.
CREATE FUNCTION park_run(p_park jsonb, p_events bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_run uuid := (p_park ->> 'run')::uuid;
    v_tainted boolean := coalesce((p_park ->> 'tainted')::boolean, false);
    v_until timestamptz := (p_park ->> 'expires_at')::timestamptz;
    v_fence int;
BEGIN
    v_fence := public.usage_park(v_run, (p_park ->> 'fence')::int, v_until, p_park -> 'calls');
    IF v_fence IS NULL THEN
        RETURN NULL;
    ELSIF v_fence = 0 THEN
        RETURN 'stopped';
    END IF;
    UPDATE chat_run SET status = 'waiting', last_seq = (p_park ->> 'last_seq')::int WHERE id = v_run;
    INSERT INTO chat_runsegment (id, run_id, first_seq, last_seq, events)
    VALUES (gen_random_uuid(), v_run, (p_park ->> 'first_seq')::int, (p_park ->> 'last_seq')::int, p_events)
    ON CONFLICT (run_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq, events = excluded.events;
    INSERT INTO chat_runtask (run_id, task) VALUES (v_run, p_park -> 'task')
    ON CONFLICT (run_id) DO UPDATE SET task = excluded.task;
    INSERT INTO chat_runtrace (run_id, tainted, document) VALUES (v_run, v_tainted, p_park ->> 'trace')
    ON CONFLICT (run_id) DO UPDATE SET tainted = excluded.tainted, document = excluded.document;
    UPDATE chat_conversation c SET tainted = true FROM chat_run r
    WHERE r.id = v_run AND c.id = r.conversation_id AND v_tainted AND NOT c.tainted;
    INSERT INTO chat_approval (id, run_id, user_id, key_id, call_id, path, name, effect, arguments, arguments_hash, reason,
        status, note, created_at, expires_at)
    SELECT (a ->> 'id')::uuid, r.id, r.user_id, r.key_id, a ->> 'call', a ->> 'path', a ->> 'name', a ->> 'effect',
        a ->> 'arguments', a ->> 'hash', a ->> 'reason', 'pending', '', now(), v_until
    FROM chat_run r CROSS JOIN jsonb_array_elements(p_park -> 'approvals') a WHERE r.id = v_run;
    RETURN 'ok';
END
$$;

-- Whether what a run begins with is not to be trusted with acting: an earlier run of its conversation has read something
-- from outside, or was somebody else's; so it is of the responses that it goes on from. One of those that is deleted
-- counts as if it had.
CREATE FUNCTION run_taint(p_run uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    WITH RECURSIVE earlier (run_id) AS (
        SELECT s.previous_id FROM chat_response s WHERE s.run_id = p_run AND s.previous_id IS NOT NULL
        UNION
        SELECT s.previous_id FROM earlier e JOIN chat_response s ON s.run_id = e.run_id WHERE s.previous_id IS NOT NULL
    )
    SELECT EXISTS (
        SELECT 1 FROM chat_run r JOIN chat_conversation c ON c.id = r.conversation_id
        WHERE r.id = p_run AND (c.tainted OR EXISTS (
            SELECT 1 FROM chat_run o WHERE o.conversation_id = c.id
            AND (o.user_id IS DISTINCT FROM r.user_id OR o.key_id IS DISTINCT FROM r.key_id)))
    ) OR EXISTS (
        SELECT 1 FROM earlier e LEFT JOIN chat_response s ON s.run_id = e.run_id
        LEFT JOIN chat_runtrace t ON t.run_id = e.run_id WHERE s.id IS NULL OR t.tainted
    )
$$;

-- A run that ends while it waited leaves nothing to decide.
CREATE FUNCTION close_approvals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chat_approval SET status = 'expired', decided_at = now() WHERE run_id = NEW.id AND status = 'pending';
    RETURN NULL;
END
$$;

CREATE TRIGGER close_approvals AFTER UPDATE OF status ON chat_run FOR EACH ROW
WHEN (OLD.status = 'waiting' AND NEW.finished_at IS NOT NULL)
EXECUTE FUNCTION close_approvals();
