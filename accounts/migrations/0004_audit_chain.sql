-- The audit log as a chain. Each row carries its number in its tenant's log (the platform's own log is one too) and
-- the SHA-256 over the digest before it and its own content. Whoever changes or removes a row later, with whatever
-- rights, breaks the chain from there on (`manage.py verify_audit`).
CREATE FUNCTION public.audit_content(event public.accounts_auditevent) RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT convert_to(jsonb_build_array(
        event.id, event.tenant_id, event.actor, event.action, event.target, event.data,
        (extract(epoch FROM event.at) * 1000000)::bigint, host(event.address), event.seq
    )::text, 'UTF8')
$$;

CREATE FUNCTION public.audit_seal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    newest record;
BEGIN
    -- One writer at a time in each log, until it commits: the chain has no forks and no holes.
    PERFORM pg_advisory_xact_lock(hashtextextended('audit:' || coalesce(NEW.tenant_id::text, 'platform'), 0));
    SELECT seq, digest INTO newest FROM public.accounts_auditevent
        WHERE tenant_id IS NOT DISTINCT FROM NEW.tenant_id AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1;
    NEW.seq := coalesce(newest.seq, 0) + 1;
    NEW.digest := sha256(coalesce(newest.digest, ''::bytea) || public.audit_content(NEW));
    RETURN NEW;
END
$$;

-- Rows from before the chain get their place in it, oldest first.
ALTER TABLE public.accounts_auditevent DISABLE TRIGGER append_only;
DO $$
DECLARE
    event public.accounts_auditevent;
    newest record;
BEGIN
    FOR event IN SELECT * FROM public.accounts_auditevent WHERE seq IS NULL ORDER BY id LOOP
        SELECT seq, digest INTO newest FROM public.accounts_auditevent
            WHERE tenant_id IS NOT DISTINCT FROM event.tenant_id AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1;
        event.seq := coalesce(newest.seq, 0) + 1;
        UPDATE public.accounts_auditevent SET seq = event.seq,
            digest = sha256(coalesce(newest.digest, ''::bytea) || public.audit_content(event)) WHERE id = event.id;
    END LOOP;
END
$$;
ALTER TABLE public.accounts_auditevent ENABLE TRIGGER append_only;

CREATE TRIGGER audit_seal BEFORE INSERT ON public.accounts_auditevent
    FOR EACH ROW EXECUTE FUNCTION public.audit_seal();
