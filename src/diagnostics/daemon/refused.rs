//! Clients that a running daemon refuses, although they are right to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::{Audit, Bounds, Remedy, Source};
use crate::diagnostics::collected::Collected;
use crate::services::daemon::{RefusalStatus, RequestStatus};

use super::origins::check_origins;

mod auth_server;
mod cause;
mod credentials;
mod requests;

use auth_server::of_auth_server;
use cause::{ALL_KINDS, Among, Cause, OTHER, PUBLISHED, UNKNOWN_TOKEN, Usual};

/// What each reason means, and what to do.
const CAUSES: [&[Cause]; 2] = [credentials::CAUSES, requests::CAUSES];

/// Fewer refusals may be the mistake of one client.
const REFUSED: u64 = 10;

/// So many are more than what clients are refused now and then.
const MORE: u64 = 30;

/// Beyond, the others are not refused one by one.
const NEARLY_ALL_PERCENT: u64 = 90;

/// From here on it is a group of clients, or one of several instances.
const PART_PERCENT: u64 = 10;

/// Where a right client is refused once before each request that is accepted, it is half of them.
const LARGE_PART_PERCENT: u64 = 67;

/// So many refusals for a reason that does not occur by itself have a cause, however many others are
/// served.
const MANY: u64 = 100;

/// Strangers that are refused so often are more than what is served.
const STRANGERS_PERCENT: u64 = 50;

/// So many addresses are not one client's.
const SEVERAL: u64 = 3;

/// Of all requests.
const LIMITED_PERCENT: u64 = 30;

/// The configuration of this command.
pub(super) struct Own<'c> {
    pub source: &'c Source,
    pub audit: &'c Audit,
    /// The variables of which the daemon has other values.
    pub other_values: Vec<String>,
    /// What the auth server calls itself in tokens that are refused.
    pub other_issuer: Option<&'c str>,
}

/// Adds what keeps right clients out.
pub(super) fn check_refused(collected: &mut Collected, requests: &RequestStatus, own: &Own<'_>) {
    let Own { source, audit, .. } = *own;
    let auth_server = audit.services.auth_server_url.as_ref();
    for cause in CAUSES.into_iter().flatten() {
        for found in Found::all(cause, requests) {
            if !found.is_finding(cause) {
                continue;
            }
            // HS256 is none of its algorithms.
            let may_be_its = [&[], PUBLISHED, UNKNOWN_TOKEN].contains(&cause.details);
            let of_auth_server = auth_server
                .filter(|_| may_be_its)
                .and_then(|url| of_auth_server(cause.reason, url, own.other_issuer));
            let (what, remedy) = has_old_secret(cause, own)
                .or_else(|| has_hidden_secret(cause, own))
                .or(of_auth_server)
                .unwrap_or_else(|| (cause.what.to_owned(), Remedy::note(cause.remedy)));
            collected.warn(found.text(cause, &what, requests.minutes), remedy);
        }
    }
    check_proxies(collected, requests, source);
    check_origins(collected, requests, &audit.http.cors_origins);
    check_bodies(collected, requests, audit.http.max_body_bytes);
    check_limited(collected, requests, source);
}

/// The secret that clients may have a right value of, and what is said of them.
fn secret_of(cause: &Cause) -> Option<(&'static str, &'static str)> {
    match cause.reason {
        "signature" | "unknown_key" if cause.details != PUBLISHED => {
            Some(("JWT_SECRET", "user tokens had a wrong signature"))
        }
        "service_token" => Some((
            "SERVICE_AUTH_TOKEN",
            "requests of services had another service token",
        )),
        _ => None,
    }
}

/// What is said where clients may be right, and the daemon has another secret than its configuration.
fn has_old_secret(cause: &Cause, own: &Own<'_>) -> Option<(String, Remedy)> {
    let (secret, what) = secret_of(cause)?;
    let is_old = own.other_values.iter().any(|name| name == secret);
    is_old.then(|| {
        (
            format!("{what}, and the daemon has another {secret} than is set here"),
            Remedy::note(format!(
                "correct that first, as daemon.configuration says: clients with the value of {secret} that is set here are right"
            )),
        )
    })
}

