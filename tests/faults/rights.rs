//! Rights that are wider than the service needs.

use crate::faults::harness::{Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

const fn wide(title: &'static str, risk: &'static str) -> Fault {
    Fault::warned_of(title, Symptom::Risk(risk), "database.access")
}

const fn closed(title: &'static str, risk: &'static str, check: &'static str) -> Fault {
    Fault::failing(title, Symptom::Risk(risk), check)
}

faults! {
    SUPERUSER = wide(
        "The role of the service is a superuser",
        "its password opens the whole server",
    );
    CLOSED_FUNCTION = closed(
        "A function of the system is closed to other roles",
        "requests are answered with 503",
        "database.trial",
    );
    CLOSED_VIEW = closed(
        "A view of the system is closed to other roles",
        "what the server does cannot be seen",
        "database.sessions",
    );
    OPEN_TABLES = wide(
        "The tables are open to every role of the server",
        "other services read and change tasks",
    );
}

#[tokio::test]
async fn wide_rights() {
    let mut scene = Scene::postgres().await;
    // Nobody would act on it in development.
    scene
        .doctor("database.access")
        .says("database.access", "pass", "");
    scene.set("ENVIRONMENT", "production");
    let own = scene.get("DATABASE_URL").unwrap();
    // Nor where the server is the service's alone, whose first role it then has.
    scene
        .doctor("database.access")
        .says("database.access", "pass", "");
    let role = with_role(&mut scene, "SUPERUSER", "").await;
    scene.proves(&SUPERUSER).await;
    scene.start();
    scene
        .sql("GRANT SELECT, UPDATE ON tasks, todoctl_sessions TO PUBLIC")
        .await;
    scene.proves(&OPEN_TABLES).await;
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.set("DATABASE_URL", &own);
    scene
        .sql(&format!("REASSIGN OWNED BY {role} TO CURRENT_USER"))
        .await;
    drop_role_of(&mut scene, &role).await;
}

/// A role that has its rights as one of all roles keeps them.
#[tokio::test]
async fn rights_of_all_roles_become_the_services() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene.set("ENVIRONMENT", "production");
    scene
        .sql(&format!(
            "REVOKE ALL ON tasks FROM {role}; GRANT ALL ON tasks TO PUBLIC"
        ))
        .await;
    let report = scene.doctor("database.access");
    let remedy = report.check("database.access")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene
        .doctor("database.access")
        .says("database.access", "pass", "");
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    drop_role_of(&mut scene, &role).await;
}

/// As guides for hardening recommend. Rights on the service's own schema would change nothing.
#[tokio::test]
async fn a_system_that_is_closed() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    scene
        .sql("REVOKE EXECUTE ON FUNCTION set_config(text, text, boolean) FROM PUBLIC")
        .await;
    scene.proves(&CLOSED_FUNCTION).await;
    scene
        .sql("REVOKE SELECT ON pg_stat_activity FROM PUBLIC")
        .await;
    scene.proves(&CLOSED_VIEW).await;
    drop_role_of(&mut scene, &role).await;
}

/// As after a restore by an administrator. The function that counts goes with the tables.
#[tokio::test]
async fn tables_of_the_role_that_restored_them() {
    const OWNERS: &str = "database.owners";
    let mut scene = Scene::postgres().await;
    let grants = [
        SCHEMA,
        SEQUENCES,
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO ROLE",
    ];
    let role = with_role(&mut scene, "", &grants.join("; ")).await;
    scene
        .sql(&format!(
            "ALTER FUNCTION todoctl_count_unread() OWNER TO {role}"
        ))
        .await;
    let report = scene.doctor(OWNERS);
    report.says(OWNERS, "fail", "");
    let remedy = report.check(OWNERS)["remedy"].as_str().unwrap();
    assert_eq!(
        remedy.matches("todoctl_count_unread").count(),
        0,
        "{remedy}"
    );
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(OWNERS).says(OWNERS, "pass", "");
    assert_eq!(scene.status("DELETE", "/tasks/1"), 204);
    // An owner whose rights were revoked gets them back; it owns the function already.
    scene
        .sql(&format!("REVOKE ALL ON todoctl_unread FROM {role}"))
        .await;
    let report = scene.doctor(OWNERS);
    report.says(OWNERS, "fail", "GRANT");
    let remedy = report.check(OWNERS)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(OWNERS).says(OWNERS, "pass", "");
    // Rights that a former owner took from itself come back together with the table.
    for (function, outcome) in [
        ("", "fail"),
        (
            "ALTER FUNCTION todoctl_count_unread() OWNER TO CURRENT_USER",
            "warn",
        ),
    ] {
        scene
            .sql(&format!("ALTER TABLE todoctl_unread OWNER TO CURRENT_USER; REVOKE INSERT, UPDATE ON todoctl_unread FROM CURRENT_USER; {function}"))
            .await;
        let report = scene.doctor(OWNERS);
        report.says(OWNERS, outcome, "GRANT");
        let remedy = report.check(OWNERS)["remedy"].as_str().unwrap();
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
        scene.doctor(OWNERS).says(OWNERS, "pass", "");
    }
    scene
        .sql(&format!("REASSIGN OWNED BY {role} TO CURRENT_USER"))
        .await;
    drop_role_of(&mut scene, &role).await;
}
