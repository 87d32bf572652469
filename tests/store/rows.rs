//! What is written is what is read, or an error.

use std::collections::BTreeSet;

use rstest::rstest;
use todoctl::domain::{Description, NewTask, Patch, Priority, TaskChanges, Timestamp, Title};
use todoctl::store::{Store, StoreError, TaskFilter};

use super::{connect, task, user};
use crate::support::Database;
use crate::support::Engine::{self, Postgres, Sqlite};

async fn open(engine: Engine) -> (Database, Store) {
    let database = Database::migrated(engine).await;
    let store = connect(database.target(), 2).await;
    (database, store)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Columns of `tasks` that no client sees.
const INTERNAL: [&str; 5] = [
    "reminder_sent",
    "search_title",
    "search_description",
    // SQLite's, for earlier versions.
    "title_folded",
    "description_folded",
];

/// A column that only one engine has, or that the store does not read, fails here.
#[rstest]
#[tokio::test]
async fn a_task_has_a_field_for_each_column(#[values(Sqlite, Postgres)] engine: Engine) {
    let (database, store) = open(engine).await;
    let created = store.create_task(&task("any")).await.unwrap();
    let fields = serde_json::to_value(&created).unwrap();
    let fields: BTreeSet<String> = fields.as_object().unwrap().keys().cloned().collect();
    let columns: Vec<String> = database
        .column(match engine {
            Sqlite => "SELECT name FROM pragma_table_info('tasks')",
            Postgres => {
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'tasks'"
            }
        })
        .await;
    let mut columns = BTreeSet::from_iter(columns);
    columns.retain(|name| !INTERNAL.contains(&name.as_str()));
    assert_eq!(columns, fields);
}

/// A field that is missing in the statements that create or update a task fails here, and so does
/// one that no update changes.
#[rstest]
#[tokio::test]
async fn every_field_of_a_task_is_stored(#[values(Sqlite, Postgres)] engine: Engine) {
    let new = NewTask {
        user_id: user(),
        title: Title::new("first").unwrap(),
        description: Description::new("words").unwrap(),
        priority: Priority::Urgent,
        due_date: Some(at("2031-01-02T03:04:05.678901Z")),
    };
    let changes = TaskChanges {
        title: Some(Title::new("second").unwrap()),
        description: Patch::Set(Description::new("other words").unwrap()),
        completed: Some(true),
        priority: Some(Priority::Low),
        due_date: Patch::Set(Some(at("2032-01-02T03:04:05Z"))),
    };
    let (_database, store) = open(engine).await;
    let created = store.create_task(&new).await.unwrap();
    assert_eq!(created.user_id, "usr_1");
    assert_eq!(created.title, "first");
    assert_eq!(created.description.as_deref(), Some("words"));
    assert!(!created.completed);
    assert_eq!(created.priority, Priority::Urgent);
    assert_eq!(created.due_date, new.due_date);
    let stored = serde_json::to_value(&created).unwrap();
    for (name, value) in serde_json::to_value(&new).unwrap().as_object().unwrap() {
        assert!(!value.is_null(), "this test creates a task without {name}");
        assert_eq!(&stored[name], value, "{name}");
    }
    let read = store.task(&user(), created.id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&created));

    let updated = store.update_task(&user(), created.id, &changes).await;
    let updated = updated.unwrap().unwrap();
    assert_eq!(updated.title, "second");
    assert_eq!(updated.description.as_deref(), Some("other words"));
    assert!(updated.completed);
    assert_eq!(updated.priority, Priority::Low);
    assert_eq!(updated.due_date, Some(at("2032-01-02T03:04:05Z")));
    assert_eq!(updated.created_at, created.created_at);
    for (name, value) in serde_json::to_value(&updated).unwrap().as_object().unwrap() {
        let is_fixed = ["id", "user_id", "created_at"].contains(&name.as_str());
        assert_eq!(&stored[name] == value, is_fixed, "{name}");
    }
    let page = store.tasks(&user(), &TaskFilter::default(), 10, 0).await;
    assert_eq!(page.unwrap().tasks, [updated]);
}