/// The same where the daemon has the secret of its environment, and its `.env` file another one.
fn has_hidden_secret(cause: &Cause, own: &Own<'_>) -> Option<(String, Remedy)> {
    let (secret, what) = secret_of(cause)?;
    let is_hidden = own.source.overridden().any(|name| name == secret);
    is_hidden.then(|| {
        let advice = format!(
            "if {secret} of the .env file is the right one, take the other out of the environment that the daemon is started in, and start it again:"
        );
        (
            format!("{what}, and the environment has another {secret} than the .env file, and counts before it"),
            Remedy::note(advice).then(Remedy::unset(secret)),
        )
    })
}

/// Whether so many of all were refused for a reason for which right clients are refused now and
/// then.
pub(super) fn is_large_group(refused: u64, all: u64) -> bool {
    refused >= MORE && is_share(refused, all, PART_PERCENT)
}

/// Whether so many of all were refused for a reason that does not occur by itself.
pub(super) fn is_part(refused: u64, all: u64) -> bool {
    refused >= REFUSED && (refused >= MANY || is_share(refused, all, PART_PERCENT))
}

/// The refusals for one cause.
#[derive(Default)]
struct Found<'r> {
    /// The method and the path, where the cause is looked for in each.
    method: &'r str,
    route: &'r str,
    count: u64,
    /// With what they are compared, and they themselves.
    all: u64,
    details: BTreeSet<&'r str>,
    /// The private ones, and how often each was refused.
    addresses: BTreeMap<&'r str, u64>,
    public_addresses: u64,
    /// Whether they had the credentials of users, or none.
    is_of_users: bool,
    /// Whether nobody was accepted, with credentials of any kind, or not asked for them because of
    /// others' wrong ones.
    is_alone: bool,
}

impl<'r> Found<'r> {
    fn all(cause: &Cause, requests: &'r RequestStatus) -> Vec<Self> {
        let mut all: BTreeMap<_, Self> = BTreeMap::new();
        for one in &requests.refusals {
            let of_kind = cause.caller.is_empty() || one.caller == cause.caller;
            if one.reason != cause.reason || !of_kind {
                continue;
            }
            let is_wanted =
                |detail: &str| cause.details.is_empty() || cause.details.contains(&detail);
            let details = one.details.iter();
            let details = details.filter(|(detail, _)| is_wanted(detail));
            let is_untold = one.details.is_empty() && cause.details == OTHER;
            let count = if cause.details.is_empty() || is_untold {
                one.count
            } else {
                details.clone().map(|(_, count)| count).sum()
            };
            let (method, route) = if matches!(cause.among, Among::Method | Among::Route) {
                (one.method.as_str(), one.route.as_str())
            } else {
                ("", "")
            };
            let found = all.entry((method, route)).or_default();
            (found.method, found.route) = (method, route);
            found.count += count;
            found
                .details
                .extend(details.map(|(detail, _)| detail.as_str()));
            for (address, count) in &one.addresses {
                *found.addresses.entry(address).or_default() += count;
            }
            found.public_addresses += one.public_addresses;
            found.is_of_users |= matches!(one.caller.as_str(), "jwt" | "session" | "none");
        }
        let mut limited = requests.refusals.iter();
        let is_limited = limited.any(|one| one.reason.starts_with("limited"));
        let is_alone = !is_limited && accepted(requests, ALL_KINDS) == 0;
        let mut all: Vec<Self> = all.into_values().collect();
        for found in &mut all {
            found.all = found.compared_with(cause.among, requests);
            found.is_alone = is_alone;
        }
        all
    }

