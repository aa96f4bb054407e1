-- As start_turn, for a person whom the agent may remember: what it noted (memories_for) is looked up, counted into the
-- turn's input and taken off the room for its history, in the same statement. memories NULL: switched off.
-- p_turn has `memory_budget` besides: the most tokens that may go to it; at most half of the history's room does.
CREATE FUNCTION start_turn_with_memory(
    p_turn jsonb, OUT code text, OUT granted bigint, OUT input_tokens bigint, OUT message uuid, OUT history jsonb,
    OUT quota jsonb, OUT memories jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    v_turn jsonb := p_turn;
    v_room bigint := (p_turn ->> 'history_budget')::bigint;
    v_tokens bigint;
BEGIN
    SELECT m.memories, m.tokens INTO memories, v_tokens FROM memories_for(
        (p_turn ->> 'user')::uuid, (p_turn ->> 'agent')::uuid, least((p_turn ->> 'memory_budget')::bigint, v_room / 2)) m;
    v_turn := v_turn || jsonb_build_object(
        'input_tokens', (p_turn ->> 'input_tokens')::bigint + v_tokens, 'history_budget', v_room - v_tokens);
    IF jsonb_typeof(p_turn -> 'task') = 'object' THEN
        v_turn := v_turn || jsonb_build_object('task', (p_turn -> 'task') || jsonb_build_object('memories', memories));
    END IF;
    SELECT s.code, s.granted, s.input_tokens, s.message, s.history, s.quota
    INTO code, granted, input_tokens, message, history, quota FROM start_turn(v_turn) s;
END
$$;
