//! Whether the daemon serves the database that this service has served before.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::cli::hint::Hint;
use crate::config::{
    Audit, Config, DatabaseTarget, Environment, Remedy, SecretPlaces, Source, secret_places,
};
use crate::diagnostics::refuse_log_of_another;
use crate::services::last_database::{LastDatabase, path};
use crate::store::{ConnectError, Content, Identity, Store};

/// How long the database may take to say what is in it.
const ASKING: Duration = Duration::from_secs(2);

/// The same while the daemon ends.
const ENDING: Duration = Duration::from_millis(300);

/// The pause between two looks at the number of created tasks, and the pause after they were counted.
const FOLLOWING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps what is served beside the `.env` file.
pub(super) struct Continuity {
    env_file: Option<PathBuf>,
    target: DatabaseTarget,
    environment: Environment,
    secrets: SecretPlaces,
}

impl Continuity {
    pub(super) fn new(source: &Source, config: &Config) -> Self {
        Self {
            env_file: source.file().map(ToOwned::to_owned),
            target: config.database.target.clone(),
            environment: config.environment,
            secrets: secret_places(source, &Audit::of(source).secrets),
        }
    }

    fn last(&self) -> Option<LastDatabase> {
        LastDatabase::read(self.env_file.as_deref()?)
    }

    /// Fails where the SQLite file was moved without its write-ahead log: after the next change the
    /// log would not fit it any more.
    pub(super) async fn refuse_without_log(&self) -> anyhow::Result<()> {
        let (DatabaseTarget::Sqlite(file), Some(last)) = (&self.target, self.last()) else {
            return Ok(());
        };
        let Some(now) = Content::found_in(file).await.and_then(|now| self.of(now)) else {
            return Ok(());
        };
        match last.log_left_behind(&now, file) {
            Some(log) => Err(Hint::new(log.to_string(), log.remedy()).into()),
            None => Ok(()),
        }
    }

    /// Fails where a SQLite file has a write-ahead log of another state of it, as where a backup took its
    /// place after a crash: opened for writing, the file would be damaged with it.
    pub(super) async fn refuse_other_log(&self) -> anyhow::Result<()> {
        let DatabaseTarget::Sqlite(file) = &self.target else {
            return Ok(());
        };
        match refuse_log_of_another(file).await {
            Some((what, remedy)) => Err(Hint::new(what, remedy).into()),
            None => Ok(()),
        }
    }

    /// Fails where migrations would begin anew in a database that was emptied or created again: it
    /// had tasks, and a backup could not be restored beside new tables.
    pub(super) async fn refuse_emptied(
        &self,
        has_no_tables: impl AsyncFnOnce() -> Result<bool, ConnectError>,
    ) -> anyhow::Result<()> {
        let (Some(env_file), Some(last)) = (&self.env_file, self.last()) else {
            return Ok(());
        };
        let now = LastDatabase::new(&self.target, String::new(), 0);
        if last.tasks == 0 || !last.is_at_url_of(&now) || !has_no_tables().await? {
            return Ok(());
        }
        let forgotten = Remedy::command("rm -f").arg(path(env_file));
        let remedy = Remedy::note("todoctl doctor --only database.migrations says whether the server has the old one under another name; otherwise restore the backup into this one (pg_restore), and start the daemon again")
            .then(Remedy::note(format!(
                "only to begin anew, without what was there: {forgotten}"
            )));
        let what = format!(
            "{} is empty, and had tasks when they were counted last ({})",
            now.place, last.tasks
        );
        Err(Hint::new(what, remedy).into())
    }

