-- The n-th of :tasks tasks belongs to the user 1000 + n % :users. The users' names are
-- numbers because pgbench's variables are.
TRUNCATE tasks RESTART IDENTITY CASCADE;
INSERT INTO tasks (user_id, title, description, completed, priority, due_date, reminder_sent,
                   created_at, updated_at)
SELECT (1000 + n % :users)::text,
       'Task ' || n,
       'What there is to say about task ' || n,
       n % 3 = 0,
       (ARRAY['Low', 'Medium', 'High', 'Urgent'])[1 + n % 4]::prioritylevel,
       now() + n * interval '1 minute',
       FALSE,
       now() - n * interval '1 second',
       now() - n * interval '1 second'
FROM generate_series(0, :tasks - 1) AS n
ORDER BY n;
VACUUM ANALYZE tasks;
CHECKPOINT;
