//! `migrate up --to`, what `migrate down` drops, and drift.

use sqlx::Connection as _;
use todoctl::clock::Clock;
use todoctl::store::migrate::drift::{self, Difference};
use todoctl::store::migrate::{
    self, Applied, Down, LockWait, MigrateError, Migration, State, Up, preview,
};

use crate::migrations::{Home, versions};

async fn up(home: &Home, up: Up) -> Result<Applied, MigrateError> {
    migrate::up_with(&home.target(), &Clock::system(), up, LockWait::default()).await
}

async fn differences(home: &Home) -> Vec<Difference> {
    let compared = drift::compare_with_migrations(&home.target())
        .await
        .unwrap();
    compared.differences.expect("comparable")
}

/// Differences as lines: `-` is what the migrations make.
fn lines(differences: &[Difference]) -> Vec<String> {
    let line = |one: &Difference| {
        let part = one.part.as_deref().unwrap_or("all");
        format!("{} {part} -{:?} +{:?}", one.object, one.expected, one.found)
    };
    differences.iter().map(line).collect()
}

#[tokio::test]
async fn up_to_a_version() {
    for home in Home::both().await {
        let one = Up {
            to: Some(1),
            ..Up::default()
        };
        let planned = migrate::dry_up(&home.target(), one).await.unwrap();
        assert_eq!(planned.len(), 1);
        assert!(
            planned[0]
                .statements
                .iter()
                .any(|sql| sql.contains("CREATE TABLE"))
        );
        assert!(
            home.status()
                .await
                .iter()
                .all(|one| one.state == State::Pending)
        );
        let applied = up(&home, one).await.unwrap();
        assert_eq!(versions(&applied.migrations), [1]);
        assert_eq!(home.status().await[1].state, State::Pending);
        assert!(up(&home, one).await.unwrap().migrations.is_empty());
        let nowhere = Up {
            to: Some(9000),
            ..Up::default()
        };
        let error = up(&home, nowhere).await.unwrap_err();
        assert!(matches!(
            error,
            MigrateError::NoSuchVersion { version: 9000, .. }
        ));
    }
}

/// A dry run makes no file and no table.
#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let home = Home::sqlite();
    let planned = migrate::dry_up(&home.target(), Up::default())
        .await
        .unwrap();
    assert_eq!(planned.len(), home.status().await.len());
    let Home::Sqlite(directory) = &home else {
        unreachable!()
    };
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// After a rollback of the program nothing is migrated, and nothing is refused.
#[tokio::test]
async fn a_newer_database_may_be_left_alone() {
    for home in Home::both().await {
        home.up().await.unwrap();
        migrate::down(&home.target(), Down::Steps(1)).await.unwrap();
        home.run(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9000, 'from the future', TRUE, '', 0)",
        )
        .await;
        assert!(matches!(
            up(&home, Up::default()).await,
            Err(MigrateError::Newer { .. })
        ));
        let allowed = Up {
            allow_newer: true,
            ..Up::default()
        };
        let applied = up(&home, allowed).await.unwrap();
        assert!(applied.migrations.is_empty());
        assert_eq!(applied.newer.unwrap().database, 9000);
        assert!(
            migrate::dry_up(&home.target(), allowed)
                .await
                .unwrap()
                .is_empty()
        );
        // What a newer program made cannot be compared with anything here.
        let compared = drift::compare_with_migrations(&home.target())
            .await
            .unwrap();
        assert_eq!(compared.differences, None);
    }
}

/// A dry run lists what would be dropped, with its rows, and drops nothing.
#[tokio::test]
async fn a_way_down_is_rehearsed() {
    for home in Home::both().await {
        home.up().await.unwrap();
        let row = |n: i32| {
            format!(
                "INSERT INTO todoctl_sessions (token_hash, user_id, created_at, expires_at)
                 SELECT 'h{n}', 'usr_1', x.t, x.t FROM (SELECT created_at AS t FROM tasks) x"
            )
        };
        let task = match &home {
            Home::Postgres(_) => "INSERT INTO tasks (user_id, title) VALUES ('usr_1', 'One')",
            Home::Sqlite(_) => {
                "INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
                 VALUES ('usr_1', 'One', 'one', 0, 0)"
            }
        };
        home.run(task).await;
        home.run(&row(1)).await;
        home.run(&row(2)).await;
        let preview = preview::down(&home.target(), Down::To(0), LockWait::default())
            .await
            .unwrap();
        let rows = |name: &str| {
            let found = preview.dropped.iter().find(|one| one.what == name);
            found
                .unwrap_or_else(|| panic!("{name} in {preview:?}"))
                .rows
        };
        assert_eq!(rows("table tasks"), Some(1));
        assert_eq!(rows("table todoctl_sessions"), Some(2));
        assert_eq!(rows("table notifications"), Some(0));
        assert_eq!(versions(&preview.migrations).last(), Some(&1));
        assert!(
            home.status()
                .await
                .iter()
                .all(|one| one.state == State::Applied)
        );
        assert!(differences(&home).await.is_empty());
    }
}

/// What would stop a way down is found out before anybody is asked.
#[tokio::test]
async fn what_stops_a_way_down_is_found_out_first() {
    let home = Home::postgres().await;
    home.run(include_str!("previous_service.sql")).await;
    home.up().await.unwrap();
    let error = preview::down(&home.target(), Down::To(0), LockWait::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("taken over"), "{error}");
}

