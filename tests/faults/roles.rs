//! What the role of the sessions is, and what it lacks.

use crate::faults::harness::{Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

const CHECK: &str = "database.role";

/// The daemon's sessions keep the role that they began with.
const REFUSED: &str = "changes are answered with 500 until the daemon is started again";

const fn role(title: &'static str, symptom: Symptom) -> Fault {
    Fault::failing(title, symptom, CHECK)
}

faults! {
    OTHER_ROLE = role("ALTER ROLE … SET role lets sessions act as another role", Symptom::Risk(REFUSED));
    OTHER_ROLE_BY_URL = role("The options of DATABASE_URL let sessions act as another role", Symptom::Risk(REFUSED));
    FOREIGN_SEQUENCE = role("A sequence belongs to another role", Symptom::Answer {
        method: "POST",
        path: "/tasks/",
        status: 500,
    });
    CLOSED_RECORD = role("The role may not read the record of the migrations", Symptom::Start("permission denied for table _sqlx_migrations"));
    CLOSED_SCHEMA = role("The role may not use the schema of the tables", Symptom::Start("GRANT USAGE, CREATE"));
    KEY_OF_TWO_OWNERS = Fault::warned_of(
        "An administrator has rebuilt the tasks, without the key of the notifications",
        Symptom::Risk("notifications of deleted tasks stay"),
        "database.schema",
    );
    LOST_PATH = role("The search path of the role names no schema that exists", Symptom::Risk("no table is found"));
}

/// The remedy contains `wanted`, and not `unneeded`.
fn says_only(scene: &Scene, wanted: &str, unneeded: &str) {
    let report = scene.doctor(CHECK);
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(remedy.contains(wanted), "{remedy}");
    assert!(!remedy.contains(unneeded), "{remedy}");
}

#[tokio::test]
async fn another_role() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    let other = format!("{name}_ro");
    scene
        .sql(&format!(
            "CREATE ROLE {other}; GRANT {other} TO {name};
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {other}; ALTER ROLE {name} SET role = {other}"
        ))
        .await;
    says_only(&scene, "RESET role", "GRANT");
    assert_eq!(scene.status("POST", "/tasks/"), 500);
    scene.stop();
    // The tables are not to be given to the role that acts.
    scene
        .sql(&format!("GRANT USAGE ON SCHEMA public TO {other}"))
        .await;
    for check in ["database.owners", "database.pooler"] {
        let report = scene.doctor(check);
        let remedy = report.check(check)["remedy"].as_str().unwrap_or_default();
        assert!(!remedy.contains(&other), "{remedy}");
        let detail = report.detail(check);
        assert!(!detail.contains("decoding"), "{detail}");
    }
    scene.proves(&OTHER_ROLE).await;
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.stop();
    let url = scene.get("DATABASE_URL").unwrap();
    scene.set(
        "DATABASE_URL",
        &format!("{url}?options=-c%20role%3D{other}"),
    );
    scene.proves(&OTHER_ROLE_BY_URL).await;
    scene.stop();
    scene
        .sql(&format!("DROP OWNED BY {other}; DROP ROLE {other}"))
        .await;
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn what_a_role_lacks() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene
        .sql(&format!(
            "ALTER SEQUENCE tasks_id_seq OWNED BY NONE; REVOKE ALL ON SEQUENCE tasks_id_seq FROM {name}"
        ))
        .await;
    says_only(&scene, "USAGE ON SEQUENCE public.tasks_id_seq", "TABLE");
    scene.proves(&FOREIGN_SEQUENCE).await;
    scene.stop();
    scene
        .sql(&format!("REVOKE SELECT ON _sqlx_migrations FROM {name}"))
        .await;
    says_only(&scene, "SELECT ON TABLE public._sqlx_migrations", "INSERT");
    let report = scene.doctor("database.migrations");
    report.says("database.migrations", "fail", "GRANT SELECT");
    scene.proves(&CLOSED_RECORD).await;
    scene.stop();
    scene
        .sql(&format!(
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC; REVOKE USAGE, CREATE ON SCHEMA public FROM {name}"
        ))
        .await;
    scene.proves(&CLOSED_SCHEMA).await;
    scene.stop();
    scene
        .sql(&format!("ALTER ROLE {name} SET search_path = nowhere"))
        .await;
    says_only(&scene, "RESET search_path", "GRANT");
    scene.proves(&LOST_PATH).await;
    drop_role_of(&mut scene, &name).await;
}

/// The key refers to a table of another owner than the one that it is added to.
#[tokio::test]
async fn a_key_of_two_owners() {
    let mut scene = Scene::postgres().await;
    let grants = [
        SCHEMA,
        TABLES,
        SEQUENCES,
        "ALTER TABLE notifications OWNER TO ROLE",
    ]
    .join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    scene
        .sql("ALTER TABLE notifications DROP CONSTRAINT notifications_task_id_fkey")
        .await;
    scene.proves(&KEY_OF_TWO_OWNERS).await;
    scene
        .sql("ALTER TABLE notifications OWNER TO CURRENT_USER")
        .await;
    drop_role_of(&mut scene, &name).await;
}
