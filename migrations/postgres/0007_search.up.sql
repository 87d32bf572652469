-- Folded copies of title and description, which searches compare. They are NULL in rows that
-- another program wrote, until todoctl has folded them.
ALTER TABLE tasks
    ADD COLUMN search_title text COLLATE "C",
    ADD COLUMN search_description text COLLATE "C";

-- Only todoctl can fold. A copy of an earlier text is worse than none. The condition is not the
-- trigger's own: nobody could alter the type of a column that it names.
CREATE FUNCTION todoctl_forget_folded() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.title IS DISTINCT FROM OLD.title OR NEW.description IS DISTINCT FROM OLD.description)
        AND NEW.search_title IS NOT DISTINCT FROM OLD.search_title
        AND NEW.search_description IS NOT DISTINCT FROM OLD.search_description
    THEN
        NEW.search_title := NULL;
        NEW.search_description := NULL;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER todoctl_folded_outdated BEFORE UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION todoctl_forget_folded();

-- The rows to fold. Nobody may write while an index is built here, so `serve` builds it for a
-- large table, concurrently, as it does with the index for searches.
DO $$
BEGIN
    IF pg_catalog.pg_table_size('tasks') < 64 * 1024 * 1024 THEN
        CREATE INDEX tasks_unfolded_idx ON tasks (user_id, id) WHERE search_title IS NULL;
    END IF;
END $$;
