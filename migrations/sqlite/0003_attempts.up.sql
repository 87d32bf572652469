-- How often somebody tried to save a provider key, from the first try of a window on.
CREATE TABLE todoctl_attempts (
    user_id TEXT PRIMARY KEY NOT NULL,
    started_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL
);
