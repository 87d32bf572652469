//! Whether the auth server's keys can verify its tokens.

use url::Url;

use crate::config::Remedy;
use crate::diagnostics::services::address::origin;
use crate::diagnostics::verdict::Verdict;
use crate::services::auth_server::{PublishedKeys, SessionAnswer, Survey};

use super::advice::{KEYS, address_of, behind_proxy, limited};

/// What is right about the keys, or what is wrong with them.
pub(super) fn check_keys(base: &Url, survey: &Survey) -> Result<String, Box<Verdict>> {
    let origin = origin(base);
    Ok(match &survey.keys {
        PublishedKeys::Set {
            usable: usable @ 1..,
            ignored,
            ..
        } if ignored.is_empty() => format!("{origin} publishes its keys, {usable}"),
        PublishedKeys::Set {
            usable: usable @ 1..,
            ignored,
            ..
        } => format!(
            "{origin} publishes its keys, {usable}; {} of other kinds are ignored ({})",
            ignored.len(),
            ignored.join(", ")
        ),
        PublishedKeys::None if survey.sessions == SessionAnswer::Understood => {
            format!("{origin} validates session tokens; it publishes no keys (404)")
        }
        _ => return Err(Box::new(fault(base, survey))),
    })
}

/// What is wrong with keys that cannot verify any token.
fn fault(base: &Url, survey: &Survey) -> Verdict {
    let origin = origin(base);
    let other = || match &survey.elsewhere {
        Some(url) => Remedy::note(format!("{url} publishes keys:")).then(Remedy::set(
            "AUTH_SERVER_URL",
            url.as_str().trim_end_matches('/'),
        )),
        None => other_service(),
    };
    match &survey.keys {
        PublishedKeys::Set {
            ignored,
            has_misdeclared,
            ..
        } if !ignored.is_empty() => {
            let remedy = if *has_misdeclared {
                "let the auth server publish the key that signs its tokens with use sig and the alg that it signs with (RFC 7517, section 4), or without use, key_ops and alg"
            } else {
                "let the auth server sign with EdDSA (Ed25519), ES256 or RS256 (2048 bits or more)"
            };
            Verdict::warn(
                format!(
                    "{origin} publishes {} keys, and todoctl can use none of them ({}): tokens that they sign are answered with 401",
                    ignored.len(),
                    ignored.join(", ")
                ),
                Remedy::note(remedy),
            )
        }
        PublishedKeys::Set { .. } => {
            Verdict::warn(
                format!(
                    "{origin} publishes an empty set of keys: JWTs that it signs are answered with 401"
                ),
                Remedy::note(
                    "let the auth server make its key, as better-auth does when it signs the first JWT; this shows what it publishes:",
                )
                .then(Remedy::command("curl -i").arg(address_of(base, KEYS))),
            )
        }
        PublishedKeys::None => {
            Verdict::warn(
                format!(
                    "{origin} answers 404 to the question for keys, and validates no session tokens: its tokens cannot be verified"
                ),
                other(),
            )
        }
        PublishedKeys::NotAKeySet => {
            Verdict::fail(
                format!(
                    "what {origin} answers is not a set of keys: its tokens cannot be verified"
                ),
                other(),
            )
        }
        PublishedKeys::Encoded(encoding) => {
            Verdict::fail(
                format!(
                    "{origin} answers with Content-Encoding {encoding}, although it was not asked for: its tokens cannot be verified"
                ),
                Remedy::note(
                    "let the auth server, or the proxy in front of it, compress only for clients with Accept-Encoding (nginx: no gzip_static always, gunzip on); this shows the answer:",
                )
                .then(Remedy::command("curl -i").arg(address_of(base, KEYS))),
            )
        }
        PublishedKeys::TooLong => {
            Verdict::fail(
                format!(
                    "{origin} publishes more keys than the daemon reads (256 KiB): its tokens cannot be verified"
                ),
                Remedy::note(
                    "let the auth server withdraw the keys that it does not sign with any more (better-auth: old rows of its table jwks)",
                ),
            )
        }
        PublishedKeys::Status(status) => {
            Verdict::warn(
                format!(
                    "{origin} answers {status} to the question for its keys: its tokens cannot be verified"
                ),
                match status {
                    _ if survey.elsewhere.is_some() => other(),
                    429 => limited(&origin),
                    500.. => Remedy::note(format!("read the log of the auth server at {origin}")),
                    300..=399 => survey
                        .moved
                        .as_ref()
                        .map_or_else(|| behind_proxy(KEYS), moved),
                    401 | 403 | 407 => behind_proxy(KEYS),
                    _ => other(),
                },
            )
        }
    }
}

/// It redirects, as from http to https; whether it publishes keys there could not be found out.
fn moved(url: &Url) -> Remedy {
    Remedy::note(format!(
        "it leads to {url}, and the daemon does not follow it:"
    ))
    .then(Remedy::set(
        "AUTH_SERVER_URL",
        url.as_str().trim_end_matches('/'),
    ))
}

fn other_service() -> Remedy {
    Remedy::note(
        "another service answers there: correct AUTH_SERVER_URL (its path comes before /api/auth/jwks)",
    )
}
