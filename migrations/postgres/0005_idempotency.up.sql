-- The answers to requests that bore an idempotency key, for a day. The key and its task are written together.
CREATE TABLE todoctl_idempotency_keys (
    user_id varchar(255) NOT NULL,
    key varchar(255) NOT NULL,
    fingerprint text NOT NULL,
    answer text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);

CREATE INDEX todoctl_idempotency_keys_created_idx ON todoctl_idempotency_keys (created_at);
