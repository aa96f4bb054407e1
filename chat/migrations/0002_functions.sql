-- A turn's start and end, each one call of one statement (docs/architecture.md, "One message"). They live in the
-- tenant's own schema, so they are versioned with its tables, and reach the shared counters through
-- public.usage_reserve and public.usage_settle under the tenant's role and row-level security.

-- The newest messages of a conversation that fit into p_budget tokens, oldest first, up to and including p_upto.
-- Tokens are counted as in llm/tokens.py: a third of the UTF-8 bytes, plus 4 a message.
CREATE FUNCTION turn_history(p_conversation uuid, p_upto uuid, p_budget bigint, OUT messages jsonb, OUT tokens bigint)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('role', w.role, 'content', w.content) ORDER BY w.id), '[]'),
           coalesce(sum(w.tokens), 0)::bigint
    FROM (
        SELECT m.*, sum(m.tokens) OVER (ORDER BY m.id DESC) AS so_far FROM (
            SELECT c.id, c.role, c.content, ceil(octet_length(c.content) / 3.0)::bigint + 4 AS tokens
            FROM chat_message c
            WHERE c.conversation_id = p_conversation AND NOT c.superseded AND c.content <> ''
              AND (p_upto IS NULL OR c.id <= p_upto)
            ORDER BY c.id DESC LIMIT 400
        ) m
    ) w WHERE w.so_far <= p_budget
$$;