    fn compared_with(&self, among: Among, requests: &RequestStatus) -> u64 {
        let done = |what| requests.done.get(what).copied().unwrap_or(0);
        let of_route = || {
            let name = format!("{} {}", self.method, self.route);
            let answered = requests.answered_routes.get(&name).copied();
            answered.unwrap_or_default().saturating_sub(self.count)
        };
        let others = match among {
            Among::Accepted(kinds) => accepted(requests, kinds),
            Among::Route => of_route(),
            // What changes nothing is not counted as done.
            Among::Method if matches!(self.method, "GET" | "HEAD") => of_route(),
            Among::Method => done(self.method),
            Among::Refreshes => done("refresh"),
            Among::Answers => requests.answered.saturating_sub(self.count),
            Among::Nothing => 0,
        };
        self.count.saturating_add(others)
    }

    fn is_finding(&self, cause: &Cause) -> bool {
        let (count, all) = (self.count, self.all);
        let is_of_all = count == all;
        let is_one_user =
            self.is_of_users && self.addresses.is_empty() && self.public_addresses == 1;
        let is_nearly_all = is_share(count, all, NEARLY_ALL_PERCENT);
        let from_private: u64 = self.addresses.values().sum();
        let addresses = self.addresses.len() as u64 + self.public_addresses;
        count >= REFUSED
            && match cause.usual {
                // One user's program may be anything.
                Usual::Never | Usual::Sometimes | Usual::InTurn if is_one_user => {
                    is_of_all && self.is_alone
                }
                Usual::Never => is_part(count, all),
                Usual::Sometimes => is_nearly_all || is_large_group(count, all),
                Usual::InTurn => {
                    is_nearly_all || (count >= MORE && is_share(count, all, LARGE_PART_PERCENT))
                }
                Usual::BeforeSignIn if self.is_alone => is_of_all,
                Usual::BeforeSignIn => {
                    (is_of_all && count >= MORE || is_nearly_all && count >= MANY)
                        && (from_private > 0 || addresses >= SEVERAL)
                }
                Usual::ByStrangers => is_of_all,
                Usual::ByFewAtATime => {
                    from_private >= REFUSED
                        || (count >= REFUSED.saturating_mul(addresses)
                            && is_share(count, all, STRANGERS_PERCENT))
                }
                Usual::ByOne => addresses >= SEVERAL,
            }
    }

    /// With `what` about them.
    fn text(&self, cause: &Cause, what: &str, minutes: u32) -> String {
        let Self { count, all, .. } = self;
        let mut text = match cause.among {
            Among::Answers | Among::Nothing => format!("{count} {what}"),
            Among::Method | Among::Route => {
                format!("{count} of {all} {} {} {what}", self.method, self.route)
            }
            Among::Accepted(_) | Among::Refreshes => format!("{count} of {all} {what}"),
        };
        text += " (";
        let details: Vec<&str> = self.details.iter().copied().collect();
        if !details.is_empty() && cause.details.len() != 1 && cause.details != OTHER {
            text += &format!("{}; ", details.join(", "));
        }
        let is_here = |address: &&str| matches!(*address, "127.0.0.1" | "::1");
        let addresses: Vec<&str> = self.addresses.keys().copied().collect();
        let is_told = !addresses.iter().all(is_here) || self.public_addresses > 0;
        if is_told && !addresses.is_empty() {
            text += &format!("from {}", addresses.join(", "));
            if self.public_addresses > 0 {
                text += " and public addresses";
            }
            text += "; ";
        }
        text + &format!("within {minutes} min)")
    }
}

fn accepted(requests: &RequestStatus, kinds: &[&str]) -> u64 {
    let of_kind = |kind: &&str| requests.credentials.get(*kind);
    let kinds = kinds.iter().filter_map(of_kind);
    kinds.map(|kind| kind.accepted).sum()
}

/// Adds that `RATE_LIMIT_PER_MINUTE` refuses much.
fn check_limited(collected: &mut Collected, requests: &RequestStatus, source: &Source) {
    let (minutes, limited) = (requests.minutes, requests.limited);
    if limited < REFUSED || !is_share(limited, requests.answered, LIMITED_PERCENT) {
        return;
    }
    let limit = source
        .get("RATE_LIMIT_PER_MINUTE")
        .and_then(|text| text.parse().ok());
    let limit = limit
        .unwrap_or(0_u64)
        .saturating_mul(10)
        .max(usual("RATE_LIMIT_PER_MINUTE"));
    collected.warn(
        format!(
            "RATE_LIMIT_PER_MINUTE refused {limited} of {} requests within {minutes} min (429)",
            requests.answered
        ),
        Remedy::note(
            "unless these are too many on purpose, raise the limit, and restart the daemon:",
        )
        .then(Remedy::set("RATE_LIMIT_PER_MINUTE", limit)),
    );
}

