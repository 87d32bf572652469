//! Whether the role that migrates may alter what the service uses.

use std::time::Duration;

use crate::config::{DatabaseTarget, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::Owned;

use super::answer::of_tables;
use super::home::Home;
use super::issue::{Issue, Place, Step, verdict};

pub(super) async fn owners(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    of_tables(context, server, limit, Owned::ask, |home, owned| {
        check(home, server, owned)
    })
    .await
}

fn check(home: Home<'_>, server: Server<'_>, owned: &[Owned]) -> Verdict {
    let foreign: Vec<&Owned> = owned.iter().filter(|one| !one.is_ours).collect();
    let session = &home.relations.session;
    // Not the one that acts for it after `SET role`: that it may alter nothing is the check's of
    // the role.
    let role = &session.login;
    let migrates = server.config.auto_migrate
        && session.is_of(&server.target.user)
        && matches!(&server.config.direct, DatabaseTarget::Postgres(direct) if direct.user == server.target.user);
    let is_given = migrates && !foreign.is_empty();
    let counting = owned.iter().filter(|one| !one.may_count);
    let mut issues: Vec<Issue> = counting
        .map(|one| cannot_count(owned, one, is_given))
        .collect();
    if !is_given {
        let fine = if foreign.is_empty() {
            format!("{role} may alter all tables")
        } else {
            format!("{role} does not migrate, and need not own the tables")
        };
        return verdict(Place::Server(server.target), issues, fine);
    }
    issues.push(not_ours(owned, &foreign, role));
    verdict(Place::Server(server.target), issues, "")
}

/// Objects that the role may not alter. A former owner may have taken rights from itself, which an
/// owner after it lacks then: on the counts, which only the function writes, the role gets them
/// here, and on the other tables with the check of the role.
fn not_ours(owned: &[Owned], foreign: &[&Owned], role: &str) -> Issue {
    let named: Vec<String> = foreign
        .iter()
        .map(|one| format!("{} (owner {})", one.name.replace('"', ""), one.owner))
        .collect();
    let is_counting = |one: &&Owned| one.is_counts() || one.kind == "FUNCTION";
    let counts = owned.iter().filter(|one| one.is_counts());
    let rights = counts.filter(|_| foreign.iter().any(is_counting));
    let alter = foreign.iter().map(|one| one.give_to(role));
    let alter: Vec<String> = alter.chain(rights.map(|one| one.open_to(role))).collect();
    Issue::warn(
        format!(
            "{role} does not own {}, so the next migration fails: must be owner",
            named.join(", ")
        ),
        [Step::RunBy(None, alter.join("; "))],
    )
}

/// The function that counts runs as its owner, who may not write the counts. Where all objects are
/// given to the role (`is_given`), it may do so then.
fn cannot_count(owned: &[Owned], function: &Owned, is_given: bool) -> Issue {
    let counts = owned.iter().find(|one| one.is_counts());
    let owner = counts.map_or(&function.owner, |one| &one.owner);
    let step = match counts {
        // An owner may have taken rights from itself.
        Some(counts) if *owner == function.owner => counts.open_to(owner),
        _ => function.give_to(owner),
    };
    Issue::fail(
        format!(
            "{} runs as its owner {}, who may not write todoctl_unread: no notification can be saved",
            function.name, function.owner
        ),
        (!is_given).then_some(Step::RunBy(None, step)),
    )
}

impl Owned {
    /// Whether it is the table that counts notifications.
    fn is_counts(&self) -> bool {
        self.name.ends_with(".todoctl_unread")
    }

    fn open_to(&self, role: &str) -> String {
        format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {} {} TO {}",
            self.kind,
            self.name,
            sql_name(role)
        )
    }

    fn give_to(&self, role: &str) -> String {
        format!(
            "ALTER {} {} OWNER TO {}",
            self.kind,
            self.name,
            sql_name(role)
        )
    }
}
