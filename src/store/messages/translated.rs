//! Messages of PostgreSQL in the server's language (`lc_messages`).

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::entry::KnownMessage;
use super::lookup::{by_code, by_id, find};

/// The SQLSTATE, the function in PostgreSQL's source that raised it, which is not translated, and
/// the entry. Only where the SQLSTATE alone does not tell.
static RAISED: &[(&str, &str, &str)] = &[
    ("0A000", "RevalidateCachedQuery", "postgres.terminated"),
    ("28000", "ClientAuthentication", "postgres.hba"),
    ("28000", "auth_failed", "postgres.system-user"),
    ("42501", "CheckMyDatabase", "postgres.no-connect"),
    ("42501", "check_enable_rls", "postgres.row-security-off"),
    ("53300", "CheckMyDatabase", "postgres.database-limit"),
    ("53300", "InitializeSessionUserId", "postgres.role-limit"),
    ("55000", "CheckMyDatabase", "postgres.closed-database"),
    ("55000", "InitPostgres", "postgres.invalid-database"),
    ("58P01", "internal_load_library", "postgres.library"),
    ("58P01", "mdopenfork", "postgres.data-file"),
];

/// The entry for an error of a database.
pub(crate) fn of_database(fault: &dyn DatabaseError) -> Option<&'static KnownMessage> {
    find(fault.message())
        .or_else(|| raised(fault.try_downcast_ref()?))
        .or_else(|| by_code(&fault.code()?))
}

fn raised(fault: &PgDatabaseError) -> Option<&'static KnownMessage> {
    let is_key = fault
        .constraint()
        .is_some_and(|name| name.ends_with("_pkey"));
    if fault.code() == "23505" && is_key {
        return by_id("postgres.sequence-behind");
    }
    by_routine(fault.code(), fault.routine()?)
}

fn by_routine(code: &str, routine: &str) -> Option<&'static KnownMessage> {
    let mut raised = RAISED.iter();
    let (.., id) = raised.find(|(one, function, _)| *one == code && *function == routine)?;
    by_id(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_an_entry() {
        for (code, routine, id) in RAISED {
            let found = by_routine(code, routine).map(|one| one.id);
            assert_eq!(found, Some(*id));
            let by_code = by_code(code).map(|one| one.id);
            assert_ne!(by_code, Some(*id), "the code alone tells");
        }
    }
}
