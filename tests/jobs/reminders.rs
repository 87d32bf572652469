//! Contract 9.2, 10.37, 10.38, 10.41.

use std::collections::BTreeSet;
use std::time::Duration;

use rstest::rstest;
use todoctl::domain::{Patch, TaskChanges, Timestamp, UserId};
use todoctl::jobs::Jobs;
use todoctl::jobs::reminders::ReminderRun;

use crate::jobs::world::{NOON, World, at};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

fn kind(kind: &str, task: i64) -> (String, i64) {
    (kind.to_owned(), task)
}

async fn move_due(world: &World, task: i64, due: Timestamp) {
    let changes = TaskChanges {
        due_date: Patch::Set(Some(due)),
        ..TaskChanges::default()
    };
    let user = UserId::new("alice").unwrap();
    world
        .store
        .update_task(&user, task, &changes)
        .await
        .unwrap()
        .unwrap();
}

async fn complete(world: &World, task: i64) {
    let changes = TaskChanges {
        completed: Some(true),
        ..TaskChanges::default()
    };
    let user = UserId::new("alice").unwrap();
    world
        .store
        .update_task(&user, task, &changes)
        .await
        .unwrap()
        .unwrap();
}

/// 9.2: each notification's user, type and text; each is created once.
#[rstest]
#[tokio::test]
async fn what_is_due(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    let now = at(NOON);
    let second = Duration::from_secs(1);
    let day = Duration::from_secs(86_400);
    let overdue = world
        .task(
            "alice",
            "Pay \"the\" rent",
            Some(at("2031-05-10T11:59:59.999999Z")),
        )
        .await;
    let at_once = world.task("alice", "now", Some(now)).await;
    let in_a_day = world
        .task("alice", "in a day", Some(now.saturating_add(day)))
        .await;
    world
        .task("alice", "later", Some(now.saturating_add(day + second)))
        .await;
    world.task("alice", "some time", None).await;
    let done = world
        .task("alice", "done", Some(at("2031-05-10T11:00:00Z")))
        .await;
    complete(&world, done).await;
    let done_early = world
        .task("alice", "done early", Some(at("2031-05-10T13:00:00Z")))
        .await;
    complete(&world, done_early).await;
    let before = world
        .store
        .task(&UserId::new("alice").unwrap(), at_once)
        .await
        .unwrap();

    let run = world.remind(false).await;
    assert_eq!(
        run,
        ReminderRun {
            due_soon: 2,
            overdue: 1,
            mails: 0,
            skipped: 0
        }
    );
    let told = world.told("alice").await;
    let mut texts: Vec<_> = told
        .iter()
        .map(|one| {
            (
                one.task_id.unwrap(),
                one.kind.as_str(),
                one.message.as_str(),
            )
        })
        .collect();
    texts.sort_unstable();
    assert_eq!(
        texts,
        [
            (overdue, "overdue", "\"Pay \"the\" rent\" is overdue"),
            (at_once, "due_soon", "\"now\" is due soon"),
            (in_a_day, "due_soon", "\"in a day\" is due soon"),
        ]
    );
    assert!(
        told.iter()
            .all(|one| one.created_at == now && !one.is_read && !one.sent_email)
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM tasks WHERE reminder_sent")
            .await,
        2
    );
    // A reminder does not change the task.
    assert_eq!(
        world
            .store
            .task(&UserId::new("alice").unwrap(), at_once)
            .await
            .unwrap(),
        before
    );

    assert_eq!(world.remind(false).await, ReminderRun::default());
    assert_eq!(
        world
            .metrics
            .notifications
            .with_label_values(&["due_soon"])
            .get(),
        2
    );
    assert_eq!(
        world
            .metrics
            .notifications
            .with_label_values(&["overdue"])
            .get(),
        1
    );
    assert_eq!(world.metrics.last_reminder_run.get(), now.unix_seconds());
}

