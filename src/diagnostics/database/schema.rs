//! The schema as it is: what the names lead to, how it differs from the migrations, and what
//! others have added to the tables.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget};
use crate::diagnostics::check::{Check, Server, run};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Outcome::{Fail, Pass, Skip, Warn};
use crate::diagnostics::verdict::Verdict;

mod abandoned;
mod access;
mod answer;
mod collation;
mod columns;
mod constraints;
mod dependents;
mod drift;
mod duplicates;
mod expressions;
mod file;
mod file_definition;
mod file_indexes;
mod foreign_triggers;
mod heirs;
mod home;
mod indexes;
mod issue;
mod leftovers;
mod owners;
mod parts;
mod priorities;
mod rebuild;
mod references;
mod renamed;
mod renamed_schema;
mod row_security;
mod search_index;
mod sequences;
mod set_aside;
mod strays;
mod tables;
mod triggers;
mod unread;
mod users;
mod values;

pub(super) use abandoned::without_repack;
pub(super) use access::missing_rights;
pub(super) use search_index::{
    damaged_index, damaged_index_pages, is_of_search_index, is_search_table, search_index,
    wrong_copies_of_server,
};
pub(super) use strays::{carried_over, in_order};
pub(super) use tables::tables;
pub(super) use triggers::without_trigger;

pub(in crate::diagnostics) static CHECKS: &[Check] = &[
    Check::new("database.schema", "Schema", run!(Database, schema))
        .about(
            "Tables, columns and constraints are compared with those that the migrations \
             create. What only adds to them is accepted, unless it makes the daemon's \
             statements fail. Usual causes of a failure are changes by hand, another \
             program that manages the same tables, and a partly restored backup.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .fix("Creates missing indexes and triggers of a SQLite file again.")
        .trying_remedies()
        .needs(&["database.query", "database.migrations"])
        .taking_turns(),
    Check::new(
        "database.indexes",
        "Indexes",
        run!(Server, indexes::indexes),
    )
    .about(
        "The indexes that the migrations create exist, are valid and unique where they \
             have to be, and nobody added a unique index that refuses rows. Without them \
             requests get slow, or changes fail. The usual cause is CREATE INDEX \
             CONCURRENTLY that was interrupted.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .fix("Creates missing indexes, and builds invalid ones again, without locking their tables.")
    .trying_remedies()
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    Check::new(
        "database.triggers",
        "Triggers",
        run!(Server, triggers::triggers),
    )
    .about(
        "The triggers of todoctl are there and enabled, and their functions are unchanged: they \
             count unread notifications and mark texts that searches have to fold again. Triggers, rules, and expressions of indexes and columns that others added are named, \
             because they can refuse or suppress changes. The usual cause is a bulk load that \
             disabled triggers.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .fix("Enables or creates the triggers and functions of todoctl again, and makes up for what they missed.")
    .trying_remedies()
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    // A large file takes long to read.
    Check::new(
        "database.references",
        "References",
        run!(File, references::references),
    )
    .about(
        "Every row of the SQLite file that refers to another row refers to one that exists. \
         The usual cause of others is a program that changed the file without foreign keys, \
         which SQLite enforces only where they are switched on.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .trying_remedies()
    .needs(&["database.integrity", "database.migrations"])
    .taking_turns()
    .within(10),
    Check::new("database.values", "Values", run!(File, values::values))
        .about(
            "The values of the SQLite file are what the daemon reads them as: texts in UTF-8, and \
             times in microseconds since 1970. SQLite stores any value in any column. Usual causes \
             of others are an import from a CSV file in another encoding, CURRENT_TIMESTAMP or \
             seconds in a statement by hand, and a program that binds texts as bytes.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(&["database.integrity", "database.migrations"])
        .taking_turns()
        .within(10),
    Check::new("database.users", "Users", run!(Database, users::users))
        .about(
            "The tasks belong to users, and not to what a client sends where it does not know its \
             user: undefined, null, a template that was not filled in, or one id twice. The usual \
             cause is a service whose variable for X-User-ID is not set.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(&["database.integrity", "database.migrations"])
        .taking_turns(),
    Check::new(
        "database.set_aside",
        "Rows set aside",
        run!(Database, leftovers::leftovers),
    )
    .about(
        "Tables in which remedies of this command keep rows that were in the way, such as one of \
         two with the same key. They do no harm, and are named until somebody drops them.",
    )
    .outcomes(&[Pass, Fail, Skip])
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    Check::new(
        "database.sequences",
        "Sequences",
        run!(Database, sequences::sequences),
    )
    .about(
        "The sequences that generate ids are ahead of the highest id of their tables and \
             far from their maximum. A sequence that is behind makes every insert fail \
             with a duplicate key. The usual cause is a copy of tables or a restored backup \
             without sequence values.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .fix("Moves a sequence behind the highest id of its table.")
    .trying_remedies()
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    Check::new("database.unread", "Unread counts", run!(Database, unread::unread))
        .about(
            "The stored numbers of unread notifications are those of the notifications. Triggers \
             keep them. Usual causes of a difference are a bulk load without triggers, rows \
             that were changed by hand, and a table that was restored alone.",
        )
        .outcomes(&[Pass, Fail, Skip])
        .fix("Counts the unread notifications again.")
        .trying_remedies()
        .needs(&["database.query", "database.migrations"])
        .taking_turns(),
    Check::new("database.owners", "Owners", run!(Server, owners::owners))
        .about(
            "The role that migrates owns the tables, or is a member of the role that does. \
             Otherwise the next migration fails. The usual cause is a backup that was \
             restored by an administrator.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .trying_remedies()
        .needs(&["database.query", "database.tables"])
        .taking_turns(),
    Check::new("database.access", "Access", run!(Server, access::access))
        .about(
            "The role was not made a superuser, and the tables are not open to every role of the server. \
             Outside development either is a risk: a password that leaks opens the whole server, \
             and another service's role reads every task. The usual cause is a GRANT to PUBLIC \
             that was meant for one role.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .trying_remedies()
        .needs(&["database.query", "database.tables"])
        .taking_turns(),
    Check::new(
        "database.row_security",
        "Row security",
        run!(Server, row_security::row_security),
    )
    .about(
        "Row-level security of the tables lets this role read and change every row. \
         Otherwise lists are empty and changes are refused. The usual cause is a provider's \
         console that enables it for all tables.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .trying_remedies()
    .needs(&["database.query", "database.tables"])
    .taking_turns(),
    Check::new(
        "database.collation",
        "Collation",
        run!(Server, collation::collation),
    )
    .about(
        "The versions of the collations that the indexes were built with are those of the \
         server's libraries. After an upgrade of the operating system text may sort \
         differently, and then indexes on text miss rows and accept duplicates.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .trying_remedies()
    .needs(&["database.query", "database.tables"])
    .taking_turns(),
];

/// The schema of either engine.
async fn schema(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            drift::schema(context, Server { config, target }, limit).await
        }
        DatabaseTarget::Sqlite(file) => file::schema(context, file, limit).await,
    }
}
