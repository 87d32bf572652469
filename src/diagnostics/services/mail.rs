//! The mail provider: whether it accepts the key and the sender.

use std::time::Duration;

use url::Url;

use crate::config::{RESEND_API, Remedy, ServicesConfig};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::mail::{Account, Domain, Mailer};

use super::address::url_or;
use super::tls::plain;
use provider::more_quota;
pub(in crate::diagnostics) use provider::{Blame, Provider};

mod provider;

/// The provider's own domain, for tries.
const TRIAL_DOMAIN: &str = "resend.dev";

/// How the provider calls a domain that mail may be sent from.
const VERIFIED: &str = "verified";

pub(super) async fn mail(context: &Context, limit: Duration) -> Verdict {
    let config = &context.audit.services;
    let provider = Provider::of(config, &context.request.source);
    let mailer = match Mailer::new(config) {
        Ok(Some(mailer)) => mailer,
        Ok(None) => return Verdict::skip("RESEND_API_KEY is not set: reminders are not mailed"),
        Err(error) => return unreachable(provider, &error.to_string()),
    };
    match tokio::time::timeout(limit, mailer.account()).await {
        Ok(Ok(account)) => {
            let refused = context.daemon(limit).await.has_forbidden_sender();
            let domain = mailer.sender_domain();
            check_account(&account, provider, config, &domain, refused)
        }
        Ok(Err(error)) => unreachable(provider, &error.to_string()),
        Err(_) => {
            let error = format!("no answer within {} s", limit.as_secs());
            unreachable(provider, &error)
        }
    }
}

fn unreachable(provider: Provider<'_>, error: &str) -> Verdict {
    Verdict::warn(
        format!(
            "{} cannot be reached: {}; mails wait until it can",
            provider.origin(),
            plain(error)
        ),
        provider.unreachable(error),
    )
}

/// `refused` is whether the daemon sends no mails now, because the provider forbids the sender.
fn check_account(
    account: &Account,
    provider: Provider<'_>,
    config: &ServicesConfig,
    domain: &str,
    refused: bool,
) -> Verdict {
    let origin = provider.origin();
    let detail = match account {
        Account::WrongKey(reason) => {
            return Verdict::fail(
                format!("{origin} refuses RESEND_API_KEY ({reason}): mails wait"),
                Remedy::note(
                    "create a key at https://resend.com/api-keys; this asks for it: todoctl config set RESEND_API_KEY=-\nif the key is right, see whether the account is suspended: https://resend.com/settings",
                ),
            );
        }
        Account::Limited(reason) => {
            return Verdict::warn(
                format!("{origin} limits requests, or a quota is used up ({reason}): mails wait"),
                more_quota(),
            );
        }
        Account::Failed(status) => {
            return Verdict::warn(
                format!("{origin} answers {status}: mails wait until it recovers"),
                provider.recovers(),
            );
        }
        Account::NotAProvider => {
            return Verdict::fail(
                format!(
                    "what answers at {origin} is not the mail provider: it answers 200 to the question for domains, without any: mails wait"
                ),
                other_service(config),
            );
        }
        Account::Untold(status @ (300..=399 | 400 | 401 | 403 | 407)) => {
            return Verdict::warn(
                format!("{origin} answers {status}, and not as a mail provider: mails wait"),
                other_service(config),
            );
        }
        Account::Untold(status) => {
            return Verdict::warn(
                format!(
                    "{origin} answers {status} to the question for domains: RESEND_API_URL does not lead to the mail provider, and mails wait"
                ),
                other_path(config),
            );
        }
        Account::SendOnly => format!("{origin} accepts the key, which may only send"),
        Account::Domains(..) => format!("{origin} accepts the key"),
    };
    let has_own_sender = domain != TRIAL_DOMAIN && config.email_from.is_some();
    if !has_own_sender {
        return Verdict::warn(
            format!(
                "{detail}, but EMAIL_FROM is not set, or of {TRIAL_DOMAIN}, from where mail reaches only the owner of the account"
            ),
            Remedy::note(
                "name a sender whose domain the provider has verified: todoctl config set 'EMAIL_FROM=Todo <todo@example.com>'",
            ),
        );
    }
    if let Some(right) = config.email_from.as_deref().and_then(respelt_sender) {
        return Verdict::fail(
            format!(
                "{detail}, but EMAIL_FROM is neither an address nor a name and an address in angle brackets: every mail is refused"
            ),
            Remedy::set("EMAIL_FROM", right),
        );
    }
    match account {
        Account::Domains(domains, are_all) => {
            check_domain(&detail, domains, *are_all, domain, refused)
        }
        _ => Verdict::pass(detail),
    }
}

