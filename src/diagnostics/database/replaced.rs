//! An empty database in the place of the one that the service has had.
//!
//! Migrations would create tables in it: the service would go on without its tasks, and a backup
//! that is restored later would collide with them. So nothing proposes them until somebody decides.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::config::{DEFAULT_ENV_FILE, DatabaseConfig, DatabaseTarget, Remedy, is_database};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::Fix;
use crate::diagnostics::report::Finding;
use crate::services::last_database::{self, LastDatabase, counted};
use crate::store::Content;

use super::behind::other_line;
use super::continuity::put_back_file;
use super::former::{Former, content, led_back, named_back};

/// For all questions.
const LIMIT: Duration = Duration::from_secs(3);

/// What creates or records the tables of todoctl.
const BEGINNINGS: [&str; 2] = [" migrate up", " migrate stamp"];

/// Withholds the commands and fixes that begin anew in a database that is not the service's.
pub(in crate::diagnostics) async fn withhold_beginnings(
    context: &Context,
    findings: &mut [Finding],
) {
    let mut beginning: Vec<&mut Finding> = findings
        .iter_mut()
        .filter(|finding| begins(finding))
        .collect();
    let (false, Some(config)) = (beginning.is_empty(), context.database()) else {
        return;
    };
    let Some(before) = Before::find(context, config).await else {
        return;
    };
    let line = match &config.target {
        DatabaseTarget::Postgres(server) => other_line(server).await,
        DatabaseTarget::Sqlite(_) => None,
    };
    let remedy = before.put_back(context, config).await;
    let remedy = Remedy::default().then(line).then(remedy);
    let remedy = remedy.at(&context.request.source);
    for finding in &mut beginning {
        finding.detail = format!("{}; {before}", finding.detail);
        finding.fixes.retain(|fix| !is_beginning(fix));
        finding.remedy = Some(remedy.clone());
    }
}

fn begins(finding: &Finding) -> bool {
    let is_one = |line: &str| {
        line.starts_with("todoctl ") && BEGINNINGS.iter().any(|words| line.contains(words))
    };
    let mut commands = finding.remedy.iter().flat_map(Remedy::commands);
    commands.any(is_one) || finding.fixes.iter().any(is_beginning)
}

fn is_beginning(fix: &Fix) -> bool {
    matches!(fix, Fix::Migrate | Fix::Stamp)
}

/// What the service has had.
struct Before {
    known: Known,
    /// How many tasks the present database has.
    now: i64,
}

/// Who knows it.
enum Known {
    /// `.env-database` tells it.
    Kept(LastDatabase),
    /// The running daemon tells its identity, and what tells it from its copies.
    Served(String, Option<String>),
}

impl Before {
    /// `None` if this is the same database, or has as much in it.
    async fn find(context: &Context, config: &DatabaseConfig) -> Option<Self> {
        let last = context.request.source.file().and_then(LastDatabase::read);
        // What cannot be read has nothing.
        let (now, _) = match content(context, config, LIMIT).await {
            Some(found) => found,
            None => overwritten(config, last.as_ref()?)?,
        };
        if let Some(last) = last.filter(|last| last.tasks > now.tasks)
            && now.id.as_deref() != Some(last.id.as_str())
        {
            return Some(Self {
                known: Known::Kept(last),
                now: now.tasks,
            });
        }
        let daemon = context.daemon(LIMIT).await;
        let served = daemon.status.as_ref().ok()?.database.as_ref()?;
        let id = served.id.clone()?;
        (now.tasks == 0 && now.id.as_ref() != Some(&id)).then(|| Self {
            known: Known::Served(id, served.database.clone()),
            now: 0,
        })
    }

    async fn put_back(&self, context: &Context, config: &DatabaseConfig) -> Remedy {
        let forgotten = context.request.source.file().map(|env_file| {
            let file = Remedy::command("rm -f").arg(last_database::path(env_file));
            format!("{file} && ")
        });
        let anew = format!("{}todoctl migrate up", forgotten.unwrap_or_default());
        let former = match (&self.known, &config.target) {
            (Known::Kept(last), DatabaseTarget::Sqlite(file)) => {
                let env_file = context
                    .request
                    .source
                    .file()
                    .unwrap_or(Path::new(DEFAULT_ENV_FILE));
                let put_back = put_back_file(file, last, env_file).await;
                return put_back.then(begun_anew(&anew));
            }
            (Known::Kept(last), target) => {
                if let Some((remedy, _)) = led_back(config, last).await {
                    return remedy.then(Remedy::note(format!(
                        "or: if DATABASE_URL was changed on purpose: {anew}"
                    )));
                }
                Former::of(last, target)
            }
            (Known::Served(id, database), _) => Former {
                id,
                database: database.as_deref(),
            },
        };
        if self.now > 0 {
            let wrong =
                Remedy::note("if DATABASE_URL leads to the wrong server or database, correct it");
            return Remedy::note(format!(
                "if this is a restored backup, accept what is in it: {anew}; then restart the daemon"
            ))
            .then(named_back(config, former, self.now, wrong).await);
        }
        let restore = Remedy::note(
            "before anything creates tables here, because a restore would collide with them: correct DATABASE_URL if it leads to the wrong server or database, otherwise restore the backup into this one (pg_restore)",
        );
        let remedy = named_back(config, former, 0, restore).await;
        remedy.then(begun_anew(&anew))
    }
}

/// The file of the service was overwritten with something that is no database.
fn overwritten(config: &DatabaseConfig, last: &LastDatabase) -> Option<(Content, bool)> {
    let DatabaseTarget::Sqlite(file) = &config.target else {
        return None;
    };
    let is_own = LastDatabase::new(&config.target, String::new(), 0).place == last.place;
    (is_own && file.path.is_file() && !is_database(&file.path)).then(|| (Content::default(), false))
}

fn begun_anew(command: &str) -> Remedy {
    Remedy::note(format!(
        "only to begin anew, without what was there: {command}"
    ))
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.known {
            Known::Kept(last) => write!(
                f,
                "this service has had {} in another database, at {}",
                counted(last.tasks),
                last.place
            ),
            Known::Served(..) => f.write_str("the running daemon has served another database"),
        }
    }
}
