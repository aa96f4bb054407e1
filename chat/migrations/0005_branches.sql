-- Messages are a tree. A message's parent is what it follows; an answer written again, and a message sent again with
-- other words, are siblings. A conversation's leaf is the last message of the path that is shown and that the model
-- reads. A conversation whose leaf is NULL was written before this and is not linked yet (or has no message).

-- Link the messages of conversations that are not linked yet, in the order in which they were shown; a superseded
-- answer becomes a sibling of the one that took its place. Returns how many conversations it linked. Safe to call
-- again, and beside running turns: it holds the conversations' rows as start_turn does.
CREATE OR REPLACE FUNCTION link_messages(p_conversations uuid[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_unlinked uuid[];
BEGIN
    SELECT array_agg(locked.id) INTO v_unlinked FROM (
        SELECT c.id FROM chat_conversation c WHERE c.id = ANY (p_conversations) AND c.leaf_id IS NULL
        ORDER BY c.id FOR UPDATE
    ) locked;
    UPDATE chat_message m SET parent_id = (
        SELECT p.id FROM chat_message p
        WHERE p.conversation_id = m.conversation_id AND p.id < m.id AND NOT p.superseded
          AND (p.role = 'user' OR NOT m.superseded)
        ORDER BY p.id DESC LIMIT 1)
    WHERE m.conversation_id = ANY (v_unlinked);
    UPDATE chat_conversation c SET leaf_id = (
        SELECT m.id FROM chat_message m WHERE m.conversation_id = c.id AND NOT m.superseded ORDER BY m.id DESC LIMIT 1)
    WHERE c.id = ANY (v_unlinked);
    RETURN coalesce(array_length(v_unlinked, 1), 0);
END
$$;

-- The message of a person that p_message answers: itself, or the nearest above it. NULL: there is none.
CREATE OR REPLACE FUNCTION question_of(p_message uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE up AS (
        SELECT m.id, m.parent_id, m.role FROM chat_message m WHERE m.id = p_message
        UNION ALL
        SELECT m.id, m.parent_id, m.role FROM up JOIN chat_message m ON m.id = up.parent_id WHERE up.role <> 'user'
    )
    SELECT up.id FROM up WHERE up.role = 'user'
$$;

-- Where in its conversation a turn goes on: `upto` is the last message that the model reads as history, `asked` the
-- message to be answered where it is there already (retry, regenerate, continue), `answer` the one to be continued.
-- code: 'ok', not_found (a message that is not of this conversation), message_empty (nothing to answer),
-- not_continuable. The caller holds the conversation's row.
CREATE OR REPLACE FUNCTION turn_place(p_turn jsonb, OUT code text, OUT asked uuid, OUT upto uuid, OUT answer uuid)
LANGUAGE plpgsql AS $$
DECLARE
    v_conversation uuid := (p_turn ->> 'conversation')::uuid;
    v_parent uuid := (p_turn ->> 'parent')::uuid;
    v_leaf uuid;
    v_open boolean;
BEGIN
    code := 'ok';
    SELECT c.leaf_id INTO v_leaf FROM chat_conversation c WHERE c.id = v_conversation;
    IF v_leaf IS NULL AND link_messages(ARRAY[v_conversation]) > 0 THEN
        SELECT c.leaf_id INTO v_leaf FROM chat_conversation c WHERE c.id = v_conversation;
    END IF;
    IF p_turn ->> 'continue' IS NOT NULL THEN
        SELECT m.id, m.content <> '' AND (m.status <> 'complete' OR r.finish_reason = 'length')
        INTO answer, v_open FROM chat_message m JOIN chat_run r ON r.id = m.run_id
        WHERE m.id = (p_turn ->> 'continue')::uuid AND m.conversation_id = v_conversation AND m.role = 'assistant';
        IF answer IS NULL THEN
            code := 'not_found';
        ELSIF NOT v_open OR EXISTS (
            SELECT 1 FROM chat_message m WHERE m.conversation_id = v_conversation AND m.parent_id = answer) THEN
            code := 'not_continuable';  -- it is whole, says nothing yet, or something follows that read it as it is
        END IF;
        asked := question_of(answer);
        upto := answer;
        -- One of an earlier release does not know yet which answer it wrote; what it used counts for the answer.
        UPDATE chat_run r SET message_id = answer FROM chat_message m
        WHERE m.id = answer AND r.id = m.run_id AND r.message_id IS NULL AND code = 'ok';
    ELSIF p_turn ->> 'regenerate' IS NOT NULL THEN
        PERFORM 1 FROM chat_message m WHERE m.id = (p_turn ->> 'regenerate')::uuid
            AND m.conversation_id = v_conversation AND m.role = 'assistant';
        IF NOT FOUND THEN
            code := 'not_found';
            RETURN;
        END IF;
        asked := question_of((p_turn ->> 'regenerate')::uuid);
        upto := asked;
    ELSIF (p_turn ->> 'retry')::boolean THEN
        asked := question_of(v_leaf);
        upto := asked;
    ELSIF v_parent = '00000000-0000-0000-0000-000000000000' THEN
        RETURN;  -- another beginning
    ELSIF v_parent IS NOT NULL THEN
        SELECT m.id INTO upto FROM chat_message m WHERE m.id = v_parent AND m.conversation_id = v_conversation;
        IF upto IS NULL THEN
            code := 'not_found';
        END IF;
        RETURN;
    ELSE
        upto := v_leaf;
        RETURN;
    END IF;
    IF asked IS NULL AND code = 'ok' THEN
        code := 'message_empty';
    END IF;
END
$$;

-- The newest messages on the path to p_upto (which is the last of them) that fit into p_budget tokens, oldest first.
-- Walks from p_upto towards the beginning, so a long conversation costs no more than what fits; at most 400 messages.
-- Tokens are counted as in llm/tokens.py: a third of the UTF-8 bytes, plus 4 a message.
CREATE OR REPLACE FUNCTION turn_history(
    p_conversation uuid, p_upto uuid, p_budget bigint, OUT messages jsonb, OUT tokens bigint
) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE path AS (
        SELECT m.id, m.parent_id, 1 AS depth,
               CASE m.content WHEN '' THEN 0 ELSE ceil(octet_length(m.content) / 3.0)::bigint + 4 END AS so_far
        FROM chat_message m WHERE m.id = p_upto AND m.conversation_id = p_conversation
        UNION ALL
        SELECT m.id, m.parent_id, path.depth + 1, path.so_far
               + CASE m.content WHEN '' THEN 0 ELSE ceil(octet_length(m.content) / 3.0)::bigint + 4 END
        FROM path JOIN chat_message m ON m.id = path.parent_id
        WHERE path.depth < 400 AND path.so_far <= p_budget
    )
    SELECT coalesce(jsonb_agg(jsonb_build_object('role', m.role, 'content', m.content) ORDER BY path.depth DESC), '[]'),
           coalesce(max(path.so_far), 0)
    FROM path JOIN chat_message m ON m.id = path.id
    WHERE path.so_far <= p_budget AND m.content <> ''
$$;

-- End a turn, exactly once: true for the host whose fence holds, false for everybody else (nothing is written
-- then). p_end: run, fence, status, finish_reason, error_code, error_message, conversation, message, content,
-- reasoning, message_status, usage (see public.usage_settle), first_seq, last_seq. p_events: the last stretch.
-- A run that continues an answer (its message_id is set from the start) appends to that; any other leaves a new one.
CREATE OR REPLACE FUNCTION finish_turn(p_end jsonb, p_events bytea) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_run uuid := (p_end ->> 'run')::uuid;
    v_conversation uuid := (p_end ->> 'conversation')::uuid;
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
        last_seq = (p_end ->> 'last_seq')::int, finished_at = now()
    WHERE id = v_run;
    IF p_events IS NOT NULL THEN
        INSERT INTO chat_runsegment (id, run_id, first_seq, last_seq, events)
        VALUES (gen_random_uuid(), v_run, (p_end ->> 'first_seq')::int, (p_end ->> 'last_seq')::int, p_events)
        ON CONFLICT (run_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq, events = excluded.events;
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
    UPDATE chat_conversation SET updated_at = now(), leaf_id = CASE WHEN leaf_id IS NOT NULL THEN v_answer END
    WHERE id = v_conversation;
    RETURN true;
END
$$;
