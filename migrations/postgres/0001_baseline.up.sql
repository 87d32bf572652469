-- Tasks, notifications and provider keys: made anew, or taken over from the service
-- that came before (managed by Alembic), in its last form or an earlier one. Every row
-- stays. A fresh database and one that was taken over end with the same columns.
--
-- Statements are separated by an empty line, and hold none.

-- Tables of these names that are something else are left alone, and stop the migration.
DO $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('%s is a %s', t.table_name, lower(t.table_type)), '; ' ORDER BY t.table_name)
    INTO wrong
    FROM information_schema.tables t
    WHERE t.table_schema = current_schema()
      AND t.table_name IN ('tasks', 'notifications', 'user_api_keys')
      AND t.table_type <> 'BASE TABLE';
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'a wanted name is taken by something else: %', wrong
            USING HINT = 'todoctl wants a database, or a schema, in which tasks, notifications and user_api_keys are its own';
    END IF;
    WITH wanted (table_name, column_name, types, required) AS (VALUES
        ('tasks', 'id', '{integer,bigint}'::text[], true),
        ('tasks', 'user_id', '{character varying,text}', true),
        ('tasks', 'title', '{character varying,text}', true),
        ('tasks', 'description', '{character varying,text}', false),
        ('tasks', 'completed', '{boolean}', false),
        ('tasks', 'priority', '{USER-DEFINED,character varying,text}', false),
        ('tasks', 'due_date', '{timestamp with time zone,timestamp without time zone,date}', false),
        ('tasks', 'reminder_sent', '{boolean}', false),
        ('tasks', 'created_at', '{timestamp with time zone,timestamp without time zone}', false),
        ('tasks', 'updated_at', '{timestamp with time zone,timestamp without time zone}', false),
        ('notifications', 'id', '{integer,bigint}', true),
        ('notifications', 'user_id', '{character varying,text}', true),
        ('notifications', 'task_id', '{integer,bigint}', true),
        ('notifications', 'type', '{character varying,text}', true),
        ('notifications', 'message', '{character varying,text}', true),
        ('notifications', 'is_read', '{boolean}', false),
        ('notifications', 'sent_email', '{boolean}', false),
        ('notifications', 'created_at', '{timestamp with time zone,timestamp without time zone}', false),
        ('user_api_keys', 'id', '{integer,bigint}', true),
        ('user_api_keys', 'user_id', '{character varying,text}', true),
        ('user_api_keys', 'encrypted_key', '{character varying,text}', true),
        ('user_api_keys', 'provider', '{character varying,text}', false),
        ('user_api_keys', 'validation_status', '{character varying,text}', false),
        ('user_api_keys', 'last_validated_at', '{timestamp with time zone,timestamp without time zone}', false),
        ('user_api_keys', 'created_at', '{timestamp with time zone,timestamp without time zone}', false),
        ('user_api_keys', 'updated_at', '{timestamp with time zone,timestamp without time zone}', false)
    ), found AS (
        SELECT c.table_name::text, c.column_name::text, c.data_type::text, c.is_nullable, c.column_default, c.is_identity
        FROM information_schema.columns c
        WHERE c.table_schema = current_schema()
          AND c.table_name IN ('tasks', 'notifications', 'user_api_keys')
    ), faults AS (
        SELECT format('%s.%s is %s', w.table_name, w.column_name, coalesce(f.data_type, 'missing')) AS fault
        FROM wanted w
        LEFT JOIN found f USING (table_name, column_name)
        WHERE w.table_name IN (SELECT table_name FROM found)
          AND (f.data_type IS NULL AND w.required OR f.data_type <> ALL (w.types))
        UNION ALL
        SELECT format('%s.%s is not known, and wants a value in every row', f.table_name, f.column_name)
        FROM found f
        LEFT JOIN wanted w USING (table_name, column_name)
        WHERE w.column_name IS NULL AND f.is_nullable = 'NO' AND f.column_default IS NULL AND f.is_identity = 'NO'
    )
    SELECT string_agg(fault, '; ' ORDER BY fault) INTO wrong FROM faults;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'a wanted table exists and is something else: %', wrong
            USING HINT = 'todoctl wants a database, or a schema, in which tasks, notifications and user_api_keys are its own';
    END IF;
