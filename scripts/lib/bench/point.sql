\set n random(0, :tasks - 1)
\set id :first_id + :n
\set owner 1000 + mod(:n, :users)
SELECT id, user_id, title, description, completed, CAST(priority AS text), due_date, created_at, updated_at FROM tasks WHERE id = :id AND user_id = :owner;
