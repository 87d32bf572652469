-- How often somebody tried to save a provider key, from the first try of a window on.
CREATE TABLE todoctl_attempts (
    user_id varchar(255) PRIMARY KEY,
    started_at timestamptz NOT NULL,
    attempts bigint NOT NULL
);
