DROP TABLE todoctl_outbox;

DROP TRIGGER todoctl_unread_truncated ON notifications;

DROP TRIGGER todoctl_unread_removed ON notifications;

DROP TRIGGER todoctl_unread_changed ON notifications;

DROP TRIGGER todoctl_unread_added ON notifications;

DROP FUNCTION todoctl_count_unread();

DROP TABLE todoctl_unread;

DROP INDEX notifications_unread_idx;

DROP INDEX notifications_dedup_idx;

ALTER TABLE notifications DROP COLUMN dedup_key;