-- Begin a turn: check the conversation, collect its history, hold the tokens, write the user's message and the
-- run. `code` is 'ok', or why not (then nothing was written): not_found, run_in_progress, quota_exceeded,
-- message_empty (a retry with nothing to answer), context_too_long (what is to be answered again does not fit).
-- p_turn: run, conversation, new_conversation, message, title, content, retry, agent, version, user, key, door,
-- input (stateless calls), input_tokens, output_tokens, history_budget, host, lease_seconds, agent_slug, provider,
-- model.
CREATE FUNCTION start_turn(
    p_turn jsonb, OUT code text, OUT granted bigint, OUT input_tokens bigint, OUT message uuid, OUT history jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    v_conversation uuid := (p_turn ->> 'conversation')::uuid;
    v_user uuid := (p_turn ->> 'user')::uuid;
    v_key uuid := (p_turn ->> 'key')::uuid;
    v_agent uuid := (p_turn ->> 'agent')::uuid;
    v_new boolean := coalesce((p_turn ->> 'new_conversation')::boolean, false);
    v_retry boolean := coalesce((p_turn ->> 'retry')::boolean, false);
    v_history_tokens bigint;
BEGIN
    message := (p_turn ->> 'message')::uuid;
    input_tokens := (p_turn ->> 'input_tokens')::bigint;
    IF v_conversation IS NOT NULL AND NOT v_new THEN
        PERFORM 1 FROM chat_conversation c WHERE c.id = v_conversation AND c.deleted_at IS NULL
            AND c.user_id IS NOT DISTINCT FROM v_user AND c.key_id IS NOT DISTINCT FROM v_key FOR UPDATE;
        IF NOT FOUND THEN
            code := 'not_found';
            RETURN;
        END IF;
        PERFORM 1 FROM chat_run r WHERE r.conversation_id = v_conversation AND r.status = 'running';
        IF FOUND THEN
            code := 'run_in_progress';
            RETURN;
        END IF;
        IF v_retry THEN
            SELECT m.id INTO message FROM chat_message m
            WHERE m.conversation_id = v_conversation AND m.role = 'user' AND NOT m.superseded
            ORDER BY m.id DESC LIMIT 1;
            IF NOT FOUND THEN
                code := 'message_empty';
                RETURN;
            END IF;
        END IF;
        SELECT h.messages, h.tokens INTO history, v_history_tokens FROM turn_history(
            v_conversation, CASE WHEN v_retry THEN message END, (p_turn ->> 'history_budget')::bigint) h;
        input_tokens := input_tokens + v_history_tokens;
        IF v_retry AND history = '[]' THEN
            code := 'context_too_long';
            RETURN;
        END IF;
    END IF;

    granted := public.usage_reserve(
        (p_turn ->> 'run')::uuid, v_user, v_key, v_agent, input_tokens, (p_turn ->> 'output_tokens')::bigint,
        p_turn ->> 'host', make_interval(secs => (p_turn ->> 'lease_seconds')::double precision),
        p_turn ->> 'agent_slug', p_turn ->> 'provider', p_turn ->> 'model');
    IF granted IS NULL THEN
        code := 'quota_exceeded';
        RETURN;
    END IF;

    IF v_new THEN
        INSERT INTO chat_conversation (id, agent_id, user_id, key_id, title, created_at, updated_at)
        VALUES (v_conversation, v_agent, v_user, v_key, p_turn ->> 'title', now(), now());
    ELSIF v_conversation IS NOT NULL THEN
        UPDATE chat_conversation SET updated_at = now() WHERE id = v_conversation;
        UPDATE chat_message SET superseded = true
        WHERE v_retry AND conversation_id = v_conversation AND id > message AND NOT superseded;
    END IF;
    INSERT INTO chat_run (id, conversation_id, agent_id, version_id, user_id, key_id, door, status, input,
        finish_reason, error_code, error_message, last_seq, created_at)
    VALUES ((p_turn ->> 'run')::uuid, v_conversation, v_agent, (p_turn ->> 'version')::uuid, v_user, v_key,
        p_turn ->> 'door', 'running', p_turn -> 'input', '', '', '', 0, now());
    IF v_conversation IS NOT NULL AND NOT v_retry THEN
        INSERT INTO chat_message (id, conversation_id, run_id, role, content, reasoning, status, superseded, created_at)
        VALUES (message, v_conversation, (p_turn ->> 'run')::uuid, 'user', p_turn ->> 'content', '', 'complete',
            false, now());
    END IF;
    code := 'ok';
END
$$;

-- Store stretches of the logs of runs whose fence still holds. A stretch that starts where a stored one does is the
-- same one, asked for again and meanwhile longer, because the answer to the first time got lost. The lock keeps a
-- takeover (which asks for the row FOR UPDATE) out until these are stored, and this out once it is taken over.
CREATE FUNCTION store_segments(p_runs uuid[], p_fences int[], p_first int[], p_last int[], p_events bytea[])
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_stored int;
BEGIN
    INSERT INTO chat_runsegment (id, run_id, first_seq, last_seq, events)
    SELECT gen_random_uuid(), s.run, s.first, s.last, s.events
    FROM unnest(p_runs, p_fences, p_first, p_last, p_events) AS s (run, fence, first, last, events)
    JOIN public.usage_reservation r ON r.run_id = s.run AND r.fence = s.fence AND r.state = 'held'
    FOR KEY SHARE OF r
    ON CONFLICT (run_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq, events = excluded.events;
    GET DIAGNOSTICS v_stored = ROW_COUNT;
    RETURN v_stored;
END
$$;

-- End a turn, exactly once: true for the host whose fence holds, false for everybody else (nothing is written
-- then). p_end: run, fence, status, finish_reason, error_code, error_message, conversation, message, content,
-- reasoning, message_status, usage (see public.usage_settle), first_seq, last_seq. p_events: the last stretch.
CREATE FUNCTION finish_turn(p_end jsonb, p_events bytea) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_run uuid := (p_end ->> 'run')::uuid;
    v_conversation uuid := (p_end ->> 'conversation')::uuid;
BEGIN
    IF NOT public.usage_settle(v_run, (p_end ->> 'fence')::int, p_end ->> 'status', p_end ->> 'error_code',
                               p_end -> 'usage') THEN
        RETURN false;
    END IF;
    UPDATE chat_run SET status = p_end ->> 'status', finish_reason = p_end ->> 'finish_reason',
        error_code = p_end ->> 'error_code', error_message = p_end ->> 'error_message', usage = p_end -> 'shown_usage',
        last_seq = (p_end ->> 'last_seq')::int, finished_at = now()
    WHERE id = v_run;
    IF p_events IS NOT NULL THEN
        INSERT INTO chat_runsegment (id, run_id, first_seq, last_seq, events)
        VALUES (gen_random_uuid(), v_run, (p_end ->> 'first_seq')::int, (p_end ->> 'last_seq')::int, p_events)
        ON CONFLICT (run_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq, events = excluded.events;
    END IF;
    IF v_conversation IS NOT NULL THEN
        INSERT INTO chat_message (id, conversation_id, run_id, role, content, reasoning, status, superseded, created_at)
        VALUES ((p_end ->> 'message')::uuid, v_conversation, v_run, 'assistant', p_end ->> 'content',
            p_end ->> 'reasoning', p_end ->> 'message_status', false, now());
        UPDATE chat_conversation SET updated_at = now() WHERE id = v_conversation;
    END IF;
    RETURN true;
END
$$;