/// A statement that runs outside a transaction is committed after its rows were sent: an error
/// of that commit must not be lost.
#[rstest]
#[tokio::test]
async fn a_failing_commit_is_an_error(#[values(Sqlite, Postgres)] engine: Engine) {
    let (database, store) = open(engine).await;
    let kept = store.create_task(&task("kept")).await.unwrap();
    database
        .execute(match engine {
            Sqlite => {
                "CREATE TABLE parent (id INTEGER PRIMARY KEY);
                 CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER inserted AFTER INSERT ON tasks BEGIN INSERT INTO child VALUES (1); END;
                 CREATE TRIGGER updated AFTER UPDATE ON tasks BEGIN INSERT INTO child VALUES (1); END;"
            }
            Postgres => {
                "CREATE TABLE parent (id bigint PRIMARY KEY);
                 CREATE TABLE child (parent bigint REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
                 CREATE FUNCTION violate() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO child VALUES (1); RETURN NEW; END $$;
                 CREATE TRIGGER violate AFTER INSERT OR UPDATE ON tasks
                     FOR EACH ROW EXECUTE FUNCTION violate();"
            }
        })
        .await;
    let created = store.create_task(&task("lost")).await;
    assert!(
        matches!(created, Err(StoreError::Constraint { .. })),
        "{created:?}"
    );
    let changes = TaskChanges {
        completed: Some(true),
        ..TaskChanges::default()
    };
    let updated = store.update_task(&user(), kept.id, &changes).await;
    assert!(
        matches!(updated, Err(StoreError::Constraint { .. })),
        "{updated:?}"
    );
    let page = store.tasks(&user(), &TaskFilter::default(), 10, 0).await;
    assert_eq!(page.unwrap().tasks, [kept]);
}

/// Other programs may store times that have no place in the years 1 to 9999.
#[rstest]
#[tokio::test]
async fn times_out_of_range_are_read_as_the_nearest_end(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (database, store) = open(engine).await;
    let odd = match engine {
        Sqlite => [
            ("9223372036854775807", Timestamp::MAX),
            ("253402300800000000", Timestamp::MAX),
            ("-9223372036854775808", Timestamp::MIN),
            ("-62135596800000001", Timestamp::MIN),
        ],
        Postgres => [
            ("'infinity'", Timestamp::MAX),
            ("'10000-01-01T00:00:00Z'", Timestamp::MAX),
            ("'-infinity'", Timestamp::MIN),
            ("'0044-03-15 12:00:00+00 BC'", Timestamp::MIN),
        ],
    };
    let id = store.create_task(&task("odd")).await.unwrap().id;
    for (stored, expected) in odd {
        database
            .execute(&format!("UPDATE tasks SET due_date = {stored}"))
            .await;
        let read = store.task(&user(), id).await.unwrap().unwrap();
        assert_eq!(read.due_date, Some(expected), "{stored}");
    }
}

/// What other programs store in a column does not hide the task, and a change of it is answered.
#[rstest]
#[case::text(Sqlite, "UPDATE tasks SET due_date = '2031-01-01'")]
#[case::real(Sqlite, "UPDATE tasks SET due_date = 1.5")]
#[case::blob(Sqlite, "UPDATE tasks SET created_at = x'ff', updated_at = 'x'")]
#[case::label(
    Postgres,
    "ALTER TYPE prioritylevel ADD VALUE 'Critical'; COMMIT; UPDATE tasks SET priority = 'Critical'"
)]
#[tokio::test]
async fn odd_values_do_not_hide_a_task(#[case] engine: Engine, #[case] odd: &str) {
    let (database, store) = open(engine).await;
    let id = store.create_task(&task("odd")).await.unwrap().id;
    database.execute(odd).await;
    let page = store
        .tasks(&user(), &TaskFilter::default(), 10, 0)
        .await
        .unwrap();
    assert_eq!((page.tasks.len(), page.total), (1, 1));
    let changes = TaskChanges {
        completed: Some(true),
        ..TaskChanges::default()
    };
    let changed = store.update_task(&user(), id, &changes).await.unwrap();
    assert!(changed.unwrap().completed);
}

