-- Begin a conversation in which nothing is said yet. 'ok', or session_limit_reached for one more than the plan allows
-- a day (then nothing was written). p_new: id, agent, user, key, title, config, meta.
CREATE FUNCTION begin_conversation(p_new jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF NOT public.usage_begin_session() THEN
        RETURN 'session_limit_reached';
    END IF;
    INSERT INTO chat_conversation (id, agent_id, user_id, key_id, title, created_at, updated_at, config, meta)
    VALUES ((p_new ->> 'id')::uuid, (p_new ->> 'agent')::uuid, (p_new ->> 'user')::uuid, (p_new ->> 'key')::uuid,
        p_new ->> 'title', now(), now(), p_new -> 'config', p_new -> 'meta');
    RETURN 'ok';
END
$$;
