-- An earlier form of the previous service: no reminders, no provider keys, priorities as
-- text, times without a zone (they were UTC), notifications without a foreign key.
CREATE TABLE alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY);
INSERT INTO alembic_version VALUES ('20251201_initial');
CREATE TABLE tasks (
    id serial PRIMARY KEY,
    user_id varchar NOT NULL,
    title varchar NOT NULL,
    completed boolean,
    priority varchar(20) DEFAULT 'medium',
    created_at timestamp DEFAULT now(),
    updated_at timestamp
);
CREATE INDEX ix_tasks_id ON tasks (id);
CREATE TABLE notifications (
    id serial PRIMARY KEY,
    user_id varchar(255) NOT NULL,
    task_id integer NOT NULL,
    type varchar(50) NOT NULL,
    message text NOT NULL,
    created_at timestamp
);
INSERT INTO tasks (user_id, title, completed, priority, created_at) VALUES
    ('usr_1', 'One', NULL, 'high', timestamp '2030-01-01 12:00'),
    ('usr_1', 'Two', true, 'Medium', timestamp '2030-01-02 12:00');
INSERT INTO notifications (user_id, task_id, type, message) VALUES
    ('usr_1', 1, 'overdue', 'kept'), ('usr_1', 999, 'overdue', 'its task is gone');
