//! Which web pages may call the API.

use std::collections::BTreeSet;

use url::Url;

use super::parse::{list, shown};
use super::reader::Reader;
use super::remedy::Remedy;
use super::variable::{Defaulted, Fault, Section, Variable, declare};

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

fn origins(text: &str) -> Result<BTreeSet<String>, Fault> {
    list(text, origin).map_err(|fault| Fault {
        remedy: corrected(text).map(|origins| Remedy::set("CORS_ORIGINS", origins)),
        ..fault
    })
}

/// The origins of a list whose entries are URLs with a path, or of a list as JSON.
fn corrected(text: &str) -> Option<String> {
    let json = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let entries = json.unwrap_or(text).split(',').map(str::trim);
    let entries = entries.map(|entry| entry.trim_matches(['"', '\'']));
    let origins = entries
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let url = Url::parse(entry).ok()?;
            let is_page = matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && !entry.contains('*');
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
        Some(host) if !host.is_empty() && !has_more => Ok(serialized(&url, host)),
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
            ("https://a.example/x,app.example.com", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(corrected(text).as_deref(), expected, "{text}");
        }
    }
}
