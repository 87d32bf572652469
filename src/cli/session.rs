//! `todoctl session`: makes, lists and revokes session tokens.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::domain::{Timestamp, UserId, UserIdError};
use crate::services::daemon;
use crate::store::{NewSession, Session, SessionHash, Store, StoreError};

use super::context::Context;
use super::hint::{Hint, NO_RANDOM};
use super::output::{self, Format};

const CREATE_EXAMPLES: &str = "\
The token alone goes to stdout, and is shown this once.

Examples:
  TOKEN=$(todoctl session create --user usr_1)
  todoctl session create --user usr_1 --ttl 30days --label laptop";

const LIST_EXAMPLES: &str = "\
Examples:
  todoctl session list --user usr_1
  todoctl session list --format json | jq '.sessions[].label'";

const REVOKE_EXAMPLES: &str = "\
Examples:
  todoctl session revoke 3 4
  todoctl session list                 has the numbers";

/// What to type where the schema is not there yet.
const MIGRATE: &str = "todoctl migrate up";

/// What can be done with session tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a token that stands for a user; it is shown this once.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateOptions),
    /// List sessions, ended ones too; tokens cannot be shown again.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListOptions),
    /// End sessions now.
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeOptions),
}

/// For whom, and for how long.
#[derive(Debug, clap::Args)]
pub struct CreateOptions {
    /// Whom the token stands for.
    #[arg(long, value_name = "ID", value_parser = user_id)]
    pub user: UserId,
    /// How long it is valid, from 1s to 10years.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = ttl)]
    pub ttl: Duration,
    /// What to call it in the list.
    #[arg(long, value_name = "TEXT", value_parser = label)]
    pub label: Option<String>,
    /// How the token is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Whose sessions.
#[derive(Debug, clap::Args)]
pub struct ListOptions {
    /// Only this user's.
    #[arg(long, value_name = "ID", value_parser = user_id)]
    pub user: Option<UserId>,
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Which sessions.
#[derive(Debug, clap::Args)]
pub struct RevokeOptions {
    /// Their numbers, as the list shows them.
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<i64>,
}

fn user_id(text: &str) -> Result<UserId, UserIdError> {
    UserId::new(text)
}

fn ttl(text: &str) -> Result<Duration, String> {
    // A year of humantime's, times 10.
    const MAX: Duration = Duration::from_secs(10 * 31_557_600);
    let ttl = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a time looks like 7d, 12h or 30days"))?;
    if ttl < Duration::from_secs(1) || ttl > MAX {
        return Err("a session lasts at least 1s and at most 10years".to_owned());
    }
    Ok(ttl)
}

fn label(text: &str) -> Result<String, String> {
    const MAX_CHARS: usize = 200;
    let text = text.trim();
    if text.is_empty() {
        return Err("the label is empty or blank".to_owned());
    }
    if text.chars().count() > MAX_CHARS {
        return Err(format!("the label is longer than {MAX_CHARS} characters"));
    }
    Ok(text.to_owned())
}

/// Runs the command.
pub async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create(options, context).await,
        Command::List(options) => list(options, context).await,
        Command::Revoke(options) => revoke(options, context).await,
    }
}

/// A new session; the only time that its token is known.
#[derive(Serialize)]
struct Created<'a> {
    id: i64,
    token: &'a str,
    user_id: &'a UserId,
    label: Option<&'a str>,
    expires_at: Timestamp,
}

