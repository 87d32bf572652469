//! The trigger function that counts unread notifications runs as its owner: what its callers make
//! must not run with it.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use todoctl::clock::Clock;
use todoctl::store::migrate::drift;
use todoctl::store::migrate::{self, LockWait, Up};

use crate::migrations::Home;

/// A role that may write notifications, and nothing else.
async fn limited_role(home: &Home) -> (String, PgConnection) {
    let mut owner = home.connect().await;
    let database: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let name = database.replace("test", "writer");
    run(
        &mut owner,
        &format!(
            "CREATE ROLE {name};
             GRANT CREATE, USAGE ON SCHEMA public TO {name};
             GRANT SELECT, INSERT, UPDATE, DELETE ON notifications TO {name};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}"
        ),
    )
    .await;
    run(&mut owner, &format!("SET SESSION AUTHORIZATION {name}")).await;
    (name, owner)
}

async fn run(connection: &mut PgConnection, sql: &str) {
    attempt(connection, sql).await.unwrap();
}

async fn attempt(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(drop)
}

/// Who ran the trigger of a temporary table that has the name of todoctl's.
async fn attack(home: &Home) -> Vec<String> {
    let (name, mut session) = limited_role(home).await;
    run(
        &mut session,
        "CREATE TABLE public.stolen (by_whom text);
         GRANT INSERT ON public.stolen TO PUBLIC;
         CREATE TEMP TABLE todoctl_unread (user_id varchar(255) PRIMARY KEY, unread bigint NOT NULL);
         CREATE FUNCTION pg_temp.steal() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO public.stolen VALUES (current_user);
             RETURN NEW;
         END $$;
         CREATE TRIGGER steal BEFORE INSERT OR UPDATE ON pg_temp.todoctl_unread
             FOR EACH ROW EXECUTE FUNCTION pg_temp.steal();
         GRANT ALL ON pg_temp.todoctl_unread TO PUBLIC;
         INSERT INTO notifications (user_id, type, message) VALUES ('usr_1', 'overdue', 'x'), ('usr_1', 'overdue', 'y');
         UPDATE notifications SET is_read = true WHERE message = 'x';
         UPDATE notifications SET is_read = false WHERE message = 'x';
         DELETE FROM notifications WHERE message = 'x'",
    )
    .await;
    let stolen = sqlx::query_scalar("SELECT by_whom FROM public.stolen")
        .fetch_all(&mut session)
        .await
        .unwrap();
    run(
        &mut session,
        &format!("RESET SESSION AUTHORIZATION; DROP OWNED BY {name} CASCADE; DROP ROLE {name}"),
    )
    .await;
    stolen
}

#[tokio::test]
async fn a_temporary_table_is_not_taken_for_the_real_one() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    assert_eq!(attack(&home).await, [""; 0]);
    let unread: Vec<i64> = sqlx::query_scalar("SELECT unread FROM todoctl_unread")
        .fetch_all(&mut home.connect().await)
        .await
        .unwrap();
    assert_eq!(unread, [1]);
}

/// The attack is a real one: it worked before the function was fixed, and it does not after a
/// way back.
#[tokio::test]
async fn the_attack_is_a_real_one() {
    let home = Home::postgres().await;
    let before = Up {
        to: Some(5),
        ..Up::default()
    };
    migrate::up_with(
        &home.target(),
        &Clock::system(),
        before,
        LockWait::default(),
    )
    .await
    .unwrap();
    let stolen = attack(&home).await;
    assert!(!stolen.is_empty());
    assert!(!stolen[0].contains("writer"), "{stolen:?}");
    home.up().await.unwrap();
    migrate::down(&home.target(), migrate::Down::To(5))
        .await
        .unwrap();
    assert_eq!(attack(&home).await, [""; 0]);
    let compared = drift::compare_with_migrations(&home.target())
        .await
        .unwrap();
    assert_eq!(compared.differences.unwrap(), []);
}

/// With a trigger on a table of one's own, anybody's count could be changed.
#[tokio::test]
async fn nobody_else_makes_triggers_of_it() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    let (name, mut session) = limited_role(&home).await;
    let refused = attempt(
        &mut session,
        "CREATE TEMP TABLE mine (user_id text, is_read boolean);
         CREATE TRIGGER mine AFTER INSERT ON mine REFERENCING NEW TABLE AS added
             FOR EACH STATEMENT EXECUTE FUNCTION public.todoctl_count_unread()",
    )
    .await
    .unwrap_err();
    assert!(
        refused.to_string().contains("permission denied"),
        "{refused}"
    );
    run(
        &mut session,
        &format!("RESET SESSION AUTHORIZATION; DROP OWNED BY {name}; DROP ROLE {name}"),
    )
    .await;
}

/// No function of todoctl's that runs as its owner looks for names elsewhere.
#[tokio::test]
async fn every_such_function_has_a_fixed_search_path() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc
         WHERE prosecdef AND pronamespace = 'public'::regnamespace
           AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)",
    )
    .fetch_all(&mut home.connect().await)
    .await
    .unwrap();
    assert_eq!(open, [""; 0]);
}

/// The function names the schema that it was made in, whatever its name is.
#[tokio::test]
async fn in_a_schema_with_a_difficult_name() {
    let home = Home::postgres().await;
    home.run(
        "CREATE SCHEMA \"My %s $$chema\";
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = %I', current_database(), 'My %s $$chema'); END $$"
            .replace("$$ BEGIN", "$do$ BEGIN")
            .replace("END $$", "END $do$")
            .as_str(),
    )
    .await;
    home.up().await.unwrap();
    home.run("INSERT INTO notifications (user_id, type, message) VALUES ('usr_1', 'overdue', 'x')")
        .await;
    let unread: i64 = sqlx::query_scalar("SELECT unread FROM todoctl_unread")
        .fetch_one(&mut home.connect().await)
        .await
        .unwrap();
    assert_eq!(unread, 1);
    let compared = drift::compare_with_migrations(&home.target())
        .await
        .unwrap();
    assert_eq!(compared.differences.unwrap(), []);
}

/// A function that lost its search path is a difference.
#[tokio::test]
async fn a_changed_function_is_drift() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    home.run("ALTER FUNCTION todoctl_count_unread() RESET search_path")
        .await;
    let compared = drift::compare_with_migrations(&home.target())
        .await
        .unwrap();
    let differences = compared.differences.unwrap();
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_eq!(differences[0].object, "function todoctl_count_unread");
}
