-- A response that is not to be stored leaves nothing but its run's row behind: who asked, when, and what it used.
-- At the end of the transaction that ends the run, because the last stretch of the log is written after the status.
CREATE FUNCTION forget_response() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM chat_response r WHERE r.run_id = NEW.id AND NOT r.stored;
    IF FOUND THEN
        DELETE FROM chat_runsegment WHERE run_id = NEW.id;
        DELETE FROM chat_runtask WHERE run_id = NEW.id;
        DELETE FROM chat_response WHERE run_id = NEW.id;
        UPDATE chat_run SET input = NULL WHERE id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER forget_response AFTER UPDATE OF status ON chat_run
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.door = 'responses' AND NEW.finished_at IS NOT NULL)
EXECUTE FUNCTION forget_response();
