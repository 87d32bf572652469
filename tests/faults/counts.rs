//! Numbers of unread notifications that are wrong.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

const CHECK: &str = "database.unread";

faults! {
    WRONG_COUNT = Fault {
        title: "The numbers of unread notifications are wrong",
        symptom: Symptom::Risk("users are told a wrong number of unread notifications"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_WRONG_COUNT = Fault {
        title: "SQLite: the numbers of unread notifications are wrong",
        symptom: Symptom::Risk("users are told a wrong number of unread notifications"),
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

const NOTIFICATION: &str = "INSERT INTO notifications (user_id, type, message, created_at)
                            VALUES ('me', 'due_soon', 'one', 1)";

/// Too high, too low, and missing.
const WRONG: [&str; 3] = [
    "UPDATE todoctl_unread SET unread = 7",
    "INSERT INTO todoctl_unread (user_id, unread) VALUES ('nobody', -1)",
    "DELETE FROM todoctl_unread",
];

#[tokio::test]
async fn wrong_counts() {
    let mut scene = Scene::postgres_after(&NOTIFICATION.replace(", 1)", ", now())")).await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    for wrong in WRONG {
        scene.sql(wrong).await;
        scene.proves(&WRONG_COUNT).await;
    }
}

#[tokio::test]
async fn wrong_counts_in_a_file() {
    let mut scene = Scene::sqlite().await;
    sqlite(&scene.file(), NOTIFICATION).await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    for wrong in WRONG {
        sqlite(&scene.file(), wrong).await;
        scene.proves(&FILE_WRONG_COUNT).await;
    }
}
