DROP TABLE todoctl_identity;

-- The function's earlier text; temporary tables are still looked for last.
DO $migration$
BEGIN
    EXECUTE format($function$
CREATE OR REPLACE FUNCTION %1$I.todoctl_count_unread() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM todoctl_unread;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO todoctl_unread AS counted (user_id, unread)
        SELECT user_id, count(*) FROM added WHERE NOT is_read GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO todoctl_unread AS counted (user_id, unread)
        SELECT user_id, -count(*) FROM removed WHERE NOT is_read GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    ELSE
        INSERT INTO todoctl_unread AS counted (user_id, unread)
        SELECT user_id, sum(change) FROM (
            SELECT user_id, 1 AS change FROM added WHERE NOT is_read
            UNION ALL
            SELECT user_id, -1 FROM removed WHERE NOT is_read
        ) AS changes
        GROUP BY user_id HAVING sum(change) <> 0 ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET unread = counted.unread + excluded.unread;
    END IF;
    RETURN NULL;
END $$
    $function$, current_schema());
END $migration$;
