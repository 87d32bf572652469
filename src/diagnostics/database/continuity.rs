//! Whether this is the database that the service has had before, or an empty one in its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{
    DatabaseConfig, DatabaseTarget, MissingMount, Origin, Remedy, SecretName, SqliteTarget,
    copied_up, is_database, is_mount_point, may_be_meant, other_places, sqlite_url, unused_name,
    wal_path,
};
use crate::diagnostics::context::Context;
use crate::diagnostics::directory::of_file;
use crate::diagnostics::probe::daemons_of;
use crate::diagnostics::verdict::Verdict;
use crate::services::last_database::{self, LastDatabase, counted};
use crate::services::left_secrets::{LeftSecrets, LostSecrets};
use crate::store::{Content, inspect};

use super::fault::query_failed;
use super::former::{Former, asked, led_back, named_back};

pub(super) async fn continuity(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    let content = asked(context, config, limit, Content::QUERY).await;
    let Content { id, tasks } = match content {
        Ok(content) => content,
        // The table was dropped.
        Err(error) if error.to_string().ends_with(NO_IDENTITY) => {
            return Verdict::skip_because_failed("database.schema");
        }
        Err(error) => return query_failed(context, &error),
    };
    let Some(id) = id else {
        return Verdict::skip("skipped: the database has no identity (todoctl_identity)");
    };
    let now = LastDatabase::new(&config.target, id, tasks);
    let source = &context.request.source;
    // A URL on the command line is another one on purpose.
    let is_named = source.origin("DATABASE_URL") == Some(Origin::Option);
    let env_file = source.file().filter(|_| !is_named);
    if let Some(env_file) = env_file
        && let Some(last) = LastDatabase::read(env_file)
    {
        if let DatabaseTarget::Sqlite(file) = &config.target
            && let Some(log) = last.log_left_behind(&now, file)
        {
            return Verdict::fail(log.to_string(), log.remedy());
        }
        if last.is_missing_in(&now) {
            return another(&last, &now, config, env_file).await;
        }
        if last.is_emptied_in(&now) {
            return emptied(&last, &now, config, env_file);
        }
    }
    if let DatabaseTarget::Sqlite(file) = &config.target
        && tasks > 0
        && let Some(left) = LeftSecrets::find(
            &context.request.source,
            file,
            context.audit.missing_secrets(),
            &now,
        )
    {
        return Verdict::fail(left.to_string(), left.remedy());
    }
    if let DatabaseTarget::Sqlite(file) = &config.target
        && let Some(verdict) = without_hash_secret(context, file, limit).await
    {
        return verdict;
    }
    if let DatabaseTarget::Sqlite(file) = &config.target
        && let Some(verdict) = elsewhere(&now, file, env_file).await
    {
        return verdict;
    }
    Verdict::pass(counted(tasks))
}

/// What a SQLite file says whose identity was dropped.
const NO_IDENTITY: &str = "no such table: todoctl_identity";
/// Session tokens are valid, and the secret that they were made with is gone. What a running daemon
/// still has is another check's.
async fn without_hash_secret(
    context: &Context,
    file: &SqliteTarget,
    limit: Duration,
) -> Option<Verdict> {
    let missing = context.audit.missing_secrets();
    if !missing.contains(&SecretName::SessionHashSecret) || !daemons_of(&file.path).is_empty() {
        return None;
    }
    let now = context.request.clock.now();
    let ask = context.file.ask(file, limit, async |connection| {
        inspect::valid_sessions_of_file(connection.session(), now).await
    });
    let lost = LostSecrets::of(file, missing, ask.await.ok()?)?;
    let remedy = lost.remedy(&context.request.source);
    Some(Verdict::fail(lost.to_string(), remedy))
}