/// 9.2: a day is a UTC day; a task that was due soon becomes overdue.
#[rstest]
#[tokio::test]
async fn over_midnight(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    world.clock.set(at("2031-05-10T23:59:59Z"));
    let old = world
        .task("alice", "old", Some(at("2031-05-01T00:00:00Z")))
        .await;
    let midnight = world
        .task("alice", "midnight", Some(at("2031-05-11T00:00:00Z")))
        .await;
    world.remind(false).await;
    let mut expected = vec![kind("due_soon", midnight), kind("overdue", old)];
    assert_eq!(world.kinds("alice").await, expected);
    world.clock.set(at("2031-05-11T00:00:00Z"));
    world.remind(false).await;
    expected.push(kind("overdue", old));
    assert_eq!(world.kinds("alice").await, expected);
    world.clock.set(at("2031-05-11T00:15:00Z"));
    world.remind(false).await;
    expected.push(kind("overdue", midnight));
    assert_eq!(world.kinds("alice").await, expected);
    world.clock.set(at("2031-05-11T23:59:59.999999Z"));
    world.remind(false).await;
    assert_eq!(world.kinds("alice").await, expected);
}

/// 10.41: a changed due date causes another reminder; the same instant does not.
#[rstest]
#[tokio::test]
async fn a_changed_due_date(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    let task = world
        .task("alice", "t", Some(at("2031-05-10T13:00:00Z")))
        .await;
    world.remind(false).await;
    move_due(&world, task, at("2031-05-10T13:00:00Z")).await;
    assert_eq!(world.remind(false).await.due_soon, 0);
    move_due(&world, task, at("2031-05-10T14:00:00Z")).await;
    assert_eq!(world.remind(false).await.due_soon, 1);
    assert_eq!(world.remind(false).await.due_soon, 0);
    assert_eq!(world.kinds("alice").await.len(), 2);
}

/// 10.38: notifications of the previous service are not repeated, duplicates included.
#[rstest]
#[tokio::test]
async fn rows_of_the_previous_service(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    let twice = world
        .task("alice", "twice", Some(at("2031-05-09T00:00:00Z")))
        .await;
    let yesterday = world
        .task("alice", "yesterday", Some(at("2031-05-09T00:00:00Z")))
        .await;
    let reminded = world
        .task("alice", "reminded", Some(at("2031-05-10T13:00:00Z")))
        .await;
    let fresh = world
        .task("alice", "fresh", Some(at("2031-05-10T13:00:00Z")))
        .await;
    let row = |task: i64, kind: &str, time: &str| {
        format!("('alice', {task}, '{kind}', 'm', FALSE, FALSE, {time})")
    };
    let insert = |early: &str, today: &str| {
        format!(
            "INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at) VALUES {}, {}, {}, {}, {};
             UPDATE tasks SET reminder_sent = TRUE WHERE id = {reminded}",
            row(twice, "overdue", today), row(twice, "overdue", today), row(yesterday, "overdue", early),
            row(reminded, "due_soon", early), row(reminded, "due_soon", early),
        )
    };
    let (early, today) = (at("2031-05-09T23:59:59Z"), at("2031-05-10T00:00:00Z"));
    world
        .execute(
            &insert(&format!("'{early}'"), &format!("'{today}'")),
            &insert(&early.micros().to_string(), &today.micros().to_string()),
        )
        .await;
    let run = world.remind(false).await;
    assert_eq!(
        run,
        ReminderRun {
            due_soon: 1,
            overdue: 1,
            mails: 0,
            skipped: 0
        }
    );
    let mut newest = world.kinds("alice").await.split_off(5);
    newest.sort_unstable();
    assert_eq!(
        newest,
        [kind("due_soon", fresh), kind("overdue", yesterday)]
    );
}

/// 10.37: three processes at once create each notification exactly once.
#[rstest]
#[tokio::test]
async fn three_at_once(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    let mut wanted = BTreeSet::new();
    for number in 0..1200 {
        let due = if number % 2 == 0 {
            "2031-05-09T00:00:00Z"
        } else {
            "2031-05-10T18:00:00Z"
        };
        let user = format!("user{}", number % 7);
        wanted.insert(
            world
                .task(&user, &format!("t{number}"), Some(at(due)))
                .await,
        );
    }
    assert_eq!(world.remind_in_three_stores(&world.config).await, 1200);
    let mut told = BTreeSet::new();
    for user in 0..7 {
        for one in world.told(&format!("user{user}")).await {
            assert!(told.insert(one.task_id.unwrap()), "{one:?} twice");
        }
    }
    assert_eq!(told, wanted);
}

