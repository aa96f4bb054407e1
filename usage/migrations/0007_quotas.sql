-- Every limit on tokens, cost and new conversations that is in force in a tenant, in the units of its counter: tokens
-- and conversations one by one, a cost in billionths of its currency. A tenant's own limit stands in the place of its
-- plan's; a key's tokens of a month are the key's own.
CREATE FUNCTION public.usage_budgets(p_tenant uuid)
RETURNS TABLE (level text, subject_id uuid, metric text, period text, currency text, amount bigint, source text)
LANGUAGE sql STABLE AS $$
    SELECT l.level, l.subject_id, l.metric, l.period, l.currency,
        (CASE l.metric WHEN 'cost' THEN l.amount * 1000000000 ELSE l.amount END)::bigint, 'limit'
    FROM public.tenants_limit l
    WHERE l.tenant_id = p_tenant AND (l.metric IN ('tokens', 'cost') OR (l.metric = 'sessions' AND l.level <> 'tenant'))
    UNION ALL
    SELECT 'tenant', t.id, d.metric, d.period, d.currency, d.amount, 'plan'
    FROM public.tenants_tenant t
    JOIN public.tenants_plan p ON p.slug = t.plan_id
    CROSS JOIN LATERAL (VALUES
        ('tokens', 'month', '', p.tokens_per_month),
        ('tokens', 'day', '', p.tokens_per_day),
        ('cost', 'month', p.cost_currency::text, (p.cost_per_month * 1000000000)::bigint),
        ('cost', 'day', p.cost_currency::text, (p.cost_per_day * 1000000000)::bigint)
    ) AS d (metric, period, currency, amount)
    WHERE t.id = p_tenant AND d.amount IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM public.tenants_limit l
        WHERE l.tenant_id = p_tenant AND l.level = 'tenant' AND l.subject_id = p_tenant
            AND l.metric = d.metric AND l.period = d.period AND l.currency = d.currency)
    UNION ALL
    SELECT 'key', k.id, 'tokens', 'month', '', k.tokens_per_month, 'key'
    FROM public.accounts_apikey k WHERE k.tenant_id = p_tenant AND k.tokens_per_month IS NOT NULL
$$;

-- A key and the keys above it (two at most, key_limits.MAX_DEPTH): what it uses counts for all of them.
CREATE FUNCTION public.usage_keys_above(p_key uuid) RETURNS uuid[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(c.id), ARRAY[p_key])
    FROM public.accounts_apikey k
    LEFT JOIN public.accounts_apikey p ON p.id = k.parent_id
    JOIN public.accounts_apikey c ON c.id IN (k.id, k.parent_id, p.parent_id)
    WHERE k.id = p_key AND k.tenant_id = public.bound_tenant() AND c.tenant_id = public.bound_tenant()
$$;

-- What a subject has used since a day, from the ledger: with what a counter begins that is made in the middle of its
-- period. An entry counts for the day on which its run was begun, as everywhere; corrections are no usage.
CREATE FUNCTION public.usage_recorded(
    p_tenant uuid, p_level text, p_subject uuid, p_metric text, p_currency text, p_from date
) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(CASE p_metric
        WHEN 'tokens' THEN r.input_tokens + r.output_tokens
        WHEN 'cost' THEN CASE WHEN r.currency = p_currency THEN ceil(coalesce(r.cost, 0) * 1000000000) ELSE 0 END
        ELSE 0 END), 0)::bigint
    FROM public.usage_usagerecord r LEFT JOIN public.usage_reservation h ON h.run_id = r.run_id
    WHERE r.tenant_id = p_tenant AND r.kind NOT IN ('reversal', 'credit', 'adjustment')
        AND r.at >= p_from::timestamp AT TIME ZONE 'UTC'
        AND coalesce(h.created_at, r.at) >= p_from::timestamp AT TIME ZONE 'UTC'
        AND CASE p_level
            WHEN 'tenant' THEN true
            WHEN 'user' THEN r.user_id = p_subject
            WHEN 'agent' THEN r.agent_id = p_subject
            ELSE r.key_id IN (
                SELECT b.id FROM public.accounts_apikey b
                LEFT JOIN public.accounts_apikey p ON p.id = b.parent_id
                WHERE b.tenant_id = p_tenant AND p_subject IN (b.id, b.parent_id, p.parent_id))
            END
$$;

