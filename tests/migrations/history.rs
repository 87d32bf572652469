//! Up, down, status, and what stops them; on both engines.

use todoctl::store::migrate::{self, Down, LockWait, MigrateError, State};

use crate::migrations::{Home, versions};

/// Contract 10.44: the chain applies, both ways.
#[tokio::test]
async fn up_and_down_and_up_again() {
    for home in Home::both().await {
        let all = versions(&home.status().await);
        assert!(
            home.status()
                .await
                .iter()
                .all(|one| one.state == State::Pending)
        );
        assert_eq!(versions(&home.up().await.unwrap()), all);
        assert!(
            home.up().await.unwrap().is_empty(),
            "there is nothing left to do"
        );
        let status = home.status().await;
        assert!(
            status
                .iter()
                .all(|one| one.state == State::Applied && one.applied_at.is_some())
        );

        let newest = migrate::down(&home.target(), Down::Steps(1)).await.unwrap();
        assert_eq!(versions(&newest), [*all.last().unwrap()]);
        let to_one = migrate::down(&home.target(), Down::To(1)).await.unwrap();
        assert_eq!(to_one.len(), all.len() - 2);
        let rest = migrate::down(&home.target(), Down::To(0)).await.unwrap();
        assert_eq!(versions(&rest), [1]);
        assert!(
            migrate::down(&home.target(), Down::To(0))
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(versions(&home.up().await.unwrap()), all);
    }
}

/// Looking changes nothing: not even the table of migrations is made.
#[tokio::test]
async fn status_leaves_no_trace() {
    let sqlite = Home::sqlite();
    assert!(!sqlite.status().await.is_empty());
    let Home::Sqlite(directory) = &sqlite else {
        unreachable!()
    };
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    let postgres = Home::postgres().await;
    assert!(!postgres.status().await.is_empty());
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&mut postgres.connect().await)
            .await
            .unwrap();
    assert_eq!(tables, 0);
}

/// A database that a newer program migrated is refused by name of both versions.
#[tokio::test]
async fn a_newer_database_is_refused() {
    for home in Home::both().await {
        home.up().await.unwrap();
        home.run(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9000, 'from the future', TRUE, '', 0)",
        )
        .await;
        let MigrateError::Newer { database, program } = home.up().await.unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(database, 9000);
        assert!(program < 9000);
        assert_eq!(home.status().await.last().unwrap().state, State::Missing);
        let error = migrate::down(&home.target(), Down::Steps(1))
            .await
            .unwrap_err();
        assert!(matches!(error, MigrateError::Unknown { version: 9000 }));
    }
}

#[tokio::test]
async fn changed_and_unfinished_migrations_stop() {
    for home in Home::both().await {
        home.up().await.unwrap();
        home.run("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 1")
            .await;
        assert!(matches!(
            home.up().await,
            Err(MigrateError::Changed { version: 1, .. })
        ));
        home.run("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 1")
            .await;
        assert!(matches!(
            home.up().await,
            Err(MigrateError::Dirty { version: 1 })
        ));
        assert_eq!(home.status().await[0].state, State::Dirty);
    }
}

/// The statement and the reason are named, and nothing of the migration stays.
#[tokio::test]
async fn a_failed_migration_names_its_statement() {
    for home in Home::both().await {
        home.run("CREATE TABLE todoctl_sessions (something_else text)")
            .await;
        let error = home.up().await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("migration 2 (sessions) failed"), "{said}");
        assert!(said.contains("already exists"), "{said}");
        assert!(said.contains("CREATE TABLE todoctl_sessions"), "{said}");
        assert!(!error.remedy().is_empty());
        let status = home.status().await;
        assert_eq!(status[0].state, State::Applied);
        assert_eq!(status[1].state, State::Pending);
    }
}

/// What `sqlx migrate info` prints follows from this table and the files; `status` says the same.
#[tokio::test]
async fn sqlx_info_agrees() {
    use sqlx::migrate::Migrate as _;
    static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");
    let home = Home::postgres().await;
    home.up().await.unwrap();
    migrate::down(&home.target(), Down::Steps(1)).await.unwrap();
    home.run("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 1")
        .await;
    let mut connection = home.connect().await;
    let applied = connection
        .list_applied_migrations("_sqlx_migrations")
        .await
        .unwrap();
    let info = MIGRATIONS
        .iter()
        .filter(|one| one.migration_type.is_up_migration())
        .map(|one| {
            // As sqlx-cli does it: installed, installed with another checksum, pending.
            let state = match applied.iter().find(|row| row.version == one.version) {
                Some(row) if row.checksum == one.checksum => State::Applied,
                Some(_) => State::Changed,
                None => State::Pending,
            };
            (one.version, state)
        });
    let status = home.status().await;
    let ours = status.iter().map(|one| (one.version, one.state));
    assert!(ours.eq(info), "{status:?}");
}

/// `sqlx migrate` and todoctl agree about a database, whichever of them migrated it.
#[tokio::test]
async fn sqlx_agrees() {
    static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");
    let ours = Home::postgres().await;
    ours.up().await.unwrap();
    MIGRATIONS.run(&mut ours.connect().await).await.unwrap();

    let theirs = Home::postgres().await;
    MIGRATIONS.run(&mut theirs.connect().await).await.unwrap();
    assert!(theirs.up().await.unwrap().is_empty());
    assert!(
        theirs
            .status()
            .await
            .iter()
            .all(|one| one.state == State::Applied)
    );
}

/// Where the record was lost, nothing is run again.
#[tokio::test]
async fn what_the_schema_has_is_recorded() {
    for home in Home::both().await {
        home.up().await.unwrap();
        home.run("DELETE FROM _sqlx_migrations WHERE version IN (2, 6, 7)")
            .await;
        let error = home.up().await.unwrap_err();
        let MigrateError::Unrecorded { versions: lost } = &error else {
            panic!("{error}");
        };
        assert_eq!(lost, &[2, 6, 7]);
        let stamped = migrate::stamp(&home.target(), LockWait::default()).await;
        assert_eq!(versions(&stamped.unwrap().recorded), [2, 6, 7]);
        assert!(home.up().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_part_of_a_migration_is_not_recorded() {
    for home in Home::both().await {
        home.up().await.unwrap();
        home.run("DROP TABLE _sqlx_migrations; DROP INDEX notifications_unread_idx")
            .await;
        let stamped = migrate::stamp(&home.target(), LockWait::default()).await;
        let error = stamped.unwrap_err();
        assert!(
            matches!(&error, MigrateError::InPart { version: 4, .. }),
            "{error}"
        );
        let status = home.status().await;
        assert!(status.iter().all(|one| one.state != State::Applied));
        // What was never applied is not mistaken for a part.
        home.run(
            "CREATE INDEX notifications_unread_idx ON notifications (user_id) WHERE NOT is_read",
        )
        .await;
        let stamped = migrate::stamp(&home.target(), LockWait::default()).await;
        assert_eq!(stamped.unwrap().recorded.len(), status.len());
    }
}
