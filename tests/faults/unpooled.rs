//! Faults of `DATABASE_URL_UNPOOLED` while `DATABASE_URL` is right: they are told of that variable.

use url::Url;

use super::pgbouncer::{Behind, PERSON};
use crate::faults::harness::{After, Fault, Symptom, faults};
use crate::support::process::free_port;

const CHECK: &str = "database.migrations";
const VARIABLE: &str = "DATABASE_URL_UNPOOLED";

faults! {
    OLD_PASSWORD = Fault {
        after: After::Person("nobody else knows the password"),
        ..Fault::failing(
            "DATABASE_URL_UNPOOLED has an old password",
            Symptom::Start("of DATABASE_URL_UNPOOLED: password authentication failed"),
            CHECK,
        )
    };
    OLD_ADDRESS = Fault {
        after: After::Person("only a person knows where the server is"),
        ..Fault::failing(
            "DATABASE_URL_UNPOOLED has an old port",
            Symptom::Risk("the daemon does not start"),
            CHECK,
        )
    };
    OTHER_SPELLING = Fault::failing(
        "DATABASE_URL_UNPOOLED names a database that is not there",
        Symptom::Start("does not exist; there is a database"),
        CHECK,
    );
    TO_THE_POOLER = Fault {
        after: PERSON,
        ..Fault::failing(
            "DATABASE_URL_UNPOOLED leads to the pooler too",
            Symptom::Start("migrations cannot run through the pooler"),
            "database.pooler",
        )
    };
}

#[tokio::test]
async fn the_variable_of_the_connection_that_fails() {
    let mut behind = Behind::new().await;
    let pooler = behind.pooler("", "");
    let right = behind.direct.clone();
    let mut wrong = Url::parse(&right).unwrap();
    wrong.set_password(Some("canary-of-the-past")).unwrap();
    behind.scene.set(VARIABLE, wrong.as_str());
    behind.scene.proves(&OLD_PASSWORD).await;
    says(&behind, "config set DATABASE_URL_UNPOOLED.password=-");

    let mut wrong = Url::parse(&right).unwrap();
    wrong.set_port(Some(free_port())).unwrap();
    behind.scene.set(VARIABLE, wrong.as_str());
    behind.scene.proves(&OLD_ADDRESS).await;
    says(&behind, "correct host and port in DATABASE_URL_UNPOOLED");
    behind.scene.set(VARIABLE, &right);
    behind.scene.proves_gone(&OLD_ADDRESS);

    let name = behind.name();
    behind
        .scene
        .set(VARIABLE, &right.replace(&name, &name.to_uppercase()));
    behind.scene.proves(&OTHER_SPELLING).await;
    assert_eq!(behind.scene.get(VARIABLE).as_deref(), Some(right.as_str()));

    behind.scene.set(VARIABLE, &pooler.url);
    behind.scene.proves(&TO_THE_POOLER).await;
    let report = behind.scene.doctor(TO_THE_POOLER.check);
    let detail = report.detail(TO_THE_POOLER.check);
    assert!(
        detail.ends_with("UNPOOLED leads to the pooler too"),
        "{detail}"
    );
    drop(pooler);
}

/// What the remedy says, and that it leaves the other variable alone.
fn says(behind: &Behind, wanted: &str) {
    let report = behind.scene.doctor(CHECK);
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(remedy.contains(wanted), "{remedy}");
    assert!(!remedy.contains("DATABASE_URL."), "{remedy}");
    let detail = report.detail(CHECK);
    assert!(detail.contains("of DATABASE_URL_UNPOOLED"), "{detail}");
}
