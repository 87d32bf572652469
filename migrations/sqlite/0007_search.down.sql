DROP TRIGGER todoctl_search_removed;

DROP TRIGGER todoctl_search_changed;

DROP TRIGGER todoctl_search_added;

DROP TABLE todoctl_search;

DROP INDEX tasks_unfolded_idx;

DROP TRIGGER todoctl_folded_outdated;

-- Where an earlier version looks for them.
UPDATE tasks SET title_folded = search_title, description_folded = search_description
WHERE search_title IS NOT NULL;

ALTER TABLE tasks DROP COLUMN search_title;

ALTER TABLE tasks DROP COLUMN search_description;
