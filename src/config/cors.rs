//! Which web pages may call the API.

use std::collections::BTreeSet;

use url::Url;

use super::parse::{list, shown};
use super::reader::Reader;
use super::variable::{Defaulted, Fault, Section, Variable, declare};

declare! {
    static CORS_ORIGINS: Defaulted<BTreeSet<String>> = Variable::new(
        Section::Cors,
        "CORS_ORIGINS",
        "Origins of web pages that may call the API, separated by commas. * is refused, because \
         browsers send credentials. Default in development: http://localhost:3000",
    )
    .example("https://app.example.com,https://admin.example.com")
    .default_in_development("http://localhost:3000", |text| list(text, origin));
}

pub(super) fn read(reader: &mut Reader<'_>) -> BTreeSet<String> {
    reader.value(&CORS_ORIGINS)
}

/// An origin as browsers send it (RFC 6454, section 6.2).
fn origin(text: &str) -> Result<String, Fault> {
    if text == "*" {
        let wrong = "must not be *: browsers send credentials to this API, so list each origin";
        return Err(wrong.into());
    }
    let wrong = || {
        Fault::from(format!(
            "contains {}, which is not an origin (scheme, host and port; no path)",
            shown(text)
        ))
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = matches!(url.scheme(), "http" | "https")
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    if bare {
        Ok(url.origin().ascii_serialization())
    } else {
        Err(wrong())
    }
}
