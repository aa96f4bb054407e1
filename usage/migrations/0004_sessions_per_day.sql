-- Count one more conversation of today (UTC) for the tenant at hand, if its plan allows one more; whether it did. The
-- plan is read each time, so another one counts at once. The row that is changed makes two at the same moment wait for
-- each other. A transaction that began before midnight counts on the day that has dawned meanwhile.
CREATE FUNCTION public.usage_begin_session() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := public.bound_tenant();
    v_today date := (now() AT TIME ZONE 'UTC')::date;
    v_limit int;
BEGIN
    SELECT p.sessions_per_day INTO v_limit
    FROM public.tenants_tenant t JOIN public.tenants_plan p ON p.slug = t.plan_id WHERE t.id = v_tenant;
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

-- Take that one back, in the same transaction: the turn was refused for another reason.
CREATE FUNCTION public.usage_unbegin_session() RETURNS void LANGUAGE sql AS $$
    UPDATE public.usage_sessioncount SET begun = begun - 1 WHERE tenant_id = public.bound_tenant() AND begun > 0
$$;

-- A plan that changes, or a tenant that changes plans, has its new allowance of tokens in the month that runs.
CREATE FUNCTION public.usage_follow_plan() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
BEGIN
    IF TG_TABLE_NAME = 'tenants_plan' THEN
        UPDATE public.usage_quota q SET allowance = NEW.tokens_per_month
        FROM public.tenants_tenant t WHERE t.plan_id = NEW.slug AND q.tenant_id = t.id AND q.subject_id = t.id
            AND q.level = 'tenant' AND q.metric = 'tokens' AND q.month = v_month;
    ELSE
        UPDATE public.usage_quota q SET allowance = p.tokens_per_month
        FROM public.tenants_plan p WHERE p.slug = NEW.plan_id AND q.tenant_id = NEW.id AND q.subject_id = NEW.id
            AND q.level = 'tenant' AND q.metric = 'tokens' AND q.month = v_month;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_plan AFTER UPDATE OF plan_id ON public.tenants_tenant
    FOR EACH ROW WHEN (OLD.plan_id IS DISTINCT FROM NEW.plan_id) EXECUTE FUNCTION public.usage_follow_plan();
CREATE TRIGGER follow_plan AFTER UPDATE OF tokens_per_month ON public.tenants_plan
    FOR EACH ROW WHEN (OLD.tokens_per_month IS DISTINCT FROM NEW.tokens_per_month)
    EXECUTE FUNCTION public.usage_follow_plan();
