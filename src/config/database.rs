//! The variables that say which database, and how to use it.

use std::path::PathBuf;

use super::database_url::{self, Parsed};
use super::reader::Reader;
use super::{
    DatabaseConfig, DatabaseTarget, Environment, HealthProbe, PoolConfig, PoolerMode, SqliteTarget,
};

/// The most connections that one process may open.
const MAX_CONNECTIONS: usize = 1000;

/// `None` after a problem that was reported.
pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Option<DatabaseConfig> {
    let pool = pool(reader);
    let pooler = reader.parsed(
        &["DB_POOLER"],
        PoolerMode::Detect,
        "transaction",
        |text| match text.to_ascii_lowercase().as_str() {
            "transaction" => Ok(PoolerMode::Transaction),
            "none" => Ok(PoolerMode::None),
            "detect" | "auto" => Ok(PoolerMode::Detect),
            _ => Err("is none of detect, transaction, none".to_owned()),
        },
    );
    let auto_migrate = reader.switch("AUTO_MIGRATE", true);
    let health_probe = reader.parsed(
        &["HEALTH_DB_PROBE"],
        HealthProbe::Active,
        "passive",
        |text| match text.to_ascii_lowercase().as_str() {
            "active" => Ok(HealthProbe::Active),
            "passive" => Ok(HealthProbe::Passive),
            _ => Err("is neither active nor passive".to_owned()),
        },
    );
    let target = target(reader, environment);
    let unpooled = url(reader, "DATABASE_URL_UNPOOLED");
    let target = target?;
    let pooler = match (&target, pooler) {
        (DatabaseTarget::Postgres(server), PoolerMode::Detect) if server.pooled => {
            PoolerMode::Transaction
        }
        _ => pooler,
    };
    let direct = match unpooled {
        Some(direct) => direct,
        None => direct(&target, pooler),
    };
    if std::mem::discriminant(&direct) != std::mem::discriminant(&target) {
        reader.problem(
            "DATABASE_URL_UNPOOLED",
            "names another kind of database than DATABASE_URL",
            "name the same database, past its pooler; or unset it",
        );
    }
    Some(DatabaseConfig {
        target,
        direct,
        pool,
        pooler,
        auto_migrate,
        health_probe,
    })
}

fn pool(reader: &mut Reader<'_>) -> PoolConfig {
    PoolConfig {
        size: reader.number(
            &["SQLALCHEMY_POOL_SIZE", "DB_POOL_SIZE"],
            10,
            1,
            MAX_CONNECTIONS,
        ),
        overflow: reader.number(
            &["SQLALCHEMY_POOL_OVERFLOW", "DB_POOL_OVERFLOW"],
            20,
            0,
            MAX_CONNECTIONS,
        ),
        timeout: reader.seconds(
            &["SQLALCHEMY_POOL_TIMEOUT", "DB_POOL_TIMEOUT"],
            10,
            0.05,
            3600.0,
        ),
        recycle: reader.seconds(
            &["SQLALCHEMY_POOL_RECYCLE", "DB_POOL_RECYCLE"],
            1800,
            1.0,
            1e9,
        ),
    }
}

fn target(reader: &mut Reader<'_>, environment: Environment) -> Option<DatabaseTarget> {
    if reader.is_set("DATABASE_URL") {
        return url(reader, "DATABASE_URL");
    }
    let path = data_directory(reader).join("todo.db");
    if environment == Environment::Development {
        return Some(DatabaseTarget::Sqlite(SqliteTarget { path }));
    }
    reader.problem(
        "DATABASE_URL",
        "is not set; only in development is the embedded database taken unasked",
        format!(
            "DATABASE_URL=postgresql://USER:PASSWORD@HOST/NAME, or DATABASE_URL=sqlite://{}",
            path.display()
        ),
    );
    None
}

fn url(reader: &mut Reader<'_>, name: &'static str) -> Option<DatabaseTarget> {
    // It may hold a password, so it is read as a secret.
    let text = reader.secret(name)?;
    match database_url::parse(text.expose()) {
        Ok(Parsed { value, remarks }) => {
            for remark in remarks {
                reader.warn(name, remark);
            }
            Some(value)
        }
        Err(wrong) => {
            reader.problem(
                name,
                wrong.message,
                wrong.remedy.replace("DATABASE_URL", name),
            );
            None
        }
    }
}

/// Past the pooler, where that can be told: Neon's direct host has no `-pooler`.
fn direct(target: &DatabaseTarget, pooler: PoolerMode) -> DatabaseTarget {
    let DatabaseTarget::Postgres(server) = target else {
        return target.clone();
    };
    let mut direct = server.clone();
    if server.is_neon()
        && let Some((endpoint, domain)) = server.host.split_once("-pooler.")
    {
        direct.host = format!("{endpoint}.{domain}");
        direct.pooled = false;
    } else {
        direct.pooled |= pooler == PoolerMode::Transaction;
    }
    DatabaseTarget::Postgres(direct)
}

/// Where the embedded database lives when `DATABASE_URL` is not set.
fn data_directory(reader: &mut Reader<'_>) -> PathBuf {
    let value = reader.text(&["TODOCTL_DATA_DIR"]);
    PathBuf::from(value.map_or("data", |(_, value)| value))
}
