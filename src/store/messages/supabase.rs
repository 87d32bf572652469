//! Messages of Supabase's pooler.

use crate::config::Remedy;

use super::entry::{ConnectFault, KnownMessage, Retry};

pub(super) static SUPABASE: &[KnownMessage] = &[
    KnownMessage {
        id: "supabase.tenant",
        fault: ConnectFault::Other,
        patterns: &["tenant or user not found", "tenant/user * not found"],
        codes: &[],
        meaning: "Supabase's pooler has no such project in this region, or the user lacks the project's id",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "its user is postgres.PROJECT, and its host has the project's region; a project that was paused is restored in Supabase's dashboard; copy the connection string from there (Connect); this reads it without showing it: todoctl config set DATABASE_URL=-",
            )
        },
    },
    KnownMessage {
        id: "supabase.session-clients",
        fault: ConnectFault::TooManyConnections,
        patterns: &["maxclientsinsessionmode", "max clients reached"],
        codes: &[],
        meaning: "Supabase's pooler in session mode (port 5432) allows as many clients as it has server connections, and all are in use",
        retry: Retry::Later,
        remedy: |at| {
            let session = at.server().filter(|server| server.port == 5432);
            let transaction = session.map(|_| {
                Remedy::note("its port 6543 is in transaction mode; migrations need DATABASE_URL_UNPOOLED then, with the direct connection string:")
                    .then(Remedy::set("DATABASE_URL.port", 6543))
                    .then(Remedy::set("DB_POOLER", "transaction"))
            });
            Remedy::set("SQLALCHEMY_POOL_SIZE", 5)
                .then(Remedy::set("SQLALCHEMY_POOL_OVERFLOW", 0))
                .then(Remedy::note("then restart the daemon; or raise the pool size in Supabase's dashboard (Database, Settings)"))
                .or(transaction.unwrap_or_default())
        },
    },
    KnownMessage {
        id: "supabase.max-clients",
        fault: ConnectFault::TooManyConnections,
        patterns: &["max client connections reached"],
        codes: &[],
        meaning: "Supabase's pooler has reached its limit of clients",
        retry: Retry::Later,
        remedy: |_| {
            Remedy::set("SQLALCHEMY_POOL_SIZE", 5)
                .then(Remedy::set("SQLALCHEMY_POOL_OVERFLOW", 0))
                .then(Remedy::note(
                    "then restart the daemon; the limit grows with the compute size of the project",
                ))
        },
    },
];
