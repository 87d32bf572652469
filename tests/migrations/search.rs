//! The folded texts and the indexes for searches, in databases that have tasks already.

use sqlx::{AssertSqlSafe, PgConnection};
use todoctl::clock::Clock;
use todoctl::domain::UserId;
use todoctl::jobs::{SearchUpkeep, Stop};
use todoctl::store::migrate::{self, Down, LockWait, Up, drift};
use todoctl::store::{IndexBuild, SearchIndex, Store, TaskFilter};

use crate::migrations::Home;
use crate::support::database_config;

const PREVIOUS: &str = include_str!("previous_service.sql");

async fn open(home: &Home) -> Store {
    let config = database_config(home.target(), 2);
    Store::connect(&config, Clock::system()).await.unwrap()
}

async fn up_to(home: &Home, version: i64) {
    let up = Up {
        to: Some(version),
        ..Up::default()
    };
    migrate::up_with(&home.target(), &Clock::system(), up, LockWait::default())
        .await
        .unwrap();
}

async fn total(store: &Store, user: &str, search: &str) -> i64 {
    let filter = TaskFilter {
        search: Some(search.to_owned()),
        ..TaskFilter::default()
    };
    let user = UserId::new(user).unwrap();
    store.tasks(&user, &filter, 10, 0).await.unwrap().total
}

async fn assert_no_drift(home: &Home) {
    let compared = drift::compare_with_migrations(&home.target())
        .await
        .unwrap();
    let differences = compared.differences.unwrap();
    assert!(differences.is_empty(), "{differences:?}");
}

