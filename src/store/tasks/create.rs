//! Creating a task.

use crate::domain::{Description, NewTask, Task, Timestamp, fold};
use crate::store::arg::{Arg, args};
use crate::store::batch::{Answers, Batched};
use crate::store::database::Store;
use crate::store::error::{StoreError, is_rolled_back};
use crate::store::sql::{Sql, per_engine};

/// The columns that a new task sets.
macro_rules! new_columns {
    () => {
        "user_id, title, description, priority, due_date, completed, reminder_sent, \
         created_at, updated_at, search_title, search_description"
    };
}

/// PostgreSQL evaluates the default of `id` for each row in the order of the query, so the ids
/// ascend with the requests. SQLite chooses them in the order of the query too. The order in which
/// the rows are returned is not guaranteed.
///
/// SQLite's `title_folded` is for earlier versions, and must have a value.
static CREATE: Batched = Batched {
    single: per_engine!(
        [concat!("INSERT INTO tasks (", new_columns!())]
        { postgres: "", sqlite: ", title_folded" }
        [") VALUES ($1, $2, $3, $4"] { postgres: "::text::prioritylevel", sqlite: "" } [", $5, FALSE, FALSE, $6, $6, $7, $8"]
        { postgres: "", sqlite: ", ''" }
        => concat!(") RETURNING ", task_columns!())
    ),
    several: concat!(
        "INSERT INTO tasks (",
        new_columns!(),
        ") SELECT owner, new_title, new_description, new_priority::prioritylevel, new_due_date,
            FALSE, FALSE, now, now, new_search_title, new_search_description
         FROM unnest((SELECT $1::text[]), $2::text[], $3::text[], $4::text[],
            $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[])
            WITH ORDINALITY AS request
            (owner, new_title, new_description, new_priority, new_due_date, now,
             new_search_title, new_search_description, number)
         ORDER BY number RETURNING ",
        task_columns!()
    ),
    several_in_json: Some(concat!(
        "INSERT INTO tasks (",
        new_columns!(),
        ", title_folded) SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
            FALSE, FALSE, value ->> 5, value ->> 5, value ->> 6, value ->> 7, ''
         FROM json_each($1) RETURNING ",
        task_columns!()
    )),
    most: 64,
    writes: true,
    answers: Answers::Inserted,
};

/// The statement of a transaction that creates a task.
pub(in crate::store) static INSERT: &Sql = &CREATE.single;

/// `created_at` has microseconds, so another task of the same user with the same time and title is
/// very unlikely.
static FIND_CREATED: Sql = Sql::Common(concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks WHERE user_id = $1 AND created_at = $2 AND title = $3 ORDER BY id DESC LIMIT 1"
));

/// The arguments of [`INSERT`].
pub(in crate::store) fn insert_args(task: &NewTask, now: Timestamp) -> [Arg<'_>; 8] {
    let NewTask {
        user_id,
        title,
        description,
        priority,
        due_date,
    } = task;
    let title = title.as_str();
    let description = description.as_ref().map(Description::as_str);
    args![
        user_id,
        title,
        description,
        *priority,
        *due_date,
        now,
        fold(title),
        description.map(fold)
    ]
}

impl Store {
    /// Stores a new task and returns it.
    ///
    /// If the connection breaks meanwhile, it is unknown whether the task was stored. Then the
    /// task is looked for. A task that is not there may still be committed, unless the
    /// server's session has ended: [`StoreError::OutcomeUnknown`].
    pub async fn create_task(&self, task: &NewTask) -> Result<Task, StoreError> {
        let now = self.now();
        let args = insert_args(task, now);
        match self.share(&CREATE, &args).await {
            Ok(result) => self.check_created(task, now, result.one()?).await,
            Err(StoreError::ConnectionLost(lost)) if !is_rolled_back(&lost) => {
                match Box::pin(self.find_created(task, now)).await {
                    Ok(Some(task)) => Ok(task),
                    Ok(None) => Err(StoreError::ConnectionLost(lost)),
                    Err(_) => Err(StoreError::OutcomeUnknown(lost)),
                }
            }
            Err(StoreError::Undecided(lost)) => {
                match Box::pin(self.find_created(task, now)).await {
                    Ok(Some(task)) => Ok(task),
                    Ok(None) | Err(_) => Err(StoreError::OutcomeUnknown(lost)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The task that was created, if `created` is another one: a statement for several requests
    /// relies on ascending ids, which a trigger or an unusual sequence may not give.
    async fn check_created(
        &self,
        task: &NewTask,
        now: Timestamp,
        created: Task,
    ) -> Result<Task, StoreError> {
        let is_own = created.user_id == task.user_id.as_str();
        if is_own && created.title == task.title.as_str() && created.created_at == now {
            return Ok(created);
        }
        match Box::pin(self.find_created(task, now)).await? {
            Some(found) => Ok(found),
            // A trigger changed it.
            None if is_own => Ok(created),
            None => Err(StoreError::OutcomeUnknown(sqlx::Error::RowNotFound)),
        }
    }

    /// The task that was created at `now`, if it was.
    async fn find_created(
        &self,
        task: &NewTask,
        now: Timestamp,
    ) -> Result<Option<Task>, StoreError> {
        let args = args![&task.user_id, now, task.title.as_str()];
        self.read(&FIND_CREATED, &args).await?.optional()
    }
}
