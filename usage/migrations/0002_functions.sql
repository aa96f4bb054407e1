-- The two ends of a run's money, each one call. Both run with the caller's rights (no SECURITY DEFINER), so
-- row-level security holds inside them; both are called under a tenant's role, by the chat room's functions.

-- Hold input + output tokens for a run on every counter that limits it, in one order of locking (by id), and
-- take the lease. `p_output` is clamped to what is left; returns the output tokens granted, or NULL when the
-- counted input alone does not fit (nothing is held then). The tenant's own counter is made on first use of a
-- month from its plan; counters of users, keys and agents limit only where somebody set one.
CREATE FUNCTION public.usage_reserve(
    p_run uuid, p_user uuid, p_key uuid, p_agent uuid, p_input bigint, p_output bigint,
    p_host text, p_lease interval, p_agent_slug text, p_provider text, p_model text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    v_quotas uuid[];
    v_left bigint;
    v_output bigint;
    v_own boolean;
BEGIN
    FOR attempt IN 1..2 LOOP
        SELECT array_agg(q.id), min(q.allowance - q.used - q.reserved), bool_or(q.level = 'tenant')
        INTO v_quotas, v_left, v_own FROM (
            SELECT id, level, allowance, used, reserved FROM public.usage_quota
            WHERE tenant_id = v_tenant AND month = v_month AND metric = 'tokens' AND (
                (level = 'tenant' AND subject_id = v_tenant) OR (level = 'user' AND subject_id = p_user)
                OR (level = 'key' AND subject_id = p_key) OR (level = 'agent' AND subject_id = p_agent))
            ORDER BY id FOR UPDATE
        ) q;
        EXIT WHEN v_own;
        INSERT INTO public.usage_quota (id, tenant_id, level, subject_id, metric, month, allowance, used, reserved)
        SELECT gen_random_uuid(), t.id, 'tenant', t.id, 'tokens', v_month, p.tokens_per_month, 0, 0
        FROM public.tenants_tenant t JOIN public.tenants_plan p ON p.slug = t.plan_id WHERE t.id = v_tenant
        ON CONFLICT DO NOTHING;
    END LOOP;
    v_output := least(p_output, coalesce(v_left - p_input, p_output));
    IF v_own IS NOT TRUE OR v_output < 1 THEN
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

-- End a run's reservation exactly once: true for the caller whose fence still holds, false for everybody else.
-- The month that was charged is the one the tokens were held in. p_usage has the tokens and, per million
-- tokens, the prices of now; a call that used nothing leaves no record.
CREATE FUNCTION public.usage_settle(p_run uuid, p_fence int, p_outcome text, p_error text, p_usage jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_held public.usage_reservation;
    v_input bigint := coalesce((p_usage ->> 'input_tokens')::bigint, 0);
    v_output bigint := coalesce((p_usage ->> 'output_tokens')::bigint, 0);
BEGIN
    UPDATE public.usage_reservation
    SET state = 'settled', outcome = p_outcome, error_code = p_error, counted_output = v_output, settled_at = now()
    WHERE run_id = p_run AND state = 'held' AND fence = p_fence RETURNING * INTO v_held;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM 1 FROM public.usage_quota WHERE id = ANY (v_held.quotas) ORDER BY id FOR UPDATE;
    UPDATE public.usage_quota SET reserved = reserved - v_held.amount, used = used + v_input + v_output
    WHERE id = ANY (v_held.quotas);
    IF v_input + v_output > 0 THEN
        INSERT INTO public.usage_usagerecord (
            id, tenant_id, run_id, call, kind, user_id, key_id, agent_id, provider, model,
            input_tokens, output_tokens, cached_tokens, reasoning_tokens, counted,
            input_price, output_price, cached_price, currency, cost, at)
        VALUES ((p_usage ->> 'record_id')::uuid, v_tenant, p_run, 1, 'chat', (p_usage ->> 'user_id')::uuid,
            (p_usage ->> 'key_id')::uuid, (p_usage ->> 'agent_id')::uuid, v_held.provider, v_held.model,
            v_input, v_output, coalesce((p_usage ->> 'cached_tokens')::bigint, 0),
            coalesce((p_usage ->> 'reasoning_tokens')::bigint, 0), (p_usage ->> 'counted')::boolean,
            (p_usage ->> 'input_price')::numeric, (p_usage ->> 'output_price')::numeric,
            (p_usage ->> 'cached_price')::numeric, coalesce(p_usage ->> 'currency', 'USD'),
            (p_usage ->> 'cost')::numeric, now());
    END IF;
    RETURN true;
END
$$;

-- Renew the leases of a process's runs and write down what each has counted so far; one call for all of them,
-- as the platform. Returns the runs that are still the caller's, and whether each was asked to stop.
CREATE FUNCTION public.usage_heartbeat(
    p_runs uuid[], p_fences int[], p_counted bigint[], p_lease interval
) RETURNS TABLE (run_id uuid, cancel_requested boolean) LANGUAGE sql AS $$
    UPDATE public.usage_reservation r SET lease_until = now() + p_lease, counted_output = c.counted
    FROM unnest(p_runs, p_fences, p_counted) AS c (run, fence, counted)
    WHERE r.run_id = c.run AND r.fence = c.fence AND r.state = 'held'
    RETURNING r.run_id, r.cancel_requested
$$;

-- Take over runs whose lease ran out; each gets a higher fence, so that its former host can write no more.
CREATE FUNCTION public.usage_take_expired(p_host text, p_lease interval, p_most int)
RETURNS TABLE (run_id uuid, tenant_id uuid, fence int, input_estimate bigint, cancel_requested boolean)
LANGUAGE sql AS $$
    UPDATE public.usage_reservation r SET host = p_host, fence = r.fence + 1, lease_until = now() + p_lease
    WHERE r.run_id IN (
        SELECT e.run_id FROM public.usage_reservation e WHERE e.state = 'held' AND e.lease_until < now()
        ORDER BY e.lease_until LIMIT p_most FOR UPDATE SKIP LOCKED)
    RETURNING r.run_id, r.tenant_id, r.fence, r.input_estimate, r.cancel_requested
$$;