/// 10.38: a row that the database rejects is skipped; the rest of its batch is not.
#[rstest]
#[tokio::test]
async fn a_bad_row(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    let mut bad = 0;
    for number in 0..700 {
        let task = world
            .task(
                "alice",
                &format!("t{number}"),
                Some(at("2031-05-09T00:00:00Z")),
            )
            .await;
        if number == 333 {
            bad = task;
        }
    }
    let soon = world
        .task("alice", "soon", Some(at("2031-05-10T13:00:00Z")))
        .await;
    world.execute(
        &format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF NEW.task_id = {bad} THEN RAISE EXCEPTION 'poison'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
        &format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON notifications WHEN NEW.task_id = {bad}
             BEGIN SELECT RAISE(ABORT, 'poison'); END"
        ),
    ).await;
    let run = world.remind(false).await;
    assert_eq!(
        run,
        ReminderRun {
            due_soon: 1,
            overdue: 699,
            mails: 0,
            skipped: 1
        }
    );
    let told: BTreeSet<i64> = world
        .told("alice")
        .await
        .into_iter()
        .map(|one| one.task_id.unwrap())
        .collect();
    assert_eq!(told.len(), 700);
    assert!(told.contains(&soon) && !told.contains(&bad));
    assert_eq!(world.metrics.skipped_tasks.get(), 1);
    world
        .execute(
            "DROP TRIGGER refuse ON notifications",
            "DROP TRIGGER refuse",
        )
        .await;
    assert_eq!(
        world.remind(false).await,
        ReminderRun {
            overdue: 1,
            ..ReminderRun::default()
        }
    );
}

/// A stop ends a run after the batch in progress; the next run does the rest.
#[rstest]
#[tokio::test]
async fn stopping(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    let overdue = Some(at("2031-05-09T00:00:00Z"));
    for number in 0..201 {
        world.task("alice", &format!("t{number}"), overdue).await;
    }
    let jobs = Jobs::start(
        world.store.clone(),
        world.clock.clone(),
        None,
        world.metrics.clone(),
    );
    // This test has one thread: the job has not begun yet.
    (jobs.stopper())();
    jobs.stop(Duration::from_secs(20)).await;
    let told = world.kinds("alice").await.len();
    assert!(told < 201, "the stop was ignored");
    assert_eq!(world.metrics.last_reminder_run.get(), 0);
    assert_eq!(world.remind(false).await.overdue, 201 - told);
}

/// 9.2: the job runs at start.
#[rstest]
#[tokio::test]
async fn at_start(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    world
        .task("alice", "t", Some(at("2031-05-09T00:00:00Z")))
        .await;
    let jobs = Jobs::start(
        world.store.clone(),
        world.clock.clone(),
        None,
        world.metrics.clone(),
    );
    eventually("the first run ends", async || {
        world.metrics.last_reminder_run.get() > 0
    })
    .await;
    jobs.stop(Duration::from_secs(20)).await;
    assert_eq!(world.kinds("alice").await.len(), 1);
}

/// 10.25: the stored count of unread notifications follows every change of the rows.
#[rstest]
#[tokio::test]
async fn the_count_of_unread(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    for number in 0..5 {
        world
            .task(
                "alice",
                &format!("t{number}"),
                Some(at("2031-05-09T00:00:00Z")),
            )
            .await;
    }
    world
        .task("bob", "b", Some(at("2031-05-09T00:00:00Z")))
        .await;
    world.remind(false).await;
    let counted = "SELECT CAST(COALESCE(SUM(unread), 0) AS bigint) FROM todoctl_unread WHERE user_id = 'alice'";
    assert_eq!(world.number(counted).await, 5);
    for (statement, expected) in [
        (
            "UPDATE notifications SET is_read = TRUE WHERE id IN (SELECT id FROM notifications WHERE user_id = 'alice' ORDER BY id LIMIT 2)",
            3,
        ),
        (
            "UPDATE notifications SET is_read = TRUE, sent_email = TRUE WHERE user_id = 'alice' AND is_read",
            3,
        ),
        (
            "UPDATE notifications SET is_read = FALSE WHERE user_id = 'alice'",
            5,
        ),
        (
            "UPDATE notifications SET user_id = 'alice' WHERE user_id = 'bob'",
            6,
        ),
        (
            "DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE user_id = 'alice' ORDER BY id LIMIT 1)",
            5,
        ),
        ("DELETE FROM tasks WHERE user_id = 'alice'", 1),
        ("DELETE FROM tasks", 0),
    ] {
        world
            .execute(statement, &format!("PRAGMA foreign_keys = ON; {statement}"))
            .await;
        assert_eq!(world.number(counted).await, expected, "{statement}");
    }
}
