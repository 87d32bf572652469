//! Contract 9.1, 10.44: a database of the previous service is taken over without losing a row.

use sqlx::{AssertSqlSafe, PgConnection, Row};
use todoctl::store::migrate::{self, Down, MigrateError};

use crate::migrations::Home;

const PREVIOUS: &str = include_str!("previous_service.sql");
const EARLIER: &str = include_str!("earlier_form.sql");

/// Every column, constraint, index, enum label and sequence of todoctl's tables, as lines.
///
/// The order of columns is left out: an added column stands last.
async fn schema(connection: &mut PgConnection) -> Vec<String> {
    const TABLES: &str = "('tasks', 'notifications', 'user_api_keys', 'todoctl_sessions')";
    let queries = [
        format!(
            "SELECT concat_ws(' ', 'column', table_name, column_name, data_type, udt_name, \
             character_maximum_length, is_nullable, column_default) \
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name IN {TABLES}"
        ),
        format!(
            "SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) \
             FROM pg_constraint WHERE conrelid::regclass::text IN {TABLES}"
        ),
        format!(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename IN {TABLES}"
        ),
        "SELECT 'label ' || enumlabel || ' ' || enumsortorder FROM pg_enum".to_owned(),
        "SELECT concat_ws(' ', 'sequence', sequencename, data_type, max_value) FROM pg_sequences \
         WHERE sequencename ~ '^(tasks|notifications|user_api_keys)_'"
            .to_owned(),
    ];
    let mut lines = Vec::new();
    for query in queries {
        let rows = sqlx::query(AssertSqlSafe(query))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        lines.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    lines.sort();
    lines
}

/// The text of every row of a table, in the order of its ids.
async fn rows(connection: &mut PgConnection, table: &str, columns: &str) -> Vec<String> {
    let query = format!("SELECT concat_ws('|', {columns}) FROM {table} ORDER BY id");
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(connection)
        .await
        .unwrap()
}

/// 9.1: the columns of the service's own tables; 13: ids are 64-bit.
#[tokio::test]
async fn the_columns() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', table_name, column_name,
             CASE data_type WHEN 'USER-DEFINED' THEN udt_name ELSE data_type END, character_maximum_length,
             CASE is_nullable WHEN 'NO' THEN 'required' END, column_default)
         FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name IN ('tasks', 'notifications', 'user_api_keys')
         ORDER BY table_name, ordinal_position",
    )
    .fetch_all(&mut home.connect().await)
    .await
    .unwrap();
    insta::assert_snapshot!(columns.join("\n"));
}

/// 9.1, 10.44: an empty database and an existing one end alike.
#[tokio::test]
async fn a_taken_over_schema_is_a_fresh_one() {
    let fresh = Home::postgres().await;
    fresh.up().await.unwrap();
    let expected = schema(&mut fresh.connect().await).await;
    for form in [PREVIOUS, EARLIER] {
        let home = Home::postgres().await;
        home.run(form).await;
        home.up().await.unwrap();
        assert_eq!(schema(&mut home.connect().await).await, expected);
    }
}

/// 9.1: every row stays as it is, duplicate notifications included, and so do the tables of others.
#[tokio::test]
async fn every_row_stays() {
    const OTHERS: &str =
        "SELECT concat_ws(' ', table_name, column_name, data_type, datetime_precision, is_nullable)
         FROM information_schema.columns WHERE table_name IN ('user', 'user_sessions') ORDER BY 1";
    const KEPT: [(&str, &str); 7] = [
        (
            "tasks",
            "id, user_id, title, description, completed, priority, due_date, reminder_sent, created_at, updated_at",
        ),
        (
            "notifications",
            "id, user_id, task_id, type, message, is_read, sent_email, created_at",
        ),
        (
            "user_api_keys",
            "id, user_id, encrypted_key, provider, validation_status, created_at, updated_at",
        ),
        ("conversations", "id, user_id"),
        ("messages", "id, conversation_id, content"),
        (
            "\"user\"",
            r#"id, email, name, "emailVerified", image, "createdAt", "updatedAt""#,
        ),
        (
            "user_sessions",
            r#"id, "userId", token, "expiresAt", "ipAddress", "userAgent", "createdAt", "updatedAt""#,
        ),
    ];
    let home = Home::postgres().await;
    home.run(PREVIOUS).await;
    home.run(
        r#"INSERT INTO "user" VALUES ('usr_1', 'a@example.com', 'Ä', true, NULL, '2030-01-01 00:00:00.123', '2030-01-02');
           INSERT INTO user_sessions VALUES ('s', 'usr_1', 'hash', '2031-01-01 00:00:00.123', '::1', NULL, '2030-01-01', '2030-01-01')"#,
    )
    .await;
    let mut connection = home.connect().await;
    let others: Vec<String> = sqlx::query_scalar(OTHERS)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(others.len(), 15);
    let mut before = Vec::new();
    for (table, columns) in KEPT {
        before.push(rows(&mut connection, table, columns).await);
    }
    assert_eq!(before[0].len(), 50);
    assert_eq!(before[1].len(), 3);
    assert_eq!((before[5].len(), before[6].len()), (1, 1));
    home.up().await.unwrap();
    for ((table, columns), before) in KEPT.into_iter().zip(before) {
        assert_eq!(
            rows(&mut connection, table, columns).await,
            before,
            "{table}"
        );
    }
    let after: Vec<String> = sqlx::query_scalar(OTHERS)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(after, others);
}

