//! Checks of what the service has in the database.

use crate::diagnostics::check::{Check, Run, run};
use crate::diagnostics::verdict::Outcome::{Fail, Pass, Skip, Warn};

use super::{SESSION, continuity, migrations, provider_keys, schema, trial};

pub(in crate::diagnostics) static CHECKS: &[Check] = &[
    Check::new("database.tables", "Tables", run!(Server, schema::tables))
        .about(
            "What the names of the tables lead to. The role's search path decides it, so \
             tables may be hidden by others of the same name, or be in a schema that is not \
             searched. Tables of another service that migrations would not take over are \
             named here, before anything is migrated.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(SESSION)
        .taking_turns(),
    Check::new(
        "database.migrations",
        "Migrations",
        run!(Database, migrations::migrations),
    )
    .about(
        "The migrations that the database records are compared with those of this \
         program. A daemon does not start on a schema that is not its own. Usual causes \
         are migrations that nobody applied, a release that was rolled back, a \
         migration that was interrupted, and a restore without _sqlx_migrations, after which \
         the schema has migrations that are not recorded.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .fix("Applies the pending migrations, and records those that the schema already has.")
    .needs(&["database.login", "database.tables"])
    .within(20),
    Check::new("database.trial", "Trial run", run!(Database, trial::trial))
        .about(
            "The daemon's own operations, with its role, its URL and its statements, in one \
         transaction that is rolled back: tasks are created, read, searched, changed, completed \
         and deleted, an idempotency key, a session, a provider key, a notification and a mail \
         are stored and read. Nothing stays and no mail is sent; each sequence loses a few \
         numbers, as with any transaction that is rolled back. Usual causes of a failure are \
         a privilege that is missing, row-level security, and triggers or constraints that \
         somebody added.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(&["database.pooler", "database.migrations"])
        .within(10),
    Check::new(
        "database.continuity",
        "Same database",
        run!(Database, continuity::continuity),
    )
    .about(
        "Whether this is the database that the service has served before. A daemon keeps beside its \
         .env file (.env-database) which database it serves and how many tasks are in it, as far as \
         they were counted. Another database with fewer tasks is probably a new, empty one in its \
         place; the same one without nearly all of its tasks may have lost them by a statement that was \
         meant for another. Usual causes are another spelling of DATABASE_URL, another working directory, an \
         empty volume, and a SQLite file that was moved without its write-ahead log or without the \
         secrets that were generated for it.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    Check::new(
        "database.provider_keys",
        "Provider keys",
        run!(Database, provider_keys::provider_keys),
    )
    .about(
        "The provider keys that users have saved can be decrypted with ENCRYPTION_KEY or \
         ENCRYPTION_KEY_PREVIOUS; the newest hundred are tried. Without that, each request that \
         needs one is answered with 500. Usual causes are a key that was replaced and not kept as \
         the previous one, a database of another environment, and a lost directory of secrets.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
];
