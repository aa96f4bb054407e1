-- End a turn, exactly once: true for the host whose fence holds, false for everybody else (nothing is written
-- then). p_end: run, fence, status, finish_reason, error_code, error_message, conversation, message, content,
-- reasoning, message_status, usage (see public.usage_settle), first_seq, last_seq; trace (the document of its steps as
-- JSON text, of a run that has one), tainted (something that it read came from outside), first_ms (from the turn's
-- start to its first token, where one process saw both). p_events: the last stretch.
-- A run that continues an answer (its message_id is set from the start) appends to that; any other leaves a new one.
CREATE OR REPLACE FUNCTION finish_turn(p_end jsonb, p_events bytea) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_run uuid := (p_end ->> 'run')::uuid;
    v_conversation uuid := (p_end ->> 'conversation')::uuid;
    v_tainted boolean := coalesce((p_end ->> 'tainted')::boolean, false);
    v_asked uuid;
    v_answer uuid;
BEGIN
    IF NOT public.usage_settle(v_run, (p_end ->> 'fence')::int, p_end ->> 'status', p_end ->> 'error_code',
                               p_end -> 'usage') THEN
        RETURN false;
    END IF;
    IF v_conversation IS NOT NULL THEN
        SELECT r.asked_id, r.message_id INTO v_asked, v_answer FROM chat_run r WHERE r.id = v_run;
    END IF;
    UPDATE chat_run SET status = p_end ->> 'status', finish_reason = p_end ->> 'finish_reason',
        error_code = p_end ->> 'error_code', error_message = p_end ->> 'error_message', usage = p_end -> 'shown_usage',
        message_id = coalesce(v_answer, (p_end ->> 'message')::uuid),
        last_seq = (p_end ->> 'last_seq')::int, first_ms = (p_end ->> 'first_ms')::int, finished_at = now()
    WHERE id = v_run;
    IF p_events IS NOT NULL THEN
        INSERT INTO chat_runsegment (id, run_id, first_seq, last_seq, events)
        VALUES (gen_random_uuid(), v_run, (p_end ->> 'first_seq')::int, (p_end ->> 'last_seq')::int, p_events)
        ON CONFLICT (run_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq, events = excluded.events;
    END IF;
    IF p_end ->> 'trace' IS NOT NULL THEN
        INSERT INTO chat_runtrace (run_id, tainted, document) VALUES (v_run, v_tainted, p_end ->> 'trace')
        ON CONFLICT (run_id) DO UPDATE SET tainted = excluded.tainted, document = excluded.document;
    END IF;
    IF v_answer IS NOT NULL THEN
        UPDATE chat_message SET content = content || (p_end ->> 'content'),
            reasoning = reasoning || (p_end ->> 'reasoning'), status = p_end ->> 'message_status', run_id = v_run
        WHERE id = v_answer;
    ELSIF v_conversation IS NOT NULL THEN
        v_answer := (p_end ->> 'message')::uuid;
        INSERT INTO chat_message (id, conversation_id, parent_id, run_id, role, content, reasoning, status, superseded,
            created_at)
        SELECT v_answer, c.id, coalesce(v_asked, c.leaf_id), v_run, 'assistant', p_end ->> 'content',
            p_end ->> 'reasoning', p_end ->> 'message_status', false, now()
        FROM chat_conversation c WHERE c.id = v_conversation;
    END IF;
    -- One that is not linked yet (the run began before messages were a tree) stays so until it is.
    UPDATE chat_conversation SET updated_at = now(), leaf_id = CASE WHEN leaf_id IS NOT NULL THEN v_answer END,
        tainted = tainted OR v_tainted
    WHERE id = v_conversation;
    RETURN true;
END
$$;