/// What is proposed for a variable.
fn usual(name: &str) -> u64 {
    Bounds::of(name).map_or(0, |bounds| bounds.usual.into())
}

/// `max` is what `MAX_BODY_BYTES` is here. Every valid body fits into the usual limit.
fn check_bodies(collected: &mut Collected, requests: &RequestStatus, max: usize) {
    let refused = requests.too_large;
    let (limit, usual) = (requests.max_body_bytes, usual("MAX_BODY_BYTES"));
    let is_much = limit < usual || is_share(refused, requests.answered, LIMITED_PERCENT);
    if refused < REFUSED || !is_much {
        return;
    }
    let remedy = if max as u64 > limit {
        Remedy::note(format!(
            "restart the daemon, so that it reads MAX_BODY_BYTES={max}"
        ))
    } else if limit < usual {
        Remedy::note("unless these bodies are too large on purpose, raise the limit, and restart the daemon:")
            .then(Remedy::set("MAX_BODY_BYTES", usual))
    } else {
        Remedy::note(
            "correct the client: no valid body is that long (a title has at most 200 characters, a description 1000), so that a larger MAX_BODY_BYTES would make this 422",
        )
    };
    let of_reason = |one: &&RefusalStatus| one.reason == "body_too_large";
    let refusals = requests.refusals.iter().filter(of_reason);
    let routes: BTreeSet<String> = refusals
        .map(|one| format!("{} {}", one.method, one.route))
        .collect();
    let routes: Vec<String> = routes.into_iter().collect();
    let of = if routes.is_empty() { "" } else { " of " };
    collected.warn(
        format!(
            "MAX_BODY_BYTES={limit} refused the bodies{of}{}: {refused} of {} requests within {} min (413)",
            routes.join(", "),
            requests.answered,
            requests.minutes
        ),
        remedy,
    );
}

fn is_share(part: u64, all: u64, percent: u64) -> bool {
    part.saturating_mul(100) >= all.saturating_mul(percent)
}

/// All users behind a proxy that is not trusted count as one address.
fn check_proxies(collected: &mut Collected, requests: &RequestStatus, source: &Source) {
    let proxies = requests.limited_proxies.iter();
    // Another program may answer in place of the daemon.
    let proxies: Vec<(IpAddr, u64)> = proxies
        .filter_map(|(proxy, count)| Some((proxy.parse().ok()?, *count)))
        .collect();
    if proxies.is_empty() {
        return;
    }
    let names: Vec<String> = proxies.iter().map(|(proxy, _)| proxy.to_string()).collect();
    let count: u64 = proxies.iter().map(|(_, count)| count).sum();
    let trusted = source.get("TRUSTED_PROXIES").unwrap_or_default();
    let trusted = trusted.split(',').map(str::trim).map(str::to_owned);
    let mut trusted: Vec<String> = trusted.filter(|one| !one.is_empty()).collect();
    let added = names.iter().filter(|name| !trusted.contains(name));
    let added: Vec<String> = added.cloned().collect();
    trusted.extend(added);
    collected.warn(
        format!(
            "requests come from {} with X-Forwarded-For, and TRUSTED_PROXIES does not name it: all its users share one limit of wrong credentials, and {count} requests were answered with 429 within {} min",
            names.join(", "),
            requests.minutes
        ),
        Remedy::note("where that is your proxy (and no client can reach the daemon without it), trust it, and restart the daemon:")
            .then(Remedy::set("TRUSTED_PROXIES", trusted.join(","))),
    );
}

#[cfg(test)]
mod tests;
