//! Indexes that others have added to the service's tables.

use std::time::Duration;

use crate::config::Remedy;
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::Index;
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::bytes::in_bytes;

/// A report that runs once a week may use it.
const COUNTED_DAYS: i64 = 8;

/// A smaller one is written from the cache.
const UNUSED_BYTES: i64 = 1 << 20;

pub(super) async fn indexes(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    of_answer(
        context,
        server,
        limit,
        async |connection| connection.foreign_indexes().await,
        |indexes| check_indexes(indexes),
    )
    .await
}

fn check_indexes(indexes: &[Index]) -> Verdict {
    let mut collected = Collected::default();
    let drop = |index: &Index| {
        let statement = format!("DROP INDEX CONCURRENTLY {}", index.name);
        Remedy::note("CREATE INDEX makes it again, should something need it")
            .then(Remedy::sql(statement))
    };
    // Of indexes that repeat each other, one stays.
    let mut dropped: Vec<&str> = Vec::new();
    for index in indexes {
        let size = in_bytes(index.bytes);
        let same_as = index.same_as.as_deref();
        if let Some(other) = same_as.filter(|other| !dropped.contains(other)) {
            dropped.push(&index.plain_name);
            collected.warn(
                format!(
                    "the index {} ({size}) on {} repeats {other}",
                    index.name, index.table
                ),
                drop(index),
            );
        } else if index.scans == 0
            && index.bytes >= UNUSED_BYTES
            && let Some(days) = index.counted_days.filter(|days| *days >= COUNTED_DAYS)
        {
            collected.warn(
                format!(
                    "the index {} ({size}) on {} was not used for {days} days",
                    index.name, index.table
                ),
                drop(index),
            );
        }
    }
    collected.verdict(match indexes.len() {
        0 => "none beside the service's own".to_owned(),
        count => format!("{count} beside the service's own, in use"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{Pass, Warn};

    #[test]
    fn unused_and_repeated_ones() {
        let outcome = |scans, days, same_as: Option<&str>| {
            let index = Index {
                same_as: same_as.map(str::to_owned),
                ..Index::fixture(scans, days)
            };
            check_indexes(&[index]).outcome
        };
        assert_eq!(outcome(0, Some(30), None), Warn);
        assert_eq!(outcome(1, Some(30), None), Pass);
        assert_eq!(outcome(0, Some(2), None), Pass);
        assert_eq!(outcome(0, None, None), Pass);
        assert_eq!(outcome(9, None, Some("other")), Warn);
    }

    #[test]
    fn one_of_two_stays() {
        let named = |name: &str, other: &str| Index {
            name: format!("public.{name}"),
            plain_name: name.to_owned(),
            same_as: Some(other.to_owned()),
            ..Index::fixture(9, None)
        };
        let verdict = check_indexes(&[named("one", "two"), named("two", "one")]);
        let remedy = verdict.remedy.map(|remedy| remedy.to_string());
        let remedy = remedy.unwrap_or_default();
        assert!(remedy.contains("public.one"), "{remedy}");
        assert!(!remedy.contains("public.two"), "{remedy}");
    }
}