async fn create(options: &CreateOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let (database, secret) = context.database_and_session_secret()?;
    let token = new_token()?;
    let session = NewSession {
        hash: SessionHash::new(&secret.current, &token),
        user: options.user.clone(),
        label: options.label.clone(),
        expires_at: context.clock().now().saturating_add(options.ttl),
    };
    let store = context.store(&database).await?;
    let id = store.create_session(&session).await;
    store.close().await;
    let created = Created {
        id: id.map_err(explained)?,
        token: &token,
        user_id: &session.user,
        label: session.label.as_deref(),
        expires_at: session.expires_at,
    };
    match options.format {
        Format::Json => output::json(&created)?,
        Format::Table => {
            // Alone on stdout, for TOKEN=$(todoctl session create …).
            output::data(created.token);
            output::note(&hint(&created, &address(context)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// 32 random bytes. Without dots, which would make it look like a JWT; with a
/// prefix, so that secret scanners can tell what leaked.
fn new_token() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Hint::of(error, "the system gives no random numbers", NO_RANDOM))?;
    Ok(format!("todo_{}", hex::encode(bytes)))
}

/// Where the daemon is, as far as is known; only a hint depends on it.
fn address(context: &Context) -> String {
    let http = context.http();
    http.map_or_else(
        |_| "http://127.0.0.1:8000".to_owned(),
        |http| daemon::local_address(&http),
    )
}

fn hint(created: &Created<'_>, address: &str) -> String {
    format!(
        "session {} for {}, until {}; the token is not shown again\nwith it in $TOKEN:\n  curl -H \"Authorization: Bearer $TOKEN\" {address}/tasks/",
        created.id, created.user_id, created.expires_at
    )
}

/// Whether a session still opens doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Active,
    Expired,
    Revoked,
}

impl State {
    fn of(session: &Session, now: Timestamp) -> Self {
        if session.revoked_at.is_some() {
            Self::Revoked
        } else if session.expires_at <= now {
            Self::Expired
        } else {
            Self::Active
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

#[derive(Serialize)]
struct Listed {
    sessions: Vec<ListedSession>,
}

#[derive(Serialize)]
struct ListedSession {
    #[serde(flatten)]
    session: Session,
    state: State,
}

impl ListedSession {
    fn row(&self) -> Vec<String> {
        let session = &self.session;
        vec![
            session.id.to_string(),
            session.user_id.clone(),
            session.label.clone().unwrap_or_default(),
            self.state.as_str().to_owned(),
            session.created_at.to_seconds_string(),
            session.expires_at.to_seconds_string(),
        ]
    }
}

async fn list(options: &ListOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store(&context.database()?).await?;
    let sessions = store.sessions(options.user.as_ref()).await;
    store.close().await;
    let now = context.clock().now();
    let with_state = |session: Session| ListedSession {
        state: State::of(&session, now),
        session,
    };
    let sessions: Vec<ListedSession> = sessions
        .map_err(explained)?
        .into_iter()
        .map(with_state)
        .collect();
    if options.format == Format::Json {
        output::json(&Listed { sessions })?;
        return Ok(ExitCode::SUCCESS);
    }
    if sessions.is_empty() {
        output::note("no sessions; to make one: todoctl session create --user ID");
    } else {
        output::table(
            &["ID", "USER", "LABEL", "STATE", "CREATED", "EXPIRES"],
            sessions.iter().map(ListedSession::row).collect(),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What became of one number that was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Revoked {
    Now,
    Before,
    Unknown,
}

async fn revoke(options: &RevokeOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store(&context.database()?).await?;
    let mut all_known = true;
    for &id in &options.ids {
        match revoke_one(&store, id).await.map_err(explained)? {
            Revoked::Now => output::note(&format!("session {id} is revoked")),
            Revoked::Before => output::note(&format!("session {id} was revoked before")),
            Revoked::Unknown => {
                all_known = false;
                output::note(&format!(
                    "there is no session {id}; to see them all: todoctl session list"
                ));
            }
        }
    }
    store.close().await;
    Ok(ExitCode::from(u8::from(!all_known)))
}

async fn revoke_one(store: &Store, id: i64) -> Result<Revoked, StoreError> {
    if store.revoke_session(id).await? {
        return Ok(Revoked::Now);
    }
    let known = store
        .sessions(None)
        .await?
        .iter()
        .any(|session| session.id == id);
    Ok(if known {
        Revoked::Before
    } else {
        Revoked::Unknown
    })
}

fn explained(error: StoreError) -> anyhow::Error {
    if error.wants_migration() {
        let what = "the database has no table of sessions yet";
        return Hint::of(error, what, MIGRATE).into();
    }
    error.into()
}

#[cfg(test)]
mod tests;