END $$;

DO $$
DECLARE
    labels text;
BEGIN
    SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) INTO labels
    FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid
    WHERE n.nspname = current_schema() AND t.typname = 'prioritylevel';
    IF labels IS NULL THEN
        CREATE TYPE prioritylevel AS ENUM ('Low', 'Medium', 'High', 'Urgent');
    ELSIF labels <> 'Low, Medium, High, Urgent' THEN
        RAISE EXCEPTION 'the type prioritylevel exists and has other labels: %', labels;
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS tasks (
    id bigserial CONSTRAINT tasks_pkey PRIMARY KEY,
    user_id varchar(255) NOT NULL,
    title varchar(200) NOT NULL
);

CREATE TABLE IF NOT EXISTS notifications (
    id bigserial CONSTRAINT notifications_pkey PRIMARY KEY,
    user_id varchar(255) NOT NULL,
    task_id bigint,
    type varchar(50) NOT NULL,
    message text NOT NULL
);

CREATE TABLE IF NOT EXISTS user_api_keys (
    id bigserial CONSTRAINT user_api_keys_pkey PRIMARY KEY,
    user_id varchar(255) NOT NULL,
    encrypted_key varchar(500) NOT NULL
);

-- What an earlier form lacks, and what a fresh table above lacks too.
ALTER TABLE tasks
    ADD COLUMN IF NOT EXISTS description text,
    ADD COLUMN IF NOT EXISTS completed boolean,
    ADD COLUMN IF NOT EXISTS priority prioritylevel,
    ADD COLUMN IF NOT EXISTS due_date timestamptz,
    ADD COLUMN IF NOT EXISTS reminder_sent boolean,
    ADD COLUMN IF NOT EXISTS created_at timestamptz,
    ADD COLUMN IF NOT EXISTS updated_at timestamptz;

ALTER TABLE notifications
    ADD COLUMN IF NOT EXISTS is_read boolean,
    ADD COLUMN IF NOT EXISTS sent_email boolean,
    ADD COLUMN IF NOT EXISTS created_at timestamptz;

ALTER TABLE user_api_keys
    ADD COLUMN IF NOT EXISTS provider varchar(50),
    ADD COLUMN IF NOT EXISTS validation_status varchar(50),
    ADD COLUMN IF NOT EXISTS last_validated_at timestamptz,
    ADD COLUMN IF NOT EXISTS created_at timestamptz,
    ADD COLUMN IF NOT EXISTS updated_at timestamptz;

-- Columns to their types. One ALTER TABLE a table, so that it is rewritten once at most,
-- and none where nothing is to be done. Times without a zone were UTC. A text that is
-- longer than its type allows keeps its column as it is.
DO $$
DECLARE
    one record;
    actions text;
    longest bigint;
