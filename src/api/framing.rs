//! What a proxy and this daemon could read differently in a request's head is refused: where the
//! body ends, and which host is meant (RFC 9112, sections 3.2 and 6.1; contract 1.4).

use http::header::{HOST, HeaderName, TE, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Version};

use super::error::ApiError;

/// Fails if the head is ambiguous.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    check_host(version, headers)?;
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (encodings.next(), encodings.next()) {
        (None, _) => {}
        (Some(only), None) if is_chunked(only) => {}
        _ => {
            return Err(refused(
                "Transfer-Encoding",
                "must be chunked, and nothing else",
            ));
        }
    }
    // RFC 9110, section 10.1.4: chunked is always accepted and must not be listed.
    if codings(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(refused("TE", "must not list chunked"));
    }
    Ok(())
}

fn check_host(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(only), None) if is_host(only) => Ok(()),
        (Some(_), None) => Err(refused("Host", "is not a host and port")),
        (Some(_), Some(_)) => Err(refused("Host", "must be sent once")),
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(refused("Host", "is missing")),
    }
}

/// A host and perhaps a port, without a user.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let port = text.strip_prefix(authority.host()).unwrap_or(text);
    !authority.host().is_empty()
        && !text.contains('@')
        && (matches!(port, "" | ":") || authority.port_u16().is_some())
}

/// The codings of a list, without their parameters.
fn codings<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|item| {
            let coding = item.split(|byte| *byte == b';').next();
            coding.unwrap_or_default().trim_ascii()
        })
}

fn refused(name: &'static str, problem: &'static str) -> ApiError {
    ApiError::Header {
        name,
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(version: Version, lines: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        check(version, &headers)
            .err()
            .map(|error| error.to_string())
    }

    /// Contract 1.4.
    #[test]
    fn hosts() {
        let of = |lines: &[_]| problem(Version::HTTP_11, lines);
        for good in [
            "a",
            "a.example:80",
            "127.0.0.1:8000",
            "[::1]:8000",
            "a:",
            "a_b",
        ] {
            assert_eq!(of(&[("host", good)]), None, "{good}");
        }
        for bad in [
            "", " ", "a b", "a/b", "a?b", "user@a", "a:b", "a:99999", "[::1", "a,b:1:2", ":80",
            "http://a",
        ] {
            let wanted = Some("Host: is not a host and port".to_owned());
            assert_eq!(of(&[("host", bad)]), wanted, "{bad}");
        }
        assert_eq!(of(&[]), Some("Host: is missing".to_owned()));
        assert_eq!(problem(Version::HTTP_10, &[]), None);
        for pair in [
            [("host", "a"), ("host", "a")],
            [("host", "a"), ("host", "b")],
        ] {
            assert_eq!(of(&pair), Some("Host: must be sent once".to_owned()));
        }
    }

    /// Contract 1.4.
    #[test]
    fn transfer_codings() {
        let of = |name, value| problem(Version::HTTP_11, &[("host", "a"), (name, value)]);
        assert_eq!(of("transfer-encoding", "Chunked"), None);
        for bad in ["gzip, chunked", "chunked, chunked", "identity", "gzip", ""] {
            assert!(of("transfer-encoding", bad).is_some(), "{bad}");
        }
        for good in ["trailers", "gzip", "deflate;q=0.5, trailers", ""] {
            assert_eq!(of("te", good), None, "{good}");
        }
        for bad in ["gzip, chunked", "chunked", "trailers,CHUNKED;q=1"] {
            assert_eq!(
                of("te", bad),
                Some("TE: must not list chunked".to_owned()),
                "{bad}"
            );
        }
        let twice = [
            ("host", "a"),
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert!(problem(Version::HTTP_11, &twice).is_some());
    }
}
