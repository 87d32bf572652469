//! Contract 3.4: a search finds the same tasks on both engines, with an index and without.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rstest::rstest;
use todoctl::domain::{Description, NewTask, Patch, Task, TaskChanges, Title, UserId, fold};
use todoctl::jobs::{SearchUpkeep, Stop};
use todoctl::store::{SearchIndex, Store, TaskFilter};

use super::{connect, task, user};
use crate::support::Database;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::texts::text;

/// A part of `text`, in another form.
fn variant(text: &str, from: usize, length: usize, form: usize) -> String {
    let signs: Vec<char> = text.chars().collect();
    let from = from % signs.len();
    let part: String = signs.into_iter().skip(from).take(length).collect();
    match form {
        0 => part.to_uppercase(),
        1 => part.to_lowercase(),
        _ => part,
    }
}

/// A database, and whether an index leads to the tasks that contain a text.
struct Place {
    database: Database,
    store: Store,
    name: &'static str,
}

impl Place {
    async fn plain(engine: Engine, name: &'static str) -> Self {
        let database = Database::migrated(engine).await;
        let store = connect(database.target(), 2).await;
        Self {
            database,
            store,
            name,
        }
    }

    /// PostgreSQL with `pg_trgm`, where a search has no other index to use.
    async fn with_trigrams() -> Self {
        let database = Database::migrated(Postgres).await;
        let first = connect(database.target(), 2).await;
        SearchUpkeep::new(first.clone())
            .run(&Stop::never())
            .await
            .unwrap();
        assert!(first.has_search_index(SearchIndex::Trigrams).await.unwrap());
        database
            .execute(
                "DROP INDEX tasks_user_newest_idx;
                 DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$",
            )
            .await;
        let store = connect(database.target(), 2).await;
        Self {
            database,
            store,
            name: "PostgreSQL with pg_trgm",
        }
    }

