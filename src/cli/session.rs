//! `todoctl session`: creates, lists and revokes session tokens.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::config::SecretName;
use crate::domain::{SESSION_BYTES, Timestamp, UserId, UserIdError, session_token};
use crate::services::daemon;
use crate::store::{NewSession, Session, SessionHash, StoreError};

use super::context::Context;
use super::hint::{Hint, no_random};
use super::new_secrets::{NewSecrets, refuse_absent};
use super::output::{self, Format, Tone};

const CREATE_EXAMPLES: &str = "\
Only the token goes to stdout. It cannot be shown again.

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
  todoctl session list                 (shows the ids)";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a session token for a user; it is shown only once.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateOptions),
    /// List sessions, including expired and revoked ones; tokens are not shown.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListOptions),
    /// Revoke sessions; their tokens stop working at once.
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeOptions),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateOptions {
    /// The user that the token authenticates.
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user: UserId,
    /// Lifetime, from 1s to 10years.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = ttl)]
    ttl: Duration,
    /// A name for the list of sessions.
    #[arg(long, value_name = "TEXT", value_parser = label)]
    label: Option<String>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListOptions {
    /// Only sessions of this user.
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user: Option<UserId>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeOptions {
    /// Session ids, as shown by `todoctl session list`.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
}

fn user_id(text: &str) -> Result<UserId, UserIdError> {
    UserId::new(text)
}

fn ttl(text: &str) -> Result<Duration, String> {
    // Ten years, as humantime counts them.
    const MAX: Duration = Duration::from_secs(10 * 31_557_600);
    let ttl = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; durations look like 7d, 12h or 30days"))?;
    if ttl < Duration::from_secs(1) || ttl > MAX {
        return Err("the lifetime of a session is between 1s and 10years".to_owned());
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

pub(super) async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create(options, context).await,
        Command::List(options) => list(options, context).await,
        Command::Revoke(options) => revoke(options, context).await,
    }
}

/// The JSON output of `create`.
#[derive(Serialize)]
struct Created<'a> {
    id: i64,
    token: &'a str,
    user_id: &'a UserId,
    label: Option<&'a str>,
    expires_at: Timestamp,
}

async fn create(options: &CreateOptions, context: &Context) -> anyhow::Result<ExitCode> {
    refuse_absent(context, &[SecretName::SessionHashSecret]).await?;
    NewSecrets::expect(context).await?;
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
            // Nothing else on stdout, for TOKEN=$(todoctl session create …).
            output::data(created.token)?;
            output::note(&hint(&created, &address(context)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn new_token() -> anyhow::Result<String> {
    let mut bytes = [0; SESSION_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Hint::of(error, "the system provides no random numbers", no_random()))?;
    Ok(session_token(bytes))
}

/// The daemon's address, for a hint; the default address if the configuration is invalid.
fn address(context: &Context) -> String {
    let http = context.http();
    http.map_or_else(
        |_| "http://127.0.0.1:8000".to_owned(),
        |http| daemon::local_address(&http),
    )
}

fn hint(created: &Created<'_>, address: &str) -> String {
    format!(
        "created session {} for {}, valid until {}; the token is not shown again\nwith the token in $TOKEN:\n  curl -H \"Authorization: Bearer $TOKEN\" {address}/tasks/",
        created.id,
        output::printable(created.user_id.as_str()),
        created.expires_at
    )
}

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
            output::printable(&session.user_id),
            output::printable(session.label.as_deref().unwrap_or_default()),
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
        output::note("no sessions; create one with: todoctl session create --user ID");
    } else {
        output::toned_table(
            &["ID", "USER", "LABEL", "STATE", "CREATED", "EXPIRES"],
            sessions.iter().map(ListedSession::row).collect(),
            &[
                ("active", Tone::Good),
                ("expired", Tone::Muted),
                ("revoked", Tone::Muted),
            ],
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(options: &RevokeOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store(&context.database()?).await?;
    let mut all_known = true;
    for &id in &options.ids {
        if store.revoke_session(id).await.map_err(explained)? {
            output::note(&format!("revoked session {id}"));
            continue;
        }
        let sessions = store.sessions(None).await.map_err(explained)?;
        if sessions.iter().any(|session| session.id == id) {
            output::note(&format!("session {id} was already revoked"));
        } else {
            all_known = false;
            output::note(&format!(
                "session {id} does not exist; list sessions with: todoctl session list"
            ));
        }
    }
    store.close().await;
    Ok(ExitCode::from(u8::from(!all_known)))
}

fn explained(error: StoreError) -> anyhow::Error {
    Hint::if_not_migrated(error, "the database has no table for sessions yet")
}

#[cfg(test)]
mod tests;
