//! Secrets that would be generated beside a database that has been used with others.

use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::hint::Hint;
use crate::config::{Audit, ConfigError, DatabaseTarget, SecretName};
use crate::services::last_database::LastDatabase;
use crate::services::left_secrets::{LeftSecrets, LostSecrets};
use crate::store::{Content, is_in_use};

/// How long a database may take to say whether it has been used.
const ASKING: Duration = Duration::from_secs(2);

/// Fails where one of `needed` is not set, and cannot be generated. In a service that was used, the
/// old ones are put back.
pub(super) async fn refuse_absent(context: &Context, needed: &[SecretName]) -> anyhow::Result<()> {
    let source = context.source();
    let audit = Audit::of(source);
    if !audit
        .absent_secrets()
        .iter()
        .any(|name| needed.contains(name))
    {
        return Ok(());
    }
    let last = LastDatabase::read(context.env_file());
    let had_tasks = last.as_ref().is_some_and(|last| last.tasks > 0);
    let is_used = had_tasks
        || match audit.target() {
            Some(target) => is_in_use(target, ASKING).await,
            None => false,
        };
    if !is_used {
        return Ok(());
    }
    let places = last.map(|last| last.secrets).unwrap_or_default();
    let mut problems = audit.problems_in_use(source, &places);
    if needed.len() < SecretName::ALL.len() {
        problems.retain(|one| needed.iter().any(|name| name.as_str() == one.variable));
    }
    Err(ConfigError { problems }.into())
}

/// Secrets that are generated although the database has tasks, as at the first start beside an
/// imported one.
#[derive(Debug, Default)]
pub(super) struct NewSecrets {
    names: Vec<SecretName>,
    tasks: i64,
}

impl NewSecrets {
    /// Fails where the old ones are known to exist, or to have been in use: with new ones, services
    /// and users would be refused.
    pub(super) async fn expect(context: &Context) -> anyhow::Result<Self> {
        let source = context.source();
        let audit = Audit::of(source);
        let missing = audit.missing_secrets();
        let Some(DatabaseTarget::Sqlite(file)) = audit.target() else {
            return Ok(Self::default());
        };
        // What else is wrong with the configuration ends the command.
        if missing.is_empty() || !audit.problems.is_empty() {
            return Ok(Self::default());
        }
        let now = context.clock().now();
        let Some((content, sessions)) = Content::with_sessions(file, now).await else {
            return Ok(Self::default());
        };
        let Content { id, tasks } = content;
        if tasks == 0 && sessions == 0 {
            return Ok(Self::default());
        }
        let target = DatabaseTarget::Sqlite(file.clone());
        let left = id.and_then(|id| {
            let now = LastDatabase::new(&target, id, tasks);
            LeftSecrets::find(source, file, missing, &now)
        });
        if let Some(left) = left {
            return Err(Hint::new(left.to_string(), left.remedy()).into());
        }
        if let Some(lost) = LostSecrets::of(file, missing, sessions) {
            return Err(Hint::new(lost.to_string(), lost.remedy(source)).into());
        }
        Ok(Self {
            names: missing.to_vec(),
            tasks,
        })
    }

    /// Tells who looks for the reason that a service is refused.
    pub(super) fn warn(&self) {
        if self.names.is_empty() || self.tasks == 0 {
            return;
        }
        let names: Vec<&str> = self.names.iter().map(|name| name.as_str()).collect();
        tracing::warn!(
            names = names.join(", "),
            tasks = self.tasks,
            "generated secrets for a database that has tasks already; if services or users have had others, put those back and restart"
        );
    }
}
