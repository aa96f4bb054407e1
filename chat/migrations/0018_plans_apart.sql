-- As before, with the counters asked by functions of which each tenant has its own plans (usage/migrations/0013).

-- Begin a turn: check the conversation, collect its history, hold the tokens, write the user's message and the
-- run. `code` is 'ok', or why not (then nothing was written): not_found, run_in_progress, quota_exceeded,
-- session_limit_reached (a new conversation more than the plan allows a day), message_empty (a retry with nothing to
-- answer), not_continuable, context_too_long (what is to be answered again does not fit), too_many_runs (as many wait as
-- may), and what turn_of_key says (for 'replayed', `history` is what the first answer said). 'queued': as 'ok', but the
-- run waits. `quota` is what public.usage_hold says of the limit that refused, or of the tightest one of tokens.
-- p_turn: run, conversation, new_conversation, message, title, content, retry (no new message), regenerate, continue and
-- parent (where it goes on: turn_place in 0005_branches.sql), agent, version, user, key, door,
-- input (stateless calls), input_tokens, output_tokens, history_budget, host, lease_seconds, agent_slug, provider,
-- model, terms (public.usage_hold); queue (how many may wait: most, own; without it nothing waits), background, task (of
-- a run that a worker is to take), idempotency (key, digest), response (of /v1/responses: previous_id, stored, request,
-- items; null elsewhere).
CREATE OR REPLACE FUNCTION start_turn(
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
    v_caller uuid := coalesce(v_user, v_key);
    v_background boolean := coalesce((p_turn ->> 'background')::boolean, false);
    v_waits boolean := v_background;
    v_idempotency text := p_turn #>> '{idempotency,key}';
    v_running bigint;
    v_own bigint;
    v_agents bigint;  -- runs of this agent, whoever asked
    v_queued bigint;
    v_own_queued bigint;
    v_upto uuid;    -- the message that a new one follows (0005_branches.sql)
    v_answer uuid;  -- the answer that is continued
BEGIN
    IF v_idempotency IS NOT NULL THEN
        SELECT k.code, k.started INTO code, history
        FROM turn_of_key(v_caller, v_idempotency, p_turn #>> '{idempotency,digest}') k;
        IF code IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    message := (p_turn ->> 'message')::uuid;
    input_tokens := (p_turn ->> 'input_tokens')::bigint;
    IF v_conversation IS NOT NULL AND NOT v_new THEN
        PERFORM 1 FROM chat_conversation c WHERE c.id = v_conversation AND c.deleted_at IS NULL
            AND c.user_id IS NOT DISTINCT FROM v_user AND c.key_id IS NOT DISTINCT FROM v_key FOR UPDATE;
        IF NOT FOUND THEN
            code := 'not_found';
            RETURN;
        END IF;
        PERFORM 1 FROM chat_run r WHERE r.conversation_id = v_conversation AND r.status IN ('queued', 'running');
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

    SELECT count(*), count(*) FILTER (WHERE coalesce(r.user_id, r.key_id) = v_caller) INTO v_queued, v_own_queued
    FROM chat_run r WHERE r.status = 'queued' AND r.background = v_background;
    IF v_queued >= (p_turn #>> '{queue,most}')::int OR v_own_queued >= (p_turn #>> '{queue,own}')::int THEN
        code := 'too_many_runs';
        RETURN;
    END IF;

    -- Before the tokens: whoever locks both locks them in this order.
    IF v_new AND NOT public.usage_begin_session(NULL::chat_run) THEN
        code := 'session_limit_reached';
        RETURN;
    END IF;
    v_held := public.usage_hold(
        (p_turn ->> 'run')::uuid, v_user, v_key, v_agent, input_tokens, (p_turn ->> 'output_tokens')::bigint,
        p_turn ->> 'host', make_interval(secs => (p_turn ->> 'lease_seconds')::double precision),
        p_turn ->> 'agent_slug', p_turn ->> 'provider', p_turn ->> 'model',
        coalesce(p_turn -> 'terms', '{}') || jsonb_build_object('session', v_new), NULL::chat_run);
    granted := (v_held ->> 'granted')::bigint;
    quota := nullif(v_held -> 'limit', 'null');
    IF granted IS NULL THEN
        IF v_new THEN
            PERFORM public.usage_unbegin_session();
        END IF;
        code := v_held ->> 'code';
        RETURN;
    END IF;

    -- Runs are counted under a lock, after that of the tokens; a background run takes its place when a worker has it.
    IF p_turn ? 'queue' AND NOT v_background THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('runs:' || public.bound_tenant()::text, 0));
        SELECT count(*) FILTER (WHERE r.status = 'running'),
            count(*) FILTER (WHERE r.status = 'running' AND coalesce(r.user_id, r.key_id) = v_caller),
            count(*) FILTER (WHERE r.status = 'queued'),
            count(*) FILTER (WHERE r.status = 'running' AND r.agent_id = v_agent)
        INTO v_running, v_own, v_queued, v_agents FROM chat_run r WHERE r.status IN ('queued', 'running');
        IF v_queued > 0 THEN  -- who waits already comes first
            v_running := v_running + (SELECT count(*) FROM run_queue() w WHERE w.may);
            v_agents := v_agents + (
                SELECT count(*) FROM run_queue() w JOIN chat_run r ON r.id = w.run WHERE w.may AND r.agent_id = v_agent);
        END IF;
        v_waits := v_own_queued > 0 OR coalesce(v_running >= run_cap(NULL, NULL), false)
            OR coalesce(v_own >= run_cap(v_user, v_key), false)
            OR coalesce(v_agents >= agent_run_cap(v_agent), false);
    END IF;

    IF v_new THEN
        INSERT INTO chat_conversation (id, agent_id, user_id, key_id, title, created_at, updated_at, leaf_id)
        VALUES (v_conversation, v_agent, v_user, v_key, p_turn ->> 'title', now(), now(), message);
    ELSIF v_conversation IS NOT NULL THEN
        UPDATE chat_conversation SET updated_at = now(), leaf_id = coalesce(v_answer, message) WHERE id = v_conversation;
    END IF;
    INSERT INTO chat_run (id, conversation_id, agent_id, version_id, user_id, key_id, door, status, input,
        finish_reason, error_code, error_message, last_seq, created_at, background,
        asked_id, message_id)
    VALUES ((p_turn ->> 'run')::uuid, v_conversation, v_agent, (p_turn ->> 'version')::uuid, v_user, v_key,
        p_turn ->> 'door', CASE WHEN v_waits THEN 'queued' ELSE 'running' END, p_turn -> 'input', '', '', '', 0, now(),
        v_background, CASE WHEN v_conversation IS NOT NULL THEN message END, v_answer);
    IF jsonb_typeof(p_turn -> 'task') = 'object' THEN
        INSERT INTO chat_runtask (run_id, task) VALUES ((p_turn ->> 'run')::uuid, (p_turn -> 'task')
            || jsonb_build_object('granted', granted, 'input_tokens', input_tokens, 'history', coalesce(history, '[]')));
    END IF;
    IF v_idempotency IS NOT NULL THEN
        INSERT INTO chat_idempotencykey (id, caller_id, key, digest, run_id, started, created_at)
        VALUES (gen_random_uuid(), v_caller, v_idempotency, p_turn #>> '{idempotency,digest}', (p_turn ->> 'run')::uuid,
            jsonb_build_object('conversation', v_conversation, 'message', message, 'title', p_turn -> 'title',
                'input_tokens', input_tokens, 'agent', p_turn -> 'agent_slug',
                'status', CASE WHEN v_waits THEN 'queued' ELSE 'running' END), now());
    END IF;
    IF jsonb_typeof(p_turn -> 'response') = 'object' THEN
        INSERT INTO chat_response (id, run_id, previous_id, stored, request, items)
        VALUES (gen_random_uuid(), (p_turn ->> 'run')::uuid, (p_turn #>> '{response,previous_id}')::uuid,
            (p_turn #>> '{response,stored}')::boolean, p_turn #>> '{response,request}', p_turn #>> '{response,items}');
    END IF;
    IF v_conversation IS NOT NULL AND NOT v_retry THEN
        INSERT INTO chat_message (id, conversation_id, run_id, role, content, reasoning, status, superseded, created_at,
            parent_id)
        VALUES (message, v_conversation, (p_turn ->> 'run')::uuid, 'user', p_turn ->> 'content', '', 'complete',
            false, now(), v_upto);
    END IF;
    code := CASE WHEN v_waits THEN 'queued' ELSE 'ok' END;
END
$$;

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
                               p_end -> 'usage', NULL::chat_run) THEN
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
