-- usage_reserve as before, but what is missing is made before anything is locked. Counters were made while others were
-- held: of two first turns of a month, one could hold a person's counter and wait for the tenant's, which the other had
-- made and held while it waited for the person's. Now whoever waits for a counter that is being made holds none that
-- existed before, and those that exist are locked in the order of their ids.
CREATE OR REPLACE FUNCTION public.usage_reserve(
    p_run uuid, p_user uuid, p_key uuid, p_agent uuid, p_input bigint, p_output bigint,
    p_host text, p_lease interval, p_agent_slug text, p_provider text, p_model text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    v_keys uuid[] := ARRAY[p_key];
    v_budgets bigint := 0;
    v_counted bigint;
    v_quotas uuid[];
    v_left bigint;
    v_output bigint;
    v_own boolean;
BEGIN
    IF p_key IS NOT NULL THEN
        SELECT coalesce(array_agg(c.id), v_keys), count(c.tokens_per_month) INTO v_keys, v_budgets
        FROM public.accounts_apikey k
        LEFT JOIN public.accounts_apikey p ON p.id = k.parent_id
        JOIN public.accounts_apikey c ON c.id IN (k.id, k.parent_id, p.parent_id)
        WHERE k.id = p_key AND k.tenant_id = v_tenant AND c.tenant_id = v_tenant;
    END IF;
    IF (SELECT count(*) FILTER (WHERE u.level = 'tenant') = 0 OR count(*) FILTER (WHERE k.tokens_per_month IS NOT NULL) < v_budgets
        FROM public.usage_quota u
        LEFT JOIN public.accounts_apikey k ON u.level = 'key' AND k.id = u.subject_id
        WHERE u.tenant_id = v_tenant AND u.month = v_month AND u.metric = 'tokens' AND (
            (u.level = 'tenant' AND u.subject_id = v_tenant) OR (u.level = 'key' AND u.subject_id = ANY (v_keys)))) THEN
        INSERT INTO public.usage_quota (id, tenant_id, level, subject_id, metric, month, allowance, used, reserved)
        SELECT gen_random_uuid(), t.id, 'tenant', t.id, 'tokens', v_month, p.tokens_per_month, 0, 0
        FROM public.tenants_tenant t JOIN public.tenants_plan p ON p.slug = t.plan_id WHERE t.id = v_tenant
        ON CONFLICT DO NOTHING;
        IF v_budgets > 0 THEN
            INSERT INTO public.usage_quota (id, tenant_id, level, subject_id, metric, month, allowance, used, reserved)
            SELECT gen_random_uuid(), v_tenant, 'key', k.id, 'tokens', v_month, k.tokens_per_month, coalesce((
                SELECT sum(r.input_tokens + r.output_tokens) FROM public.usage_usagerecord r
                WHERE r.tenant_id = v_tenant AND r.at >= v_month::timestamp AT TIME ZONE 'UTC' AND r.key_id IN (
                    SELECT b.id FROM public.accounts_apikey b
                    LEFT JOIN public.accounts_apikey p ON p.id = b.parent_id
                    WHERE b.tenant_id = v_tenant AND k.id IN (b.id, b.parent_id, p.parent_id))), 0), 0
            FROM public.accounts_apikey k
            WHERE k.id = ANY (v_keys) AND k.tenant_id = v_tenant AND k.tokens_per_month IS NOT NULL ORDER BY k.id
            ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    SELECT array_agg(q.id), min(q.allowance - q.used - q.reserved), bool_or(q.level = 'tenant'),
        count(*) FILTER (WHERE q.budget)
    INTO v_quotas, v_left, v_own, v_counted FROM (
        SELECT u.id, u.level, u.used, u.reserved, k.tokens_per_month IS NOT NULL AS budget,
            CASE WHEN k.id IS NULL THEN u.allowance ELSE k.tokens_per_month END AS allowance
        FROM public.usage_quota u
        LEFT JOIN public.accounts_apikey k ON u.level = 'key' AND k.id = u.subject_id
        WHERE u.tenant_id = v_tenant AND u.month = v_month AND u.metric = 'tokens' AND (
            (u.level = 'tenant' AND u.subject_id = v_tenant) OR (u.level = 'user' AND u.subject_id = p_user)
            OR (u.level = 'key' AND u.subject_id = ANY (v_keys)) OR (u.level = 'agent' AND u.subject_id = p_agent))
        ORDER BY u.id FOR UPDATE OF u
    ) q;
    v_output := least(p_output, coalesce(v_left - p_input, p_output));
    IF v_own IS NOT TRUE OR v_counted < v_budgets OR v_output < 1 THEN
        RETURN NULL;
    END IF;
    UPDATE public.usage_quota SET reserved = reserved + p_input + v_output WHERE id = ANY (v_quotas);
    INSERT INTO public.usage_reservation (
        run_id, tenant_id, quotas, amount, input_estimate, state, host, fence, lease_until, cancel_requested,
        counted_output, agent, provider, model, outcome, error_code, created_at)
    VALUES (p_run, v_tenant, v_quotas, p_input + v_output, p_input, 'held', p_host, 1, now() + p_lease, false,
        0, p_agent_slug, p_provider, p_model, '', '', now());
    RETURN v_output;
END
$$;