BEGIN
    FOR one IN
        SELECT t.name AS table_name FROM unnest(ARRAY['tasks', 'notifications', 'user_api_keys']) AS t (name)
    LOOP
        actions := NULL;
        DECLARE
            col record;
        BEGIN
            FOR col IN
                SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS actual, w.wanted
                FROM pg_catalog.pg_attribute a
                JOIN (VALUES
                    ('tasks', 'id', 'bigint'),
                    ('tasks', 'user_id', 'character varying(255)'),
                    ('tasks', 'title', 'character varying(200)'),
                    ('tasks', 'description', 'text'),
                    ('tasks', 'priority', 'prioritylevel'),
                    ('tasks', 'due_date', 'timestamp with time zone'),
                    ('tasks', 'created_at', 'timestamp with time zone'),
                    ('tasks', 'updated_at', 'timestamp with time zone'),
                    ('notifications', 'id', 'bigint'),
                    ('notifications', 'user_id', 'character varying(255)'),
                    ('notifications', 'task_id', 'bigint'),
                    ('notifications', 'type', 'character varying(50)'),
                    ('notifications', 'message', 'text'),
                    ('notifications', 'created_at', 'timestamp with time zone'),
                    ('user_api_keys', 'id', 'bigint'),
                    ('user_api_keys', 'user_id', 'character varying(255)'),
                    ('user_api_keys', 'encrypted_key', 'character varying(500)'),
                    ('user_api_keys', 'provider', 'character varying(50)'),
                    ('user_api_keys', 'validation_status', 'character varying(50)'),
                    ('user_api_keys', 'last_validated_at', 'timestamp with time zone'),
                    ('user_api_keys', 'created_at', 'timestamp with time zone'),
                    ('user_api_keys', 'updated_at', 'timestamp with time zone')
                ) AS w (table_name, name, wanted) ON w.table_name = one.table_name AND w.name = a.attname
                WHERE a.attrelid = to_regclass(format('%I.%I', current_schema(), one.table_name))
                  AND NOT a.attisdropped
                  AND format_type(a.atttypid, a.atttypmod) <> w.wanted
                ORDER BY a.attnum
            LOOP
                IF col.wanted LIKE 'character varying(%' THEN
                    EXECUTE format('SELECT max(char_length(%I)) FROM %I', col.name, one.table_name) INTO longest;
                    CONTINUE WHEN longest > substring(col.wanted FROM '\d+')::bigint;
                END IF;
                IF col.name <> 'id' THEN
                    -- A default of the old type may not fit the new one; the right ones come below.
                    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I DROP DEFAULT', one.table_name, col.name);
                END IF;
                actions := concat_ws(', ', actions, format('ALTER COLUMN %I TYPE %s USING ', col.name, col.wanted)
                    || CASE
                        WHEN col.wanted = 'prioritylevel' THEN format('initcap(%I::text)::prioritylevel', col.name)
                        WHEN col.wanted = 'timestamp with time zone' THEN format('%I::timestamp AT TIME ZONE ''UTC''', col.name)
                        ELSE format('%I::%s', col.name, col.wanted)
                    END);
            END LOOP;
        END;
        IF actions IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I %s', one.table_name, actions);
        END IF;
    END LOOP;
END $$;

-- The sequences behind the ids: a serial column's stays an integer's otherwise.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT s.seqrelid::regclass AS sequence
        FROM pg_catalog.pg_sequence s
        JOIN pg_catalog.pg_depend d ON d.objid = s.seqrelid AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
        WHERE d.refobjid IN (
                to_regclass(format('%I.tasks', current_schema())),
                to_regclass(format('%I.notifications', current_schema())),
                to_regclass(format('%I.user_api_keys', current_schema()))
            )
          AND s.seqtypid <> 'bigint'::regtype
    LOOP
        EXECUTE format('ALTER SEQUENCE %s AS bigint', one.sequence);
    END LOOP;
END $$;

UPDATE tasks SET
    completed = coalesce(completed, false),
    priority = coalesce(priority, 'Medium'),
    reminder_sent = coalesce(reminder_sent, false),
    created_at = coalesce(created_at, updated_at, now()),
    updated_at = coalesce(updated_at, created_at, now())
WHERE completed IS NULL OR priority IS NULL OR reminder_sent IS NULL OR created_at IS NULL OR updated_at IS NULL;

UPDATE notifications SET
    is_read = coalesce(is_read, false),
    sent_email = coalesce(sent_email, false),
    created_at = coalesce(created_at, now())
WHERE is_read IS NULL OR sent_email IS NULL OR created_at IS NULL;

UPDATE user_api_keys SET
    provider = coalesce(provider, 'gemini'),
    created_at = coalesce(created_at, updated_at, now()),
    updated_at = coalesce(updated_at, created_at, now())
WHERE provider IS NULL OR created_at IS NULL OR updated_at IS NULL;

-- A row that was just changed may hold back an ALTER TABLE until its checks have run.
SET CONSTRAINTS ALL IMMEDIATE;

ALTER TABLE tasks
    ALTER COLUMN user_id SET NOT NULL,
    ALTER COLUMN title SET NOT NULL,
    ALTER COLUMN description DROP NOT NULL,
    ALTER COLUMN due_date DROP NOT NULL,
    ALTER COLUMN completed SET DEFAULT false,
    ALTER COLUMN completed SET NOT NULL,
    ALTER COLUMN priority SET DEFAULT 'Medium',
    ALTER COLUMN priority SET NOT NULL,
    ALTER COLUMN reminder_sent SET DEFAULT false,
    ALTER COLUMN reminder_sent SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL;

