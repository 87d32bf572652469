//! The variables of services reached over the network.

use url::Url;

use super::reader::Reader;
use super::{Secret, ServicesConfig};

pub(super) fn read(reader: &mut Reader<'_>) -> ServicesConfig {
    let services = ServicesConfig {
        auth_server_url: url(reader, "AUTH_SERVER_URL", "https://auth.example.com"),
        redis_url: redis_url(reader),
        resend_api_key: reader.secret("RESEND_API_KEY"),
        email_from: reader.parsed(&["EMAIL_FROM"], None, "Todo <todo@example.com>", |text| {
            let address = text.trim_end_matches('>');
            match address.split_once('@') {
                Some((name, domain)) if !name.is_empty() && domain.contains('.') => {
                    Ok(Some(text.to_owned()))
                }
                _ => Err("is not an e-mail address".to_owned()),
            }
        }),
        resend_api_url: url(reader, "RESEND_API_URL", "https://api.resend.com"),
        gemini_api_url: url(
            reader,
            "GEMINI_API_URL",
            "https://generativelanguage.googleapis.com",
        ),
    };
    if services.resend_api_key.is_some() && services.email_from.is_none() {
        reader.warn(
            "EMAIL_FROM",
            "is not set: mails come from onboarding@resend.dev, which reaches the account's owner only",
        );
    }
    services
}

fn url(reader: &mut Reader<'_>, name: &'static str, right: &str) -> Option<Url> {
    reader.parsed(&[name], None, right, |text| {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .map(Some)
            .ok_or_else(|| "is not an http or https URL".to_owned())
    })
}

fn redis_url(reader: &mut Reader<'_>) -> Option<Secret> {
    let secret = reader.secret("REDIS_URL")?;
    let fine = Url::parse(secret.expose())
        .is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host());
    if !fine {
        reader.problem(
            "REDIS_URL",
            "is not a redis URL",
            "REDIS_URL=redis://:PASSWORD@redis:6379/0 (rediss:// for TLS)",
        );
    }
    Some(secret)
}
