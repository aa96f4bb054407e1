-- What all tenants together have used since a day, for the operator's console: a list of {by, day, tenant_id, currency,
-- runs, calls, unpriced, input_tokens, output_tokens, cost}, where `by` says whether the row adds up a `day`, a `tenant`
-- (the p_top that cost most in a currency, or, without a price, wrote most), or everything since p_since (`recent`).
CREATE FUNCTION public.usage_of_everybody(p_from date, p_since timestamptz, p_top integer) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    WITH tenant AS (
        SELECT t.id, coalesce(m.until, '2000-01-01') AS until
        FROM public.tenants_tenant t LEFT JOIN public.usage_dailyusemark m ON m.tenant_id = t.id
    ), used AS (
        SELECT d.tenant_id, d.day, d.currency, d.runs, d.calls, d.unpriced, d.input_tokens, d.output_tokens, d.cost
        FROM public.usage_dailyuse d JOIN tenant t ON t.id = d.tenant_id
        WHERE d.day >= p_from AND d.day < t.until
        UNION ALL
        SELECT t.id, c.day, c.currency, c.runs, c.calls, c.unpriced, c.input_tokens, c.output_tokens, c.cost
        FROM tenant t CROSS JOIN LATERAL public.usage_counted(
            t.id, greatest(t.until, p_from)::timestamp AT TIME ZONE 'UTC', 'infinity') c
    ), grouped AS (
        SELECT CASE GROUPING(u.day) WHEN 0 THEN 'day' ELSE 'tenant' END AS "by", u.day, u.tenant_id, u.currency,
            sum(u.runs) AS runs, sum(u.calls) AS calls, sum(u.unpriced) AS unpriced,
            sum(u.input_tokens) AS input_tokens, sum(u.output_tokens) AS output_tokens, sum(u.cost) AS cost
        FROM used u GROUP BY GROUPING SETS ((u.currency, u.day), (u.currency, u.tenant_id))
    ), ranked AS (
        SELECT g.*, row_number() OVER (
            PARTITION BY g."by", g.currency ORDER BY g.cost DESC NULLS LAST, g.output_tokens DESC, g.tenant_id) AS place
        FROM grouped g
    ), told AS (
        SELECT r."by", r.day, r.tenant_id, r.currency, r.runs, r.calls, r.unpriced, r.input_tokens, r.output_tokens,
            r.cost::text AS cost
        FROM ranked r WHERE r."by" = 'day' OR r.place <= p_top
        UNION ALL
        SELECT 'recent', NULL, NULL, c.currency, sum(c.runs), sum(c.calls), sum(c.unpriced), sum(c.input_tokens),
            sum(c.output_tokens), sum(c.cost)::text
        FROM tenant t CROSS JOIN LATERAL public.usage_counted(t.id, p_since, 'infinity') c GROUP BY c.currency
    )
    SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM told t
$$;
