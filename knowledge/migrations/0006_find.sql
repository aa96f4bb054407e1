-- What knowledge/search.py asks: the passages of those of the bases that somebody may find, the best first, as JSON; []
-- where they may not. Two lists, by distance and by words, are fused by reciprocal rank (Cormack and others, SIGIR
-- 2009, whose 60 this is), weighted, and scaled so that 1 is what is first in both. What says nearly the same as a
-- better passage is left out, and named there.
--
-- Where few passages can be found at all (a small base, or a filter that keeps few), they are compared one by one, which
-- is exact. Else the vectors' index is asked and goes on until enough has passed the filters (P55); and of the words
-- the rarest say where to look: to read every passage with a common word is what makes searches slow. Those that are
-- read are ranked by all words. Where at least one passage in a hundred can be found, sorting is switched off for the
-- statement: the planner takes a distance for as cheap as a comparison of numbers, and among some ten thousand passages
-- it would unpack and sort them all. Where fewer can be, the index may have to go on for too long, and the planner says.
CREATE OR REPLACE FUNCTION knowledge_find(p_bases uuid[], p jsonb, p_vector text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    few CONSTANT integer := (p ->> 'few')::integer;  -- passages that are compared one by one
    budget CONSTANT float8 := (p ->> 'read')::float8;  -- passages that are read because of their words, about
    most CONSTANT integer := (p ->> 'of_word')::integer;
    filtered CONSTANT boolean := p -> 'tags' <> '[]' OR p -> 'metadata' <> '{}';
    top CONSTANT integer := (p ->> 'top_k')::integer;
    documents uuid[];
    passages bigint;
    total float8;
    hundredth bigint;
    words text[]; queries tsquery[]; weights float8[]; shares float8[];
    chosen tsquery[];
    few_only text := '';
    nearness text := 'c.embedding::public.halfvec(%1$s) OPERATOR(public.<=>) $3::public.halfvec(%1$s)';
    worded text;
    found jsonb;
BEGIN
    -- 400: with 150 one question in twenty ended among the wrong ones of 100,000 passages, and it costs 1 ms.
    PERFORM set_config('hnsw.iterative_scan', 'relaxed_order', true),
        set_config('hnsw.ef_search', coalesce(p ->> 'candidates', '400'), true);
    SELECT greatest(reltuples, 0) INTO total FROM pg_class WHERE oid = 'knowledge_chunk'::regclass;
    hundredth := greatest(few, total / 100);
    IF filtered THEN
        SELECT array_agg(f.id), coalesce(sum(f.chunk_count), 0) + CASE WHEN count(*) > few THEN few ELSE 0 END
        INTO documents, passages FROM (
            SELECT d.id, d.chunk_count FROM knowledge_document d
            WHERE d.base_id = ANY (p_bases) AND d.live_version > 0 AND d.tags @> (p -> 'tags')
                AND d.metadata @> (p -> 'metadata')
            LIMIT few + 1) f;
    ELSE
        SELECT count(*) INTO passages
        FROM (SELECT FROM knowledge_chunk c WHERE c.base_id = ANY (p_bases) LIMIT hundredth + 1) f;
    END IF;
    SELECT coalesce(array_agg(w.word), '{}'), coalesce(array_agg(w.query), '{}'),
        coalesce(array_agg(w.weight * w.forms), '{}'), coalesce(array_agg(w.share), '{}')
    INTO words, queries, weights, shares FROM knowledge_words(p -> 'words') w;
    SELECT coalesce(array_agg(r.query ORDER BY r.place), '{}') INTO chosen FROM (
        SELECT u.query, u.place, sum(u.share * total) OVER (ORDER BY u.place) AS read
        FROM unnest(queries, shares) WITH ORDINALITY AS u (query, share, place)) r
    WHERE r.place = 1 OR r.read <= budget;
    IF passages <= few THEN
        few_only := CASE WHEN filtered THEN 'AND d.id = ANY ($6)' ELSE '' END;
        nearness := '(' || nearness || ') + 0';
        worded := 'SELECT h.id FROM (SELECT c.id, ts_rank(c.tsv, $10) AS rank FROM %2$s AND $10 IS NOT NULL OFFSET 0) h '
            'WHERE h.rank > 0 ORDER BY h.rank DESC, h.id LIMIT $13';
    ELSE
        IF shares[1] * total > most AND cardinality(queries) > 1 THEN  -- not all of them are read: then those with all words
            SELECT chosen || string_agg('(' || q::text || ')', ' & ')::tsquery INTO chosen FROM unnest(queries) q;
        END IF;
        worded := 'SELECT h.id FROM unnest($11) AS u (query) CROSS JOIN LATERAL ('
            'SELECT c.id, c.tsv FROM %2$s AND c.tsv @@ u.query LIMIT $12) h '
            'GROUP BY h.id ORDER BY max(ts_rank(h.tsv, $10)) DESC, h.id LIMIT $13';
    END IF;
    PERFORM set_config('enable_sort', CASE WHEN passages > hundredth THEN 'off' ELSE 'on' END, true);
    EXECUTE CASE WHEN p ? 'explain' THEN 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' ELSE '' END || format(replace(replace($q$
        WITH allowed AS (
            SELECT b.id FROM knowledge_knowledgebase b
            WHERE b.id = ANY ($1) AND ($2 ->> 'may')::boolean AND (($2 ->> 'all')::boolean OR b.access = 'everybody'
                OR b.roles ? ($2 ->> 'role') OR b.people ? ($2 ->> 'who'))
        ), near AS MATERIALIZED (
            SELECT n.id, n.distance, row_number() OVER (ORDER BY n.distance, n.id) AS place
            FROM (SELECT c.id, %4$s AS distance FROM %2$s AND c.embedding IS NOT NULL AND c.dimension = %1$s
                AND $3 IS NOT NULL ORDER BY %4$s LIMIT $4) n
        ), held AS MATERIALIZED (
            %3$s
        ), worded AS (
            SELECT r.id, r.rank, r.words, row_number() OVER (ORDER BY r.rank DESC, r.id) AS place
            FROM (
                SELECT h.id, u.rank, u.words
                FROM (  -- the empty vector makes a copy in memory, where the stored one would be unpacked for each word
                    SELECT c.id, c.tsv || ''::tsvector AS tsv FROM knowledge_chunk c
                    WHERE c.id IN (SELECT id FROM held UNION SELECT id FROM near WHERE cardinality($7) > 0) OFFSET 0
                ) h CROSS JOIN LATERAL (
                    SELECT sum(o.rank) AS rank, array_agg(o.word ORDER BY o.place) AS words FROM (
                        SELECT u.word, u.place, u.weight * ts_rank('{1,1,1,1}', h.tsv, u.query, 0) AS rank
                        FROM unnest($7, $8, $9) WITH ORDINALITY AS u (word, query, weight, place)
                    ) o WHERE o.rank > 0
                ) u
            ) r WHERE r.rank > 0
        ), scored AS (
            SELECT id, n.place AS near_place, n.distance, w.place AS word_place, w.rank, w.words,
                61 / ($2 ->> 'weights')::float8 * coalesce(($2 ->> 'vector_weight')::float8 / (60 + n.place), 0) AS near_part,
                61 / ($2 ->> 'weights')::float8 * coalesce(($2 ->> 'keyword_weight')::float8 / (60 + w.place), 0) AS word_part
            FROM near n FULL JOIN worded w USING (id)
        ), best AS MATERIALIZED (
            SELECT s.*, c.document_id, c.version, c.ordinal, c.page, c.heading, c.text, c.digest,
                c.embedding::public.halfvec(%1$s) AS embedding,
                row_number() OVER (ORDER BY s.near_part + s.word_part DESC, s.id) AS place
            FROM (SELECT * FROM scored ORDER BY near_part + word_part DESC, id LIMIT 3 * $5) s
            JOIN knowledge_chunk c ON c.id = s.id
        ), compared AS MATERIALIZED (
            SELECT b.*, (SELECT e.id FROM best e WHERE e.place < b.place AND (e.digest = b.digest
                OR e.embedding OPERATOR(public.<=>) b.embedding < 0.02  -- but two prices are two facts
                    AND regexp_replace(e.text, '\D', '', 'g') = regexp_replace(b.text, '\D', '', 'g'))
                ORDER BY e.place LIMIT 1) AS same_as
            FROM best b
        ), kept AS (
            SELECT * FROM compared WHERE same_as IS NULL ORDER BY place LIMIT $5
        )
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'base', b.slug, 'chunk_id', k.id, 'document_id', k.document_id, 'title', d.title, 'url', d.url, 'tags', d.tags,
            'version', k.version, 'ordinal', k.ordinal, 'page', k.page, 'heading', k.heading, 'text', k.text,
            'score', round((k.near_part + k.word_part)::numeric, 4),
            'why', jsonb_build_object(
                'vector', CASE WHEN k.near_place IS NOT NULL THEN jsonb_build_object('rank', k.near_place,
                    'similarity', round((1 - k.distance)::numeric, 4), 'distance', round(k.distance::numeric, 4),
                    'part', round(k.near_part::numeric, 4)) END,
                'keyword', CASE WHEN k.word_place IS NOT NULL THEN jsonb_build_object('rank', k.word_place,
                    'match', round(k.rank::numeric, 4), 'words', k.words, 'part', round(k.word_part::numeric, 4)) END,
                'fused', round((k.near_part + k.word_part)::numeric, 4),
                'duplicates', (SELECT coalesce(jsonb_agg(jsonb_build_object('chunk_id', s.id, 'document_id', s.document_id)
                    ORDER BY s.place), '[]') FROM compared s WHERE s.same_as = k.id)),
            'before', CASE WHEN coalesce(($2 ->> 'neighbours')::boolean, b.neighbours) THEN (SELECT o.text FROM knowledge_chunk o
                WHERE o.document_id = k.document_id AND o.version = k.version AND o.ordinal = k.ordinal - 1) END,
            'after', CASE WHEN coalesce(($2 ->> 'neighbours')::boolean, b.neighbours) THEN (SELECT o.text FROM knowledge_chunk o
                WHERE o.document_id = k.document_id AND o.version = k.version AND o.ordinal = k.ordinal + 1) END
        ) ORDER BY k.place), '[]')
        FROM kept k JOIN knowledge_document d ON d.id = k.document_id
            JOIN knowledge_knowledgebase b ON b.id = d.base_id
    $q$, '%3$s', worded), '%4$s', nearness), (p ->> 'dimension')::integer, format($f$
        knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id
            WHERE c.base_id = ANY (ARRAY(SELECT id FROM allowed)) AND d.live_version = c.version %s
                AND ($2 -> 'tags' = '[]' OR d.tags @> ($2 -> 'tags'))
                AND ($2 -> 'metadata' = '{}' OR d.metadata @> ($2 -> 'metadata'))
    $f$, few_only))
    INTO found
    USING p_bases, p || jsonb_build_object('weights',
        (p ->> 'vector_weight')::float8 + (p ->> 'keyword_weight')::float8),
        p_vector, greatest(60, 4 * top), top, documents, words, queries, weights,
        (SELECT string_agg('(' || q::text || ')', ' | ')::tsquery FROM unnest(queries) q), chosen, most, greatest(100, 3 * top);
    PERFORM set_config('enable_sort', 'on', true);
    RETURN found;
END
$$;
