-- Before a run calls a model: write down what its calls have used so far, and hold what the next one may use.
-- p_calls: the calls so far, each as usage_settle takes it in `calls`. One that is still being made (the members of a
-- team work side by side) has `hold_tokens` and `hold_cost` (billionths), what it may use. p_input, p_output: of the next
-- call; p_output is cut to what the tightest counter leaves. p_most: the tokens of all of the run's calls together, or
-- NULL. p_terms: the prices, as usage_hold takes them; of a team also `call` (what is written down of the next call, to
-- which its hold is added) and `primary` (the currency in which the run was held first; this call may have another).
-- Returns {"granted": output tokens}, or with nothing held {"code": quota_exceeded, model_unpriced or run_token_limit,
-- "limit": the one that refused}; NULL when the fence does not hold any more.
-- Locks as usage_settle does: the reservation, then the tenant's own counter.
CREATE OR REPLACE FUNCTION public.usage_step(
    p_run uuid, p_fence int, p_input bigint, p_output bigint, p_most bigint, p_calls jsonb, p_terms jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_held public.usage_reservation;
    v_in numeric := coalesce((p_terms ->> 'input_price')::numeric * 1000, 0);
    v_out numeric := coalesce((p_terms ->> 'output_price')::numeric * 1000, 0);
    v_currency text := p_terms ->> 'currency';
    v_other boolean := v_currency IS DISTINCT FROM coalesce(p_terms ->> 'primary', v_currency);
    v_quotas uuid[];
    v_held_cost bigint;  -- in the currency of the next call
    v_unpriced jsonb;
    v_used bigint;  -- tokens of the calls so far
    v_spent bigint;  -- their cost in the currency of the next call, in billionths
    v_one record;
    v_fits bigint := p_output;
    v_one_fits bigint;
    v_short uuid;
    v_short_allows bigint;
    v_more bigint;
    v_more_cost bigint;
    v_call jsonb := '[]';
BEGIN
    SELECT * INTO v_held FROM public.usage_reservation
    WHERE run_id = p_run AND state = 'held' AND fence = p_fence FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM public.usage_quota q WHERE q.id = ANY (v_held.quotas) AND q.level = 'tenant'
        AND q.metric = 'tokens' AND q.period = 'month' FOR UPDATE;
    v_quotas := v_held.quotas;
    v_held_cost := v_held.cost;
    IF v_other THEN
        -- usage_hold has made all counters; those of this currency join the run's with its first call in it.
        SELECT v_quotas || coalesce(array_agg(q.id), '{}') INTO v_quotas FROM public.usage_quota q
        WHERE q.tenant_id = v_tenant AND q.subject_id = ANY (v_held.subjects) AND q.metric = 'cost'
            AND q.currency = v_currency AND NOT q.id = ANY (v_held.quotas)
            AND q.month = date_trunc(q.period, v_held.created_at AT TIME ZONE 'UTC')::date;
        v_held_cost := coalesce((v_held.other_costs ->> v_currency)::bigint, 0);
    END IF;
    IF p_terms ? 'call' AND (v_in + v_out > 0 OR p_terms ->> 'input_price' IS NULL) THEN
        -- As in usage_hold: where a cost is limited, it must be known what a call costs in the limit's currency.
        SELECT public.usage_told(q.id, b.amount) INTO v_unpriced
        FROM public.usage_budgets(v_tenant) b
        JOIN public.usage_quota q ON q.tenant_id = v_tenant AND q.subject_id = b.subject_id AND q.level = b.level
            AND q.metric = b.metric AND q.period = b.period AND q.currency = b.currency
            AND q.month = date_trunc(q.period, v_held.created_at AT TIME ZONE 'UTC')::date
        WHERE b.metric = 'cost' AND b.subject_id = ANY (v_held.subjects) AND (
            p_terms ->> 'input_price' IS NULL OR p_terms ->> 'output_price' IS NULL OR NOT EXISTS (
                SELECT 1 FROM public.usage_quota h WHERE h.id = ANY (v_quotas) AND h.metric = 'cost'
                    AND h.currency = v_currency AND h.subject_id = b.subject_id AND h.level = b.level
                    AND h.period = b.period))
        LIMIT 1;
        IF FOUND THEN
            RETURN jsonb_build_object('code', 'model_unpriced', 'limit', v_unpriced);
        END IF;
    END IF;
    SELECT coalesce(sum(greatest(
            (c ->> 'hold_tokens')::bigint, (c ->> 'input_tokens')::bigint + (c ->> 'output_tokens')::bigint)), 0),
        coalesce(ceil(sum(greatest((c ->> 'hold_cost')::numeric, (c ->> 'cost')::numeric * 1000000000))
            FILTER (WHERE coalesce(c ->> 'currency', v_currency) = v_currency)), 0)
    INTO v_used, v_spent FROM jsonb_array_elements(p_calls) c;
    IF p_most IS NOT NULL THEN
        v_fits := least(v_fits, p_most - v_used - p_input);
        IF v_fits < 1 THEN
            RETURN jsonb_build_object('code', 'run_token_limit');
        END IF;
    END IF;
    FOR v_one IN
        SELECT u.id, u.metric, a.allowance, a.allowance - u.used - u.reserved AS rest
        FROM public.usage_quota u
        LEFT JOIN public.usage_budgets(v_tenant) b ON b.subject_id = u.subject_id AND b.level = u.level
            AND b.metric = u.metric AND b.period = u.period AND b.currency = u.currency
        CROSS JOIN LATERAL (SELECT CASE WHEN u.level = 'tenant' AND u.metric = 'tokens' AND u.period = 'month'
            AND b.source IS DISTINCT FROM 'limit' THEN u.allowance ELSE b.amount END AS allowance) a
        WHERE u.id = ANY (v_quotas) AND a.allowance IS NOT NULL AND (u.metric <> 'cost' OR u.currency = v_currency)
        ORDER BY u.id
    LOOP
        IF v_one.metric <> 'cost' THEN
            v_one_fits := v_one.rest + v_held.amount - v_used - p_input;
        ELSIF v_out = 0 THEN
            v_one_fits := CASE WHEN v_spent + ceil(p_input * v_in) - v_held_cost > greatest(v_one.rest, 0) THEN 0
                ELSE p_output END;
        ELSE
            v_one_fits := floor((v_one.rest + v_held_cost - v_spent - ceil(p_input * v_in)) / v_out);
        END IF;
        IF v_one_fits < v_fits THEN
            v_fits := v_one_fits;
            v_short := v_one.id;
            v_short_allows := v_one.allowance;
        END IF;
    END LOOP;
    IF v_fits < 1 THEN
        RETURN jsonb_build_object('code', 'quota_exceeded', 'limit', public.usage_told(v_short, v_short_allows));
    END IF;
    v_more := greatest(0, v_used + p_input + v_fits - v_held.amount);
    v_more_cost := greatest(0, v_spent + ceil(p_input * v_in + v_fits * v_out)::bigint - v_held_cost);
    IF v_more + v_more_cost > 0 THEN
        UPDATE public.usage_quota q SET reserved = q.reserved + CASE q.metric WHEN 'cost' THEN v_more_cost ELSE v_more END
        WHERE q.id = ANY (v_quotas) AND (q.metric <> 'cost' OR q.currency = v_currency);
    END IF;
    IF p_terms ? 'call' THEN
        v_call := jsonb_build_array((p_terms -> 'call') || jsonb_build_object(
            'hold_tokens', p_input + v_fits, 'hold_cost', ceil(p_input * v_in + v_fits * v_out)::bigint));
    END IF;
    UPDATE public.usage_reservation SET amount = amount + v_more, input_estimate = p_input, quotas = v_quotas,
        calls = p_calls || v_call, cost = cost + CASE WHEN v_other THEN 0 ELSE v_more_cost END,
        other_costs = CASE WHEN v_other
            THEN other_costs || jsonb_build_object(v_currency, v_held_cost + v_more_cost) ELSE other_costs END
    WHERE run_id = p_run;
    RETURN jsonb_build_object('granted', v_fits);
END
$$;

-- A run waits for a person: it keeps what its calls have used so far (p_calls, as usage_settle takes them in `calls`)
-- and gives back the rest of what it held; no process holds it any more (host `approval`), until p_until.
-- Returns the new fence; 0 when somebody wants the run stopped (then nothing has changed), NULL when p_fence does not
-- hold. Locks as usage_settle does: the reservation, then the tenant's own counter.
CREATE OR REPLACE FUNCTION public.usage_park(p_run uuid, p_fence int, p_until timestamptz, p_calls jsonb) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_held public.usage_reservation;
    v_used bigint;  -- tokens of the calls so far
    v_spent bigint;  -- their cost in the run's first currency, in billionths
    v_others jsonb;  -- and in the others
BEGIN
    SELECT * INTO v_held FROM public.usage_reservation
    WHERE run_id = p_run AND state = 'held' AND fence = p_fence FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF v_held.cancel_requested THEN
        RETURN 0;
    END IF;
    PERFORM 1 FROM public.usage_quota q WHERE q.id = ANY (v_held.quotas) AND q.level = 'tenant'
        AND q.metric = 'tokens' AND q.period = 'month' FOR UPDATE;
    SELECT coalesce(sum((c ->> 'input_tokens')::bigint + (c ->> 'output_tokens')::bigint), 0),
        coalesce(ceil(sum((c ->> 'cost')::numeric)
            FILTER (WHERE NOT v_held.other_costs ? coalesce(c ->> 'currency', '')) * 1000000000), 0)
    INTO v_used, v_spent FROM jsonb_array_elements(p_calls) c;
    SELECT coalesce(jsonb_object_agg(o.currency, o.billionths), '{}') INTO v_others FROM (
        SELECT k.currency, (SELECT coalesce(ceil(sum((c ->> 'cost')::numeric) * 1000000000), 0)::bigint
            FROM jsonb_array_elements(p_calls) c WHERE c ->> 'currency' = k.currency) AS billionths
        FROM jsonb_object_keys(v_held.other_costs) AS k (currency)) o;
    UPDATE public.usage_quota q SET reserved = q.reserved - CASE WHEN q.metric <> 'cost' THEN v_held.amount - v_used
        WHEN v_held.other_costs ? q.currency
            THEN (v_held.other_costs ->> q.currency)::bigint - (v_others ->> q.currency)::bigint
        ELSE v_held.cost - v_spent END
    WHERE q.id = ANY (v_held.quotas);
    UPDATE public.usage_reservation SET amount = v_used, cost = v_spent, other_costs = v_others, input_estimate = 0,
        calls = p_calls, host = 'approval', fence = fence + 1, lease_until = p_until
    WHERE run_id = p_run;
    RETURN v_held.fence + 1;
END
$$;

-- End a run's reservation exactly once: true for the caller whose fence still holds, false for everybody else.
-- What was held is given back, and what was used is booked, on the counters of the month and day in which it was held;
-- also on those that were made since, for they began without it. p_usage has the tokens and, per million tokens, the
-- prices of now; a call that used nothing leaves no record. `calls`: of a run that called its model several times, the
-- same for each call, in order, and each is an entry; tokens beside it are their sums. A call may name its own `provider`,
-- `model` and `currency`: of a team, whose members ask others than the one for which the run was held.
CREATE OR REPLACE FUNCTION public.usage_settle(p_run uuid, p_fence int, p_outcome text, p_error text, p_usage jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_held public.usage_reservation;
    v_input bigint := coalesce((p_usage ->> 'input_tokens')::bigint, 0);
    v_output bigint := coalesce((p_usage ->> 'output_tokens')::bigint, 0);
    v_currency text := coalesce(p_usage ->> 'currency', 'USD');
    v_calls jsonb := coalesce(p_usage -> 'calls', jsonb_build_array(p_usage));
    v_costs jsonb;  -- currency -> billionths
BEGIN
    UPDATE public.usage_reservation
    SET state = 'settled', outcome = p_outcome, error_code = p_error, counted_output = v_output, settled_at = now(),
        overrun = greatest(0, v_input + v_output - amount)
    WHERE run_id = p_run AND state = 'held' AND fence = p_fence RETURNING * INTO v_held;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM 1 FROM public.usage_quota q
    WHERE q.id = ANY (v_held.quotas) AND q.level = 'tenant' AND q.metric = 'tokens' AND q.period = 'month' FOR UPDATE;
    SELECT jsonb_object_agg(s.currency, s.billionths) INTO v_costs FROM (
        SELECT coalesce(c ->> 'currency', v_currency) AS currency,
            ceil(coalesce(sum((c ->> 'cost')::numeric), 0) * 1000000000)::bigint AS billionths
        FROM jsonb_array_elements(v_calls) c GROUP BY 1) s;
    UPDATE public.usage_quota q SET
        reserved = q.reserved - CASE WHEN NOT q.id = ANY (v_held.quotas) THEN 0 WHEN q.metric <> 'cost' THEN v_held.amount
            ELSE coalesce((v_held.other_costs ->> q.currency)::bigint, v_held.cost) END,
        used = q.used + CASE WHEN q.metric <> 'cost' THEN v_input + v_output
            ELSE coalesce((v_costs ->> q.currency)::bigint, 0) END
    WHERE q.id = ANY (v_held.quotas) OR (
        q.tenant_id = v_tenant AND q.subject_id = ANY (v_held.subjects) AND q.metric IN ('tokens', 'cost')
        AND q.month = date_trunc(q.period, v_held.created_at AT TIME ZONE 'UTC')::date AND NOT EXISTS (
            SELECT 1 FROM public.usage_quota h
            WHERE h.id = ANY (v_held.quotas) AND h.subject_id = q.subject_id AND h.level = q.level
                AND h.metric = q.metric AND h.period = q.period AND h.currency = q.currency));
    INSERT INTO public.usage_usagerecord (
        id, tenant_id, run_id, call, kind, user_id, key_id, agent_id, provider, model,
        input_tokens, output_tokens, cached_tokens, reasoning_tokens, counted,
        input_price, output_price, cached_price, reasoning_price, tool_calls, tool_price, agent, currency, cost, at)
    SELECT (c ->> 'record_id')::uuid, v_tenant, p_run, n, coalesce(p_usage ->> 'kind', 'chat'),
        (p_usage ->> 'user_id')::uuid, (p_usage ->> 'key_id')::uuid, (p_usage ->> 'agent_id')::uuid,
        coalesce(c ->> 'provider', v_held.provider), coalesce(c ->> 'model', v_held.model),
        coalesce((c ->> 'input_tokens')::bigint, 0),
        coalesce((c ->> 'output_tokens')::bigint, 0), coalesce((c ->> 'cached_tokens')::bigint, 0),
        coalesce((c ->> 'reasoning_tokens')::bigint, 0), (c ->> 'counted')::boolean,
        (c ->> 'input_price')::numeric, (c ->> 'output_price')::numeric,
        (c ->> 'cached_price')::numeric, (c ->> 'reasoning_price')::numeric,
        coalesce((c ->> 'tool_calls')::int, 0), (c ->> 'tool_price')::numeric, v_held.agent,
        coalesce(c ->> 'currency', v_currency), (c ->> 'cost')::numeric, now()
    FROM jsonb_array_elements(v_calls) WITH ORDINALITY AS e (c, n)
    WHERE coalesce((c ->> 'input_tokens')::bigint, 0) + coalesce((c ->> 'output_tokens')::bigint, 0) > 0;
    RETURN true;
END
$$;
