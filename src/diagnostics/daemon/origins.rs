//! Web pages whose origin `CORS_ORIGINS` does not have.

use std::collections::BTreeSet;

use url::Url;

use crate::config::{Remedy, is_origin};
use crate::diagnostics::collected::Collected;
use crate::services::daemon::RequestStatus;

/// So many refused preflights of a page that belongs to an allowed one are no accident, and so many
/// of any other: foreign pages and scanners try too.
const OF_RELATED: u64 = 3;
const OF_OTHERS: u64 = 10;

/// Adds the pages whose preflights the daemon refused; `allowed` is what `CORS_ORIGINS` has here.
pub(super) fn check_origins(
    collected: &mut Collected,
    requests: &RequestStatus,
    allowed: &BTreeSet<String>,
) {
    // Another program may answer in place of the daemon.
    check_pages(collected, requests);
    let refused = requests.refused_origins.iter();
    let refused = refused.filter(|(origin, _)| is_origin(origin));
    let preflights = requests.refusals.iter();
    let mut preflights = preflights.filter(|one| one.reason == "preflight_origin");
    let is_one_client = preflights.any(|one| one.addresses.is_empty() && one.public_addresses == 1);
    for (origin, count) in refused {
        let is_related = allowed.iter().any(|one| are_related(one, origin));
        if is_one_client && !is_related && !allowed.contains(origin) {
            continue;
        }
        if *count < if is_related { OF_RELATED } else { OF_OTHERS } {
            continue;
        }
        let what = format!(
            "{count} preflights of the page {origin} were refused within {} min",
            requests.minutes
        );
        if allowed.contains(origin) {
            collected.warn(
                format!("{what}; CORS_ORIGINS has it here"),
                Remedy::note("restart the daemon, so that it reads CORS_ORIGINS"),
            );
            continue;
        }
        let list: Vec<&str> = allowed.iter().chain([origin]).map(String::as_str).collect();
        let list = list.join(",");
        let remedy = if is_related {
            Remedy::note("if that page is yours, allow it, and restart the daemon:")
                .then(Remedy::set("CORS_ORIGINS", list))
        } else {
            // It may be anybody's.
            Remedy::note(format!(
                "only if that page is yours, allow it, and restart the daemon: {}",
                Remedy::set("CORS_ORIGINS", list)
            ))
        };
        collected.warn(
            format!("{what}, because CORS_ORIGINS does not have it: it gets no answer"),
            remedy,
        );
    }
}

/// Adds the pages whose browsers are answered with yes, and then ask nothing.
fn check_pages(collected: &mut Collected, requests: &RequestStatus) {
    for (origin, page) in &requests.pages {
        if !is_origin(origin)
            || page.preflights < OF_OTHERS
            || page.requests * FOLLOWED >= page.preflights
        {
            continue;
        }
        collected.warn(
            format!(
                "{} preflights of the page {origin} were allowed within {} min, and {} requests followed: its browser refuses the answer as it arrives there",
                page.preflights, requests.minutes, page.requests
            ),
            Remedy::note(format!(
                "let the proxy in front pass the headers Access-Control-* on as they are, and add none: Access-Control-Allow-Origin must be there once, and be {origin} (nginx: no add_header for it; Apache: no Header set or add; Traefik: no headers middleware with accessControlAllowOriginList; a CDN must not store answers to OPTIONS); the console of the browser names the header"
            )),
        );
    }
}

/// A browser asks at least once after a preflight; half of the requests may get lost, or go to another
/// daemon.
const FOLLOWED: u64 = 2;

/// Whether two pages are of one host, or of hosts with the same domain.
fn are_related(one: &str, other: &str) -> bool {
    let domain = |origin: &str| {
        let url = Url::parse(origin).ok()?;
        let url::Host::Domain(host) = url.host()? else {
            return url.host_str().map(str::to_owned);
        };
        let mut labels = host.rsplit('.');
        let (last, second) = (labels.next()?, labels.next().unwrap_or_default());
        Some(format!("{second}.{last}"))
    };
    let (one, other) = (domain(one), domain(other));
    one.is_some() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{Pass, Warn};
    use crate::services::daemon::{PageStatus, RefusalStatus};

    #[test]
    fn pages() {
        let of = |origin: &str, count, allowed: &str| {
            let requests = RequestStatus {
                refused_origins: [(origin.to_owned(), count)].into(),
                ..RequestStatus::default()
            };
            let mut collected = Collected::default();
            check_origins(&mut collected, &requests, &[allowed.to_owned()].into());
            collected.verdict("fine")
        };
        let allowed = "https://app.example.com";
        for (origin, count, outcome) in [
            ("https://www.example.com", 3, Warn),
            ("http://app.example.com", 3, Warn),
            ("https://www.example.com", 2, Pass),
            ("https://app.example.org", 9, Pass),
            ("https://app.example.org", 10, Warn),
            ("https://app.example.com", 10, Warn),
            ("$(canary)", 10, Pass),
        ] {
            let found = of(origin, count, allowed);
            assert_eq!(found.outcome, outcome, "{origin}");
        }
        let mut requests = RequestStatus {
            refused_origins: [("https://app.example.org".to_owned(), 40)].into(),
            refusals: vec![RefusalStatus {
                reason: "preflight_origin".to_owned(),
                public_addresses: 1,
                ..RefusalStatus::default()
            }],
            ..RequestStatus::default()
        };
        for (clients, outcome) in [(1, Pass), (2, Warn)] {
            requests.refusals[0].public_addresses = clients;
            let mut collected = Collected::default();
            check_origins(&mut collected, &requests, &[allowed.to_owned()].into());
            assert_eq!(collected.verdict("fine").outcome, outcome, "{clients}");
        }
        let remedy = |origin| of(origin, 10, allowed).remedy.unwrap().to_string();
        let typed = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(remedy("https://www.example.com").ends_with(
            "todoctl config set CORS_ORIGINS='https://app.example.com,https://www.example.com'"
        ));
        // A page of somebody else must not get in by pasting.
        assert_eq!(typed(&remedy("https://evil.example.org")), 0);
        assert_eq!(typed(&remedy(allowed)), 0);
    }

    #[test]
    fn pages_that_do_not_go_on() {
        for (preflights, others, outcome) in [
            (9, 0, Pass),
            (10, 0, Warn),
            (10, 4, Warn),
            (10, 5, Pass),
            (10, 30, Pass),
        ] {
            let page = PageStatus {
                preflights,
                requests: others,
            };
            let requests = RequestStatus {
                pages: [("https://app.example.com".to_owned(), page)].into(),
                ..RequestStatus::default()
            };
            let mut collected = Collected::default();
            check_origins(&mut collected, &requests, &BTreeSet::new());
            let found = collected.verdict("fine").outcome;
            assert_eq!(found, outcome, "{preflights} {others}");
        }
    }

    #[test]
    fn related_pages() {
        for (one, other, expected) in [
            ("https://a.example.com", "https://b.example.com", true),
            ("http://localhost:3000", "http://localhost:5173", true),
            ("http://10.0.0.5", "http://10.0.0.5:8080", true),
            ("http://10.0.0.5", "http://10.1.0.5", false),
            ("https://a.example.com", "https://a.example.org", false),
            ("capacitor://localhost", "http://localhost", true),
        ] {
            assert_eq!(are_related(one, other), expected, "{one} {other}");
        }
    }
}
