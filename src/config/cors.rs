//! Which web pages may call the API.

use std::collections::BTreeSet;

use url::Url;

use super::parse::{list, shown};
use super::reader::Reader;
use super::remedy::Remedy;
use super::variable::{Defaulted, Fault, Section, Variable, declare};

/// Longer ones are rare, and only a client's word.
const LONGEST_ORIGIN: usize = 100;

declare! {
    static CORS_ORIGINS: Defaulted<BTreeSet<String>> = Variable::new(
        Section::Cors,
        "CORS_ORIGINS",
        "Origins of web pages that may call the API, separated by commas. * is refused, because \
         browsers send credentials; patterns such as https://*.example.com are refused too. Apps \
         and extensions: capacitor://localhost, chrome-extension://ID. Default in development: http://localhost:3000",
    )
    .example("https://app.example.com,https://admin.example.com")
    .default_in_development("http://localhost:3000", origins);
}

pub(super) fn read(reader: &mut Reader<'_>) -> BTreeSet<String> {
    reader.value(&CORS_ORIGINS)
}

/// Whether a browser sends `text` as the origin of a page, and `CORS_ORIGINS` may have it.
pub(crate) fn is_origin(text: &str) -> bool {
    text.len() <= LONGEST_ORIGIN && origin(text).is_ok_and(|origin| origin == text)
}

/// Whether the host is a name or an address. In a URL it may have more signs, such as a semicolon.
fn is_name(host: &str) -> bool {
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || "-._:[]".contains(sign);
    !host.is_empty() && host.chars().all(is_sign)
}

fn origins(text: &str) -> Result<BTreeSet<String>, Fault> {
    list(text, origin).map_err(|fault| Fault {
        remedy: corrected(text).map(|origins| Remedy::set("CORS_ORIGINS", origins)),
        ..fault
    })
}

/// The origins of a list whose entries are URLs with a path, or names alone, or of a list as JSON or
/// with other signs between the entries.
fn corrected(text: &str) -> Option<String> {
    let json = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let is_between = |sign: char| matches!(sign, ',' | ';' | '|') || sign.is_whitespace();
    let entries = json.unwrap_or(text).split(is_between);
    let entries = entries.map(|entry| entry.trim_matches(['"', '\'']));
    let origins = entries
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (host, _) = entry.split_once('/').unwrap_or((entry, ""));
            let is_name_alone = is_name(host) && host.contains('.') && !entry.contains(':');
            let whole = is_name_alone.then(|| format!("https://{entry}"));
            let url = Url::parse(whole.as_deref().unwrap_or(entry)).ok()?;
            let is_page = matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.host_str().is_some_and(is_name);
            is_page.then(|| url.origin().ascii_serialization())
        })
        .collect::<Option<Vec<String>>>()?;
    (!origins.is_empty()).then(|| origins.join(","))
}

/// An origin as browsers send it (RFC 6454, section 6.2).
fn origin(text: &str) -> Result<String, Fault> {
    if text == "*" {
        let wrong = "must not be *: browsers send credentials to this API, so list each origin";
        return Err(wrong.into());
    }
    if text.contains('*') {
        return Err(format!(
            "contains {text:?}, but patterns are not supported: list each origin, such as \
             https://app.example.com"
        )
        .into());
    }
    let wrong = || {
        Fault::from(format!(
            "contains {}, which is not an origin (scheme, host and port; no path)",
            shown(text)
        ))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let has_more = !matches!(url.path(), "" | "/")
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some();
    match url.host_str() {
        Some(host) if is_name(host) && !has_more => Ok(serialized(&url, host)),
        _ => Err(wrong()),
    }
}

/// RFC 6454, section 6.2. Apps and browser extensions have schemes of their own, such as
/// `capacitor://localhost`, whose origins the crate url does not know.
fn serialized(url: &Url, host: &str) -> String {
    let origin = url.origin();
    if origin.is_tuple() {
        return origin.ascii_serialization();
    }
    let port = url.port().map(|port| format!(":{port}"));
    format!("{}://{host}{}", url.scheme(), port.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names() {
        for text in [
            "https://app.example.com",
            "http://[::1]:3000",
            "capacitor://localhost",
        ] {
            assert!(is_origin(text), "{text}");
        }
        for text in [
            "https://a.example;https",
            "https://a.example;https://b.example",
            "https://$(canary)",
            "https://a.example/",
            "null",
        ] {
            assert!(!is_origin(text), "{text}");
        }
        assert!(origins("https://a.example;https").is_err());
    }

    #[test]
    fn origins_that_were_meant() {
        for (text, expected) in [
            (
                "https://app.example.com/login",
                Some("https://app.example.com"),
            ),
            (
                r#"["https://a.example", "http://[::1]:3000/"]"#,
                Some("https://a.example,http://[::1]:3000"),
            ),
            ("https://a.example/?token=canary", Some("https://a.example")),
            ("https://u:canary@a.example/x", None),
            ("https://*.example.com", None),
            (
                "https://a.example/x,app.example.com",
                Some("https://a.example,https://app.example.com"),
            ),
            (
                "https://a.example;https://b.example http://c.example:3000",
                Some("https://a.example,https://b.example,http://c.example:3000"),
            ),
            ("app", None),
            ("canary@app.example.com", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(corrected(text).as_deref(), expected, "{text}");
        }
    }
}
