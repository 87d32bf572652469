-- Which database this is. Copies of the row can be told apart by where they are; see the
-- store's identity.
CREATE TABLE todoctl_identity (
    single boolean PRIMARY KEY DEFAULT TRUE CHECK (single),
    id text NOT NULL
);

INSERT INTO todoctl_identity (id)
SELECT md5(concat_ws(' ', random(), random(), clock_timestamp(), pg_backend_pid(), txid_current()));

-- The function runs as its owner, so its names must not lead to objects of its caller: tables
-- are named with their schema, and temporary ones are looked for last.
DO $migration$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION %I.todoctl_count_unread() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
        current_schema(), format($body$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM %1$I.todoctl_unread;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO %1$I.todoctl_unread AS counted (user_id, unread)
        SELECT user_id, count(*) FROM added WHERE NOT is_read GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO %1$I.todoctl_unread AS counted (user_id, unread)
        SELECT user_id, -count(*) FROM removed WHERE NOT is_read GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    ELSE
        INSERT INTO %1$I.todoctl_unread AS counted (user_id, unread)
        SELECT user_id, sum(change) FROM (
            SELECT user_id, 1 AS change FROM added WHERE NOT is_read
            UNION ALL
            SELECT user_id, -1 FROM removed WHERE NOT is_read
        ) AS changes
        GROUP BY user_id HAVING sum(change) <> 0 ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    END IF;
    RETURN NULL;
END
$body$, current_schema()));
END $migration$;

-- Firing a trigger needs no right to its function. Making a trigger of it does.
REVOKE EXECUTE ON FUNCTION todoctl_count_unread() FROM PUBLIC;
