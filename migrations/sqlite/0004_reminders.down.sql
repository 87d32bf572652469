DROP TABLE todoctl_outbox;

DROP TRIGGER todoctl_unread_removed;

DROP TRIGGER todoctl_unread_changed;

DROP TRIGGER todoctl_unread_added;

DROP TABLE todoctl_unread;

DROP INDEX notifications_unread_idx;

DROP INDEX notifications_dedup_idx;

ALTER TABLE notifications DROP COLUMN dedup_key;
