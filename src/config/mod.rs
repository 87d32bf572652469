//! The environment becomes one typed [`Config`], or a list of everything that is wrong with it.
//!
//! Each variable is declared once (`variable::declare!`), in the file of its
//! section: name, alias, default, parser, how much of it may be shown, help text and example.
//! The reader, `config show`, the check for misspelt names and `.env.example` follow from that
//! declaration.
//!
//! Values come from the process's environment and, behind it, from one `.env` file (`Source`).
//! A section can be loaded alone, so that `todoctl db check` does not require secrets that it
//! does not use; an `Audit` reads everything. All problems are reported at once
//! (`ConfigError`); a setting that is only unwise is a `Warning`. Neither contains a secret,
//! or a part of one.

mod audit;
mod auth;
mod bare_secret;
mod barrier;
mod beside;
mod blanks_in_url;
mod bounds;
mod closed;
mod closed_files;
mod container;
mod cors;
mod daemon_place;
mod dangling;
mod database;
mod database_file;
mod database_header;
pub mod database_url;
pub(crate) mod env_file;
mod environment;
mod error;
mod example;
mod fingerprint;
mod generated;
mod hot_journal;
mod http;
mod in_the_way;
mod inventory;
mod invisible;
mod key_material;
mod left_secrets;
mod leftover;
mod load;
mod lost_database;
mod lost_secrets;
mod meant;
mod mend;
mod misspelt;
mod mounts;
mod nearby;
mod no_file;
mod other_places;
mod outside;
mod ownership;
mod parse;
mod privilege;
mod reader;
mod redis_address;
mod remedy;
mod respell;
mod secret;
mod secret_file;
mod secret_name;
mod secret_remedy;
mod secret_text;
mod secrets;
mod secrets_place;
mod services;
mod shell;
mod source;
mod spellings;
mod strength;
mod telemetry;
#[cfg(test)]
mod tests;
mod text_file;
mod typed_remedy;
mod unresolved;
mod url_part;
mod user_namespace;
mod variable;
mod variables;

pub use auth::AuthConfig;
pub use database::{DatabaseConfig, HealthProbe, PoolConfig, PoolerMode, statement_timeout};
pub use database_url::{DatabaseTarget, PostgresTarget, SqliteTarget, TlsMode};
pub use environment::Environment;
pub use fingerprint::Fingerprints;
pub use http::HttpConfig;
pub use load::Config;
pub use remedy::Remedy;
pub use secret::{RotatingSecret, Secret};
pub use services::ServicesConfig;
pub use telemetry::{LogFormat, LogRequests, TelemetryConfig};

pub(crate) use audit::Audit;
pub(crate) use barrier::Barrier;
pub(crate) use beside::{
    files_beside, has_hot_journal, index_path, is_open_here, migration_lock_path, resolved,
    run_record_path, wal_path, was_migrated, with_suffix,
};
pub(crate) use bounds::Bounds;
pub(crate) use closed::{Account, Closed, has_acl};
pub(crate) use closed_files::{closed_to_owner, files_of_others, hand_over, opened_to_owner};
pub(crate) use container::{Container, in_container};
pub(crate) use cors::is_origin;
pub(crate) use daemon_place::DaemonPlace;
pub(crate) use database_file::{ClaimError, MIGRATED, claim};
pub(crate) use database_header::{
    has_damaged_begin, is_database, is_in_wal_mode, missing_pages, page_bytes,
};
pub(crate) use database_url::{DATABASE_URL, SYSTEM_ROOTS};
pub(crate) use error::{ConfigError, Loaded, Problem, Warning};
pub(crate) use example::env_example;
pub(crate) use fingerprint::fingerprints;
pub(crate) use generated::{has as has_generated_secret, path as generated_secret_path};
pub(crate) use hot_journal::{OtherJournal, undo_interrupted};
pub(crate) use in_the_way::{in_place_of_database, in_place_of_directory};
pub(crate) use inventory::{Entry, inventory};
pub(crate) use left_secrets::left_secret;
pub(crate) use load::{JobsConfig, load_database_and_session_secret};
pub(crate) use lost_database::{away, begin_anew, find_loss};
pub(crate) use lost_secrets::{SecretPlace, SecretPlaces, put_back, secret_places};
pub(crate) use mend::{
    conflicts, glued as glued_warnings, mended, mends, read_source, warnings as line_warnings,
};
pub(crate) use misspelt::{
    is_refused, misspelt, nearest, nearest_of, renamed, unread, warnings as misspelt_warnings,
};
pub(crate) use mounts::{
    MissingMount, is_in_fstab, is_mount_point, is_replaced_outside, mount_point,
};
pub(crate) use nearby::{
    Meant, copied_up, found_again, may_be_meant, moved_up, service_of, writable_folder,
};
pub(crate) use no_file::NoFile;
pub(crate) use other_places::{other_places, url as sqlite_url};
pub(crate) use outside::Outside;
pub(crate) use ownership::{
    here, install_for, move_away, private_directory, readable, run_by, taken_over, unused_name,
    writable, writable_for,
};
pub(crate) use privilege::{Capability, as_owner, as_root};
pub(crate) use reader::{environment_of, is_quoted};
pub(crate) use remedy::{PSQL_PACKAGES, one_line, sql_literal, sql_name};
pub(crate) use respell::{other_spelling, respelt};
pub(crate) use secret_file::is_no_path;
pub(crate) use secret_name::{SecretName, keeps_previous};
pub(crate) use secret_remedy::{
    generate_only, jwt_from_sign_in_service, replace as replace_secret,
};
pub(crate) use services::{GEMINI_API, RESEND_API, ca_file};
pub(crate) use shell::{sed, shell_word};
pub(crate) use source::{DEFAULT_ENV_FILE, Origin, Source};
pub(crate) use spellings::{
    AS_BASE64, CUT_AT_COMMENT, CUT_AT_DOLLAR, CUT_OR_MORE, IN_QUOTES, SPELLINGS,
    WITHOUT_REFERENCES, spellings, spelt,
};
pub(crate) use strength::is_placeholder;
pub(crate) use telemetry::metrics_address;
pub(crate) use text_file::read_small_file;
pub(crate) use unresolved::unresolved;
pub(crate) use url_part::with_part;
pub(crate) use variable::{Section, Variable};
pub(crate) use variables::VARIABLES;
