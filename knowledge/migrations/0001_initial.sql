-- Vectors of one length have one index: a passage is in that of its base's dimension, and in no other.
-- halfvec: 16 bits are enough to rank by, and 3,072 numbers fit (an index of 32-bit vectors ends at 2,000).
CREATE INDEX knowledge_chunk_near_256 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(256)) public.halfvec_cosine_ops) WHERE dimension = 256;
CREATE INDEX knowledge_chunk_near_512 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(512)) public.halfvec_cosine_ops) WHERE dimension = 512;
CREATE INDEX knowledge_chunk_near_768 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(768)) public.halfvec_cosine_ops) WHERE dimension = 768;
CREATE INDEX knowledge_chunk_near_1024 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(1024)) public.halfvec_cosine_ops) WHERE dimension = 1024;
CREATE INDEX knowledge_chunk_near_1536 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(1536)) public.halfvec_cosine_ops) WHERE dimension = 1536;
CREATE INDEX knowledge_chunk_near_2048 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(2048)) public.halfvec_cosine_ops) WHERE dimension = 2048;
CREATE INDEX knowledge_chunk_near_3072 ON knowledge_chunk
    USING hnsw ((embedding::public.halfvec(3072)) public.halfvec_cosine_ops) WHERE dimension = 3072;
CREATE INDEX knowledge_chunk_words ON knowledge_chunk USING gin (tsv);

-- What knowledge/search.py asks: the passages of those of the bases that somebody may find, the best first, as JSON; [] where
-- they may not. Two lists, by distance and by words, are fused by reciprocal rank (Cormack and others, SIGIR 2009, whose
-- 60 this is), weighted, and scaled so that 1 is what is first in both. What says nearly the same as a better passage
-- is left out.
CREATE FUNCTION knowledge_search(p_bases uuid[], p jsonb, p_vector text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    found jsonb;
BEGIN
    -- A filter is judged after the index: scan on until enough has passed it (P55).
    PERFORM set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '150', true);
    EXECUTE format($q$
        WITH allowed AS (
            SELECT b.id FROM knowledge_knowledgebase b
            WHERE b.id = ANY($1) AND ($2 ->> 'may')::boolean AND (($2 ->> 'all')::boolean OR b.access = 'everybody'
                OR b.roles ? ($2 ->> 'role') OR b.people ? ($2 ->> 'who'))
        ), near AS (
            SELECT n.id, 1 - n.distance AS similarity, row_number() OVER (ORDER BY n.distance, n.id) AS place
            FROM (
                SELECT c.id, c.embedding::public.halfvec(%1$s) OPERATOR(public.<=>) $3::public.halfvec(%1$s) AS distance
                FROM knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id
                WHERE c.dimension = %1$s AND c.embedding IS NOT NULL AND d.live_version = c.version
                    AND c.base_id = ANY (ARRAY(SELECT id FROM allowed))
                    AND ($2 -> 'tags' = '[]' OR d.tags @> ($2 -> 'tags'))
                    AND ($2 -> 'metadata' = '{}' OR d.metadata @> ($2 -> 'metadata'))
                ORDER BY c.embedding::public.halfvec(%1$s) OPERATOR(public.<=>) $3::public.halfvec(%1$s) LIMIT $4
            ) n WHERE $3 IS NOT NULL
        ), worded AS (
            SELECT w.id, w.rank, row_number() OVER (ORDER BY w.rank DESC, w.id) AS place
            FROM (
                SELECT c.id, ts_rank_cd(c.tsv, ($2 ->> 'words')::tsquery, 1) AS rank
                FROM knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id
                WHERE $2 ->> 'words' <> '' AND c.tsv @@ ($2 ->> 'words')::tsquery
                    AND c.base_id = ANY (ARRAY(SELECT id FROM allowed)) AND d.live_version = c.version
                    AND ($2 -> 'tags' = '[]' OR d.tags @> ($2 -> 'tags'))
                    AND ($2 -> 'metadata' = '{}' OR d.metadata @> ($2 -> 'metadata'))
                ORDER BY rank DESC, c.id LIMIT $4
            ) w
        ), scored AS (
            SELECT id, n.place AS near_place, n.similarity, w.place AS word_place, w.rank,
                61 / ($2 ->> 'weights')::float8 * coalesce(($2 ->> 'vector_weight')::float8 / (60 + n.place), 0) AS near_part,
                61 / ($2 ->> 'weights')::float8 * coalesce(($2 ->> 'keyword_weight')::float8 / (60 + w.place), 0) AS word_part
            FROM near n FULL JOIN worded w USING (id)
        ), best AS (
            SELECT s.*, c.document_id, c.version, c.ordinal, c.page, c.heading, c.text, c.digest, c.embedding,
                row_number() OVER (ORDER BY s.near_part + s.word_part DESC, s.id) AS place
            FROM (SELECT * FROM scored ORDER BY near_part + word_part DESC, id LIMIT 3 * $5) s
            JOIN knowledge_chunk c ON c.id = s.id
        ), kept AS (
            SELECT b.* FROM best b WHERE NOT EXISTS (
                SELECT 1 FROM best e WHERE e.place < b.place AND (e.digest = b.digest
                    OR e.embedding OPERATOR(public.<=>) b.embedding < 0.02))
            ORDER BY b.place LIMIT $5
        )
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'base', b.slug, 'chunk_id', k.id, 'document_id', k.document_id, 'title', d.title, 'url', d.url, 'tags', d.tags,
            'version', k.version, 'ordinal', k.ordinal, 'page', k.page, 'heading', k.heading, 'text', k.text,
            'score', round((k.near_part + k.word_part)::numeric, 4),
            'why', jsonb_build_object(
                'vector', CASE WHEN k.near_place IS NOT NULL THEN jsonb_build_object('rank', k.near_place,
                    'similarity', round(k.similarity::numeric, 4), 'part', round(k.near_part::numeric, 4)) END,
                'keyword', CASE WHEN k.word_place IS NOT NULL THEN jsonb_build_object('rank', k.word_place,
                    'match', round(k.rank::numeric, 4), 'part', round(k.word_part::numeric, 4)) END),
            'before', CASE WHEN ($2 ->> 'neighbours')::boolean THEN (SELECT o.text FROM knowledge_chunk o
                WHERE o.document_id = k.document_id AND o.version = k.version AND o.ordinal = k.ordinal - 1) END,
            'after', CASE WHEN ($2 ->> 'neighbours')::boolean THEN (SELECT o.text FROM knowledge_chunk o
                WHERE o.document_id = k.document_id AND o.version = k.version AND o.ordinal = k.ordinal + 1) END
        ) ORDER BY k.place), '[]')
        FROM kept k JOIN knowledge_document d ON d.id = k.document_id
            JOIN knowledge_knowledgebase b ON b.id = d.base_id
    $q$, (p ->> 'dimension')::integer)
    INTO found
    USING p_bases, p || jsonb_build_object('weights',
        (p ->> 'vector_weight')::float8 + (p ->> 'keyword_weight')::float8),
        p_vector, greatest(60, 4 * (p ->> 'top_k')::integer), (p ->> 'top_k')::integer;
    RETURN found;
END
$$;