/// The service has served another database, which had more in it.
async fn another(
    last: &LastDatabase,
    now: &LastDatabase,
    config: &DatabaseConfig,
    env_file: &Path,
) -> Verdict {
    let what = if last.place == now.place {
        format!(
            "{} is another database than the one that this service served before",
            now.place
        )
    } else {
        format!(
            "this service served {} before, not {}",
            last.place, now.place
        )
    };
    let detail = format!(
        "{what}: that one had {}, this one has {}",
        counted(last.tasks),
        counted(now.tasks)
    );
    if let Some((remedy, tasks)) = led_back(config, last).await {
        return Verdict::fail(
            format!("{detail}; that one is still there, with {}", counted(tasks)),
            remedy.then(on_purpose(env_file, "DATABASE_URL was changed")),
        );
    }
    let remedy = match &config.target {
        DatabaseTarget::Sqlite(file) => put_back_file(file, last, env_file).await,
        DatabaseTarget::Postgres(_) => {
            let restored = (now.tasks > 0).then(|| {
                let forgotten = Remedy::command("rm -f").arg(last_database::path(env_file));
                Remedy::note(format!(
                    "if this is a restored backup, accept what is in it: {forgotten}; then restart the daemon"
                ))
            });
            let lost = Remedy::note(format!(
                "if DATABASE_URL was changed by mistake, give it its old value, {}; if the database was dropped, restore its backup (pg_restore), and then restart the daemon",
                last.place
            ));
            let former = Former::of(last, &config.target);
            let back = named_back(config, former, now.tasks, lost).await;
            Remedy::default().then(restored).then(back)
        }
    };
    Verdict::warn(
        detail,
        remedy.then(on_purpose(env_file, "it was begun anew")),
    )
}

/// How the service forgets what it has had.
fn on_purpose(env_file: &Path, what: &str) -> Remedy {
    let forgotten = Remedy::command("rm").arg(last_database::path(env_file));
    Remedy::note(format!("or: if {what} on purpose: {forgotten}"))
}

/// Nearly all tasks of this database are gone, as after a DELETE that was meant for another one.
fn emptied(
    last: &LastDatabase,
    now: &LastDatabase,
    config: &DatabaseConfig,
    env_file: &Path,
) -> Verdict {
    let when = last_database::written(env_file)
        .map_or_else(String::new, |at| format!(" at {}", at.to_seconds_string()));
    let detail = format!(
        "this database had {} when the daemon last counted them{when}, and has {} now",
        counted(last.tasks),
        counted(now.tasks)
    );
    let stop = Remedy::note(
        "unless they were deleted on purpose: stop the daemon first, so that clients do not store what has to be merged later",
    );
    let remedy = match &config.target {
        DatabaseTarget::Sqlite(file) => {
            let (path, copy) = (
                file.path.display(),
                format!("{}.emptied", file.path.display()),
            );
            let recover = Remedy::command("sqlite3").arg(&copy).arg(".recover");
            Remedy::note(format!(
                "deleted rows stay in the file until others are written over them: copy {path} and {path}-wal, if that is there, to {copy} and {copy}-wal; this prints what is left of them: {recover}"
            ))
            .then(Remedy::note(format!(
                "then copy the tasks from the newest backup of {path} into it"
            )))
        }
        DatabaseTarget::Postgres(_) => {
            let keep = Remedy::sql("ALTER TABLE tasks SET (autovacuum_enabled = false)");
            Remedy::note(format!(
                "until that is decided, this keeps rows that were deleted, and not truncated, from being removed for good; reset it afterwards: {keep}"
            ))
            .then(Remedy::note(
                "restore the provider's point-in-time copy of before, or the newest backup (pg_restore), into a database of another name, and copy the rows of tasks and notifications from there: their ids are free",
            ))
        }
    };
    let on_purpose = on_purpose(env_file, "they were deleted");
    Verdict::warn(detail, stop.then(remedy).then(on_purpose))
}

/// How the service gets its database again, where it uses a file now.
pub(super) async fn put_back_file(
    file: &SqliteTarget,
    last: &LastDatabase,
    env_file: &Path,
) -> Remedy {
    let target = DatabaseTarget::Sqlite(file.clone());
    let now = LastDatabase::new(&target, String::new(), 0).place;
    if last.is_url() {
        return Remedy::note(format!(
            "give DATABASE_URL the URL of that database again, {}, with its password, which todoctl has not kept: the platform, a secret store or a backup of the .env file has it; this reads it without showing it: todoctl config set DATABASE_URL=-",
            last.place
        ))
        .then(Remedy::note(format!(
            "then restart the daemon; what was stored since stays in {now}"
        )));
    }
    let old = Path::new(&last.place);
    if is_database(old) && last.place != now {
        return named_again(old, &now);
    }
    match found_near(file, last, env_file).await {
        Some(found) if is_deeper(&found, &file.path) => in_its_place(&found, &file.path),
        Some(found) => named_again(&found, &now),
        None => put_back(of_file(&file.path), last, &now),
    }
}

