-- Begin a turn: check the conversation, collect its history, hold the tokens, write the user's message and the
-- run. `code` is 'ok', or why not (then nothing was written): not_found, run_in_progress, quota_exceeded,
-- session_limit_reached (a new conversation more than the plan allows a day), message_empty (a retry with nothing to
-- answer), not_continuable, context_too_long (what is to be answered again does not fit).
-- p_turn: run, conversation, new_conversation, message, title, content, retry (no new message), regenerate, continue and
-- parent (where it goes on: turn_place in 0005_branches.sql), agent, version, user, key, door,
-- input (stateless calls), input_tokens, output_tokens, history_budget, host, lease_seconds, agent_slug, provider,
-- model.
CREATE OR REPLACE FUNCTION start_turn(
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
    v_upto uuid;    -- the message that a new one follows (0005_branches.sql)
    v_answer uuid;  -- the answer that is continued
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
        SELECT p.code, coalesce(p.asked, message), p.upto, p.answer INTO code, message, v_upto, v_answer
        FROM turn_place(p_turn) p;
        IF code <> 'ok' THEN
            RETURN;
        END IF;
        SELECT h.messages, h.tokens INTO history, v_history_tokens FROM turn_history(
            v_conversation, v_upto, (p_turn ->> 'history_budget')::bigint) h;
        input_tokens := input_tokens + v_history_tokens;
        IF v_retry AND history = '[]' THEN
            code := 'context_too_long';
            RETURN;
        END IF;
    END IF;

    -- Before the tokens: whoever locks both locks them in this order.
    IF v_new AND NOT public.usage_begin_session() THEN
        code := 'session_limit_reached';
        RETURN;
    END IF;
    granted := public.usage_reserve(
        (p_turn ->> 'run')::uuid, v_user, v_key, v_agent, input_tokens, (p_turn ->> 'output_tokens')::bigint,
        p_turn ->> 'host', make_interval(secs => (p_turn ->> 'lease_seconds')::double precision),
        p_turn ->> 'agent_slug', p_turn ->> 'provider', p_turn ->> 'model');
    IF granted IS NULL THEN
        IF v_new THEN
            PERFORM public.usage_unbegin_session();
        END IF;
        code := 'quota_exceeded';
        RETURN;
    END IF;

    IF v_new THEN
        INSERT INTO chat_conversation (id, agent_id, user_id, key_id, title, created_at, updated_at, leaf_id)
        VALUES (v_conversation, v_agent, v_user, v_key, p_turn ->> 'title', now(), now(), message);
    ELSIF v_conversation IS NOT NULL THEN
        UPDATE chat_conversation SET updated_at = now(), leaf_id = coalesce(v_answer, message) WHERE id = v_conversation;
    END IF;
    INSERT INTO chat_run (id, conversation_id, agent_id, version_id, user_id, key_id, door, status, input,
        finish_reason, error_code, error_message, last_seq, created_at, asked_id, message_id)
    VALUES ((p_turn ->> 'run')::uuid, v_conversation, v_agent, (p_turn ->> 'version')::uuid, v_user, v_key,
        p_turn ->> 'door', 'running', p_turn -> 'input', '', '', '', 0, now(),
        CASE WHEN v_conversation IS NOT NULL THEN message END, v_answer);
    IF v_conversation IS NOT NULL AND NOT v_retry THEN
        INSERT INTO chat_message (id, conversation_id, run_id, role, content, reasoning, status, superseded, created_at,
            parent_id)
        VALUES (message, v_conversation, (p_turn ->> 'run')::uuid, 'user', p_turn ->> 'content', '', 'complete',
            false, now(), v_upto);
    END IF;
    code := 'ok';
END
$$;
