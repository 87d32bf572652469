//! What is wrong with a value of `REDIS_URL`, and what was meant.

use std::net::SocketAddr;

use url::Url;

use super::blanks_in_url::{blank_in, without_blanks};
use super::parse::has_second_scheme;
use super::remedy::Remedy;
use super::variable::Fault;

/// The word of the crate redis for "do not verify the certificate". Another fragment is a part of
/// a password.
pub(super) const INSECURE: &str = "insecure";

/// Whether the text is a URL of a Redis. No part of it is repeated: where a password is not
/// encoded, parts of it take the place of the host.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host());
    let Some(url) = url else {
        return Err(without_scheme(text));
    };
    if let Some(place) = blank_in(text).filter(|_| without_blanks(text) != text) {
        let left_out = "it leaves that out; if it belongs to the password: todoctl config set REDIS_URL.password=-";
        return Err(Fault {
            message: format!("contains {place}"),
            remedy: Some(Remedy::respell("REDIS_URL", "remove it").then(Remedy::note(left_out))),
        });
    }
    if has_second_scheme(&url) {
        return Err(Fault {
            message: "has its scheme twice".to_owned(),
            remedy: Some(Remedy::respell("REDIS_URL", "keep one of them")),
        });
    }
    let is_cut = url.fragment().is_some_and(|one| one != INSECURE);
    if is_cut
        || [url.path(), url.query().unwrap_or_default()]
            .iter()
            .any(|one| one.contains('@'))
    {
        return Err(Fault {
            message: "has a user or password with characters that have a meaning in URLs"
                .to_owned(),
            remedy: Some(Remedy::respell(
                "REDIS_URL",
                "write # as %23, / as %2F, ? as %3F and @ as %40 in user and password",
            )),
        });
    }
    let database = url.path().trim_start_matches('/');
    if !database.is_empty() && database.parse::<i64>().is_err() {
        return Err(Fault {
            message: "has a database that is not a number".to_owned(),
            remedy: Some(Remedy::set("REDIS_URL.database", 0)),
        });
    }
    Ok(())
}

/// The URL within a command of Redis's client, as providers show it.
pub(super) fn pasted(text: &str) -> Option<String> {
    let words = || {
        text.split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']))
    };
    let is_url = |word: &&str| word.starts_with("redis://") || word.starts_with("rediss://");
    let url = words().find(is_url)?;
    let has_tls = words().any(|word| word == "--tls");
    let url = match url.strip_prefix("redis://") {
        Some(rest) if has_tls => format!("rediss://{rest}"),
        _ => url.to_owned(),
    };
    (url != text).then_some(url)
}

/// Host and port alone have no secret.
fn without_scheme(text: &str) -> Fault {
    if pasted(text).is_some() {
        return Fault {
            message: "is a command, and not a URL alone".to_owned(),
            remedy: Some(Remedy::respell("REDIS_URL", "keep its URL alone")),
        };
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "6379"));
    let is_name = |text: &str| {
        let is_part = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-');
        !text.is_empty() && text.chars().all(is_part)
    };
    let is_address = text.parse::<SocketAddr>().is_ok()
        || is_name(host) && text.contains(':') && port.parse::<u16>().is_ok();
    Fault {
        message: "is not a redis:// or rediss:// URL".to_owned(),
        remedy: is_address.then(|| Remedy::set("REDIS_URL", format!("redis://{text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_what_was_meant() {
        for right in [
            "redis://redis",
            "redis://redis:6379/0",
            "rediss://u:p%40ss%231@redis:6380/15#insecure",
            "redis://:p@[::1]:6379/",
            "redis://redis/0?protocol=resp3",
        ] {
            assert!(check(right).is_ok(), "{right}");
        }
        for (wrong, remedy) in [
            (
                "redis://:p@ss#1@127.0.0.1:6599/0",
                "config respell REDIS_URL",
            ),
            (
                "redis://:p@ss/1@127.0.0.1:6599/0",
                "config respell REDIS_URL",
            ),
            (
                "redis://:p@ss?1@127.0.0.1:6599/0",
                "config respell REDIS_URL",
            ),
            (
                "redis-cli -u redis://:canary@redis:6379",
                "config respell REDIS_URL",
            ),
            ("redis://redis/todo", "REDIS_URL.database=0"),
            ("127.0.0.1:6599", "REDIS_URL=redis://127.0.0.1:6599"),
            ("redis:6379", "REDIS_URL=redis://redis:6379"),
            ("[::1]:6379", "REDIS_URL='redis://[::1]:6379'"),
        ] {
            let fault = check(wrong).unwrap_err();
            let said = fault.remedy.unwrap_or_default().to_string();
            assert!(said.contains(remedy), "{wrong}: {said}");
        }
        for unknown in ["canary", "http://redis:6379", "p@ss@redis:6379"] {
            assert!(check(unknown).unwrap_err().remedy.is_none(), "{unknown}");
        }
    }
}
