-- What a turn asks of the counters, once more with `p_of`: a value (NULL will do) of a type that only the caller's tenant
-- has, as NULL::chat_run. PostgreSQL compiles a function with such a parameter once for each type, and so keeps the plans
-- of tenants apart. It must: a plan that row-level security is part of belongs to one role, and where tenants took turns
-- on a connection every statement was planned anew, which took three times as long as the turn's start itself.

-- Hold a run's input and output on every counter that limits it, or on none, and take its lease. p_output is cut to what
-- the tightest counter leaves. p_terms: `input_price` and `output_price` (of a million tokens, the dearest that the run
-- can be charged for either; one missing: it has no price), `currency`, `session` (a conversation begins).
-- Returns {"granted": output tokens, "limit": the tightest limit of tokens after that}, or, with nothing held,
-- {"code": quota_exceeded, session_limit_reached or model_unpriced, "limit": the one that refused}.
--
-- Whoever touches a tenant's counters of a month locks the tenant's own counter of tokens first. So counters are made,
-- held and settled one run after the other, and nobody waits in a ring. The database's clock alone says which month and
-- day it is: that of the moment at which the transaction began.
CREATE OR REPLACE FUNCTION public.usage_hold(
    p_run uuid, p_user uuid, p_key uuid, p_agent uuid, p_input bigint, p_output bigint,
    p_host text, p_lease interval, p_agent_slug text, p_provider text, p_model text, p_terms jsonb, p_of anyelement
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_day date := (now() AT TIME ZONE 'UTC')::date;
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    v_in numeric := (p_terms ->> 'input_price')::numeric * 1000;  -- billionths of the currency for one token
    v_out numeric := (p_terms ->> 'output_price')::numeric * 1000;
    v_currency text := p_terms ->> 'currency';
    v_session boolean := coalesce((p_terms ->> 'session')::boolean, false);
    v_subjects uuid[];
    v_own uuid;
    v_one record;
    v_missing boolean;
    v_held uuid[];
    v_counted uuid[];
    v_left bigint;  -- of tokens, on the tightest counter of them
    v_tight uuid;
    v_tight_allows bigint;
    v_tight_told jsonb;  -- as usage_told says it
    v_most bigint;  -- output that the tightest counter of a cost can pay for
    v_short uuid;
    v_short_allows bigint;
    v_fits bigint;
    v_other jsonb;
    v_priced text[];
BEGIN
    IF p_input IS NULL OR p_output IS NULL OR p_input < 0 OR p_output < 0
       OR least(v_in, v_out) < 0 OR 'NaN' IN (v_in, v_out) THEN
        RAISE EXCEPTION 'a run holds whole numbers of tokens at prices from zero' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_subjects := array_remove(ARRAY[v_tenant, p_user, p_agent], NULL);
    IF p_key IS NOT NULL THEN
        SELECT v_subjects || coalesce(array_agg(c.id), ARRAY[p_key]) INTO v_subjects
        FROM public.accounts_apikey k
        LEFT JOIN public.accounts_apikey p ON p.id = k.parent_id
        JOIN public.accounts_apikey c ON c.id IN (k.id, k.parent_id, p.parent_id)
        WHERE k.id = p_key AND k.tenant_id = v_tenant AND c.tenant_id = v_tenant;
    END IF;

    FOR attempt IN 1..2 LOOP
        SELECT q.id INTO v_own FROM public.usage_quota q
        WHERE q.tenant_id = v_tenant AND q.level = 'tenant' AND q.subject_id = v_tenant AND q.metric = 'tokens'
            AND q.period = 'month' AND q.month = v_month AND q.currency = '' FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO public.usage_quota
            (id, tenant_id, level, subject_id, metric, period, currency, month, allowance, used, reserved)
        SELECT gen_random_uuid(), t.id, 'tenant', t.id, 'tokens', 'month', '', v_month, p.tokens_per_month, 0, 0
        FROM public.tenants_tenant t JOIN public.tenants_plan p ON p.slug = t.plan_id WHERE t.id = v_tenant
        ON CONFLICT DO NOTHING;
    END LOOP;
    IF v_own IS NULL THEN
        RETURN jsonb_build_object('code', 'quota_exceeded');
    END IF;

    FOR attempt IN 1..2 LOOP
        v_missing := false;
        v_held := '{}';
        v_counted := '{}';
        v_priced := '{}';
        v_left := NULL;
        v_most := NULL;
        v_other := NULL;
        FOR v_one IN
            SELECT u.id, coalesce(u.metric, b.metric) AS metric,
                coalesce(u.currency, b.currency) AS currency,
                coalesce(u.period, b.period) || coalesce(u.subject_id, b.subject_id) AS place,
                -- The tenant's own month of tokens: the copy of the plan's that a trigger keeps.
                CASE WHEN u.id = v_own AND b.source IS DISTINCT FROM 'limit' THEN u.allowance ELSE b.amount END AS allowance,
                CASE WHEN u.id = v_own AND b.source IS DISTINCT FROM 'limit' THEN u.allowance ELSE b.amount END
                    - u.used - u.reserved AS rest,
                u.level, u.subject_id, u.period, u.month, u.used, u.reserved
            FROM (SELECT * FROM public.usage_budgets(v_tenant) WHERE subject_id = ANY (v_subjects)) b
            FULL JOIN (
                SELECT * FROM public.usage_quota WHERE tenant_id = v_tenant AND subject_id = ANY (v_subjects)
                    AND ((period = 'month' AND month = v_month) OR (period = 'day' AND month = v_day))
            ) u ON u.subject_id = b.subject_id AND u.level = b.level AND u.metric = b.metric AND u.period = b.period
                AND u.currency = b.currency
            -- Those of the run's currency first: they are known when one in another is met.
            ORDER BY coalesce(u.currency, b.currency) IS DISTINCT FROM v_currency, u.id
        LOOP
            IF v_one.id IS NULL THEN
                v_missing := true;
                EXIT;
            END IF;
            IF v_one.metric = 'tokens' THEN
                v_held := v_held || v_one.id;
                IF v_one.rest < v_left OR (v_left IS NULL AND v_one.rest IS NOT NULL) THEN
                    v_left := v_one.rest;
                    v_tight := v_one.id;
                    v_tight_allows := v_one.allowance;
                    v_tight_told := jsonb_build_object('level', v_one.level, 'subject_id', v_one.subject_id,
                        'metric', 'tokens', 'period', v_one.period, 'currency', v_one.currency,
                        'starts_on', v_one.month, 'limit', v_one.allowance, 'used', v_one.used,
                        'reserved', v_one.reserved);
                END IF;
            ELSIF v_one.metric = 'sessions' THEN
                IF v_session AND v_one.rest < 1 THEN
                    RETURN jsonb_build_object('code', 'session_limit_reached',
                        'limit', public.usage_told(v_one.id, v_one.allowance));
                END IF;
                v_counted := v_counted || v_one.id;
            ELSIF v_one.currency = v_currency AND v_in IS NOT NULL AND v_out IS NOT NULL THEN
                v_held := v_held || v_one.id;
                v_priced := v_priced || v_one.place;
                IF v_one.rest IS NOT NULL AND v_in + v_out > 0 THEN
                    v_fits := CASE WHEN ceil(p_input * v_in) > v_one.rest THEN -1 WHEN v_out = 0 THEN p_output
                        ELSE least(floor((v_one.rest - p_input * v_in) / v_out), p_output) END;
                    IF v_most IS NULL OR v_fits < v_most THEN
                        v_most := v_fits;
                        v_short := v_one.id;
                        v_short_allows := v_one.allowance;
                    END IF;
                END IF;
            ELSIF v_one.allowance IS NOT NULL AND NOT v_one.place = ANY (v_priced) THEN
                v_other := coalesce(v_other, public.usage_told(v_one.id, v_one.allowance));
            END IF;
        END LOOP;
        EXIT WHEN NOT v_missing;
        INSERT INTO public.usage_quota
            (id, tenant_id, level, subject_id, metric, period, currency, month, allowance, used, reserved)
        SELECT gen_random_uuid(), v_tenant, b.level, b.subject_id, b.metric, b.period, b.currency, d.starts, b.amount,
            public.usage_recorded(v_tenant, b.level, b.subject_id, b.metric, b.currency, d.starts), 0
        FROM public.usage_budgets(v_tenant) b
        CROSS JOIN LATERAL (SELECT CASE b.period WHEN 'day' THEN v_day ELSE v_month END AS starts) d
        WHERE b.subject_id = ANY (v_subjects)
        ON CONFLICT DO NOTHING;
    END LOOP;

    -- Nobody knows what such a run would cost, so it may not be begun where a cost is limited.
    IF v_other IS NOT NULL THEN
        RETURN jsonb_build_object('code', 'model_unpriced', 'limit', v_other);
    END IF;
    v_fits := least(p_output, v_left - p_input, v_most);
    IF v_missing OR v_fits < least(p_output, 1) THEN
        IF v_most IS NULL OR v_left - p_input <= v_most THEN
            v_short := v_tight;
            v_short_allows := v_tight_allows;
        END IF;
        UPDATE public.usage_quota q SET refused_at = now()
        WHERE q.id = v_short AND q.refused_at IS NULL AND q.used >= v_short_allows * 0.8;
        RETURN jsonb_build_object('code', 'quota_exceeded', 'limit', public.usage_told(v_short, v_short_allows));
    END IF;
    UPDATE public.usage_quota q SET reserved = q.reserved + CASE q.metric
        WHEN 'cost' THEN ceil(p_input * v_in + v_fits * v_out)::bigint ELSE p_input + v_fits END
    WHERE q.id = ANY (v_held);
    IF v_session AND v_counted <> '{}' THEN
        UPDATE public.usage_quota q SET used = q.used + 1 WHERE q.id = ANY (v_counted);
    END IF;
    INSERT INTO public.usage_reservation (
        run_id, tenant_id, quotas, subjects, amount, cost, input_estimate, state, host, fence, lease_until,
        cancel_requested, counted_output, agent, provider, model, outcome, error_code, created_at)
    VALUES (p_run, v_tenant, v_held, v_subjects, p_input + v_fits,
        coalesce(ceil(p_input * v_in + v_fits * v_out)::bigint, 0), p_input, 'held', p_host, 1, now() + p_lease,
        false, 0, p_agent_slug, p_provider, p_model, '', '', now());
    RETURN jsonb_build_object('granted', v_fits, 'limit', v_tight_told || jsonb_build_object(
        'reserved', (v_tight_told ->> 'reserved')::bigint + p_input + v_fits));
END
$$;

-- A tenant's conversations of a day: its own limit stands in the place of its plan's.
CREATE OR REPLACE FUNCTION public.usage_begin_session(p_of anyelement) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_today date := (now() AT TIME ZONE 'UTC')::date;
    v_limit bigint;
BEGIN
    SELECT coalesce(l.amount, p.sessions_per_day) INTO v_limit
    FROM public.tenants_tenant t
    JOIN public.tenants_plan p ON p.slug = t.plan_id
    LEFT JOIN public.tenants_limit l ON l.tenant_id = t.id AND l.level = 'tenant' AND l.subject_id = t.id
        AND l.metric = 'sessions' AND l.period = 'day'
    WHERE t.id = v_tenant;
    IF v_limit < 1 THEN
        RETURN false;
    END IF;
    INSERT INTO public.usage_sessioncount AS c (id, tenant_id, day, begun)
    VALUES (gen_random_uuid(), v_tenant, v_today, 1)
    ON CONFLICT (tenant_id) DO UPDATE
        SET day = greatest(c.day, excluded.day), begun = CASE WHEN c.day < excluded.day THEN 1 ELSE c.begun + 1 END
        WHERE v_limit IS NULL OR c.day < excluded.day OR c.begun < v_limit;
    RETURN FOUND;
END
$$;

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
    p_run uuid, p_fence int, p_input bigint, p_output bigint, p_most bigint, p_calls jsonb, p_terms jsonb,
    p_of anyelement
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

-- End a run's reservation exactly once: true for the caller whose fence still holds, false for everybody else.
-- What was held is given back, and what was used is booked, on the counters of the month and day in which it was held;
-- also on those that were made since, for they began without it. p_usage has the tokens and, per million tokens, the
-- prices of now; a call that used nothing leaves no record. `calls`: of a run that called its model several times, the
-- same for each call, in order, and each is an entry; tokens beside it are their sums. A call may name its own `provider`,
-- `model` and `currency`: of a team, whose members ask others than the one for which the run was held.
CREATE OR REPLACE FUNCTION public.usage_settle(
    p_run uuid, p_fence int, p_outcome text, p_error text, p_usage jsonb, p_of anyelement
) RETURNS boolean LANGUAGE plpgsql AS $$
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

-- As callers of before the parameter ask.
CREATE OR REPLACE FUNCTION public.usage_hold(
    p_run uuid, p_user uuid, p_key uuid, p_agent uuid, p_input bigint, p_output bigint,
    p_host text, p_lease interval, p_agent_slug text, p_provider text, p_model text, p_terms jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN public.usage_hold(p_run, p_user, p_key, p_agent, p_input, p_output, p_host, p_lease, p_agent_slug, p_provider,
        p_model, p_terms, NULL::text);
END
$$;

CREATE OR REPLACE FUNCTION public.usage_step(
    p_run uuid, p_fence int, p_input bigint, p_output bigint, p_most bigint, p_calls jsonb, p_terms jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN public.usage_step(p_run, p_fence, p_input, p_output, p_most, p_calls, p_terms, NULL::text);
END
$$;

CREATE OR REPLACE FUNCTION public.usage_settle(p_run uuid, p_fence int, p_outcome text, p_error text, p_usage jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN public.usage_settle(p_run, p_fence, p_outcome, p_error, p_usage, NULL::text);
END
$$;

CREATE OR REPLACE FUNCTION public.usage_begin_session() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN public.usage_begin_session(NULL::text);
END
$$;
