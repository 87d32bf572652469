DROP TRIGGER todoctl_folded_outdated ON tasks;

DROP FUNCTION todoctl_forget_folded();

-- The indexes of these columns go with them.
ALTER TABLE tasks
    DROP COLUMN search_title,
    DROP COLUMN search_description;
