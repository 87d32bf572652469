\set owner random(1000, 1000 + :users - 1)
INSERT INTO tasks (user_id, title, description, priority, due_date, completed, reminder_sent, created_at, updated_at) VALUES (:owner, 'Water the plants', 'The ferns too', 'High'::text::prioritylevel, NULL, FALSE, FALSE, now(), now()) RETURNING id, user_id, title, description, completed, CAST(priority AS text), due_date, created_at, updated_at;