    /// Compares the pages and the cursor's slices of a search with the tasks that have the text.
    async fn check(&self, user: &UserId, all: &[Task], search: &str) -> Result<(), TestCaseError> {
        let wanted = fold(search);
        let has = |text: &str| fold(text).contains(&wanted);
        let mut expected: Vec<&str> = all
            .iter()
            .filter(|task| has(&task.title) || task.description.as_deref().is_some_and(has))
            .map(|task| task.title.as_str())
            .collect();
        expected.reverse();
        let filter = TaskFilter {
            search: Some(search.to_owned()),
            ..TaskFilter::default()
        };
        let page = self.store.tasks(user, &filter, 100, 0).await.unwrap();
        let found: Vec<&str> = page.tasks.iter().map(|task| task.title.as_str()).collect();
        prop_assert_eq!(&found, &expected, "{}: {:?}", self.name, search);
        prop_assert_eq!(page.total, i64::try_from(expected.len()).unwrap());
        let mut sliced = Vec::new();
        let mut after = None;
        loop {
            let slice = self
                .store
                .tasks_after(user, &filter, 2, after)
                .await
                .unwrap();
            sliced.extend(slice.tasks);
            after = slice.next;
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(sliced, page.tasks, "{}: {:?}", self.name, search);
        Ok(())
    }

    /// Stores the texts, compares the searches, and again where half of the rows, and then none,
    /// have folded copies.
    async fn try_case(
        &self,
        user: &UserId,
        texts: &[(Title, Option<Description>)],
        searches: &[String],
    ) -> Result<(), TestCaseError> {
        let mut all = Vec::new();
        for (title, description) in texts {
            let new = NewTask {
                user_id: user.clone(),
                title: title.clone(),
                description: description.clone(),
                ..task("any")
            };
            all.push(self.store.create_task(&new).await.unwrap());
        }
        for rows in ["FALSE", "id % 2 = 0", "TRUE"] {
            self.database
                .execute(&format!(
                    "UPDATE tasks SET search_title = NULL, search_description = NULL
                     WHERE user_id = '{}' AND {rows}",
                    user.as_str()
                ))
                .await;
            for search in searches {
                self.check(user, &all, search).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_engine_finds_what_the_folded_texts_contain() {
    let places = [
        Place::plain(Sqlite, "SQLite").await,
        Place::plain(Postgres, "PostgreSQL").await,
        Place::with_trigrams().await,
    ];
    let texts = prop::collection::vec((text(1..9), text(0..9)), 1..6);
    let shapes = prop::collection::vec((any::<usize>(), 1..6_usize, 0..3_usize), 3);
    let cases = (texts, shapes, text(1..4));
    let runtime = tokio::runtime::Handle::current();
    let number = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 40,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&cases, |(texts, shapes, random)| {
        let texts: Vec<(Title, Option<Description>)> = texts
            .iter()
            .filter_map(|(title, description)| {
                Some((
                    Title::new(title).ok()?,
                    Description::new(description).unwrap(),
                ))
            })
            .collect();
        let Some((title, description)) = texts.first() else {
            return Ok(());
        };
        let mut searches: Vec<String> = shapes
            .into_iter()
            .zip([
                title.as_str(),
                title.as_str(),
                description.as_ref().map_or("x", Description::as_str),
            ])
            .map(|((from, length, form), text)| variant(text, from, length, form))
            .collect();
        searches.push(random);
        number.set(number.get() + 1);
        let user = UserId::new(format!("user_{}", number.get())).unwrap();
        for place in &places {
            tokio::task::block_in_place(|| {
                runtime.block_on(place.try_case(&user, &texts, &searches))
            })?;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

async fn found(store: &Store, search: &str) -> Vec<i64> {
    let filter = TaskFilter {
        search: Some(search.to_owned()),
        ..TaskFilter::default()
    };
    let page = store.tasks(&user(), &filter, 100, 0).await.unwrap();
    page.tasks.iter().map(|task| task.id).collect()
}

async fn unfolded(database: &Database) -> i64 {
    let count = "SELECT count(*) FROM tasks WHERE search_title IS NULL";
    database.column(count).await[0]
}

/// What another program inserts, as a plain statement.
async fn insert_plainly(database: &Database, title: &str) {
    let (columns, values) = match database.engine() {
        Postgres => ("", ""),
        Sqlite => (", created_at, updated_at, title_folded", ", 1, 1, ''"),
    };
    database
        .execute(&format!(
            "INSERT INTO tasks (user_id, title{columns}) VALUES ('usr_1', '{title}'{values})"
        ))
        .await;
}

/// Rows of other programs are found at once, and no earlier text of them is.
#[rstest]
#[tokio::test]
async fn what_another_program_writes_is_found(#[values(Sqlite, Postgres)] engine: Engine) {
    let database = Database::migrated(engine).await;
    let store = connect(database.target(), 2).await;
    insert_plainly(&database, "Große Straße").await;
    let id = found(&store, "STRASSE").await[0];
    assert_eq!(unfolded(&database).await, 1);
    assert_eq!(store.fold_tasks(10).await.unwrap(), 1);
    assert_eq!(store.fold_tasks(10).await.unwrap(), 0);
    assert_eq!(found(&store, "STRASSE").await, [id]);
    for (change, earlier, now) in [
        ("title = 'Ｆｕｌｌ width'", "strasse", "full width"),
        ("description = 'ΟΔΟΣ'", "ΝΌΜΟΣ", "οδος"),
        ("title = 'Third', description = NULL", "οδος", "third"),
    ] {
        database
            .execute(&format!("UPDATE tasks SET {change}"))
            .await;
        for is_folded in [false, true] {
            assert_eq!(unfolded(&database).await, i64::from(!is_folded), "{change}");
            assert_eq!(found(&store, now).await, [id], "{change}");
            assert_eq!(found(&store, earlier).await, [0; 0], "{change}");
            store.fold_tasks(10).await.unwrap();
        }
    }
    // Another column's change leaves the folded texts.
    database.execute("UPDATE tasks SET completed = TRUE").await;
    assert_eq!(unfolded(&database).await, 0);
    database.execute("DELETE FROM tasks").await;
    assert_eq!(found(&store, "third").await, [0; 0]);
}

/// A search reads the rows of other programs first, and then the page. What was changed between
/// these two is not found by its earlier text.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_program_changes_meanwhile(#[values(Sqlite, Postgres)] engine: Engine) {
    let database = Database::migrated(engine).await;
    let store = connect(database.target(), 2).await;
    insert_plainly(&database, "milk").await;
    let filter = TaskFilter {
        search: Some("MILK".to_owned()),
        ..TaskFilter::default()
    };
    let is_over = AtomicBool::new(false);
    let changes = async {
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            for title in ["bread", "milk"] {
                let change = format!("UPDATE tasks SET title = '{title}'");
                database.execute(&change).await;
            }
            count += 1;
        }
        count
    };
    let searches = async {
        let mut seen = 0;
        for _ in 0..300 {
            let page = store.tasks(&user(), &filter, 10, 0).await.unwrap();
            let slice = store.tasks_after(&user(), &filter, 10, None).await.unwrap();
            for task in page.tasks.iter().chain(&slice.tasks) {
                assert_eq!(task.title.as_str(), "milk");
                seen += 1;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        seen
    };
    let (changes, seen) = tokio::join!(changes, searches);
    assert!(
        changes > 0 && seen > 0,
        "{changes} changes, {seen} tasks found"
    );
}

/// A row without folded texts stays one when todoctl changes one of its texts.
#[rstest]
#[tokio::test]
async fn half_a_row_is_not_folded(#[values(Sqlite, Postgres)] engine: Engine) {
    let database = Database::migrated(engine).await;
    let store = connect(database.target(), 2).await;
    insert_plainly(&database, "Äpfel").await;
    let id = found(&store, "äpfel").await[0];
    let changes = TaskChanges {
        description: Patch::Set(Description::new("BIRNEN").unwrap()),
        ..TaskChanges::default()
    };
    store.update_task(&user(), id, &changes).await.unwrap();
    for _ in 0..2 {
        assert_eq!(found(&store, "ÄPFEL").await, [id]);
        assert_eq!(found(&store, "birnen").await, [id]);
        store.fold_tasks(10).await.unwrap();
    }
    // Its copies are those of the texts as they are now.
    let changes = TaskChanges {
        title: Some(Title::new("Pflaumen").unwrap()),
        ..TaskChanges::default()
    };
    store.update_task(&user(), id, &changes).await.unwrap();
    assert_eq!(unfolded(&database).await, 0);
    assert_eq!(found(&store, "pflaumen").await, [id]);
    assert_eq!(found(&store, "äpfel").await, [0; 0]);
    assert_eq!(found(&store, "birnen").await, [id]);
}

/// Two processes fold the same rows: each is folded once, and none is left.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_fold(#[values(Sqlite, Postgres)] engine: Engine) {
    let database = Database::migrated(engine).await;
    let stores = [
        connect(database.target(), 2).await,
        connect(database.target(), 2).await,
    ];
    for number in 0..100 {
        insert_plainly(&database, &format!("Größe {number}")).await;
    }
    let fold = async |store: &Store| {
        let mut all = 0;
        loop {
            match store.fold_tasks(10).await.unwrap() {
                0 => return all,
                folded => all += folded,
            }
        }
    };
    let (one, other) = tokio::join!(fold(&stores[0]), fold(&stores[1]));
    // A process may end while the other has the last rows locked.
    let rest = fold(&stores[0]).await;
    assert_eq!(one + other + rest, 100);
    assert_eq!(unfolded(&database).await, 0);
    let ids: BTreeSet<i64> = found(&stores[1], "GRÖSSE").await.into_iter().collect();
    assert_eq!(ids.len(), 100);
}
