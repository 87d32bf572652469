//! The mail provider: whether it accepts the key and the sender.

use std::time::{Duration, Instant};

use crate::config::{Remedy, ServicesConfig, fingerprints};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::mail::{Account, MailAnswer, Mailer};

use super::tls::plain;
use domain::check_domain;
use outbox::Outbox;
pub(in crate::diagnostics) use outbox::late;
use places::{other_credentials, other_path, other_service, redirected};
use provider::limited;
pub(in crate::diagnostics) use provider::{Blame, Provider};
use sender::respelt_sender;

mod domain;
mod outbox;
mod places;
mod provider;
mod sender;

/// The provider's own domain, for tries.
const TRIAL_DOMAIN: &str = "resend.dev";

pub(super) async fn mail(context: &Context, limit: Duration) -> Verdict {
    let config = &context.audit.services;
    let provider = Provider::of(config, &context.request.source);
    let mailer = match Mailer::new(config) {
        Ok(Some(mailer)) => mailer,
        Ok(None) => return Verdict::skip("RESEND_API_KEY is not set: reminders are not mailed"),
        Err(error) => return unreachable(provider, &error.to_string()),
    };
    let until = Instant::now() + limit;
    let account = match tokio::time::timeout(limit, mailer.account()).await {
        Ok(Ok(account)) => account,
        Ok(Err(error)) => return unreachable(provider, &error.to_string()),
        Err(_) => {
            let error = format!("no answer within {} s", limit.as_secs());
            return unreachable(provider, &error);
        }
    };
    let daemon = context.daemon(limit).await;
    let own = fingerprints(&context.request.source, &context.audit);
    let outbox = match &daemon.status {
        Ok(status) => Outbox::of(status, &own, context.request.clock.now().unix_seconds()),
        Err(_) => Outbox::default(),
    };
    let answer = if !account.is_of_provider() || outbox.is_redirected {
        let asking = mailer.try_mail();
        let answer = tokio::time::timeout(until - Instant::now(), asking).await;
        answer.ok().and_then(Result::ok)
    } else {
        None
    };
    let seen = Seen {
        outbox,
        answer,
        is_forbidden: daemon.has_forbidden_sender(),
    };
    check_account(&account, provider, config, &mailer.sender_domain(), &seen)
}

/// What is known beside the list of domains.
#[derive(Default)]
struct Seen {
    outbox: Outbox,
    /// What is answered to a mail without anything in it; `None` where it was not asked, or did
    /// not answer.
    answer: Option<MailAnswer>,
    /// Whether the daemon sends no mails now, because the provider forbids the sender.
    is_forbidden: bool,
}

impl Seen {
    /// How mails are accepted, if they are.
    fn acceptance(&self) -> Option<&'static str> {
        match self.answer {
            Some(MailAnswer::Understood) => Some("understands mails"),
            // It does not tell what becomes of a mail that has everything.
            None | Some(MailAnswer::Other(400 | 422 | 429 | 500..)) if self.outbox.passes => {
                Some("has accepted mails lately")
            }
            _ => None,
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

fn check_account(
    account: &Account,
    provider: Provider<'_>,
    config: &ServicesConfig,
    domain: &str,
    seen: &Seen,
) -> Verdict {
    let origin = provider.origin();
    let has_taken = seen.outbox.has_sent;
    if let Some(MailAnswer::Redirected(to)) = &seen.answer {
        return Verdict::warn(
            format!(
                "{origin} redirects mails elsewhere, which the daemon does not follow: mails wait"
            ),
            redirected(to.as_ref()),
        );
    }
    let detail = match (account, seen.acceptance()) {
        (Account::WrongKey(reason), _) => {
            return Verdict::fail(
                format!("{origin} refuses RESEND_API_KEY ({reason}): mails wait"),
                Remedy::note(
                    "create a key at https://resend.com/api-keys; this asks for it: todoctl config set RESEND_API_KEY=-\nif the key is right, see whether the account is suspended: https://resend.com/settings",
                ),
            );
        }
        (
            Account::Limited(_) | Account::Failed(_) | Account::NotAProvider | Account::Untold(_),
            Some(accepts),
        ) => {
            format!(
                "{origin} {accepts}; its domains are not known ({})",
                account.status()
            )
        }
        (Account::Limited(reason), None) => {
            return Verdict::warn(
                format!("{origin} limits requests, or a quota is used up ({reason}): mails wait"),
                limited(reason),
            );
        }
        (Account::Failed(status), None) => {
            return Verdict::warn(
                format!("{origin} answers {status}: mails wait until it recovers"),
                provider.recovers(),
            );
        }
        (Account::NotAProvider, None) => {
            return Verdict::fail(
                format!(
                    "what answers at {origin} is not the mail provider: it answers 200 to the question for domains, without any: mails wait"
                ),
                other_service(config, has_taken),
            );
        }
        (Account::Untold(status @ (401 | 403 | 407)), None) => {
            return Verdict::warn(
                format!("{origin} answers {status}, and not as a mail provider: mails wait"),
                other_credentials(),
            );
        }
        (Account::Untold(status @ 300..=399), None) => {
            return Verdict::warn(
                format!("{origin} answers {status}, and not as a mail provider: mails wait"),
                redirected(None),
            );
        }
        (Account::Untold(status), None) => {
            return Verdict::warn(
                format!(
                    "{origin} answers {status} to the question for domains: RESEND_API_URL does not lead to the mail provider, and mails wait"
                ),
                other_path(config, has_taken),
            );
        }
        (Account::SendOnly, _) => format!("{origin} accepts the key, which may only send"),
        (Account::Domains(..), _) => format!("{origin} accepts the key"),
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
            check_domain(&detail, domains, *are_all, domain, seen.is_forbidden)
        }
        _ => Verdict::pass(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::diagnostics::Outcome;
    use crate::services::mail::Domain;

    #[test]
    fn accounts() {
        let config = |from: Option<&str>| ServicesConfig {
            email_from: from.map(str::to_owned),
            ..ServicesConfig::default()
        };
        let domain = |name: &str, status: &str| Domain {
            name: name.to_owned(),
            status: status.to_owned(),
            capabilities: None,
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
            let seen = Seen::default();
            let found = check_account(&account, provider, &config, domain, &seen);
            assert_eq!(found.outcome, outcome, "{account:?}");
            assert_eq!(
                found.remedy.is_some(),
                outcome != Outcome::Pass,
                "{account:?}"
            );
        }
    }
}