ALTER TABLE notifications
    ALTER COLUMN user_id SET NOT NULL,
    ALTER COLUMN task_id DROP NOT NULL,
    ALTER COLUMN type SET NOT NULL,
    ALTER COLUMN message SET NOT NULL,
    ALTER COLUMN is_read SET DEFAULT false,
    ALTER COLUMN is_read SET NOT NULL,
    ALTER COLUMN sent_email SET DEFAULT false,
    ALTER COLUMN sent_email SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL;

ALTER TABLE user_api_keys
    ALTER COLUMN user_id SET NOT NULL,
    ALTER COLUMN encrypted_key SET NOT NULL,
    ALTER COLUMN provider SET DEFAULT 'gemini',
    ALTER COLUMN provider SET NOT NULL,
    ALTER COLUMN validation_status DROP NOT NULL,
    ALTER COLUMN last_validated_at DROP NOT NULL,
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL;

-- The rules between rows, under the same names everywhere. Notifications of tasks that
-- are gone (an earlier form had no foreign key) keep their text and lose the number.
DO $$
DECLARE
    one record;
    found boolean := false;
BEGIN
    FOR one IN
        SELECT c.conname, c.confdeltype
        FROM pg_catalog.pg_constraint c
        WHERE c.conrelid = to_regclass(format('%I.notifications', current_schema()))
          AND c.confrelid = to_regclass(format('%I.tasks', current_schema()))
          AND c.contype = 'f'
    LOOP
        IF one.confdeltype = 'c' AND NOT found THEN
            found := true;
            IF one.conname <> 'notifications_task_id_fkey' THEN
                EXECUTE format('ALTER TABLE notifications RENAME CONSTRAINT %I TO notifications_task_id_fkey', one.conname);
            END IF;
        ELSE
            EXECUTE format('ALTER TABLE notifications DROP CONSTRAINT %I', one.conname);
        END IF;
    END LOOP;
    IF NOT found THEN
        UPDATE notifications n SET task_id = NULL
        WHERE task_id IS NOT NULL AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = n.task_id);
        ALTER TABLE notifications ADD CONSTRAINT notifications_task_id_fkey
            FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE;
    END IF;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    SELECT c.conname INTO name
    FROM pg_catalog.pg_constraint c
    WHERE c.conrelid = to_regclass(format('%I.user_api_keys', current_schema()))
      AND c.contype = 'u'
      AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
           FROM unnest(c.conkey) AS k (number)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
          ) = ARRAY['provider', 'user_id'];
    IF name IS NULL THEN
        ALTER TABLE user_api_keys ADD CONSTRAINT user_api_keys_user_id_provider_key UNIQUE (user_id, provider);
    ELSIF name <> 'user_api_keys_user_id_provider_key' THEN
        EXECUTE format('ALTER TABLE user_api_keys RENAME CONSTRAINT %I TO user_api_keys_user_id_provider_key', name);
    END IF;
END $$;

-- Indexes that SQLAlchemy makes for `index=True`; those below do their work too.
DROP INDEX IF EXISTS ix_tasks_id, ix_tasks_user_id, ix_notifications_id, ix_notifications_user_id,
    ix_notifications_task_id, ix_user_api_keys_id, ix_user_api_keys_user_id;

-- A page of somebody's tasks, newest first.
CREATE INDEX IF NOT EXISTS tasks_user_newest_idx ON tasks (user_id, created_at DESC, id DESC);

-- What the reminder job looks for.
CREATE INDEX IF NOT EXISTS tasks_open_due_idx ON tasks (due_date, id) WHERE NOT completed AND due_date IS NOT NULL;

CREATE INDEX IF NOT EXISTS notifications_user_newest_idx ON notifications (user_id, created_at DESC, id DESC);

-- For the cascade, and to find what a task was notified of.
CREATE INDEX IF NOT EXISTS notifications_task_idx ON notifications (task_id, type, created_at DESC);
