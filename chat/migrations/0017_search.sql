-- The words of a message, for search: those of alphabets in small letters, and of Chinese and Japanese, which have no
-- spaces, each sign with the one behind it. Two signs are found by their pair, more by all their pairs, one by what begins
-- with it. chat/search.py cuts what is looked for in the same way. The first 50,000 characters: a tsvector ends at 1 MB.
CREATE FUNCTION words_of_message(p_text text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector('pg_catalog.simple', translate(
        regexp_replace(left(p_text, 50000), '[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+', ' ', 'g'),
        './\_-@:''', '       '))
    || CASE WHEN p_text ~ '[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]' THEN (
        SELECT array_to_tsvector(array_agg(DISTINCT rtrim(pair))) FROM (
            SELECT sign || coalesce(lead(sign) OVER (ORDER BY place), '') AS pair FROM string_to_table(
                regexp_replace(left(p_text, 50000), '[^\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+', ' ', 'g'), NULL
            ) WITH ORDINALITY AS s (sign, place)) pairs
        WHERE pair NOT LIKE ' %') ELSE '' END
$$;

-- The newest messages of a person's (or a key's) conversations that say something, as a list of [conversation, message].
-- p: user, key, words (a tsquery), parts (the same as patterns of LIKE, for messages that are not indexed yet), most,
-- index (how many more are indexed by this search). Words are found when somebody first searches, so that no turn pays
-- for it; an answer that was continued since has another run, and is indexed anew.
CREATE FUNCTION messages_saying(p jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user uuid := (p ->> 'user')::uuid;
    v_key uuid := (p ->> 'key')::uuid;
    v_words tsquery := to_tsquery('simple', p ->> 'words');
    v_parts text[] := ARRAY(SELECT jsonb_array_elements_text(p -> 'parts'));
    v_found jsonb;
BEGIN
    INSERT INTO chat_messagewords (message_id, run_id, words)
    SELECT m.id, m.run_id, words_of_message(m.content) FROM chat_message m
        JOIN chat_conversation c ON c.id = m.conversation_id
        LEFT JOIN chat_messagewords w ON w.message_id = m.id
    WHERE c.user_id IS NOT DISTINCT FROM v_user AND c.key_id IS NOT DISTINCT FROM v_key AND c.deleted_at IS NULL
        AND NOT m.superseded AND w.run_id IS DISTINCT FROM m.run_id
    ORDER BY m.id DESC LIMIT (p ->> 'index')::int
    ON CONFLICT (message_id) DO UPDATE SET run_id = excluded.run_id, words = excluded.words;

    SELECT coalesce(jsonb_agg(jsonb_build_array(h.conversation_id, h.id) ORDER BY h.id DESC), '[]') INTO v_found FROM (
        SELECT m.id, m.conversation_id FROM chat_message m
            JOIN chat_conversation c ON c.id = m.conversation_id
            LEFT JOIN chat_messagewords w ON w.message_id = m.id AND w.run_id = m.run_id
        WHERE c.user_id IS NOT DISTINCT FROM v_user AND c.key_id IS NOT DISTINCT FROM v_key AND c.deleted_at IS NULL
            AND NOT m.superseded AND w.message_id IS NULL AND m.content ILIKE ALL (v_parts)
        UNION ALL
        SELECT m.id, m.conversation_id FROM chat_messagewords w
            JOIN chat_message m ON m.id = w.message_id AND m.run_id = w.run_id
            JOIN chat_conversation c ON c.id = m.conversation_id
        WHERE w.words @@ v_words AND c.user_id IS NOT DISTINCT FROM v_user AND c.key_id IS NOT DISTINCT FROM v_key
            AND c.deleted_at IS NULL AND NOT m.superseded
        ORDER BY id DESC LIMIT (p ->> 'most')::int
    ) h;
    RETURN v_found;
END
$$;
