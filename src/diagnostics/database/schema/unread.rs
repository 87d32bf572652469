//! Whether the counts of unread notifications are right, which triggers keep.

use std::time::Duration;

use crate::config::DatabaseConfig;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::Unread;

use super::answer::of_rows;
use super::home::Home;
use super::issue::{Issue, Place, Step, verdict};
use super::triggers::counted_again;

/// What is said where the comparison takes too long. Both engines answer from an index, at some
/// million notifications a second.
const TOO_MANY: &str = "not compared: there are too many unread notifications for the time limit";

pub(super) async fn unread(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    let judge = |place: Place<'_>, home: Option<Home<'_>>, found| {
        let correction = match home {
            Some(home) => home.alter("notifications", counted_again(home, None)),
            None => Step::Run(format!("BEGIN IMMEDIATE; {FILE_COUNT}; COMMIT")),
        };
        check(place, found, correction)
    };
    of_rows(context, config, limit, TOO_MANY, Unread::ask, judge).await
}

/// Where a SQLite file keeps the counts.
pub(super) const UNREAD: &str = "table todoctl_unread";

/// Counts again in a SQLite file, in a transaction of the caller's.
pub(super) const FILE_COUNT: &str = "DELETE FROM todoctl_unread; \
     INSERT INTO todoctl_unread (user_id, unread) \
     SELECT user_id, count(*) FROM notifications WHERE NOT is_read GROUP BY user_id";

fn check(place: Place<'_>, found: Unread, correction: Step) -> Verdict {
    let Unread { wrong, users } = found;
    let issue = (wrong > 0).then(|| {
        Issue::fail(
            format!("{wrong} of {users} users are told a wrong number of unread notifications"),
            [correction],
        )
        .fixable()
    });
    verdict(place, issue.into_iter().collect(), "right for all users")
}
