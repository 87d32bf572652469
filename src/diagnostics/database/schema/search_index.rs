//! Whether the index of searches of a SQLite file is sound, and has every task; and on both engines,
//! whether the copies that searches compare are those of the titles.

use std::time::Duration;

use crate::config::{PostgresTarget, SqliteTarget};
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{Copies, Searchable};
use crate::store::migrate::drift::expected_in_file;

use super::issue::{Issue, Place, RESTART, Step, no_tables, verdict};
use super::rebuild::{FILE_SEARCH, search_again, search_without_pages};

/// What messages about the index or one of its own tables contain. The last one names no table.
const OF_INDEX: [&str; 2] = ["todoctl_search", "invalid fts5 file format"];

/// Whether SQLite's message is about the index alone, which is made from the tasks.
pub(in crate::diagnostics::database) fn is_of_search_index(message: &str) -> bool {
    OF_INDEX.iter().any(|text| message.contains(text))
}

/// A file too large for the time limit is no fault.
pub(in crate::diagnostics::database) async fn search_index(
    context: &Context,
    file: &SqliteTarget,
    limit: Duration,
) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        let found = Searchable::of_file(connection.session()).await?;
        // A value that is no text is the finding of another check.
        let copies = Copies::of_file(connection.session()).await;
        Ok((found, copies.unwrap_or_default()))
    });
    match tokio::time::timeout(limit, question).await {
        Ok(Ok((found, copies))) => {
            // An index that does not fit its table may refuse that rows are changed, so it is first.
            let issues = incomplete(&found).into_iter();
            let issues = issues.chain(wrong_copies(copies, Place::File(file)));
            let fine = format!("the index has all {} tasks", found.tasks);
            verdict(Place::File(file), issues.collect(), fine)
        }
        Ok(Err(error)) => match of_error(context, file, limit, &error).await {
            Ok(issue) => verdict(Place::File(file), vec![issue], ""),
            Err(verdict) => verdict,
        },
        Err(_) => Verdict::skip(format!("not compared within {} s", limit.as_secs())),
    }
}

fn incomplete(found: &Searchable) -> Option<Issue> {
    let Searchable {
        tasks,
        missing,
        unfound,
        ..
    } = *found;
    let lacking = missing.max(unfound);
    let text = if lacking > 0 {
        format!(
            "the index of searches lacks {lacking} of {tasks} tasks or more, or has other texts of them: searches do not find them"
        )
    } else if found.has_other_texts() {
        "the index of searches has entries of texts that are not there any more, as INSERT OR REPLACE leaves them: changes of these tasks may be answered with 500".to_owned()
    } else {
        return None;
    };
    Some(Issue::fail(text, [Step::Run(FILE_SEARCH.to_owned())]).fixable())
}

/// The verdict on the copies of a server's titles, if some are wrong.
pub(in crate::diagnostics::database) async fn wrong_copies_of_server(
    context: &Context,
    server: &PostgresTarget,
    limit: Duration,
) -> Option<Verdict> {
    let question = context.server.ask(server, limit, async |connection| {
        Copies::of_server(connection.session()).await
    });
    // What keeps it from reading is the finding of another check.
    let issue = wrong_copies(question.await.ok()?, Place::Server(server))?;
    Some(verdict(Place::Server(server), vec![issue], ""))
}

/// Another program wrote copies that are not those of the titles, such as those of another row. The
/// daemon makes the copies of rows that have none.
fn wrong_copies(found: Copies, place: Place<'_>) -> Option<Issue> {
    let Copies {
        compared,
        wrong,
        has_wide,
    } = found;
    let (is_ascii, folded) = match place {
        Place::Server(_) => (
            "octet_length(title) = length(title)",
            "lower(title COLLATE \"C\")",
        ),
        Place::File(_) => (
            "length(CAST(title AS BLOB)) = length(title)",
            "lower(title)",
        ),
    };
    let others = if has_wide {
        format!(" OR NOT {is_ascii}")
    } else {
        String::new()
    };
    (wrong > 0).then(|| {
        Issue::fail(
            format!(
                "search_title is not that of the title in {wrong} of the {compared} tasks that were compared, as a script leaves it that copies rows with all their columns: searches do not find these tasks, or find others"
            ),
            [Step::Run(format!(
                "UPDATE tasks SET search_title = NULL, search_description = NULL \
                 WHERE ({is_ascii} AND search_title <> {folded}){others}"
            ))],
        )
        .fixable()
    })
}

/// The index is damaged, if the tasks can be read.
async fn of_error(
    context: &Context,
    file: &SqliteTarget,
    limit: Duration,
    error: &StoreError,
) -> Result<Issue, Verdict> {
    let message = error.to_string();
    if message.ends_with("no such table: tasks") {
        return Err(no_tables());
    }
    if message.ends_with(NOT_MIGRATED) {
        return Err(not_migrated());
    }
    if message.ends_with("no such table: todoctl_search") {
        return Err(Verdict::skip_because_failed("database.schema"));
    }
    let read = context.file.ask(file, limit, async |connection| {
        Searchable::can_read_tasks(connection.session()).await
    });
    match tokio::time::timeout(limit, read).await {
        Ok(Ok(())) => Ok(damaged(&message).await),
        // A table of another program has the name of the index.
        Ok(Err(error)) if error.needs_migration() => Err(not_migrated()),
        _ => Err(query_failed(context, error)),
    }
}

const NOT_MIGRATED: &str = "no such column: search_title";

fn not_migrated() -> Verdict {
    Verdict::skip("the tasks have no folded texts before they are migrated")
}

async fn damaged(message: &str) -> Issue {
    let again = expected_in_file().await.ok();
    let again = again.and_then(|expected| search_again(&expected));
    Issue::fail(
        format!("the index of searches is damaged, and the tasks are not: {message}"),
        again.map(Step::Run),
    )
    .fixable()
}

/// The verdict on damaged pages of the index, where every table can be read.
pub(in crate::diagnostics::database) async fn damaged_index_pages(
    messages: &str,
    file: &SqliteTarget,
) -> Verdict {
    let again = expected_in_file().await.ok();
    let again = again.and_then(|expected| search_without_pages(&expected));
    let issue = Issue::fail(
        format!("pages of the index of searches are damaged, and the tasks are not: {messages}"),
        again
            .map(Step::Run)
            .into_iter()
            .chain([Step::note(RESTART)]),
    );
    verdict(Place::File(file), vec![issue], "")
}

/// Whether a table is one of the index's own.
pub(in crate::diagnostics::database) fn is_search_table(name: &str) -> bool {
    name.starts_with("todoctl_search")
}

/// The verdict on messages about the index alone.
pub(in crate::diagnostics::database) async fn damaged_index(
    messages: &[String],
    file: &SqliteTarget,
) -> Verdict {
    let issue = damaged(&messages.join("; ")).await;
    verdict(Place::File(file), vec![issue], "")
}
