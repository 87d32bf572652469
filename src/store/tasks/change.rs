//! Reading, changing and deleting tasks by their ids.

use std::collections::BTreeSet;

use crate::domain::{Description, Task, TaskChanges, TaskId, Timestamp, Title, UserId, fold};
use crate::store::arg::{Arg, args};
use crate::store::batch::{Answers, Batched};
use crate::store::database::Store;
use crate::store::error::StoreError;
use crate::store::sql::{Sql, per_engine};

static GET: Batched = Batched {
    single: Sql::Common(concat!(
        "SELECT ",
        task_columns!(),
        " FROM tasks WHERE id = $1 AND user_id = $2"
    )),
    several: concat!(
        "SELECT ",
        task_columns!(),
        ", request.number FROM unnest((SELECT $1::bigint[]), $2::text[]) WITH ORDINALITY
            AS request (wanted_id, owner, number)
         JOIN tasks ON tasks.id = request.wanted_id AND tasks.user_id = request.owner"
    ),
    several_in_json: None,
    most: 64,
    writes: false,
    answers: Answers::Numbered,
};

/// What an update sets, from these expressions. A changed due date arms the reminder again. A
/// row without folded texts stays without: only all of its texts together are a row's folded
/// texts.
macro_rules! changes {
    (
        title: $title:literal, description: $sets_description:literal $description:literal,
        completed: $completed:literal, priority: $priority:literal,
        due_date: $sets_due_date:literal $due_date:literal, now: $now:literal,
        search_title: $search_title:literal, search_description: $search_description:literal
    ) => {
        concat!(
            "title = COALESCE(",
            $title,
            ", title), description = CASE WHEN ",
            $sets_description,
            " THEN ",
            $description,
            " ELSE description END, completed = COALESCE(",
            $completed,
            ", completed), priority = COALESCE(",
            $priority,
            ", priority), reminder_sent = CASE WHEN ",
            $sets_due_date,
            " AND due_date IS DISTINCT FROM ",
            $due_date,
            " THEN FALSE ELSE reminder_sent END, due_date = CASE WHEN ",
            $sets_due_date,
            " THEN ",
            $due_date,
            " ELSE due_date END, updated_at = ",
            $now,
            ", search_title = CASE WHEN search_title IS NOT NULL THEN COALESCE(",
            $search_title,
            ", search_title) END,
             search_description = CASE WHEN search_title IS NULL THEN NULL WHEN ",
            $sets_description,
            " THEN ",
            $search_description,
            " ELSE search_description END"
        )
    };
}

/// The statement that changes one task; only the cast of the priority differs.
macro_rules! change_one {
    ($priority:literal) => {
        concat!(
            "UPDATE tasks SET ",
            changes!(
                title: "$3", description: "$4" "$5", completed: "$6", priority: $priority,
                due_date: "$8" "$9", now: "$10",
                search_title: "$11", search_description: "$12"
            ),
            " WHERE id = $1 AND user_id = $2 RETURNING ",
            task_columns!()
        )
    };
}

/// Rows that another transaction has locked are left out, so that nobody waits for them while
/// it holds the locks of others.
static CHANGE: Batched = Batched {
    single: Sql::PerEngine {
        postgres: change_one!("$7::text::prioritylevel"),
        sqlite: change_one!("$7"),
    },
    several: concat!(
        "WITH request AS MATERIALIZED (
            SELECT request.* FROM unnest((SELECT $1::bigint[]), $2::text[], $3::text[], $4::boolean[],
                $5::text[], $6::boolean[], $7::text[], $8::boolean[], $9::timestamptz[], $10::timestamptz[],
                $11::text[], $12::text[])
                WITH ORDINALITY AS request
                (wanted_id, owner, new_title, sets_description, new_description,
                 new_completed, new_priority, sets_due_date, new_due_date, now,
                 new_search_title, new_search_description, number)
            JOIN tasks ON tasks.id = request.wanted_id AND tasks.user_id = request.owner
            FOR NO KEY UPDATE OF tasks SKIP LOCKED)
         UPDATE tasks SET ",
        changes!(
            title: "new_title", description: "sets_description" "new_description",
            completed: "new_completed", priority: "new_priority::prioritylevel",
            due_date: "sets_due_date" "new_due_date", now: "now",
            search_title: "new_search_title", search_description: "new_search_description"
        ),
        " FROM request
          WHERE tasks.id = request.wanted_id AND tasks.user_id = request.owner RETURNING ",
        task_columns!(),
        ", request.number"
    ),
    several_in_json: None,
    most: 64,
    writes: true,
    answers: Answers::NumberedIfFree,
};

/// Locks as [`CHANGE`] does. A task with notifications is left out too: deleting it locks them and
/// its user's count of them, and others would wait while somebody else has these locked.
static REMOVE: Batched = Batched {
    single: Sql::Common("DELETE FROM tasks WHERE id = $1 AND user_id = $2"),
    several: "WITH request AS MATERIALIZED (
            SELECT request.* FROM unnest((SELECT $1::bigint[]), $2::text[]) WITH ORDINALITY
                AS request (wanted_id, owner, number)
            JOIN tasks ON tasks.id = request.wanted_id AND tasks.user_id = request.owner
            WHERE NOT EXISTS (SELECT FROM notifications WHERE notifications.task_id = tasks.id)
            FOR UPDATE OF tasks SKIP LOCKED)
         DELETE FROM tasks USING request
         WHERE tasks.id = request.wanted_id AND tasks.user_id = request.owner
         RETURNING request.number",
    several_in_json: None,
    most: 64,
    writes: true,
    answers: Answers::NumberedIfFree,
};

