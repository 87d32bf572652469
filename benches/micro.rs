//! What the steps of a request cost that are the daemon's own:
//! `cargo bench --features micro --bench micro`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark may panic, and has no reader of its documentation"
)]

use divan::{Bencher, black_box};
use todoctl::api::micro;
use todoctl::config::Secret;
use todoctl::domain::{Priority, Task, Timestamp, UserId, fold};
use todoctl::store::SessionHash;

fn main() {
    divan::main();
}

#[divan::bench]
fn authenticate_jwt(bencher: Bencher<'_, '_>) {
    let token = micro::access_token(&UserId::new("usr_1").unwrap()).unwrap();
    assert!(micro::identify(&token).is_some());
    bencher.bench(|| micro::identify(black_box(&token)));
}

#[divan::bench]
fn hash_session_token(bencher: Bencher<'_, '_>) {
    let secret = Secret::new("a-secret-that-nothing-else-is-signed-with");
    bencher.bench(|| SessionHash::new(&secret, black_box("a-token-of-a-session-of-a-user")));
}

#[divan::bench(args = ["/tasks/", "/tasks/4711", "/api/user-api-keys/current", "/nowhere"])]
fn route(path: &str) -> &'static str {
    micro::route(black_box(path))
}

#[divan::bench]
fn read_query(bencher: Bencher<'_, '_>) {
    let query = "search=water&priority=High&completed=false&due_before=2031-01-02&limit=20";
    assert!(micro::read_query(query));
    bencher.bench(|| micro::read_query(black_box(query)));
}

#[divan::bench]
fn read_body(bencher: Bencher<'_, '_>) {
    let body = br#"{"title": "Water the plants", "description": "The ferns too",
        "priority": "High", "due_date": "2031-01-02T03:04:05Z"}"#;
    assert!(micro::read_body(body));
    bencher.bench(|| micro::read_body(black_box(body)));
}

#[divan::bench]
fn fold_title() -> String {
    fold(black_box("Water the plants, GROẞE FARNE too"))
}

#[divan::bench(args = [1, 20, 200])]
fn serialize_tasks(bencher: Bencher<'_, '_>, number: i64) {
    let tasks: Vec<Task> = (1..=number).map(task).collect();
    bencher.bench(|| micro::serialize(black_box(&tasks)));
}

fn task(id: i64) -> Task {
    let time = Timestamp::from_micros(1_925_000_000_123_456).unwrap();
    Task {
        id,
        user_id: "usr_1".to_owned(),
        title: format!("Task {id}"),
        description: Some(format!("What there is to say about task {id}")),
        completed: false,
        priority: Priority::High,
        due_date: Some(time),
        created_at: time,
        updated_at: time,
    }
}