/// 9.1: times without a zone were UTC, whatever the server's zone is.
#[tokio::test]
async fn an_earlier_form_is_completed() {
    let home = Home::postgres().await;
    home.run(EARLIER).await;
    home.run("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$")
        .await;
    home.up().await.unwrap();
    let mut connection = home.connect().await;
    sqlx::raw_sql("SET timezone = 'UTC'")
        .execute(&mut connection)
        .await
        .unwrap();
    let tasks = rows(
        &mut connection,
        "tasks",
        "id, title, completed, priority, reminder_sent, created_at, updated_at = created_at",
    )
    .await;
    assert_eq!(
        tasks,
        [
            "1|One|f|High|f|2030-01-01 12:00:00+00|t",
            "2|Two|t|Medium|f|2030-01-02 12:00:00+00|t"
        ]
    );
    let notifications = rows(
        &mut connection,
        "notifications",
        "message, coalesce(task_id::text, 'none'), is_read",
    )
    .await;
    assert_eq!(notifications, ["kept|1|f", "its task is gone|none|f"]);
}

/// 9.1: what the previous service sends still works, so that the change can be undone.
#[tokio::test]
async fn the_previous_services_statements_still_work() {
    let home = Home::postgres().await;
    home.run(PREVIOUS).await;
    home.up().await.unwrap();
    home.run(
        "INSERT INTO tasks (user_id, title, description, completed, priority, due_date, reminder_sent)
             VALUES ('usr_9', 'Later', NULL, false, 'High', NULL, false);
         UPDATE tasks SET completed = true, updated_at = now() WHERE id = 51 AND user_id = 'usr_9';
         INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email)
             VALUES ('usr_9', 51, 'overdue', 'x', false, false), ('usr_9', 51, 'overdue', 'x', false, false);
         INSERT INTO user_api_keys (user_id, encrypted_key, provider) VALUES ('usr_9', 'x', 'gemini');
         DELETE FROM tasks WHERE id = 51",
    )
    .await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications WHERE task_id = 51")
        .fetch_one(&mut home.connect().await)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

/// The tables of a service that may come back are not dropped.
#[tokio::test]
async fn a_taken_over_baseline_is_not_reverted() {
    let home = Home::postgres().await;
    home.run(PREVIOUS).await;
    home.up().await.unwrap();
    let error = migrate::down(&home.target(), Down::To(0))
        .await
        .unwrap_err();
    assert!(matches!(error, MigrateError::Statement(_)), "{error}");
    assert!(error.to_string().contains("taken over"), "{error}");
    assert!(error.remedy().to_string().contains("alembic_version"));
    let tasks = rows(&mut home.connect().await, "tasks", "id").await;
    assert_eq!(tasks.len(), 50);
}

/// 10.44: a wanted table that exists and is something else stops the start, and stays as it is.
#[tokio::test]
async fn somebody_elses_table_stops() {
    for (table, expected) in [
        (
            "CREATE TABLE tasks (id uuid PRIMARY KEY, user_id text NOT NULL, title text NOT NULL)",
            "tasks.id is uuid",
        ),
        (
            "CREATE TABLE tasks (id serial PRIMARY KEY, name text)",
            "tasks.title is missing",
        ),
        ("CREATE VIEW tasks AS SELECT 1 AS id", "tasks is a view"),
        (
            "CREATE TABLE tasks (id serial, user_id text NOT NULL, title text NOT NULL, board integer NOT NULL)",
            "tasks.board is not known",
        ),
        (
            "CREATE TYPE prioritylevel AS ENUM ('P1', 'P2')",
            "has other labels: P1, P2",
        ),
    ] {
        let home = Home::postgres().await;
        home.run(table).await;
        let before = schema(&mut home.connect().await).await;
        let error = home.up().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(schema(&mut home.connect().await).await, before);
    }
}
