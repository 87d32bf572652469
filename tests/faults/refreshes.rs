//! Refresh tokens that cannot be found, because the table of the sign-in service is another one.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::refused::asked;

const ERRORS: &str = "daemon.errors";

faults! {
    NO_TABLE = Fault {
        title: "The table user_sessions is gone, and clients refresh their tokens",
        symptom: Symptom::Risk("refreshes are answered with 401, and users have to sign in again"),
        check: ERRORS,
        outcome: "warn",
        after: After::Person("the table is the sign-in service's"),
    };
    NO_COLUMN = Fault {
        title: "A column of user_sessions was renamed, and clients refresh their tokens",
        symptom: Symptom::Risk("refreshes are answered with 401, and users have to sign in again"),
        check: ERRORS,
        outcome: "warn",
        after: After::Person("the table is the sign-in service's"),
    };
}

/// Starts the daemon, which refuses twelve refreshes with this status.
fn refreshed(scene: &mut Scene, status: u16) {
    scene.stop();
    let base = scene.start_at_its_port();
    let refresh = asked(12, |client| {
        let request = client.post(format!("{base}/api/auth/refresh"));
        request.header("Cookie", "refresh_token=canary")
    });
    assert_eq!(refresh, [status; 12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_sign_in_service() {
    let mut scene = Scene::sqlite().await;
    scene.set("AUTH_FAILURES_PER_MINUTE", "1000");
    refreshed(&mut scene, 401);
    scene.proves(&NO_TABLE).await;
    for (table, is_right) in [
        (r#"token text, "userId" text, expires_at text"#, false),
        (r#"hash text, "userId" text, "expiresAt" text"#, false),
        (r#"token text, "userId" text, "expiresAt" text"#, true),
    ] {
        let make =
            format!("DROP TABLE IF EXISTS user_sessions; CREATE TABLE user_sessions ({table})");
        sqlite(&scene.file(), &make).await;
        refreshed(&mut scene, 401);
        if is_right {
            let report = scene.doctor(ERRORS);
            let said = report.says(ERRORS, "warn", "").detail(ERRORS);
            assert!(said.contains("that is not in user_sessions"), "{said}");
        } else {
            scene.proves(&NO_COLUMN).await;
        }
    }
    let mut scene = Scene::postgres().await;
    scene.set("AUTH_FAILURES_PER_MINUTE", "1000");
    refreshed(&mut scene, 401);
    scene.proves(&NO_TABLE).await;
}
