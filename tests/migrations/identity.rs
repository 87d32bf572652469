//! Which database it is, and what the previous service left in it.

use sqlx::AssertSqlSafe;
use todoctl::store::migrate::drift;
use todoctl::store::migrate::{self, Down};

use crate::migrations::Home;

async fn id(home: &Home) -> Vec<String> {
    const QUERY: &str = "SELECT id FROM todoctl_identity";
    match home {
        Home::Postgres(_) => sqlx::query_scalar(QUERY)
            .fetch_all(&mut home.connect().await)
            .await
            .unwrap(),
        Home::Sqlite(directory) => {
            use sqlx::Connection as _;
            let url = format!("sqlite://{}", directory.path().join("todo.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let ids = sqlx::query_scalar(QUERY)
                .fetch_all(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
            ids
        }
    }
}

/// Made once, random, and the only one.
#[tokio::test]
async fn each_database_has_one_of_its_own() {
    let mut seen = Vec::new();
    for home in Home::both().await.into_iter().chain(Home::both().await) {
        home.up().await.unwrap();
        let first = id(&home).await;
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].len(), 32);
        home.up().await.unwrap();
        assert_eq!(id(&home).await, first);
        seen.extend(first);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn it_goes_with_its_migration() {
    for home in Home::both().await {
        home.up().await.unwrap();
        let first = id(&home).await;
        migrate::down(&home.target(), Down::To(5)).await.unwrap();
        home.up().await.unwrap();
        assert_ne!(id(&home).await, first);
    }
}

/// Indexes of the previous service's scripts are no difference; another one is.
#[tokio::test]
async fn leftovers_of_the_previous_service_are_tolerated() {
    let home = Home::postgres().await;
    home.run(include_str!("previous_service.sql")).await;
    for (index, columns) in [
        ("idx_notifications_user_id", "user_id"),
        ("idx_notifications_user_is_read", "user_id, is_read"),
    ] {
        home.run(&format!(
            "CREATE INDEX {index} ON notifications ({columns})"
        ))
        .await;
    }
    home.up().await.unwrap();
    let differences = async || {
        let compared = drift::compare_with_migrations(&home.target()).await;
        compared.unwrap().differences.unwrap()
    };
    assert_eq!(differences().await, []);
    home.run("CREATE INDEX idx_tasks_user_id ON tasks (user_id)")
        .await;
    let found = differences().await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].part.as_deref(), Some("index idx_tasks_user_id"));
}

/// 10.48: an encoding without every character: nothing is migrated.
#[tokio::test]
async fn other_encodings_are_refused() {
    let home = Home::postgres().await;
    let Home::Postgres(database) = &home else {
        unreachable!()
    };
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", database.name, encoding.to_lowercase());
        database
            .execute(&format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
            ))
            .await;
        let mut url = url::Url::parse(&database.url).unwrap();
        url.set_path(&name);
        let target = todoctl::config::database_url::parse(url.as_str())
            .unwrap()
            .value;
        let refused = migrate::up(&target, &todoctl::clock::Clock::system())
            .await
            .unwrap_err();
        assert!(!refused.is_transient());
        assert!(refused.to_string().contains(encoding), "{refused}");
        let remedy = refused.remedy().to_string();
        assert!(
            remedy.contains("--encoding=UTF8") && remedy.contains(&name),
            "{remedy}"
        );
        let config = crate::support::database_config(target, 1);
        let refused = todoctl::store::Store::connect(&config, todoctl::clock::Clock::system())
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(encoding), "{refused}");
        let tables: i64 = {
            use sqlx::Connection as _;
            let mut connection = sqlx::PgConnection::connect(url.as_str()).await.unwrap();
            let query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
            let count = sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
                .fetch_one(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
            count
        };
        assert_eq!(tables, 0);
        database
            .execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
            .await;
    }
}