    /// Says where this is another database than before, or a new one.
    pub(super) async fn begin(&self, store: &Store, is_new: bool) {
        let Ok(Ok(content)) = timeout(ASKING, Content::of_store(store)).await else {
            return;
        };
        let Some(mut now) = self.of(content) else {
            return;
        };
        if is_new && now.tasks == 0 {
            // Somebody tries the program out.
            if self.environment == Environment::Development && self.env_file.is_none() {
                tracing::info!(database = now.place, "created a new, empty database");
            } else {
                tracing::warn!(
                    database = now.place,
                    "created a new, empty database; if the service had tasks, DATABASE_URL, the working directory or a mount has changed"
                );
            }
        }
        match self.last() {
            Some(last) if last.is_emptied_in(&now) => tracing::warn!(
                before = last.tasks,
                now = now.tasks,
                "nearly all tasks of the database are gone; todoctl doctor --only database.continuity says more"
            ),
            Some(last) if last.is_missing_in(&now) => tracing::warn!(
                before = last.place,
                now = now.place,
                "this service has served another database, which had more tasks; todoctl doctor --only database.continuity says more"
            ),
            _ => {
                now.database = self.number().await;
                self.keep(&now);
            }
        }
    }

    /// [`LastDatabase::database`].
    async fn number(&self) -> Option<String> {
        if !matches!(self.target, DatabaseTarget::Postgres(_)) {
            return None;
        }
        let identity = timeout(ASKING, Identity::ask(&self.target)).await.ok()?;
        Some(identity.ok()?.parts().database)
    }

    /// Keeps where the daemon was found. The next one may listen somewhere else.
    pub(super) fn had_clients_at(&self, address: SocketAddr) {
        if let Some(last) = self.last() {
            self.keep(&LastDatabase {
                clients_at: Some(address),
                ..last
            });
        }
    }

    /// Keeps how much is in the database while tasks are created, so that a daemon that is killed, or
    /// was started when there were none, leaves it to the next one. A server is asked only after a
    /// change: it may be suspended otherwise. Never ends.
    pub(super) async fn follow(
        &self,
        store: &Store,
        count_created: impl Fn() -> u64,
    ) -> Infallible {
        let mut seen = 0;
        loop {
            tokio::time::sleep(FOLLOWING).await;
            let created = count_created();
            if created > seen {
                self.keep_content(store, ASKING).await;
                tokio::time::sleep(PAUSE).await;
            }
            seen = count_created().min(created);
        }
    }

    /// Keeps how much is in the database at the end, where that may be asked.
    pub(super) async fn end(&self, store: &Store, count_created: impl Fn() -> u64) {
        if matches!(self.target, DatabaseTarget::Sqlite(_)) || count_created() > 0 {
            self.keep_content(store, ENDING).await;
        }
    }

    /// Not where another database, or this one, had more before.
    async fn keep_content(&self, store: &Store, limit: Duration) {
        let Ok(Ok(content)) = timeout(limit, Content::of_store(store)).await else {
            return;
        };
        let is_server = matches!(self.target, DatabaseTarget::Postgres(_));
        let last = self.last();
        if let Some(mut now) = self.of(content)
            && !last.as_ref().is_some_and(|last| {
                // A server's database may have been replaced since the start.
                let is_another = is_server && last.id != now.id;
                is_another || last.is_missing_in(&now) || last.is_emptied_in(&now)
            })
        {
            let same = last.filter(|last| last.id == now.id && last.place == now.place);
            now.database = same.and_then(|last| last.database);
            self.keep(&now);
        }
    }

    fn of(&self, content: Content) -> Option<LastDatabase> {
        let Content { id, tasks } = content;
        let mut now = LastDatabase::new(&self.target, id?, tasks);
        now.secrets.clone_from(&self.secrets);
        now.clients_at = self.last().and_then(|last| last.clients_at);
        Some(now)
    }

    fn keep(&self, now: &LastDatabase) {
        // A disk at rest is not woken for nothing.
        if let Some(env_file) = &self.env_file
            && self.last().as_ref() != Some(now)
            && let Err(error) = now.write(env_file)
        {
            tracing::debug!(%error, file = %path(env_file).display(), "not written");
        }
    }
}
