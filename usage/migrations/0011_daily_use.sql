-- The ledger's days that are over, added up (usage.models.DailyUse), so that a page over three months reads thousands
-- of rows and not a million. Written by the job `usage.fold` only; whoever reads adds the days since from the ledger.

-- What each entry of a tenant counts for, from one moment to before another. A reversal takes a call back; credits and
-- adjustments are no calls.
CREATE FUNCTION public.usage_counted(p_tenant uuid, p_from timestamptz, p_before timestamptz)
RETURNS TABLE (day date, user_id uuid, key_id uuid, agent_id uuid, agent text, provider text, model text, currency text,
    runs bigint, calls bigint, unpriced bigint, input_tokens bigint, output_tokens bigint, cost numeric)
LANGUAGE sql STABLE AS $$
    SELECT (u.at AT TIME ZONE 'UTC')::date, u.user_id, u.key_id, u.agent_id, u.agent, u.provider, u.model, u.currency,
        (u.kind = 'chat' AND u.call = 1)::int, c.calls, CASE WHEN u.cost IS NULL THEN c.calls ELSE 0 END,
        u.input_tokens, u.output_tokens, u.cost
    FROM public.usage_usagerecord u
    CROSS JOIN LATERAL (
        SELECT CASE u.kind WHEN 'chat' THEN 1 WHEN 'embeddings' THEN 1 WHEN 'reversal' THEN -1 ELSE 0 END AS calls
    ) c
    WHERE u.tenant_id = p_tenant AND u.at >= p_from AND u.at < p_before
$$;

-- Add up a tenant's days before p_until that are not yet; how many rows that made. All or nothing, each day once.
CREATE FUNCTION public.usage_fold(p_tenant uuid, p_until date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_from date;
    v_rows integer;
BEGIN
    INSERT INTO public.usage_dailyusemark (id, tenant_id, until) VALUES (gen_random_uuid(), p_tenant, '2000-01-01')
    ON CONFLICT (tenant_id) DO NOTHING;
    SELECT m.until INTO v_from FROM public.usage_dailyusemark m WHERE m.tenant_id = p_tenant FOR UPDATE;
    IF v_from >= p_until THEN
        RETURN 0;
    END IF;
    INSERT INTO public.usage_dailyuse (id, tenant_id, day, user_id, key_id, agent_id, agent, provider, model, currency,
        runs, calls, unpriced, input_tokens, output_tokens, cost)
    SELECT gen_random_uuid(), p_tenant, c.day, c.user_id, c.key_id, c.agent_id, c.agent, c.provider, c.model, c.currency,
        sum(c.runs), sum(c.calls), sum(c.unpriced), sum(c.input_tokens), sum(c.output_tokens), sum(c.cost)
    FROM public.usage_counted(p_tenant, v_from::timestamp AT TIME ZONE 'UTC', p_until::timestamp AT TIME ZONE 'UTC') c
    GROUP BY c.day, c.user_id, c.key_id, c.agent_id, c.agent, c.provider, c.model, c.currency;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    UPDATE public.usage_dailyusemark SET until = p_until WHERE tenant_id = p_tenant;
    RETURN v_rows;
END
$$;

-- What a tenant has used since a day, or that part of it which p_only names (user, key, agent, model; what it leaves out
-- is any): a list of {by, day, agent_id, agent, provider,
-- model, user_id, key_id, currency, runs, calls, unpriced, input_tokens, output_tokens, cost}, where `by` says which of
-- `day`, `agent`, `model` and `who` the row adds up. One pass over the days that are added up and the entries since.
CREATE FUNCTION public.usage_summary(p_tenant uuid, p_from date, p_only jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH mark AS (
        SELECT coalesce(max(m.until), '2000-01-01') AS until FROM public.usage_dailyusemark m WHERE m.tenant_id = p_tenant
    ), used AS (
        SELECT d.day, d.user_id, d.key_id, d.agent_id, d.agent, d.provider, d.model, d.currency,
            d.runs, d.calls, d.unpriced, d.input_tokens, d.output_tokens, d.cost
        FROM public.usage_dailyuse d
        WHERE d.tenant_id = p_tenant AND d.day >= p_from AND d.day < (SELECT until FROM mark)
        UNION ALL
        SELECT c.* FROM public.usage_counted(
            p_tenant, greatest((SELECT until FROM mark), p_from)::timestamp AT TIME ZONE 'UTC', 'infinity') c
    ), grouped AS (
        SELECT CASE GROUPING(u.day, u.agent, u.model, u.user_id)
                WHEN 7 THEN 'day' WHEN 11 THEN 'agent' WHEN 13 THEN 'model' ELSE 'who' END AS "by",
            u.day, u.agent_id, u.agent, u.provider, u.model, u.user_id, u.key_id, u.currency,
            sum(u.runs) AS runs, sum(u.calls) AS calls, sum(u.unpriced) AS unpriced,
            sum(u.input_tokens) AS input_tokens, sum(u.output_tokens) AS output_tokens, sum(u.cost)::text AS cost
        FROM used u
        WHERE (p_only ->> 'user' IS NULL OR u.user_id = (p_only ->> 'user')::uuid)
            AND (p_only ->> 'key' IS NULL OR u.key_id = (p_only ->> 'key')::uuid)
            AND (p_only ->> 'agent' IS NULL OR u.agent = p_only ->> 'agent')
            AND (p_only ->> 'model' IS NULL OR u.provider || '/' || u.model = p_only ->> 'model')
        GROUP BY GROUPING SETS ((u.currency, u.day), (u.currency, u.agent, u.agent_id), (u.currency, u.provider, u.model),
            (u.currency, u.user_id, u.key_id))
    )
    SELECT coalesce(jsonb_agg(to_jsonb(g)), '[]') FROM grouped g
$$;
