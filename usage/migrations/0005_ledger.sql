-- What the seal of an entry covers. The list is fixed: a column that comes later is added by a new version of this
-- function that leaves entries of before as they were.
CREATE FUNCTION public.usage_content(entry public.usage_usagerecord) RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT convert_to(jsonb_build_array(
        entry.id, entry.tenant_id, entry.run_id, entry.call, entry.kind, entry.user_id, entry.key_id, entry.agent_id,
        entry.agent, entry.provider, entry.model, entry.input_tokens, entry.output_tokens, entry.cached_tokens,
        entry.reasoning_tokens, entry.tool_calls, entry.counted, entry.input_price::text, entry.output_price::text,
        entry.cached_price::text, entry.reasoning_price::text, entry.tool_price::text, entry.currency,
        entry.cost::text, entry.reverses, entry.reason, entry.made_by, (extract(epoch FROM entry.at) * 1000000)::bigint
    )::text, 'UTF8')
$$;

-- Give the entries of a tenant that have none their place in its chain, oldest first, at most p_most; returns how many
-- got one. Called as the platform, by a job, so that no request waits for the chain. One at a time for each tenant
-- (the lock); two that got past it all the same would fail on the unique number. An entry that was committed after
-- later ones were sealed is sealed next: the order is that of sealing, not of ids.
-- p_all: look at all entries. Otherwise at those since two minutes before the newest seal: what was not there when
-- that was made has been committed since, and no transaction that writes entries lives longer than seconds.
CREATE FUNCTION public.usage_seal_some(p_tenant uuid, p_most int, p_all boolean) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    v_newest record;
    v_entry public.usage_usagerecord;
    v_seq bigint;
    v_digest bytea;
    v_count int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('usage:' || p_tenant::text, 0));
    SELECT s.seq, s.digest, s.at INTO v_newest FROM public.usage_seal s
        WHERE s.tenant_id = p_tenant ORDER BY s.seq DESC LIMIT 1;
    v_seq := coalesce(v_newest.seq, 0);
    v_digest := coalesce(v_newest.digest, ''::bytea);
    FOR v_entry IN
        SELECT r.* FROM public.usage_usagerecord r
        WHERE r.tenant_id = p_tenant
          AND (p_all OR r.at > coalesce(v_newest.at, '-infinity') - interval '2 minutes')
          AND NOT EXISTS (SELECT 1 FROM public.usage_seal s WHERE s.tenant_id = p_tenant AND s.record_id = r.id)
        ORDER BY r.at, r.id LIMIT p_most
    LOOP
        v_seq := v_seq + 1;
        v_count := v_count + 1;
        v_digest := sha256(v_digest || int8send(v_seq) || public.usage_content(v_entry));
        INSERT INTO public.usage_seal (id, tenant_id, record_id, seq, digest, at)
        VALUES (gen_random_uuid(), p_tenant, v_entry.id, v_seq, v_digest, statement_timestamp());
    END LOOP;
    RETURN v_count;
END
$$;

-- Whether a tenant has entries that wait for their seal; see usage_seal_some.
CREATE FUNCTION public.usage_waits(p_tenant uuid, p_all boolean) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (
        SELECT 1 FROM public.usage_usagerecord r
        WHERE r.tenant_id = p_tenant
          AND (p_all OR r.at > coalesce((SELECT s.at FROM public.usage_seal s WHERE s.tenant_id = p_tenant
                                         ORDER BY s.seq DESC LIMIT 1), '-infinity') - interval '2 minutes')
          AND NOT EXISTS (SELECT 1 FROM public.usage_seal s WHERE s.tenant_id = p_tenant AND s.record_id = r.id))
$$;

-- Usage is never negative; what takes something back has a reason and somebody who made it. That is the platform's to
-- write, whatever else a tenant's role may insert.
ALTER TABLE public.usage_usagerecord ADD CONSTRAINT usage_signs CHECK (
    CASE WHEN kind IN ('reversal', 'credit', 'adjustment')
        THEN reason <> '' AND made_by <> '' AND (kind = 'reversal') = (reverses IS NOT NULL)
        ELSE least(input_tokens, output_tokens, cached_tokens, reasoning_tokens, tool_calls) >= 0
            AND coalesce(cost, 0) >= 0 AND reverses IS NULL
    END);
CREATE POLICY tenants_correct_nothing ON public.usage_usagerecord AS RESTRICTIVE FOR INSERT TO paas_tenant
    WITH CHECK (kind NOT IN ('reversal', 'credit', 'adjustment'));

-- An invoice that was issued stays as it is; it may only become void. A draft may change and go.
CREATE FUNCTION public.usage_invoice_frozen() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF OLD.status = 'draft' THEN
        RETURN coalesce(NEW, OLD);
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status = 'issued' AND NEW.status = 'void' AND OLD.kind = 'invoice'
       AND to_jsonb(NEW) - 'status' = to_jsonb(OLD) - 'status' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an issued invoice does not change' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON public.usage_invoice
    FOR EACH ROW EXECUTE FUNCTION public.usage_invoice_frozen();

INSERT INTO public.usage_invoicecounter (id, name, last) VALUES (gen_random_uuid(), 'platform', 0);

-- End a run's reservation exactly once: true for the caller whose fence still holds, false for everybody else.
-- The month that was charged is the one the tokens were held in. p_usage has the tokens and, per million
-- tokens, the prices of now; a call that used nothing leaves no record.
CREATE OR REPLACE FUNCTION public.usage_settle(p_run uuid, p_fence int, p_outcome text, p_error text, p_usage jsonb)
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
            input_price, output_price, cached_price, reasoning_price, tool_calls, tool_price, agent, currency, cost, at)
        VALUES ((p_usage ->> 'record_id')::uuid, v_tenant, p_run, 1, 'chat', (p_usage ->> 'user_id')::uuid,
            (p_usage ->> 'key_id')::uuid, (p_usage ->> 'agent_id')::uuid, v_held.provider, v_held.model,
            v_input, v_output, coalesce((p_usage ->> 'cached_tokens')::bigint, 0),
            coalesce((p_usage ->> 'reasoning_tokens')::bigint, 0), (p_usage ->> 'counted')::boolean,
            (p_usage ->> 'input_price')::numeric, (p_usage ->> 'output_price')::numeric,
            (p_usage ->> 'cached_price')::numeric, (p_usage ->> 'reasoning_price')::numeric,
            coalesce((p_usage ->> 'tool_calls')::int, 0), (p_usage ->> 'tool_price')::numeric, v_held.agent,
            coalesce(p_usage ->> 'currency', 'USD'), (p_usage ->> 'cost')::numeric, now());
    END IF;
    RETURN true;
END
$$;

