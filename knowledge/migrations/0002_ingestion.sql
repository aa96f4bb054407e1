-- Gives passages of a document's new version the vectors of those of the version that is found and that say the same:
-- nobody is asked, and paid, for them again. Returns how many. For a base whose model has not changed between them.
CREATE FUNCTION knowledge_reuse(p_document uuid, p_version integer, p_live integer) RETURNS integer
LANGUAGE sql AS $$
    WITH kept AS (
        UPDATE knowledge_chunk n SET embedding = o.embedding
        FROM (
            SELECT DISTINCT ON (digest, heading, text) digest, heading, text, dimension, embedding
            FROM knowledge_chunk
            WHERE document_id = p_document AND version = p_live AND embedding IS NOT NULL
        ) o
        WHERE n.document_id = p_document AND n.version = p_version AND p_version <> p_live AND n.embedding IS NULL
            AND n.digest = o.digest AND n.heading = o.heading AND n.text = o.text AND n.dimension = o.dimension
        RETURNING 1
    )
    SELECT count(*)::integer FROM kept
$$;