/// The only file near the configured one that is the database `last`, with as much in it: a copy may be
/// an older backup.
async fn found_near(file: &SqliteTarget, last: &LastDatabase, env_file: &Path) -> Option<PathBuf> {
    let mut found = Vec::new();
    for path in may_be_meant(&file.path, env_file) {
        let content = Content::found_in(&SqliteTarget { path: path.clone() }).await;
        let is_it = |content: Content| {
            content.id.as_deref() == Some(last.id.as_str()) && content.tasks >= last.tasks
        };
        if content.is_some_and(is_it) {
            found.push(path);
        }
    }
    found.pop().filter(|_| found.is_empty())
}

/// Whether it is in a folder below the one of `path`, where no configuration should lead.
fn is_deeper(found: &Path, path: &Path) -> bool {
    let folder = std::path::absolute(of_file(path));
    folder.is_ok_and(|folder| found.starts_with(folder))
}

/// Copies it to where it should be, and keeps what is there.
fn in_its_place(found: &Path, path: &Path) -> Remedy {
    let new = unused_name(path, ".new");
    let moved = [
        (path.to_owned(), new.clone()),
        (wal_path(path), wal_path(&new)),
    ];
    let moved = moved.iter().filter(|(from, _)| from.exists());
    let moved = moved.fold(Remedy::default(), |all, (from, to)| {
        all.then(Remedy::command("mv -n").arg(from).arg(to))
    });
    Remedy::note(format!(
        "{} is that database, as where a backup of the folder was restored into it: stop the daemon first; this copies it to its place, and keeps what is there as {}:",
        found.display(),
        new.display()
    ))
    .then(moved)
    .then(copied_up(found, path))
    .then(Remedy::note("then start the daemon"))
}

fn named_again(file: &Path, now: &str) -> Remedy {
    Remedy::note(format!(
        "this names it again; restart the daemon afterwards; what was stored since stays in {now}:"
    ))
    .then(Remedy::set("DATABASE_URL", sqlite_url(file)))
}

/// The file is not where it was.
fn put_back(directory: &Path, last: &LastDatabase, now: &str) -> Remedy {
    if let Some(mount) = MissingMount::above(directory) {
        return Remedy::note(format!(
            "{mount}: stop the daemon, mount it as for database.file_system, and start the daemon"
        ));
    }
    let mount = is_mount_point(directory).then(|| {
        Remedy::note(format!(
            "{} is a mount: is it the right volume, and is the file perhaps in the directory below it? This shows what is mounted:",
            directory.display()
        ))
        .then(Remedy::command("findmnt -T").arg(directory))
    });
    let to = if last.place == now {
        String::new()
    } else {
        format!(" to {now}")
    };
    Remedy::default().then(mount).then(Remedy::note(format!(
        "stop the daemon, move {now} and the files beside it away, put the right file or its backup there{to}, and start the daemon"
    )))
}

const SAME_TEXT: &str = "which the same text leads to for other programs or in another directory";
const NEAR: &str = "a database of the same name beside it or in the folder of the service";

/// The same text, or nearly the same, names a file elsewhere that has more in it, as where `sqlite:///data/todo.db` was
/// meant as a relative path.
async fn elsewhere(
    now: &LastDatabase,
    file: &SqliteTarget,
    env_file: Option<&Path>,
) -> Option<Verdict> {
    let same_text = other_places(&file.path, env_file);
    // A database that is used, and that the service is known to have, was begun on purpose.
    let is_known = now.tasks > 0
        && env_file
            .and_then(LastDatabase::read)
            .is_some_and(|last| last.id == now.id);
    let env_file = env_file.filter(|_| !is_known);
    let near = env_file.map(|env_file| may_be_meant(&file.path, env_file));
    let near = near
        .unwrap_or_default()
        .into_iter()
        .map(|path| (path, NEAR));
    let same_text = same_text.into_iter().map(|path| (path, SAME_TEXT));
    for (path, why) in same_text.chain(near) {
        let other = SqliteTarget { path };
        let Some(Content {
            id: Some(id),
            tasks,
        }) = Content::found_in(&other).await
        else {
            continue;
        };
        let found = LastDatabase::new(&DatabaseTarget::Sqlite(other.clone()), id, tasks);
        if found.is_missing_in(now) {
            let detail = format!(
                "DATABASE_URL leads to {} here, which has {}; {}, {why}, has {}",
                now.place,
                counted(now.tasks),
                found.place,
                counted(found.tasks)
            );
            let remedy = if is_deeper(&other.path, &file.path) {
                in_its_place(&other.path, &file.path)
            } else {
                named_again(&other.path, &now.place)
            };
            let remedy = Remedy::note("unless another service uses that one:").then(remedy);
            return Some(Verdict::warn(detail, remedy));
        }
    }
    None
}