/// The statements of transactions that change a task.
pub(super) static UPDATE: &Sql = &CHANGE.single;
pub(super) static DELETE: &Sql = &REMOVE.single;

/// `$2` is a JSON array of ids.
///
/// Locks as [`REMOVE`] does. A request is answered only if all of its tasks are free.
static REMOVE_LIST: Batched = Batched {
    single: per_engine!(
        ["DELETE FROM tasks WHERE user_id = $1 AND id IN (SELECT "] {
            postgres: "value::bigint FROM json_array_elements_text($2::json))",
            sqlite: "value FROM json_each($2))"
        }
        => " RETURNING id"
    ),
    several: "WITH wanted AS MATERIALIZED (
            SELECT request.number, tasks.id FROM unnest((SELECT $1::text[]), $2::text[]) WITH ORDINALITY
                AS request (owner, ids, number)
            CROSS JOIN LATERAL json_array_elements_text(request.ids::json) AS item (wanted_id)
            JOIN tasks ON tasks.id = item.wanted_id::bigint AND tasks.user_id = request.owner),
         free AS MATERIALIZED (
            SELECT wanted.number, wanted.id FROM wanted JOIN tasks ON tasks.id = wanted.id
            WHERE NOT EXISTS (SELECT FROM notifications WHERE notifications.task_id = tasks.id)
            FOR UPDATE OF tasks SKIP LOCKED),
         answered AS (
            SELECT wanted.number FROM wanted GROUP BY wanted.number
            HAVING count(*) = (SELECT count(*) FROM free WHERE free.number = wanted.number))
         DELETE FROM tasks USING free JOIN answered ON answered.number = free.number
         WHERE tasks.id = free.id
         RETURNING tasks.id, free.number",
    several_in_json: None,
    most: 16,
    writes: true,
    answers: Answers::NumberedIfFree,
};

/// Longer lists run alone, and at once: they would keep others waiting.
const LONGEST_SHARED: usize = 50;

/// The arguments of [`UPDATE`].
pub(super) fn update_args<'a>(
    user: &'a UserId,
    id: TaskId,
    changes: &'a TaskChanges,
    now: Timestamp,
) -> [Arg<'a>; 12] {
    let TaskChanges {
        title,
        description,
        completed,
        priority,
        due_date,
    } = changes;
    let title = title.as_ref().map(Title::as_str);
    let new_description = description.value().map(Description::as_str);
    args![
        id,
        user,
        title,
        description.is_set(),
        new_description,
        *completed,
        *priority,
        due_date.is_set(),
        due_date.value().copied(),
        now,
        title.map(fold),
        new_description.map(fold),
    ]
}

impl Store {
    /// The user's task with this id; `None` if there is none or it belongs to another user.
    pub async fn task(&self, user: &UserId, id: TaskId) -> Result<Option<Task>, StoreError> {
        let args = args![id, user];
        self.share(&GET, &args).await?.optional()
    }

    /// Applies `changes` and returns the changed task; `None` as in [`Store::task`].
    ///
    /// Without any change the task stays as it is, including its `updated_at`.
    pub async fn update_task(
        &self,
        user: &UserId,
        id: TaskId,
        changes: &TaskChanges,
    ) -> Result<Option<Task>, StoreError> {
        if changes.is_empty() {
            return self.task(user, id).await;
        }
        let _turn = self.turn(user, id).await?;
        let args = update_args(user, id, changes, self.now());
        self.share(&CHANGE, &args).await?.optional()
    }

    /// Deletes the user's task and its notifications; `false` if there was none.
    pub async fn delete_task(&self, user: &UserId, id: TaskId) -> Result<bool, StoreError> {
        let _turn = self.turn(user, id).await?;
        let deleted = self.share(&REMOVE, &args![id, user]).await?;
        Ok(deleted.affected > 0)
    }

    /// Deletes those of `ids` that belong to the user, in one statement, and returns them in
    /// no particular order.
    pub async fn delete_tasks(
        &self,
        user: &UserId,
        ids: &[TaskId],
    ) -> Result<Vec<TaskId>, StoreError> {
        if ids.len() > LONGEST_SHARED {
            let deleted = self.write(&REMOVE_LIST.single, &args![user, ids]).await?;
            return Ok(deleted.column("id")?);
        }
        let ids: BTreeSet<TaskId> = ids.iter().copied().collect();
        let _turns = self.turns_of(user, &ids).await?;
        let ids: Vec<TaskId> = ids.into_iter().collect();
        let args = args![user, ids.as_slice()];
        let deleted = self.share(&REMOVE_LIST, &args).await?;
        Ok(deleted.column("id")?)
    }
}
