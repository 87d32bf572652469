//! SQLite: damaged pages, and what they belong to.

use std::os::unix::fs::PermissionsExt as _;

use crate::faults::harness::Scene;
use crate::faults::scene::said;
use crate::faults::sqlite_shell::sqlite3;

const CHECK: &str = "database.integrity";

/// With 401 tasks that searches find.
async fn filled() -> Scene {
    let scene = Scene::sqlite().await;
    sqlite3(
        &scene,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
         INSERT INTO tasks (user_id, title, title_folded, search_title, created_at, updated_at)
         SELECT 'me', 'task ' || i, 'task ' || i, 'task ' || i, i, i FROM n;
         PRAGMA journal_mode = DELETE",
    );
    scene
}

/// Overwrites the page that this query finds.
fn damage(scene: &Scene, page: &str, with: u8) {
    let page: usize = sqlite3(scene, page).parse().unwrap();
    let mut bytes = std::fs::read(scene.file()).unwrap();
    bytes[(page - 1) * 4096..page * 4096].fill(with);
    std::fs::write(scene.file(), bytes).unwrap();
}

/// What the check says, and its remedy.
fn found(scene: &Scene) -> (String, String) {
    let report = scene.check(&["db", "check", "--format", "json"]);
    report.says(CHECK, "fail", "");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    (report.detail(CHECK).to_owned(), remedy.to_owned())
}

fn type_in(scene: &Scene, remedy: &str) {
    let output = scene.type_in(remedy);
    assert!(output.status.success(), "{remedy}\n{}", said(&output));
}

fn is_well(scene: &mut Scene) {
    assert_eq!(sqlite3(scene, "SELECT count(*) FROM tasks"), "401");
    let report = scene.check(&["db", "check", "--format", "json"]);
    assert_eq!(report.json["summary"]["fail"], 0, "{:#}", report.json);
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.end();
}

const LEAF: &str =
    "SELECT pageno FROM dbstat WHERE name = 'tasks_user_newest_idx' AND pagetype = 'leaf' LIMIT 1";
const ROOT: &str = "SELECT rootpage FROM sqlite_schema WHERE name = 'tasks_user_newest_idx'";

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_index() {
    for (page, with) in [(LEAF, 0), (ROOT, 0xa5)] {
        let mut scene = filled().await;
        damage(&scene, page, with);
        let (detail, remedy) = found(&scene);
        assert!(
            detail.starts_with("pages of the index tasks_user_newest_idx of tasks are damaged, and every row of every table can be read"),
            "{detail}"
        );
        assert!(remedy.contains("no backup is needed"), "{remedy}");
        type_in(&scene, &remedy);
        is_well(&mut scene);
        for file in ["todo.db", "todo.db.rescued.sql"] {
            let file = scene.path().join("data").join(file);
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        assert!(scene.path().join("data/todo.db.old").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_index_of_searches() {
    let mut scene = filled().await;
    let page =
        "SELECT max(pageno) FROM dbstat WHERE name = 'todoctl_search_data' AND pagetype = 'leaf'";
    damage(&scene, page, 0);
    let (detail, remedy) = found(&scene);
    assert!(
        detail.starts_with("pages of the index of searches are damaged, and the tasks are not"),
        "{detail}"
    );
    assert!(!remedy.contains("rescued"), "{remedy}");
    type_in(&scene, &remedy);
    is_well(&mut scene);
}

/// Rows are lost, but fewer than since the last backup.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_table() {
    let scene = filled().await;
    let page = "SELECT pageno FROM dbstat WHERE name = 'tasks' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 2";
    damage(&scene, page, 0);
    let (detail, remedy) = found(&scene);
    assert!(detail.starts_with("pages of tasks are damaged"), "{detail}");
    type_in(&scene, &remedy);
    let rescued = scene.path().join("data/todo.db.rescued");
    std::fs::rename(rescued, scene.file()).unwrap();
    let tasks: u32 = sqlite3(&scene, "SELECT count(*) FROM tasks")
        .parse()
        .unwrap();
    assert!((300..401).contains(&tasks), "{tasks}");
    for check in [CHECK, "database.trial"] {
        scene.doctor(check).says(check, "pass", "");
    }
}
