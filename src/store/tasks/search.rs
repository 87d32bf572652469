//! Searching tasks for a part of their title or description.
//!
//! Folded copies of both texts are stored beside them, and the folded text of a search is
//! compared with the copies, so both engines find the same ([`fold`]). SQLite has a full-text
//! index of the copies, and so has PostgreSQL with the extension `pg_trgm`.
//!
//! A row that another program wrote has no copies: a trigger removes them when it changes a
//! text. Searches fold such rows themselves, until [`Store::fold_tasks`] has.

use serde::Serialize;

use crate::domain::{Task, TaskId, UserId, fold};
use crate::store::arg::args;
use crate::store::database::Store;
use crate::store::deadline;
use crate::store::dialect::Dialect;
use crate::store::error::StoreError;
use crate::store::row::record;
use crate::store::sql::{Sql, per_engine};

use super::filter::{Condition, TaskFilter};

/// How many rows a search folds at once.
const PAGE: usize = 500;

/// The shortest text, in code points, that SQLite's index finds.
const TRIGRAM: usize = 3;

record! {
    unfolded_columns => Unfolded in "tasks" {
        id,
        title,
        description,
    }
}

struct Unfolded {
    id: TaskId,
    title: String,
    description: Option<String>,
}

/// Rows that may have the text `$4`. ASCII texts are folded by the database; other texts have
/// more bytes than characters, and their rows all count. So does the first row, which tells that
/// there are rows to fold.
static UNFOLDED_OF_USER: Sql = per_engine!(
    [concat!(
        "SELECT ",
        unfolded_columns!(),
        " FROM tasks WHERE user_id = $1 AND search_title IS NULL AND id > $2
            AND (id = (SELECT min(id) FROM tasks WHERE user_id = $1 AND search_title IS NULL)
                OR octet_length(title) > length(title) OR octet_length(description) > length(description) OR "
    )] {
        postgres: "strpos(lower(title COLLATE \"C\"), $4) > 0 OR strpos(lower(description COLLATE \"C\"), $4) > 0",
        sqlite: "instr(lower(title), $4) > 0 OR instr(lower(description), $4) > 0"
    }
    => ") ORDER BY id LIMIT $3"
);

/// Rows that another process has locked are left to it. SQLite's transactions exclude each other.
static CLAIM_UNFOLDED: Sql = per_engine!(
    [concat!(
        "SELECT ",
        unfolded_columns!(),
        " FROM tasks WHERE search_title IS NULL ORDER BY user_id, id LIMIT $1"
    )] { postgres: " FOR NO KEY UPDATE SKIP LOCKED", sqlite: "" }
    => ""
);

/// `$1` is a JSON array of [`Folded`].
static FILL: Sql = per_engine!(
    ["UPDATE tasks SET search_title = "] {
        postgres: "filled.title, search_description = filled.description
            FROM json_to_recordset($1::json) AS filled (id bigint, title text, description text)
            WHERE tasks.id = filled.id",
        sqlite: "filled.value ->> 'title', search_description = filled.value ->> 'description'
            FROM json_each($1) AS filled WHERE tasks.id = filled.value ->> 'id'"
    }
    => ""
);

#[derive(Serialize)]
struct Folded {
    id: TaskId,
    title: String,
    description: Option<String>,
}

impl From<&Unfolded> for Folded {
    fn from(task: &Unfolded) -> Self {
        Self {
            id: task.id,
            title: fold(&task.title),
            description: task.description.as_deref().map(fold),
        }
    }
}

impl Folded {
    fn has(&self, text: &str) -> bool {
        has(&self.title, self.description.as_deref(), text)
    }
}

/// Whether one of the folded texts has the folded `text`.
fn has(title: &str, description: Option<&str>, text: &str) -> bool {
    title.contains(text) || description.is_some_and(|it| it.contains(text))
}

/// A folded text to search for.
pub(super) struct Search {
    text: String,
    /// The user's tasks without folded copies that have the text, in ascending order.
    unfolded: Vec<TaskId>,
}

impl Search {
    /// Whether one of the tasks that were found has changed since its texts were folded here, so
    /// that it does not have the text any more.
    pub fn is_outdated(&self, found: &[Task]) -> bool {
        let is_other = |task: &Task| {
            let description = task.description.as_deref().map(fold);
            !has(&fold(&task.title), description.as_deref(), &self.text)
        };
        found
            .iter()
            .filter(|task| self.unfolded.binary_search(&task.id).is_ok())
            .any(is_other)
    }

    /// Adds the condition that a task has the text.
    pub fn restrict(&self, condition: &mut Condition<'_>, dialect: Dialect) {
        let indexed = match dialect {
            Dialect::Postgres => {
                let pattern = condition.bind(like_pattern(&self.text));
                format!("(search_title LIKE ${pattern} OR search_description LIKE ${pattern})")
            }
            Dialect::Sqlite => {
                let text = condition.bind(self.text.clone());
                let scan = format!(
                    "(instr(search_title, ${text}) > 0 OR instr(search_description, ${text}) > 0)"
                );
                if self.text.chars().count() < TRIGRAM {
                    scan
                } else {
                    let phrase = condition.bind(full_text_phrase(&self.text));
                    format!(
                        "{scan} AND id IN (SELECT rowid FROM todoctl_search WHERE todoctl_search MATCH ${phrase})"
                    )
                }
            }
        };
        if self.unfolded.is_empty() {
            condition.and(&format!("search_title IS NOT NULL AND {indexed}"));
            return;
        }
        let ids = condition.bind(self.unfolded.as_slice());
        let ids = dialect.ids_of_array(ids);
        condition.and(&format!(
            "(search_title IS NOT NULL AND {indexed} OR search_title IS NULL AND id IN ({ids}))"
        ));
    }
}

/// The pattern of LIKE for texts that contain `text`.
fn like_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for sign in text.chars() {
        if matches!(sign, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(sign);
    }
    pattern.push('%');
    pattern
}

/// The query of FTS5 for texts that contain `text`.
fn full_text_phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

impl Store {
    /// The filter's search; `None` if it has none, or one that every text matches.
    pub(super) async fn search(
        &self,
        user: &UserId,
        filter: &TaskFilter,
    ) -> Result<Option<Search>, StoreError> {
        let text = filter.search.as_deref().map(fold).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        deadline::this_work_searches();
        let mut unfolded = Vec::new();
        let mut after = TaskId::MIN;
        loop {
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let args = args![user, after, limit, text.as_str()];
            let page: Vec<Unfolded> = self.read(&UNFOLDED_OF_USER, &args).await?.all()?;
            let Some(last) = page.last() else { break };
            after = last.id;
            self.unfolded_found();
            let found = page.iter().map(Folded::from).filter(|task| task.has(&text));
            unfolded.extend(found.map(|task| task.id));
            // Another page would have the first row of then, as long as rows are being folded.
            if page.len() < PAGE {
                break;
            }
        }
        Ok(Some(Search { text, unfolded }))
    }

    /// Folds the texts of at most `limit` tasks that have no folded copies, and returns their
    /// number. Several processes may do so at the same time.
    pub async fn fold_tasks(&self, limit: i64) -> Result<usize, StoreError> {
        self.transaction(|| {
            async |tx| {
                let tasks: Vec<Unfolded> = tx.run(&CLAIM_UNFOLDED, &args![limit]).await?.all()?;
                if !tasks.is_empty() {
                    let folded: Vec<Folded> = tasks.iter().map(Folded::from).collect();
                    let folded = serde_json::json!(folded).to_string();
                    tx.run(&FILL, &args![folded]).await?;
                }
                Ok(tasks.len())
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Priority, Timestamp};

    fn task(title: &str, description: Option<&str>) -> Task {
        let now = Timestamp::from_micros_clamped(0);
        Task {
            id: 1,
            user_id: "alice".to_owned(),
            title: title.to_owned(),
            description: description.map(str::to_owned),
            completed: false,
            priority: Priority::Medium,
            due_date: None,
            created_at: now,
            updated_at: now,
        }
    }

    #[test]
    fn a_task_that_was_renamed_after_it_was_read_is_noticed() {
        let search = |unfolded: &[TaskId]| Search {
            text: fold("Straße"),
            unfolded: unfolded.to_vec(),
        };
        let found = [
            task("Große STRASSE", None),
            task("Rent", Some("in dieser Straße")),
        ];
        assert!(!search(&[1]).is_outdated(&found));
        let renamed = [task("Rent", Some("paid"))];
        assert!(search(&[1]).is_outdated(&renamed));
        // Another one is found by its folded copies, whatever they are.
        assert!(!search(&[2]).is_outdated(&renamed));
    }
}