-- A counter as people are told of it: which limit it is, what of it is used and held, since when it is counted.
CREATE FUNCTION public.usage_told(p_quota uuid, p_allowance bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('level', q.level, 'subject_id', q.subject_id, 'metric', q.metric, 'period', q.period,
        'currency', q.currency, 'starts_on', q.month, 'limit', p_allowance, 'used', q.used, 'reserved', q.reserved)
    FROM public.usage_quota q WHERE q.id = p_quota
$$;

-- Hold a run's input and output on every counter that limits it, or on none, and take its lease. p_output is cut to what
-- the tightest counter leaves. p_terms: `input_price` and `output_price` (of a million tokens, the dearest that the run
-- can be charged for either; one missing: it has no price), `currency`, `session` (a conversation begins).
-- Returns {"granted": output tokens, "limit": the tightest limit of tokens after that}, or, with nothing held,
-- {"code": quota_exceeded, session_limit_reached or model_unpriced, "limit": the one that refused}.
--
-- Whoever touches a tenant's counters of a month locks the tenant's own counter of tokens first. So counters are made,
-- held and settled one run after the other, and nobody waits in a ring. The database's clock alone says which month and
-- day it is: that of the moment at which the transaction began.
CREATE FUNCTION public.usage_hold(
    p_run uuid, p_user uuid, p_key uuid, p_agent uuid, p_input bigint, p_output bigint,
    p_host text, p_lease interval, p_agent_slug text, p_provider text, p_model text, p_terms jsonb
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
        v_subjects := v_subjects || public.usage_keys_above(p_key);
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
                    - u.used - u.reserved AS rest
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
    RETURN jsonb_build_object('granted', v_fits, 'limit', public.usage_told(v_tight, v_tight_allows));
END
$$;

-- As the tenants' functions of before call it: only how much is granted, and with no price known.
CREATE OR REPLACE FUNCTION public.usage_reserve(
    p_run uuid, p_user uuid, p_key uuid, p_agent uuid, p_input bigint, p_output bigint,
    p_host text, p_lease interval, p_agent_slug text, p_provider text, p_model text
) RETURNS bigint LANGUAGE sql AS $$
    SELECT (public.usage_hold(p_run, p_user, p_key, p_agent, p_input, p_output, p_host, p_lease, p_agent_slug,
        p_provider, p_model, '{}') ->> 'granted')::bigint
$$;

-- End a run's reservation exactly once: true for the caller whose fence still holds, false for everybody else.
-- What was held is given back, and what was used is booked, on the counters of the month and day in which it was held;
-- also on those that were made since, for they began without it. p_usage has the tokens and, per million tokens, the
-- prices of now; a call that used nothing leaves no record.
CREATE OR REPLACE FUNCTION public.usage_settle(p_run uuid, p_fence int, p_outcome text, p_error text, p_usage jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_held public.usage_reservation;
    v_input bigint := coalesce((p_usage ->> 'input_tokens')::bigint, 0);
    v_output bigint := coalesce((p_usage ->> 'output_tokens')::bigint, 0);
    v_cost bigint := ceil(coalesce((p_usage ->> 'cost')::numeric, 0) * 1000000000);
    v_currency text := coalesce(p_usage ->> 'currency', 'USD');
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
    UPDATE public.usage_quota q SET
        reserved = q.reserved - CASE WHEN NOT q.id = ANY (v_held.quotas) THEN 0
            WHEN q.metric = 'cost' THEN v_held.cost ELSE v_held.amount END,
        used = q.used + CASE WHEN q.metric <> 'cost' THEN v_input + v_output WHEN q.currency = v_currency THEN v_cost ELSE 0 END
    WHERE q.id = ANY (v_held.quotas) OR (
        q.tenant_id = v_tenant AND q.subject_id = ANY (v_held.subjects) AND q.metric IN ('tokens', 'cost')
        AND q.month = date_trunc(q.period, v_held.created_at AT TIME ZONE 'UTC')::date AND NOT EXISTS (
            SELECT 1 FROM public.usage_quota h
            WHERE h.id = ANY (v_held.quotas) AND h.subject_id = q.subject_id AND h.level = q.level
                AND h.metric = q.metric AND h.period = q.period AND h.currency = q.currency));
    IF v_input + v_output > 0 THEN
        INSERT INTO public.usage_usagerecord (
            id, tenant_id, run_id, call, kind, user_id, key_id, agent_id, provider, model,
            input_tokens, output_tokens, cached_tokens, reasoning_tokens, counted,
            input_price, output_price, cached_price, reasoning_price, tool_calls, tool_price, agent, currency, cost, at)
        VALUES ((p_usage ->> 'record_id')::uuid, v_tenant, p_run, 1, coalesce(p_usage ->> 'kind', 'chat'),
            (p_usage ->> 'user_id')::uuid, (p_usage ->> 'key_id')::uuid, (p_usage ->> 'agent_id')::uuid,
            v_held.provider, v_held.model,
            v_input, v_output, coalesce((p_usage ->> 'cached_tokens')::bigint, 0),
            coalesce((p_usage ->> 'reasoning_tokens')::bigint, 0), (p_usage ->> 'counted')::boolean,
            (p_usage ->> 'input_price')::numeric, (p_usage ->> 'output_price')::numeric,
            (p_usage ->> 'cached_price')::numeric, (p_usage ->> 'reasoning_price')::numeric,
            coalesce((p_usage ->> 'tool_calls')::int, 0), (p_usage ->> 'tool_price')::numeric, v_held.agent,
            v_currency, (p_usage ->> 'cost')::numeric, now());
    END IF;
    RETURN true;
END
$$;

-- A tenant's conversations of a day: its own limit stands in the place of its plan's.
CREATE OR REPLACE FUNCTION public.usage_begin_session() RETURNS boolean LANGUAGE plpgsql AS $$
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

-- As before, for counters of months only.
CREATE OR REPLACE FUNCTION public.usage_follow_plan() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
BEGIN
    IF TG_TABLE_NAME = 'tenants_plan' THEN
        UPDATE public.usage_quota q SET allowance = NEW.tokens_per_month
        FROM public.tenants_tenant t WHERE t.plan_id = NEW.slug AND q.tenant_id = t.id AND q.subject_id = t.id
            AND q.level = 'tenant' AND q.metric = 'tokens' AND q.period = 'month' AND q.month = v_month;
    ELSE
        UPDATE public.usage_quota q SET allowance = p.tokens_per_month
        FROM public.tenants_plan p WHERE p.slug = NEW.plan_id AND q.tenant_id = NEW.id AND q.subject_id = NEW.id
            AND q.level = 'tenant' AND q.metric = 'tokens' AND q.period = 'month' AND q.month = v_month;
    END IF;
    RETURN NULL;
END
$$;

-- Where every limit of usage_budgets stands in the month and day that run, and a tenant's conversations of the day; of
-- some subjects, or (NULL) of all. What has no counter yet has used what the ledger says.
CREATE FUNCTION public.usage_standing(p_tenant uuid, p_subjects uuid[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(to_jsonb(s) ORDER BY s.level, s.subject_id, s.metric, s.period DESC, s.currency), '[]')
    FROM (
        SELECT b.level, b.subject_id, b.metric, b.period, b.currency, d.starts_on, b.source,
            CASE WHEN b.source = 'plan' AND b.metric = 'tokens' AND b.period = 'month'
                THEN coalesce(u.allowance, b.amount) ELSE b.amount END AS "limit",
            coalesce(u.used, public.usage_recorded(p_tenant, b.level, b.subject_id, b.metric, b.currency, d.starts_on)) AS used,
            coalesce(u.reserved, 0) AS reserved, u.refused_at
        FROM public.usage_budgets(p_tenant) b
        CROSS JOIN LATERAL (SELECT date_trunc(b.period, now() AT TIME ZONE 'UTC')::date AS starts_on) d
        LEFT JOIN public.usage_quota u ON u.tenant_id = p_tenant AND u.subject_id = b.subject_id AND u.level = b.level
            AND u.metric = b.metric AND u.period = b.period AND u.currency = b.currency AND u.month = d.starts_on
        WHERE p_subjects IS NULL OR b.subject_id = ANY (p_subjects)
        UNION ALL
        SELECT 'tenant', t.id, 'sessions', 'day', '', d.today, CASE WHEN l.id IS NULL THEN 'plan' ELSE 'limit' END,
            coalesce(l.amount, p.sessions_per_day)::bigint, CASE WHEN c.day = d.today THEN c.begun ELSE 0 END, 0, NULL
        FROM public.tenants_tenant t
        JOIN public.tenants_plan p ON p.slug = t.plan_id
        CROSS JOIN (SELECT (now() AT TIME ZONE 'UTC')::date AS today) d
        LEFT JOIN public.tenants_limit l ON l.tenant_id = t.id AND l.level = 'tenant' AND l.subject_id = t.id
            AND l.metric = 'sessions' AND l.period = 'day'
        LEFT JOIN public.usage_sessioncount c ON c.tenant_id = t.id
        WHERE t.id = p_tenant AND coalesce(l.amount, p.sessions_per_day) IS NOT NULL
            AND (p_subjects IS NULL OR t.id = ANY (p_subjects))
    ) s
$$;

-- Write down which limits of a tenant have come to 80 and to 100 percent and of which nobody was told yet, and return
-- those. Whoever comes second finds nothing: so people are told once, if they are told in the same transaction. At the
-- end is also what has refused a turn because too little was left.
CREATE FUNCTION public.usage_warn(p_tenant uuid) RETURNS jsonb LANGUAGE sql AS $$
    WITH crossed AS (
        SELECT s.*, t.threshold FROM jsonb_to_recordset(public.usage_standing(p_tenant, NULL)) AS s (
            level text, subject_id uuid, metric text, period text, currency text, starts_on date, "limit" bigint,
            used bigint, reserved bigint, refused_at timestamptz)
        CROSS JOIN (VALUES (80), (100)) AS t (threshold)
        WHERE s."limit" > 0 AND (s.used >= s."limit" * t.threshold / 100.0
            OR (s.refused_at IS NOT NULL AND s.used >= s."limit" * 0.8))
    ), told AS (
        INSERT INTO public.usage_limitwarning
            (id, tenant_id, level, subject_id, metric, period, currency, starts_on, threshold, at)
        SELECT gen_random_uuid(), p_tenant, level, subject_id, metric, period, currency, starts_on, threshold, now()
        FROM crossed ORDER BY subject_id, metric, period, currency, threshold
        ON CONFLICT DO NOTHING
        RETURNING level, subject_id, metric, period, currency, starts_on, threshold
    )
    SELECT coalesce(jsonb_agg(to_jsonb(c)), '[]') FROM crossed c
    JOIN told USING (level, subject_id, metric, period, currency, starts_on, threshold)
$$;
