-- What a notification is about, so that each is made once.
ALTER TABLE notifications ADD COLUMN dedup_key TEXT;

CREATE UNIQUE INDEX notifications_dedup_idx ON notifications (task_id, type, dedup_key);

-- What "mark all as read" looks for.
CREATE INDEX notifications_unread_idx ON notifications (user_id) WHERE NOT is_read;

-- How many unread notifications each user has: counting them takes as long as there are
-- many. Triggers keep it.
CREATE TABLE todoctl_unread (
    user_id TEXT PRIMARY KEY,
    unread INTEGER NOT NULL
);

INSERT INTO todoctl_unread (user_id, unread)
SELECT user_id, count(*) FROM notifications WHERE NOT is_read GROUP BY user_id;

CREATE TRIGGER todoctl_unread_added AFTER INSERT ON notifications WHEN NOT NEW.is_read
BEGIN
    INSERT INTO todoctl_unread (user_id, unread) VALUES (NEW.user_id, 1)
    ON CONFLICT (user_id) DO UPDATE SET unread = unread + 1;
END;

CREATE TRIGGER todoctl_unread_changed AFTER UPDATE OF is_read, user_id ON notifications
WHEN OLD.is_read <> NEW.is_read OR OLD.user_id <> NEW.user_id
BEGIN
    UPDATE todoctl_unread SET unread = unread - 1 WHERE user_id = OLD.user_id AND NOT OLD.is_read;
    INSERT INTO todoctl_unread (user_id, unread) SELECT NEW.user_id, 1 WHERE NOT NEW.is_read
    ON CONFLICT (user_id) DO UPDATE SET unread = unread + 1;
END;

CREATE TRIGGER todoctl_unread_removed AFTER DELETE ON notifications WHEN NOT OLD.is_read
BEGIN
    UPDATE todoctl_unread SET unread = unread - 1 WHERE user_id = OLD.user_id;
END;

-- Mails that wait to be sent, and what became of them. Whoever sends one moves due_at
-- ahead first, for as long as that may take; `attempts` tells one try from the next.
CREATE TABLE todoctl_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    notification_id INTEGER NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'skipped', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    last_error TEXT
);

CREATE INDEX todoctl_outbox_due_idx ON todoctl_outbox (due_at, id) WHERE state = 'pending';

-- For the cascade.
CREATE INDEX todoctl_outbox_notification_idx ON todoctl_outbox (notification_id);
