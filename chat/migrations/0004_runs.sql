-- Begin a turn: check the conversation, collect its history, hold the tokens, write the user's message and the
-- run. `code` is 'ok', or why not (then nothing was written): not_found, run_in_progress, quota_exceeded,
-- session_limit_reached (a new conversation more than the plan allows a day), message_empty (a retry with nothing to
-- answer), context_too_long (what is to be answered again does not fit).
-- `quota` is what public.usage_hold says of the limit that refused, or of the tightest one of tokens.
-- p_turn: run, conversation, new_conversation, message, title, content, retry, agent, version, user, key, door,
-- input (stateless calls), input_tokens, output_tokens, history_budget, host, lease_seconds, agent_slug, provider,
-- model, terms (public.usage_hold).
DROP FUNCTION IF EXISTS start_turn(jsonb);
CREATE FUNCTION start_turn(
    p_turn jsonb, OUT code text, OUT granted bigint, OUT input_tokens bigint, OUT message uuid, OUT history jsonb,
    OUT quota jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    v_conversation uuid := (p_turn ->> 'conversation')::uuid;
    v_user uuid := (p_turn ->> 'user')::uuid;
    v_key uuid := (p_turn ->> 'key')::uuid;
    v_agent uuid := (p_turn ->> 'agent')::uuid;
    v_new boolean := coalesce((p_turn ->> 'new_conversation')::boolean, false);
    v_retry boolean := coalesce((p_turn ->> 'retry')::boolean, false);
    v_history_tokens bigint;
    v_held jsonb;
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

    -- Before the tokens: whoever locks both locks them in this order.
    IF v_new AND NOT public.usage_begin_session() THEN
        code := 'session_limit_reached';
        RETURN;
    END IF;
    v_held := public.usage_hold(
        (p_turn ->> 'run')::uuid, v_user, v_key, v_agent, input_tokens, (p_turn ->> 'output_tokens')::bigint,
        p_turn ->> 'host', make_interval(secs => (p_turn ->> 'lease_seconds')::double precision),
        p_turn ->> 'agent_slug', p_turn ->> 'provider', p_turn ->> 'model',
        coalesce(p_turn -> 'terms', '{}') || jsonb_build_object('session', v_new));
    granted := (v_held ->> 'granted')::bigint;
    quota := nullif(v_held -> 'limit', 'null');
    IF granted IS NULL THEN
        IF v_new THEN
            PERFORM public.usage_unbegin_session();
        END IF;
        code := v_held ->> 'code';
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
