\set n random(0, :tasks - 1)
\set id :first_id + :n
\set owner 1000 + mod(:n, :users)
\set completed random(0, 1)
UPDATE tasks SET title = COALESCE(NULL, title), description = CASE WHEN FALSE THEN NULL ELSE description END, completed = COALESCE(:completed::text::boolean, completed), priority = COALESCE(NULL::text::prioritylevel, priority), reminder_sent = CASE WHEN FALSE AND due_date IS DISTINCT FROM NULL THEN FALSE ELSE reminder_sent END, due_date = CASE WHEN FALSE THEN NULL ELSE due_date END, updated_at = now() WHERE id = :id AND user_id = :owner RETURNING id, user_id, title, description, completed, CAST(priority AS text), due_date, created_at, updated_at;
