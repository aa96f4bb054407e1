-- A run waits for a person: it keeps what its calls have used so far (p_calls, as usage_settle takes them in `calls`)
-- and gives back the rest of what it held; no process holds it any more (host `approval`), until p_until.
-- Returns the new fence; 0 when somebody wants the run stopped (then nothing has changed), NULL when p_fence does not
-- hold. Locks as usage_settle does: the reservation, then the tenant's own counter.
CREATE FUNCTION public.usage_park(p_run uuid, p_fence int, p_until timestamptz, p_calls jsonb) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_held public.usage_reservation;
    v_used bigint;  -- tokens of the calls so far
    v_spent bigint;  -- their cost, in billionths
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
        coalesce(ceil(sum((c ->> 'cost')::numeric) * 1000000000), 0)
    INTO v_used, v_spent FROM jsonb_array_elements(p_calls) c;
    UPDATE public.usage_quota q SET reserved = q.reserved - CASE q.metric
        WHEN 'cost' THEN v_held.cost - v_spent ELSE v_held.amount - v_used END
    WHERE q.id = ANY (v_held.quotas);
    UPDATE public.usage_reservation SET amount = v_used, cost = v_spent, input_estimate = 0, calls = p_calls,
        host = 'approval', fence = fence + 1, lease_until = p_until
    WHERE run_id = p_run;
    RETURN v_held.fence + 1;
END
$$;