/// A row that cannot be read does not hide the others, in lists and in the upkeep of searches.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out() {
    let (database, store) = open(Sqlite).await;
    store.create_task(&task("odd")).await.unwrap();
    database
        .execute("UPDATE tasks SET title = CAST(x'ff' AS TEXT), search_title = NULL")
        .await;
    store.create_task(&task("even")).await.unwrap();
    let page = store
        .tasks(&user(), &TaskFilter::default(), 10, 0)
        .await
        .unwrap();
    let titles: Vec<_> = page.tasks.iter().map(|task| task.title.as_str()).collect();
    assert_eq!((titles, page.total), (vec!["even"], 2));
    assert_eq!(store.fold_tasks(10).await.unwrap(), 0);
}

/// The error names table, row and column, so that the value can be found and corrected.
#[tokio::test]
async fn a_value_that_cannot_be_read_is_named() {
    let (database, store) = open(Sqlite).await;
    let id = store.create_task(&task("odd")).await.unwrap().id;
    database
        .execute("UPDATE tasks SET title = CAST(x'ff' AS TEXT)")
        .await;
    let error = store.task(&user(), id).await.unwrap_err();
    let StoreError::Corrupt {
        table, column, row, ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!((table, column.as_str(), row), ("tasks", "title", id));
}

/// Times that other programs stored, and that no client can: lists by cursor have every task once,
/// and end.
#[rstest]
#[tokio::test]
async fn cursors_over_odd_times(#[values(Sqlite, Postgres)] engine: Engine) {
    let (database, store) = open(engine).await;
    let odd = match engine {
        Sqlite => [
            "-9223372036854775808",
            "-99999999999999999",
            "-62135596800000001",
            "0",
            "253402300800000000",
            "9223372036854775807",
        ],
        Postgres => [
            "'-infinity'",
            "'4713-01-01 00:00:00 BC'",
            "'0001-12-31 23:59:59.999999 BC'",
            "'1970-01-01 00:00:00Z'",
            "'10000-01-01 00:00:00Z'",
            "'infinity'",
        ],
    };
    let mut ids = BTreeSet::new();
    for number in 0..18 {
        let id = store.create_task(&task("odd")).await.unwrap().id;
        ids.insert(id);
        if let Some(time) = odd.get(number / 3) {
            let set = format!("UPDATE tasks SET created_at = {time} WHERE id = {id}");
            database.execute(&set).await;
        }
    }
    ids.extend([store.create_task(&task("now")).await.unwrap().id]);
    if engine == Sqlite {
        // No cursor can name such a position, so the row is in no list by cursor.
        let id = store.create_task(&task("text")).await.unwrap().id;
        let set = format!("UPDATE tasks SET created_at = 'yesterday' WHERE id = {id}");
        database.execute(&set).await;
    }
    for limit in [1, 2, 5, 19, 50] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let filter = TaskFilter::default();
            let page = store.tasks_after(&user(), &filter, limit, after).await;
            let page = page.unwrap();
            found.extend(page.tasks.iter().map(|task| task.id));
            assert!(found.len() <= ids.len(), "{limit}: {found:?}");
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), ids.len(), "{limit}");
        assert_eq!(BTreeSet::from_iter(found), ids, "{limit}");
    }
}

/// A text that no request can contain: the same on both engines.
#[rstest]
#[tokio::test]
async fn texts_with_nul_are_refused(#[values(Sqlite, Postgres)] engine: Engine) {
    let (database, store) = open(engine).await;
    let session = todoctl::store::NewSession {
        hash: todoctl::store::SessionHash::new(&todoctl::config::Secret::new("s"), "t"),
        user: user(),
        label: Some("a\0b".to_owned()),
        expires_at: at("2031-01-01T00:00:00Z"),
    };
    let error = store.create_session(&session).await.unwrap_err();
    assert!(matches!(error, StoreError::Unstorable(_)), "{error:?}");
    assert!(!error.is_unavailable());
    let stored: Vec<i64> = database
        .column("SELECT count(*) FROM todoctl_sessions")
        .await;
    assert_eq!(stored, [0]);
}
