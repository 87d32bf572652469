//! SQLite: values that other programs stored in another form.

use std::process::Command;

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::sqlite_shell::sqlite3;

const CHECK: &str = "database.values";

faults! {
    NUL = Fault {
        title: "SQLite: a text contains a NUL",
        symptom: Symptom::Risk("searches do not find what is behind it"),
        check: CHECK,
        outcome: "warn",
        after: After::Person("only a person knows what the text should be"),
    };
    OLD_STATISTICS = Fault::warned_of(
        "SQLite: ANALYZE counted the rows long ago",
        Symptom::Risk("lists read more rows than they need"),
        "database.statistics",
    );
}

/// Makes the fault, types the remedy, and shows that the check passes.
async fn corrected(scene: &Scene, change: &str, named: &str) {
    sqlite(&scene.file(), change).await;
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "UPDATE");
    let detail = report.detail(CHECK);
    assert!(detail.contains(named), "{detail}");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

/// The bytes are kept in a table, which is named and is no fault.
#[tokio::test(flavor = "multi_thread")]
async fn texts_in_another_encoding() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "UPDATE tasks SET title = CAST(x'66fc72203580' AS TEXT)",
    )
    .await;
    assert_eq!(scene.status("GET", "/tasks/1"), 500);
    corrected(
        &scene,
        "INSERT INTO notifications (user_id, type, message, created_at)
         VALUES ('me', 'due_soon', CAST(x'9366fc7294' AS TEXT), 1), ('me', 'due_soon', 'für', 1)",
        "tasks.title is not UTF-8 in 1 row (rowid 1)",
    )
    .await;
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
    assert_eq!(sqlite3(&scene, "SELECT title FROM tasks"), "für 5€");
    assert_eq!(
        sqlite3(&scene, "SELECT group_concat(message) FROM notifications"),
        "“für”,für"
    );
    assert_eq!(
        sqlite3(&scene, "SELECT hex(title) FROM set_aside_tasks"),
        "66FC72203580"
    );
    let report = scene.doctor("database.set_aside");
    report.says("database.set_aside", "skip", "");
    let detail = report.detail("database.set_aside");
    assert!(
        detail.contains("DROP TABLE \"set_aside_tasks\""),
        "{detail}"
    );
    assert_eq!(report.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_and_texts_of_other_types() {
    let scene = Scene::sqlite().await;
    // An integer from the first millisecond of 1970 is none of them.
    scene.doctor(CHECK).says(CHECK, "pass", "");
    corrected(
        &scene,
        "UPDATE tasks SET created_at = '2024-05-06 07:08:09.5', updated_at = 1714979289, due_date = 1714979289250",
        "tasks.created_at is stored as a text",
    )
    .await;
    assert_eq!(
        sqlite3(&scene, "SELECT created_at, updated_at, due_date FROM tasks"),
        "1714979289500000|1714979289000000|1714979289250000"
    );
    corrected(
        &scene,
        "UPDATE tasks SET updated_at = 1714979289.25, user_id = CAST('me' AS BLOB)",
        "tasks.user_id is stored as a number or as bytes",
    )
    .await;
    assert_eq!(
        sqlite3(
            &scene,
            "SELECT updated_at, typeof(user_id), user_id FROM tasks"
        ),
        "1714979289250000|text|me"
    );
    // As of an import from a CSV file.
    corrected(
        &scene,
        "UPDATE tasks SET due_date = ''",
        "tasks.due_date is stored as something else than a whole number",
    )
    .await;
    assert_eq!(sqlite3(&scene, "SELECT quote(due_date) FROM tasks"), "NULL");
}

/// On 2 January 1970 by the daemon's clock, in 1972, and the year 9999 in seconds: multiplied,
/// these would be times that nobody means.
#[tokio::test(flavor = "multi_thread")]
async fn times_of_a_wrong_clock() {
    let scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "UPDATE tasks SET created_at = 86400000000, updated_at = 63072000000000, due_date = 253402300799",
    )
    .await;
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "SELECT rowid");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(!remedy.contains("UPDATE tasks"), "{remedy}");
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    assert_eq!(
        sqlite3(&scene, "SELECT created_at, updated_at, due_date FROM tasks"),
        "86400000000|63072000000000|253402300799"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_with_a_nul() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "UPDATE tasks SET title = 'a' || char(0) || 'b'",
    )
    .await;
    scene.proves(&NUL).await;
    sqlite(&scene.file(), "UPDATE tasks SET title = 'a b'").await;
    scene.proves_gone(&NUL);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_few_rows() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "ANALYZE;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
         INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
         SELECT 'me', 'task', 'task', i, i FROM n",
    )
    .await;
    scene.proves(&OLD_STATISTICS).await;
}

/// As of a daemon whose clock was ahead, or of an import; and of one that is behind.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_future() {
    const CHECK: &str = "database.clock";
    let scene = Scene::sqlite().await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    sqlite(
        &scene.file(),
        "INSERT INTO tasks (user_id, title, title_folded, due_date, created_at, updated_at)
         SELECT 'me', 'two', 'two', at, at, at FROM (SELECT (unixepoch() + 260000) * 1000000 AS at)",
    )
    .await;
    let due = sqlite3(&scene, "SELECT due_date FROM tasks WHERE id = 2");
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "date -u");
    let detail = report.detail(CHECK);
    assert!(
        detail.starts_with("1 rows of tasks were written later") && detail.contains("3.0 days"),
        "{detail}"
    );
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let (_, update) = remedy.rsplit_once("# or: ").unwrap();
    assert!(scene.type_in(update).status.success(), "{update}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(
        sqlite3(
            &scene,
            "SELECT created_at, due_date FROM tasks WHERE id = 2"
        ),
        format!("1|{due}")
    );
    let touched = Command::new("touch")
        .args(["-d", "+40 days"])
        .arg(scene.path().join(".env"))
        .status();
    assert!(touched.unwrap().success());
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "timedatectl");
    let detail = report.detail(CHECK);
    assert!(detail.contains("is probably 40.0 days behind"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_no_request_could_send() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
         VALUES (' me ', 'two', 'two', 2, 2), ('me', '  ', '', 3, 3), ('me', printf('%.*c', 201, 'x'), 'x', 4, 4),
                ('me' || char(13), 'five', 'five', 5, 5), (char(9) || 'me', 'six', 'six', 6, 6), ('me' || char(160), 'seven', 'seven', 7, 7)",
    )
    .await;
    assert_eq!(scene.status("GET", "/tasks/2"), 404);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "trim");
    let detail = report.detail(CHECK);
    for text in [
        "tasks.user_id has blanks, tabs or ends of lines before or after it in 4 rows (rowid 2, 5, 6, 7)",
        "tasks.title is empty, or longer than requests may have it in 2 rows (rowid 3, 4)",
    ] {
        assert!(detail.contains(text), "{detail}");
    }
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    for id in [2, 5, 6, 7] {
        assert_eq!(scene.status("GET", &format!("/tasks/{id}")), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_constraints_refuse() {
    const CHECK: &str = "database.integrity";
    let scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "PRAGMA ignore_check_constraints = ON; UPDATE tasks SET completed = 'True', priority = ' urgent'",
    )
    .await;
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "UPDATE");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    for update in remedy
        .lines()
        .filter_map(|line| line.strip_prefix("# or: "))
    {
        assert!(scene.type_in(update).status.success(), "{update}");
    }
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(
        sqlite3(&scene, "SELECT completed, priority FROM tasks"),
        "1|Urgent"
    );
}
