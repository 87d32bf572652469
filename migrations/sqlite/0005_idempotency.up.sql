-- The answers to requests that bore an idempotency key, for a day. The key and its task are written together.
CREATE TABLE todoctl_idempotency_keys (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
);

CREATE INDEX todoctl_idempotency_keys_created_idx ON todoctl_idempotency_keys (created_at);
