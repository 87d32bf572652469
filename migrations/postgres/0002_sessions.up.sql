-- Session tokens, known by their HMAC alone. The database is shared: the table bears todoctl's name.
CREATE TABLE todoctl_sessions (
    id bigserial PRIMARY KEY,
    token_hash text NOT NULL UNIQUE,
    user_id varchar(255) NOT NULL,
    label text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
