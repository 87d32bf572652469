-- Tasks, notifications and provider keys. Times are microseconds since 1970, UTC.
-- The folded copies of the texts are what is searched: SQLite folds ASCII only.
--
-- Statements are separated by an empty line, and hold none.
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT,
    completed BOOLEAN NOT NULL DEFAULT FALSE CHECK (completed IN (FALSE, TRUE)),
    priority TEXT NOT NULL DEFAULT 'Medium' CHECK (priority IN ('Low', 'Medium', 'High', 'Urgent')),
    due_date INTEGER,
    reminder_sent BOOLEAN NOT NULL DEFAULT FALSE CHECK (reminder_sent IN (FALSE, TRUE)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    title_folded TEXT NOT NULL,
    description_folded TEXT
);

CREATE TABLE notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    task_id INTEGER REFERENCES tasks (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    is_read BOOLEAN NOT NULL DEFAULT FALSE CHECK (is_read IN (FALSE, TRUE)),
    sent_email BOOLEAN NOT NULL DEFAULT FALSE CHECK (sent_email IN (FALSE, TRUE)),
    created_at INTEGER NOT NULL
);

CREATE TABLE user_api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    encrypted_key TEXT NOT NULL,
    provider TEXT NOT NULL DEFAULT 'gemini',
    validation_status TEXT,
    last_validated_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (user_id, provider)
);

-- A page of somebody's tasks, newest first.
CREATE INDEX tasks_user_newest_idx ON tasks (user_id, created_at DESC, id DESC);

-- What the reminder job looks for.
CREATE INDEX tasks_open_due_idx ON tasks (due_date, id) WHERE NOT completed AND due_date IS NOT NULL;

CREATE INDEX notifications_user_newest_idx ON notifications (user_id, created_at DESC, id DESC);

-- For the cascade, and to find what a task was notified of.
CREATE INDEX notifications_task_idx ON notifications (task_id, type, created_at DESC);
