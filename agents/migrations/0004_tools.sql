-- Before a tool is called: whether the tenant's settings allow it, and if so, count it and write it down.
-- p_call: id, run, agent, user, key, name, effect. Returns 'ok', 'tool_off' or 'tool_limit', with nothing written.
-- Calls of one tool on one day pass one after the other, so a limit holds exactly.
CREATE FUNCTION tool_begin(p_call jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_name text := p_call ->> 'name';
    v_day date := (now() AT TIME ZONE 'UTC')::date;
    v_setting agents_toolsetting;
    v_before bigint;
BEGIN
    SELECT * INTO v_setting FROM agents_toolsetting s WHERE s.name = v_name;
    IF NOT coalesce(v_setting.enabled, true) THEN
        RETURN 'tool_off';
    END IF;
    INSERT INTO agents_tooluse AS u (id, name, day, calls, failed, duration_ms)
    VALUES (gen_random_uuid(), v_name, v_day, 0, 0, 0) ON CONFLICT (name, day) DO NOTHING;
    SELECT u.calls INTO v_before FROM agents_tooluse u WHERE u.name = v_name AND u.day = v_day FOR UPDATE;
    IF v_before >= v_setting.calls_per_day THEN
        RETURN 'tool_limit';
    END IF;
    IF v_setting.calls_per_month IS NOT NULL THEN
        SELECT coalesce(sum(u.calls), 0) INTO v_before FROM agents_tooluse u
        WHERE u.name = v_name AND u.day >= date_trunc('month', v_day)::date;
        IF v_before >= v_setting.calls_per_month THEN
            RETURN 'tool_limit';
        END IF;
    END IF;
    UPDATE agents_tooluse u SET calls = u.calls + 1 WHERE u.name = v_name AND u.day = v_day;
    INSERT INTO agents_toolcall (id, at, run_id, agent, user_id, key_id, name, effect)
    VALUES ((p_call ->> 'id')::uuid, now(), (p_call ->> 'run')::uuid, p_call ->> 'agent', (p_call ->> 'user')::uuid,
        (p_call ->> 'key')::uuid, v_name, p_call ->> 'effect');
    RETURN 'ok';
END
$$;

-- What came of a call.
CREATE FUNCTION tool_end(p_id uuid, p_ok boolean, p_ms int) RETURNS boolean LANGUAGE sql AS $$
    WITH ended AS (
        UPDATE agents_toolcall SET ok = p_ok, duration_ms = p_ms WHERE id = p_id AND ok IS NULL RETURNING name, at
    )
    UPDATE agents_tooluse u SET failed = u.failed + (NOT p_ok)::int, duration_ms = u.duration_ms + p_ms
    FROM ended WHERE u.name = ended.name AND u.day = (ended.at AT TIME ZONE 'UTC')::date RETURNING true
$$;
