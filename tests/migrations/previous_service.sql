-- What the previous service's Alembic chain left in its last form, with rows in it, and
-- what other services keep in the same database.
CREATE TABLE alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY);
INSERT INTO alembic_version VALUES ('20260103_add_reminder_sent');

CREATE TYPE prioritylevel AS ENUM ('Low', 'Medium', 'High', 'Urgent');
CREATE TABLE tasks (
    id serial PRIMARY KEY,
    user_id varchar(255) NOT NULL,
    title varchar(200) NOT NULL,
    description text,
    completed boolean NOT NULL,
    priority prioritylevel NOT NULL,
    due_date timestamptz,
    reminder_sent boolean DEFAULT false NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX ix_tasks_user_id ON tasks (user_id);
CREATE TABLE notifications (
    id serial PRIMARY KEY,
    user_id varchar(255) NOT NULL,
    task_id integer REFERENCES tasks (id) ON DELETE CASCADE,
    type varchar(50) NOT NULL,
    message text NOT NULL,
    is_read boolean NOT NULL,
    sent_email boolean NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL
);
CREATE INDEX ix_notifications_user_id ON notifications (user_id);
CREATE TABLE user_api_keys (
    id serial PRIMARY KEY,
    user_id varchar(255) NOT NULL,
    encrypted_key varchar(500) NOT NULL,
    provider varchar(50) DEFAULT 'gemini' NOT NULL,
    validation_status varchar(50),
    last_validated_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT uq_user_provider UNIQUE (user_id, provider)
);

CREATE TABLE "user" (id text PRIMARY KEY, email text NOT NULL UNIQUE, name text,
    "emailVerified" boolean NOT NULL, image text,
    "createdAt" timestamp(3) NOT NULL, "updatedAt" timestamp(3) NOT NULL);
CREATE TABLE user_sessions (id text PRIMARY KEY, "userId" text NOT NULL REFERENCES "user" (id),
    token text NOT NULL UNIQUE, "expiresAt" timestamp(3) NOT NULL, "ipAddress" text, "userAgent" text,
    "createdAt" timestamp(3) NOT NULL, "updatedAt" timestamp(3) NOT NULL);
CREATE TABLE conversations (id serial PRIMARY KEY, user_id varchar(255) NOT NULL);
CREATE TABLE messages (id serial PRIMARY KEY, conversation_id integer REFERENCES conversations (id), content text);

INSERT INTO tasks (user_id, title, description, completed, priority, due_date, created_at, updated_at)
SELECT 'usr_' || n % 3, 'Task ' || n, CASE WHEN n % 2 = 0 THEN 'ü' || n END, n % 5 = 0,
    (ARRAY['Low', 'Medium', 'High', 'Urgent'])[n % 4 + 1]::prioritylevel,
    CASE WHEN n % 3 = 0 THEN timestamptz '2031-01-01 00:00:00.123456+00' + n * interval '1 day' END,
    timestamptz '2030-01-01 00:00+00' + n * interval '1 minute', timestamptz '2030-02-01 00:00+00'
FROM generate_series(1, 50) AS n;
-- Two replicas of the previous service made the same reminder twice.
INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email)
SELECT 'usr_0', 3, 'overdue', '"Task 3" is overdue', false, false FROM generate_series(1, 2);
INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email)
VALUES ('usr_0', NULL, 'due_soon', 'gone', true, false);
INSERT INTO user_api_keys (user_id, encrypted_key, validation_status) VALUES ('usr_1', 'gAAAAABk', 'success');
INSERT INTO conversations (user_id) VALUES ('usr_1');
INSERT INTO messages (conversation_id, content) VALUES (1, 'hello');
