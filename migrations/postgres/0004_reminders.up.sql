-- What a notification is about, so that each is made once. Old rows, and rows of the
-- service before, have none; NULLs are distinct.
ALTER TABLE notifications ADD COLUMN dedup_key text;

CREATE UNIQUE INDEX notifications_dedup_idx ON notifications (task_id, type, dedup_key);

-- What "mark all as read" looks for.
CREATE INDEX notifications_unread_idx ON notifications (user_id) WHERE NOT is_read;

-- How many unread notifications each user has: counting them takes as long as there are
-- many. Triggers keep it, so that it is right whoever writes the notifications.
CREATE TABLE todoctl_unread (
    user_id varchar(255) PRIMARY KEY,
    unread bigint NOT NULL
);

-- Users in one order, so that two statements never wait for each other. It runs as its
-- owner, because other roles may write notifications and need not know of the table.
CREATE FUNCTION todoctl_count_unread() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM todoctl_unread;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO todoctl_unread AS counted (user_id, unread)
        SELECT user_id, count(*) FROM added WHERE NOT is_read GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO todoctl_unread AS counted (user_id, unread)
        SELECT user_id, -count(*) FROM removed WHERE NOT is_read GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    ELSE
        INSERT INTO todoctl_unread AS counted (user_id, unread)
        SELECT user_id, sum(change) FROM (
            SELECT user_id, 1 AS change FROM added WHERE NOT is_read
            UNION ALL
            SELECT user_id, -1 FROM removed WHERE NOT is_read
        ) AS changes
        GROUP BY user_id HAVING sum(change) <> 0 ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    END IF;
    RETURN NULL;
END $$;

-- Nobody adds notifications between the count and the triggers.
LOCK TABLE notifications IN SHARE ROW EXCLUSIVE MODE;

INSERT INTO todoctl_unread (user_id, unread)
SELECT user_id, count(*) FROM notifications WHERE NOT is_read GROUP BY user_id;

CREATE TRIGGER todoctl_unread_added AFTER INSERT ON notifications
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION todoctl_count_unread();

CREATE TRIGGER todoctl_unread_changed AFTER UPDATE ON notifications
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION todoctl_count_unread();

CREATE TRIGGER todoctl_unread_removed AFTER DELETE ON notifications
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION todoctl_count_unread();

CREATE TRIGGER todoctl_unread_truncated AFTER TRUNCATE ON notifications
    FOR EACH STATEMENT EXECUTE FUNCTION todoctl_count_unread();

-- Mails that wait to be sent, and what became of them. Whoever sends one moves due_at
-- ahead first, for as long as that may take; `attempts` tells one try from the next.
CREATE TABLE todoctl_outbox (
    id bigserial PRIMARY KEY,
    notification_id bigint NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
    user_id varchar(255) NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    idempotency_key text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'skipped', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    last_error text
);

CREATE INDEX todoctl_outbox_due_idx ON todoctl_outbox (due_at, id) WHERE state = 'pending';

-- For the cascade.
CREATE INDEX todoctl_outbox_notification_idx ON todoctl_outbox (notification_id);
