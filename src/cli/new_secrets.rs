//! Secrets that would be generated beside a database that has been used with others.

use crate::cli::context::Context;
use crate::cli::hint::Hint;
use crate::config::{Audit, DatabaseTarget, SecretName};
use crate::services::last_database::LastDatabase;
use crate::services::left_secrets::{LeftSecrets, LostSecrets};
use crate::store::Content;

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
            return Err(Hint::new(lost.to_string(), lost.remedy(source.file())).into());
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