/// Fresh, half way, and taken over from the service before: no drift.
#[tokio::test]
async fn what_migrations_make_is_no_drift() {
    for home in Home::both().await {
        assert!(
            differences(&home).await.is_empty(),
            "nothing is applied yet"
        );
        home.up().await.unwrap();
        assert_eq!(lines(&differences(&home).await), [""; 0]);
        migrate::down(&home.target(), Down::Steps(1)).await.unwrap();
        assert_eq!(lines(&differences(&home).await), [""; 0]);
    }
    for form in [
        include_str!("previous_service.sql"),
        include_str!("earlier_form.sql"),
    ] {
        let home = Home::postgres().await;
        home.run(form).await;
        home.up().await.unwrap();
        assert_eq!(lines(&differences(&home).await), [""; 0]);
    }
}

/// After a new migration: `UPDATE_SCHEMA=1 cargo nextest run the_schema_in_the_program`.
#[tokio::test]
async fn the_schema_in_the_program_is_what_the_migrations_create() {
    const PATH: &str = "src/store/migrate/history.json";
    let home = Home::postgres().await;
    let created = drift::history_as_json(&home.target()).await.unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(PATH, &created).unwrap();
    }
    let kept = std::fs::read_to_string(PATH).unwrap();
    assert_eq!(kept, created, "UPDATE_SCHEMA=1 writes it again");
}

#[tokio::test]
async fn drift_on_postgres() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    home.run(
        "ALTER TABLE tasks ADD COLUMN colour text;
         ALTER TABLE tasks ALTER COLUMN title TYPE text;
         DROP INDEX tasks_open_due_idx;
         ALTER TABLE notifications ALTER COLUMN is_read DROP DEFAULT;
         ALTER TYPE prioritylevel ADD VALUE 'Never';
         DROP TABLE user_api_keys;
         CREATE TABLE todoctl_left_over (id bigint);
         CREATE TABLE somebody_elses (id bigint)",
    )
    .await;
    let found = lines(&differences(&home).await);
    assert_eq!(
        found,
        [
            r#"table notifications column is_read -Some("boolean not null default false") +Some("boolean not null")"#,
            r#"table tasks column colour -None +Some("text")"#,
            r#"table tasks column title -Some("character varying(200) not null") +Some("text not null")"#,
            r#"table tasks index tasks_open_due_idx -Some("CREATE INDEX tasks_open_due_idx ON tasks USING btree (due_date, id) WHERE NOT completed AND due_date IS NOT NULL") +None"#,
            r#"table todoctl_left_over all -None +Some("table todoctl_left_over")"#,
            r#"table user_api_keys all -Some("table user_api_keys") +None"#,
            r#"type prioritylevel labels -Some("Low, Medium, High, Urgent") +Some("Low, Medium, High, Urgent, Never")"#,
        ]
    );
    // Nothing of the comparison stays.
    let schemas: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'todoctl%'")
            .fetch_one(&mut home.connect().await)
            .await
            .unwrap();
    assert_eq!(schemas, 0);
}

#[tokio::test]
async fn drift_on_sqlite() {
    let home = Home::sqlite();
    home.up().await.unwrap();
    home.run(
        "ALTER TABLE tasks ADD COLUMN colour TEXT;
         DROP INDEX tasks_open_due_idx;
         CREATE TABLE somebody_elses (id INTEGER)",
    )
    .await;
    let found = lines(&differences(&home).await);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], r#"table tasks column colour -None +Some("TEXT")"#);
    assert!(found[1].starts_with("table tasks index tasks_open_due_idx -Some("));
}

/// What each migration creates is known, so nothing has to be created for the comparison.
#[tokio::test]
async fn a_role_that_only_reads_can_compare() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    home.run(
        "CREATE ROLE todoctl_reader LOGIN PASSWORD 'reader';
         GRANT USAGE ON SCHEMA public TO todoctl_reader;
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO todoctl_reader",
    )
    .await;
    let Home::Postgres(database) = &home else {
        unreachable!()
    };
    let mut url = url::Url::parse(&database.url).unwrap();
    url.set_username("todoctl_reader").unwrap();
    url.set_password(Some("reader")).unwrap();
    let target = todoctl::config::database_url::parse(url.as_str())
        .unwrap()
        .value;
    let compared = drift::compare_with_migrations(&target).await.unwrap();
    assert_eq!(compared.differences.unwrap(), []);
    migrate::down(&home.target(), Down::Steps(1)).await.unwrap();
    let compared = drift::compare_with_migrations(&target).await.unwrap();
    let pending = |one: &Migration| one.state == State::Pending;
    assert_eq!(
        compared
            .migrations
            .iter()
            .filter(|one| pending(one))
            .count(),
        1
    );
    assert_eq!(compared.differences.unwrap(), []);
    home.run("DROP OWNED BY todoctl_reader; DROP ROLE todoctl_reader")
        .await;
}

/// Drift is looked for while the daemon works: no lock is wanted beyond that of a reader.
#[tokio::test]
async fn the_comparison_only_reads() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    let mut other = home.connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE tasks, notifications, user_api_keys IN EXCLUSIVE MODE")
        .execute(&mut other)
        .await
        .unwrap();
    let limit = std::time::Duration::from_secs(20);
    let compared = tokio::time::timeout(limit, differences(&home)).await;
    assert!(compared.expect("it waited for a lock").is_empty());
    other.close().await.unwrap();
}
