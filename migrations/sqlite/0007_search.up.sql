-- Folded copies of title and description, which searches compare. They are NULL in rows that
-- another program wrote, until todoctl has folded them. title_folded and description_folded
-- stay for earlier versions.
ALTER TABLE tasks ADD COLUMN search_title TEXT;

ALTER TABLE tasks ADD COLUMN search_description TEXT;

-- Only todoctl can fold. A copy of an earlier text is worse than none.
CREATE TRIGGER todoctl_folded_outdated AFTER UPDATE OF title, description ON tasks
WHEN (NEW.title IS NOT OLD.title OR NEW.description IS NOT OLD.description)
    AND NEW.search_title IS OLD.search_title AND NEW.search_description IS OLD.search_description
BEGIN
    UPDATE tasks SET search_title = NULL, search_description = NULL WHERE id = NEW.id;
END;

-- The rows to fold.
CREATE INDEX tasks_unfolded_idx ON tasks (user_id, id) WHERE search_title IS NULL;

-- The index of the copies; triggers keep it. It has no copy of its own.
CREATE VIRTUAL TABLE todoctl_search USING fts5 (
    search_title, search_description,
    content = 'tasks', content_rowid = 'id', tokenize = 'trigram case_sensitive 1'
);

CREATE TRIGGER todoctl_search_added AFTER INSERT ON tasks WHEN NEW.search_title IS NOT NULL
BEGIN
    INSERT INTO todoctl_search (rowid, search_title, search_description)
    VALUES (NEW.id, NEW.search_title, NEW.search_description);
END;

CREATE TRIGGER todoctl_search_changed AFTER UPDATE OF search_title, search_description ON tasks
WHEN NEW.search_title IS NOT OLD.search_title OR NEW.search_description IS NOT OLD.search_description
BEGIN
    INSERT INTO todoctl_search (todoctl_search, rowid, search_title, search_description)
    SELECT 'delete', OLD.id, OLD.search_title, OLD.search_description WHERE OLD.search_title IS NOT NULL;
    INSERT INTO todoctl_search (rowid, search_title, search_description)
    SELECT NEW.id, NEW.search_title, NEW.search_description WHERE NEW.search_title IS NOT NULL;
END;

CREATE TRIGGER todoctl_search_removed AFTER DELETE ON tasks WHEN OLD.search_title IS NOT NULL
BEGIN
    INSERT INTO todoctl_search (todoctl_search, rowid, search_title, search_description)
    VALUES ('delete', OLD.id, OLD.search_title, OLD.search_description);
END;
