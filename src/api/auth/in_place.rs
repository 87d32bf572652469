//! What a request has in place of `Authorization: Bearer` and a token: for `/status`.

use cookie::Cookie;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use crate::domain::SESSION_PREFIX;

use super::headers::looks_like_jwt;

/// Headers in which clients and gateways send a token, or a gateway keeps one.
const HEADERS: [&str; 9] = [
    "access-token",
    "authentication",
    "token",
    "x-access-token",
    "x-auth-token",
    "x-authorization",
    "x-forwarded-access-token",
    "x-forwarded-authorization",
    "x-original-authorization",
];

/// Parameters and cookies for a token.
const NAMES: [&str; 9] = [
    "access-token",
    "access_token",
    "accesstoken",
    "auth_token",
    "authtoken",
    "better-auth.session_token",
    "id_token",
    "jwt",
    "token",
];

/// What browsers put in front of the names of cookies.
const PREFIXES: [&str; 2] = ["__Secure-", "__Host-"];

/// In a word or two, which are constants.
pub(super) fn in_place_of_token(headers: &HeaderMap, query: &str) -> &'static str {
    if headers.contains_key(AUTHORIZATION) {
        return in_authorization(headers);
    }
    let has_other = |name: &&str| headers.get(*name).is_some_and(|value| !value.is_empty());
    if HEADERS.iter().any(has_other) {
        return "another header";
    }
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    if parameters.any(|(name, value)| is_of_token(&name, &value)) {
        return "the address";
    }
    let lines = headers.get_all(COOKIE).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(Cookie::split_parse).filter_map(Result::ok);
    if cookies.any(|cookie| is_of_token(without_prefix(cookie.name()), cookie.value_trimmed())) {
        return "a cookie";
    }
    "no header"
}

fn in_authorization(headers: &HeaderMap) -> &'static str {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let first = first.map(|value| value.as_bytes().trim_ascii());
    let text = std::str::from_utf8(first.unwrap_or_default()).unwrap_or_default();
    if second.is_some() || text.contains(',') {
        return "two values";
    }
    let lower = text.to_ascii_lowercase();
    let scheme = lower.split(' ').next().unwrap_or_default();
    match scheme {
        "" => "no header",
        "bearer" => "Bearer alone",
        "basic" => "Basic",
        "jwt" => "JWT",
        "token" => "Token",
        _ if looks_like_jwt(text.as_bytes()) || text.starts_with(SESSION_PREFIX) => {
            "a token without Bearer"
        }
        _ if lower.trim_matches(['"', '\'']).starts_with("bearer") => "Bearer without a blank",
        _ => "another scheme",
    }
}

fn without_prefix(name: &str) -> &str {
    let mut bare = PREFIXES
        .iter()
        .filter_map(|prefix| name.strip_prefix(prefix));
    bare.next().unwrap_or(name)
}

fn is_of_token(name: &str, value: &str) -> bool {
    !value.is_empty() && NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there() {
        const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
        let of = |query: &str, lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            in_place_of_token(&headers, query)
        };
        let authorization = |value: &str| of("", &[("authorization", value)]);
        for (value, expected) in [
            ("Token abc", "Token"),
            ("jwt abc", "JWT"),
            ("Basic abc", "Basic"),
            ("Bearer", "Bearer alone"),
            ("Bearer ", "Bearer alone"),
            ("", "no header"),
            (JWT, "a token without Bearer"),
            ("todo_0123", "a token without Bearer"),
            ("Bearer:abc", "Bearer without a blank"),
            ("\"Bearer abc\"", "Bearer without a blank"),
            ("Basic abc, Bearer abc", "two values"),
            ("AWS4-HMAC-SHA256 abc", "another scheme"),
        ] {
            assert_eq!(authorization(value), expected, "{value}");
        }
        let both = [
            ("authorization", "Basic abc"),
            ("authorization", "Bearer abc"),
        ];
        assert_eq!(of("", &both), "two values");
        for (query, name, value, expected) in [
            ("", "cookie", "a=b; access_token=abc", "a cookie"),
            (
                "",
                "cookie",
                "__Secure-better-auth.session_token=abc",
                "a cookie",
            ),
            (
                "",
                "cookie",
                "access_token=; refresh_token=abc",
                "no header",
            ),
            ("", "x-access-token", "abc", "another header"),
            ("page=1&access_token=abc", "accept", "*/*", "the address"),
            ("token=", "accept", "*/*", "no header"),
            ("", "accept", "*/*", "no header"),
        ] {
            assert_eq!(
                of(query, &[(name, value)]),
                expected,
                "{query} {name} {value}"
            );
        }
    }
}