/// A sender as the provider reads it, `Name <address>` or the address alone, if it is written in
/// another way.
fn respelt_sender(from: &str) -> Option<String> {
    let is_address = |text: &str| {
        !text.contains(|one: char| one.is_whitespace() || "<>\"',;:".contains(one))
            && text.matches('@').count() == 1
    };
    let is_right = match from.split_once('<') {
        None => is_address(from),
        Some((_, rest)) => rest.strip_suffix('>').is_some_and(is_address),
    };
    if is_right {
        return None;
    }
    let around: &[char] = &['<', '>', '"', '\'', ',', ';', '(', ')'];
    let words = from
        .split([' ', '\t', '<', '>'])
        .map(|word| word.trim_matches(around));
    let (addresses, names): (Vec<&str>, Vec<&str>) = words
        .filter(|word| !word.is_empty())
        .partition(|word| is_address(word));
    let [address] = addresses[..] else {
        return None;
    };
    Some(if names.is_empty() {
        address.to_owned()
    } else {
        format!("{} <{address}>", names.join(" "))
    })
}

/// A proxy or a login page answers in place of the provider.
fn other_service(config: &ServicesConfig) -> Remedy {
    let own = url_or(None, RESEND_API);
    if config.resend_api_url.as_ref().is_none_or(|url| *url == own) {
        return Remedy::note(
            "a proxy of this network answers in place of the provider: let this machine connect to it directly",
        );
    }
    Remedy::note(format!(
        "a proxy, a login page or another service answers there; this leads to {RESEND_API}:"
    ))
    .then(Remedy::unset("RESEND_API_URL"))
}

/// The provider does not have the page.
fn other_path(config: &ServicesConfig) -> Remedy {
    match config.resend_api_url.as_ref().and_then(without_endpoint) {
        Some(base) => Remedy::note("todoctl adds /emails and /domains to the address itself:")
            .then(Remedy::set("RESEND_API_URL", base)),
        None => other_service(config),
    }
}

/// The address to which the paths are added, if `url` ends with one of them. Credentials and
/// queries may be secrets.
fn without_endpoint(url: &Url) -> Option<String> {
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let mut endpoints = ["/emails", "/domains"].into_iter();
    let base = endpoints.find_map(|endpoint| path.strip_suffix(endpoint))?;
    let mut right = url.clone();
    right.set_path(base);
    Some(right.as_str().trim_end_matches('/').to_owned())
}

/// The provider's words for the state of a domain whose mails it sends: for sending it is
/// verified, and for receiving not; or its records were there, and are looked for again for three
/// days.
const PARTLY: [&str; 2] = ["partially_verified", "partially_failed"];
const FADING: &str = "temporary_failure";

