//! The columns of a task.

use crate::domain::Task;
use crate::store::row::record;

record! {
    task_columns => Task in "tasks" {
        id,
        user_id,
        title,
        description,
        completed,
        priority: "CAST(priority AS text)",
        due_date,
        created_at,
        updated_at,
    }
}