async fn answer<T>(connection: &mut PgConnection, question: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(AssertSqlSafe(question.to_owned()))
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Tasks of before the migration are found after it, before and after they are folded, and after
/// the way down and up again.
#[tokio::test]
async fn tasks_from_before_are_found() {
    for home in Home::both().await {
        up_to(&home, 6).await;
        home.run(match home {
            Home::Postgres(_) => "INSERT INTO tasks (user_id, title, description) VALUES ('a', 'Weiße Äpfel', NULL), ('a', 'x', 'ÄPFEL')",
            Home::Sqlite(_) => "INSERT INTO tasks (user_id, title, description, created_at, updated_at, title_folded, description_folded)
                VALUES ('a', 'Weiße Äpfel', NULL, 1, 1, 'weiße äpfel', NULL), ('a', 'x', 'ÄPFEL', 1, 1, 'x', 'äpfel')",
        })
        .await;
        for _ in 0..2 {
            home.up().await.unwrap();
            let store = open(&home).await;
            for folded in [2, 0] {
                assert_eq!(total(&store, "a", "äpfel").await, 2);
                assert_eq!(total(&store, "a", "WEISSE").await, 1);
                let mut upkeep = SearchUpkeep::new(store.clone());
                assert_eq!(upkeep.run(&Stop::never()).await.unwrap(), folded);
                assert_no_drift(&home).await;
            }
            store.close().await;
            migrate::down(&home.target(), Down::To(6)).await.unwrap();
            assert_no_drift(&home).await;
        }
    }
}

/// 9.1: so are the tasks of the previous service.
#[tokio::test]
async fn tasks_of_the_previous_service_are_found() {
    let home = Home::postgres().await;
    home.run(PREVIOUS).await;
    home.up().await.unwrap();
    let mut connection = home.connect().await;
    let (user, title): (String, String) =
        sqlx::query_as("SELECT user_id, title FROM tasks ORDER BY id LIMIT 1")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    let store = open(&home).await;
    let before = total(&store, &user, &title.to_uppercase()).await;
    assert!(before > 0);
    let folded = SearchUpkeep::new(store.clone()).run(&Stop::never()).await;
    assert_eq!(folded.unwrap(), 50);
    assert_eq!(total(&store, &user, &title.to_uppercase()).await, before);
    assert_no_drift(&home).await;
}

/// A large table is not locked while an index is built: the daemon builds it.
#[tokio::test]
async fn a_large_table_gets_its_indexes_later() {
    let home = Home::postgres().await;
    up_to(&home, 6).await;
    // The texts do not compress.
    home.run(
        "INSERT INTO tasks (user_id, title, description)
         SELECT 'a', 'n', (SELECT string_agg(md5(n || ' ' || part), '') FROM generate_series(1, 60) AS part)
         FROM generate_series(1, 40000) AS n",
    )
    .await;
    home.up().await.unwrap();
    let store = open(&home).await;
    for index in [SearchIndex::Unfolded, SearchIndex::Trigrams] {
        assert!(!store.has_search_index(index).await.unwrap(), "{index:?}");
    }
    assert_eq!(
        store
            .build_search_index(SearchIndex::Unfolded)
            .await
            .unwrap(),
        IndexBuild::Done
    );
    assert!(store.has_search_index(SearchIndex::Unfolded).await.unwrap());
    assert_no_drift(&home).await;
}

/// Where `pg_trgm` is not installed, or not in the search path.
#[tokio::test]
async fn the_extension_is_created_or_found() {
    for prepare in [
        "SELECT 1",
        "CREATE SCHEMA \"My extensions\"; CREATE EXTENSION pg_trgm SCHEMA \"My extensions\"",
    ] {
        let home = Home::postgres().await;
        home.run(prepare).await;
        home.up().await.unwrap();
        let store = open(&home).await;
        let built = store.build_search_index(SearchIndex::Trigrams).await;
        assert_eq!(built.unwrap(), IndexBuild::Done);
        assert!(store.has_search_index(SearchIndex::Trigrams).await.unwrap());
        assert_no_drift(&home).await;
    }
}

/// A role that may not create it is told, and searches go on without.
#[tokio::test]
async fn a_role_that_may_not_create_the_extension_searches() {
    let home = Home::postgres().await;
    let Home::Postgres(database) = &home else {
        unreachable!("it was made on PostgreSQL");
    };
    let role = database.name.replace("test", "owner");
    home.run(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'owner'; GRANT CREATE, USAGE ON SCHEMA public TO {role}"
    ))
    .await;
    let mut url = url::Url::parse(&database.url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("owner")).unwrap();
    let target = todoctl::config::database_url::parse(url.as_str())
        .unwrap()
        .value;
    migrate::up(&target, &Clock::system()).await.unwrap();
    let store = Store::connect(&database_config(target, 2), Clock::system())
        .await
        .unwrap();
    home.run("INSERT INTO tasks (user_id, title) VALUES ('a', 'Straße')")
        .await;
    let mut upkeep = SearchUpkeep::new(store.clone());
    assert_eq!(upkeep.run(&Stop::never()).await.unwrap(), 1);
    let built = store.build_search_index(SearchIndex::Trigrams).await;
    assert_eq!(built.unwrap(), IndexBuild::NoExtension);
    assert_eq!(total(&store, "a", "STRASSE").await, 1);
    // Once an administrator has created it, the index is built.
    home.run("CREATE EXTENSION pg_trgm").await;
    upkeep.run(&Stop::never()).await.unwrap();
    assert!(store.has_search_index(SearchIndex::Trigrams).await.unwrap());
    store.close().await;
    home.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}

/// Two processes do not build the same index, and one that an interrupted build left is replaced.
#[tokio::test]
async fn an_index_is_built_once() {
    let home = Home::postgres().await;
    home.up().await.unwrap();
    let store = open(&home).await;
    let mut connection = home.connect().await;
    home.run("CREATE EXTENSION pg_trgm").await;
    // A build waits for transactions that are older than it.
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tasks")
        .execute(&mut connection)
        .await
        .unwrap();
    let building = tokio::spawn({
        let store = store.clone();
        async move { store.build_search_index(SearchIndex::Trigrams).await }
    });
    let invalid = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('tasks_search_idx') AND NOT indisvalid)";
    let mut other = home.connect().await;
    while !answer::<bool>(&mut other, invalid).await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(
        store
            .build_search_index(SearchIndex::Trigrams)
            .await
            .unwrap(),
        IndexBuild::Busy
    );
    // The builder's session ends in the middle of its work.
    let killed: i64 = answer(
        &mut other,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'",
    )
    .await;
    assert_eq!(killed, 1);
    assert!(building.await.unwrap().is_err());
    assert!(answer::<bool>(&mut other, invalid).await);
    assert!(!store.has_search_index(SearchIndex::Trigrams).await.unwrap());
    sqlx::raw_sql("COMMIT")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(
        store
            .build_search_index(SearchIndex::Trigrams)
            .await
            .unwrap(),
        IndexBuild::Done
    );
    assert!(store.has_search_index(SearchIndex::Trigrams).await.unwrap());
}
