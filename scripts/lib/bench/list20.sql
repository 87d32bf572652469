\set owner random(1000, 1000 + :users - 1)
\set limit 20
\set offset 0
SELECT id, user_id, title, description, completed, CAST(priority AS text), due_date, created_at, updated_at, (SELECT count(*) FROM tasks WHERE user_id = :owner) AS total FROM tasks WHERE user_id = :owner ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset;
