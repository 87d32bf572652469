//! The sender's domain, as the provider knows it.

use crate::config::Remedy;
use crate::diagnostics::verdict::Verdict;
use crate::services::mail::Domain;

/// How the provider calls a domain that mail may be sent from.
const VERIFIED: &str = "verified";

/// The provider's words for the state of a domain whose mails it sends: for sending it is
/// verified, and for receiving not; or its records were there, and are looked for again for three
/// days.
const PARTLY: [&str; 2] = ["partially_verified", "partially_failed"];
const FADING: &str = "temporary_failure";

/// `are_all` is whether the account has no more domains, `refused` whether mails are refused now.
pub(super) fn check_domain(
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
    if found.is_some_and(Domain::may_not_send) {
        return Verdict::fail(
            format!(
                "{detail}, but sending is disabled for the domain of EMAIL_FROM, {domain}: every mail is refused"
            ),
            Remedy::note(format!(
                "enable sending for {domain} at https://resend.com/domains"
            )),
        );
    }
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