/// `are_all` is whether the account has no more domains, `refused` whether mails are refused now.
fn check_domain(
    detail: &str,
    domains: &[Domain],
    are_all: bool,
    domain: &str,
    refused: bool,
) -> Verdict {
    let found = domains
        .iter()
        .find(|one| one.name.eq_ignore_ascii_case(domain));
    let complete = || {
        Remedy::note(format!(
            "complete the DNS records of {domain} at https://resend.com/domains, and verify it there"
        ))
    };
    match found.map(|found| found.status.as_str()) {
        Some(VERIFIED) => Verdict::pass(format!("{detail} and the sender's domain {domain}")),
        Some(status) if PARTLY.contains(&status) && !refused => Verdict::pass(format!(
            "{detail} and the sender's domain {domain}, which is verified in part"
        )),
        Some(FADING) if !refused => Verdict::warn(
            format!(
                "{detail}, but does not find the DNS records of {domain} any more, the domain of EMAIL_FROM: three days later it refuses every mail"
            ),
            complete(),
        ),
        Some(_) => Verdict::fail(
            format!(
                "{detail}, but the domain of EMAIL_FROM, {domain}, is not verified: every mail is refused"
            ),
            complete(),
        ),
        None if !are_all && !refused => Verdict::pass(format!(
            "{detail}; it has more domains than it lists, so whether {domain} is verified is not known"
        )),
        None => Verdict::fail(
            format!(
                "{detail}, but the account does not have the domain of EMAIL_FROM, {domain}: every mail is refused"
            ),
            Remedy::note(format!(
                "add {domain} at https://resend.com/domains, or name a sender of a verified domain in EMAIL_FROM"
            )),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::diagnostics::Outcome;

    #[test]
    fn addresses_with_the_path_of_an_endpoint() {
        for (given, right) in [
            ("https://a.example/emails", Some("https://a.example")),
            (
                "https://a.example/v1/domains/",
                Some("https://a.example/v1"),
            ),
            ("https://a.example/v1", None),
            ("https://u:canary@a.example/emails", None),
            ("https://a.example/emails?key=canary", None),
        ] {
            let found = without_endpoint(&given.parse().unwrap());
            assert_eq!(found.as_deref(), right, "{given}");
        }
    }

    #[test]
    fn senders() {
        for right in [
            "todo@example.com",
            "Todo <todo@example.com>",
            "\"Todo, Inc.\" <todo@example.com>",
            // What was meant is not known.
            "a@example.com b@example.com",
        ] {
            assert_eq!(respelt_sender(right), None, "{right}");
        }
        for (wrong, meant) in [
            ("Todo <todo@example.com", "Todo <todo@example.com>"),
            ("My Todo todo@example.com", "My Todo <todo@example.com>"),
            ("todo@example.com>", "todo@example.com"),
            ("Todo (todo@example.com)", "Todo <todo@example.com>"),
        ] {
            assert_eq!(respelt_sender(wrong).as_deref(), Some(meant), "{wrong}");
        }
    }

    #[test]
    fn accounts() {
        let config = |from: Option<&str>| ServicesConfig {
            email_from: from.map(str::to_owned),
            ..ServicesConfig::default()
        };
        let domain = |name: &str, status: &str| Domain {
            name: name.to_owned(),
            status: status.to_owned(),
        };
        let from = Some("todo@example.com");
        let trial = Some("onboarding@resend.dev");
        for status in ["partially_verified", "partially_failed"] {
            let domains = [domain("example.com", status)];
            let outcome =
                |refused| check_domain("", &domains, true, "example.com", refused).outcome;
            assert_eq!(outcome(false), Outcome::Pass, "{status}");
            assert_eq!(outcome(true), Outcome::Fail, "{status}");
        }
        let source = Source::default();
        for (account, from, outcome) in [
            (
                Account::Domains(vec![domain("Example.com", "verified")], true),
                from,
                Outcome::Pass,
            ),
            (
                Account::Domains(vec![domain("example.com", "temporary_failure")], true),
                from,
                Outcome::Warn,
            ),
            (
                Account::Domains(vec![domain("example.com", "pending")], true),
                from,
                Outcome::Fail,
            ),
            (
                Account::Domains(vec![domain("sub.example.com", "verified")], true),
                from,
                Outcome::Fail,
            ),
            (Account::Domains(Vec::new(), true), None, Outcome::Warn),
            (Account::Domains(Vec::new(), false), from, Outcome::Pass),
            (Account::SendOnly, from, Outcome::Pass),
            (Account::SendOnly, None, Outcome::Warn),
            (Account::SendOnly, trial, Outcome::Warn),
            (Account::Domains(Vec::new(), true), trial, Outcome::Warn),
            (Account::Untold(404), from, Outcome::Warn),
            (Account::NotAProvider, from, Outcome::Fail),
            (Account::Untold(302), from, Outcome::Warn),
            (Account::Untold(403), from, Outcome::Warn),
            (Account::WrongKey("400".to_owned()), from, Outcome::Fail),
            (Account::Limited("429".to_owned()), from, Outcome::Warn),
            (Account::Failed(500), from, Outcome::Warn),
        ] {
            let domain = from.map_or(TRIAL_DOMAIN, |from| from.split_once('@').unwrap().1);
            let config = config(from);
            let provider = Provider::of(&config, &source);
            let found = check_account(&account, provider, &config, domain, false);
            assert_eq!(found.outcome, outcome, "{account:?}");
            assert_eq!(
                found.remedy.is_some(),
                outcome != Outcome::Pass,
                "{account:?}"
            );
        }
    }
}
