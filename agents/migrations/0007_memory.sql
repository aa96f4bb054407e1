-- What an agent is told of what it noted about a person: the newest that fit into p_budget tokens, oldest first, as
-- [{id, text, tainted, at}], and the tokens that they take as agents/tools/memory.py words them (0 for none).
-- memories NULL: the person has switched memory off.
CREATE FUNCTION memories_for(p_user uuid, p_agent uuid, p_budget bigint, OUT memories jsonb, OUT tokens bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    tokens := 0;
    PERFORM 1 FROM agents_memorypause p WHERE p.user_id = p_user;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'text', f.text, 'tainted', f.tainted,
               'at', to_char(f.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')) ORDER BY f.id), '[]'),
           coalesce(max(f.so_far), 0)
    INTO memories, tokens
    FROM (
        -- As llm/tokens.py counts: a third of the bytes. 300 for the words around all of them, 40 around each.
        SELECT m.id, m.text, m.tainted, m.created_at, 300 + sum(ceil(octet_length(to_json(m.text)::text) / 3.0)::bigint + 40)
            OVER (ORDER BY m.id DESC) AS so_far
        FROM agents_memory m WHERE m.user_id = p_user AND m.agent_id = p_agent
    ) f
    WHERE f.so_far <= p_budget;
END
$$;
