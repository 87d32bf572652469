//! Whether tasks belong to users that no sign-in service knows.

use std::time::Duration;

use crate::config::DatabaseConfig;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::NoUser;

use super::answer::of_rows;
use super::issue::{Issue, Place, Step, verdict};

/// Every task's user is read.
const TOO_MANY: &str = "not read completely: there are too many tasks for the time limit";

pub(super) async fn users(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    of_rows(
        context,
        config,
        limit,
        TOO_MANY,
        NoUser::ask,
        |place, _, found| check(place, &found),
    )
    .await
}

fn check(place: Place<'_>, found: &[NoUser]) -> Verdict {
    let (twice, placeholders): (Vec<&NoUser>, Vec<&NoUser>) =
        found.iter().partition(|one| one.is_twice());
    let tasks = |users: &[&NoUser]| users.iter().map(|one| one.tasks).sum::<i64>();
    let mut issues = Vec::new();
    if !placeholders.is_empty() {
        let names: Vec<&str> = placeholders.iter().map(|one| &*one.user_id).collect();
        issues.push(Issue::warn(
            format!(
                "{} tasks belong to {}, which is no user: a client sends it where it does not know its user, and all who use it see and change each other's tasks",
                tasks(&placeholders),
                names.join(", ")
            ),
            [
                Step::note(
                    "correct the client, whose variable for the user (X-User-ID, or sub of the token) is not set; then give these tasks to their users, with UPDATE, or delete them; this shows them:",
                ),
                show(&placeholders),
            ],
        ));
    }
    if !twice.is_empty() {
        issues.push(Issue::warn(
            format!(
                "{} tasks belong to {} users whose id is another one twice, with a comma: their users do not see these tasks",
                tasks(&twice),
                twice.len()
            ),
            [
                Step::note(
                    "let the proxy, or the library, that joins two headers X-User-ID to a list send one of them; then give these tasks to their users, with UPDATE; this shows them:",
                ),
                show(&twice),
            ],
        ));
    }
    verdict(place, issues, "tasks belong to users")
}

/// Names a task of each user: a shell and a person may read a template as something else.
fn show(users: &[&NoUser]) -> Step {
    let tasks: Vec<String> = users.iter().map(|one| one.first.to_string()).collect();
    Step::Run(format!(
        "SELECT id, user_id, created_at FROM tasks WHERE user_id IN (SELECT user_id FROM tasks WHERE id IN ({})) ORDER BY id",
        tasks.join(", ")
    ))
}
