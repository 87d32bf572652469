//! Services that are reached over the network. All are optional.

use std::path::{Path, PathBuf};

use url::Url;

use super::environment::Environment;
use super::ownership::unused_name;
use super::parse::{http_url, is_remote_host};
use super::reader::Reader;
use super::redis_address;
use super::remedy::Remedy;
use super::respell::{MAIL_KEY, respelt};
use super::secret::Secret;
use super::source::Source;
use super::text_file::read_small_file;
use super::variable::{Defaulted, Fault, Kind, Optional, Section, Variable, declare};

/// Services that are reached over the network. All are optional.
#[derive(Debug, Clone, Default)]
pub struct ServicesConfig {
    /// `AUTH_SERVER_URL`.
    pub auth_server_url: Option<Url>,
    /// `AUTH_ISSUER`; not set: the origin of `AUTH_SERVER_URL`.
    pub auth_issuer: Option<String>,
    /// `REDIS_URL`; a secret, because it may contain a password.
    pub redis_url: Option<Secret>,
    /// `RESEND_API_KEY`. Not set: no mail.
    pub resend_api_key: Option<Secret>,
    /// `EMAIL_FROM`.
    pub email_from: Option<String>,
    /// `RESEND_API_URL`.
    pub resend_api_url: Option<Url>,
    /// `GEMINI_API_URL`.
    pub gemini_api_url: Option<Url>,
}

/// Where Resend's API is, unless `RESEND_API_URL` names another endpoint.
pub const RESEND_API: &str = "https://api.resend.com";
/// Where Gemini's API is, unless `GEMINI_API_URL` names another endpoint.
pub const GEMINI_API: &str = "https://generativelanguage.googleapis.com";

const fn variable(name: &'static str, kind: Kind, help: &'static str) -> Variable {
    Variable::new(Section::Services, name, help).kind(kind)
}

declare! {
    static AUTH_SERVER_URL: Optional<Url> = variable(
        "AUTH_SERVER_URL",
        Kind::Url,
        "The auth server. It is asked about session tokens that todoctl did not issue \
         (/api/auth/get-session), and JWTs that its keys sign (/api/auth/jwks) are accepted.",
    )
    .example("https://auth.example.com")
    .optional(http_url);

    static AUTH_ISSUER: Optional<String> = variable(
        "AUTH_ISSUER",
        Kind::Url,
        "The iss of the auth server's JWTs, if it is not scheme, host and port of \
         AUTH_SERVER_URL: the public address, where AUTH_SERVER_URL is an internal one.",
    )
    .example("https://auth.example.com")
    .optional(issuer);

    static REDIS_URL: Optional<Secret> = variable(
        "REDIS_URL",
        Kind::SecretUrl,
        "Redis, where replicas count requests for the rate limits together (rediss:// for TLS). \
         Without it, and while it cannot be reached, each replica counts for itself.",
    )
    .example("redis://:PASSWORD@redis:6379/0")
    .optional(redis_url);

    static RESEND_API_KEY: Optional<Secret> = variable(
        MAIL_KEY,
        Kind::Secret,
        "API key of Resend. With it reminders are also sent by mail, to the addresses in the \
         auth server's table \"user\", if that table is in the same database. Not set: no mail.",
    )
    .optional(|text| Ok(Secret::new(text)));

    static EMAIL_FROM: Optional<String> = variable("EMAIL_FROM", Kind::Plain, "Sender of the mail.")
        .example("Todo <todo@example.com>")
        .optional(email_address);

    static RESEND_API_URL: Defaulted<Url> = variable(
        "RESEND_API_URL",
        Kind::Url,
        "Another endpoint of the mail provider, for tests.",
    )
    .default(RESEND_API, http_url);

    static GEMINI_API_URL: Defaulted<Url> = variable(
        "GEMINI_API_URL",
        Kind::Url,
        "Another endpoint of the provider that checks users' API keys, for tests.",
    )
    .default(GEMINI_API, http_url);

    static SSL_CERT_FILE: Optional<PathBuf> = variable(
        "SSL_CERT_FILE",
        Kind::Plain,
        "PEM file with certificates of CAs that are trusted beside the public ones, for the auth \
         server, mail and the key provider, and instead of them for Redis. PostgreSQL has \
         ?sslrootcert=FILE.",
    )
    .example("/etc/ssl/certs/ca-certificates.crt")
    .optional(|text| Ok(PathBuf::from(text)));
}

/// `SSL_CERT_FILE`, right or wrong.
pub(crate) fn ca_file(source: &Source) -> Option<PathBuf> {
    source.get(SSL_CERT_FILE.variable.name).map(PathBuf::from)
}

pub(super) fn read(reader: &mut Reader<'_>) -> ServicesConfig {
    let services = ServicesConfig {
        auth_server_url: reader.optional(&AUTH_SERVER_URL),
        auth_issuer: reader.optional(&AUTH_ISSUER),
        redis_url: reader.optional(&REDIS_URL),
        resend_api_key: reader.optional(&RESEND_API_KEY),
        email_from: reader.optional(&EMAIL_FROM),
        resend_api_url: Some(reader.value(&RESEND_API_URL)),
        gemini_api_url: Some(reader.value(&GEMINI_API_URL)),
    };
    if let Some(file) = reader.optional(&SSL_CERT_FILE)
        && let Some(fault) = ca_file_fault(&file)
    {
        reader.warn(
            SSL_CERT_FILE.variable.name,
            format!("names {}, which {fault}; it is ignored", file.display()),
            as_pem(&file).unwrap_or_else(|| {
                Remedy::note("name a readable file of CA certificates in PEM form; where no service has a CA of its own, remove the variable")
                    .or(Remedy::unset(SSL_CERT_FILE.variable.name))
            }),
        );
    }
    plain_connections(reader, &services);
    if services.auth_issuer.is_some() && !reader.is_set(&AUTH_SERVER_URL.variable) {
        reader.warn(
            AUTH_ISSUER.variable.name,
            "has no effect without AUTH_SERVER_URL",
            Remedy::unset(AUTH_ISSUER.variable.name),
        );
    }
    let key = services.resend_api_key.as_ref();
    if key.is_some_and(|key| respelt(MAIL_KEY, key.expose()).is_some()) {
        reader.warn(
            MAIL_KEY,
            "has quotes, its own name, Bearer or a line end around it, which are part of the value",
            Remedy::respell(MAIL_KEY, "keep the key alone, without what is around it"),
        );
    }
    if services.resend_api_key.is_some() && services.email_from.is_none() {
        reader.warn(
            EMAIL_FROM.variable.name,
            "is not set: mail is sent from onboarding@resend.dev, which Resend delivers only to the account's owner",
            Remedy::note("name a sender whose domain the provider has verified: todoctl config set EMAIL_FROM='Todo <todo@example.com>'"),
        );
    }
    services
}

/// Why no certificate can be taken from the file, as a predicate.
fn ca_file_fault(file: &Path) -> Option<String> {
    match read_small_file(file) {
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(bytes) if !String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----") => {
            Some("contains no certificate in PEM form".to_owned())
        }
        Ok(_) => None,
    }
}

/// Converts a certificate in DER, a SEQUENCE with a length of two bytes (X.690, section 8.1).
fn as_pem(file: &Path) -> Option<Remedy> {
    let bytes = read_small_file(file).ok()?;
    bytes.starts_with(&[0x30, 0x82]).then(|| {
        let pem = unused_name(file, ".pem");
        Remedy::command("openssl x509 -inform der -in")
            .arg(file)
            .arg("-out")
            .arg(&pem)
            .then(Remedy::set(SSL_CERT_FILE.variable.name, pem.display()))
    })
}

/// Warns of secrets, or keys that decide who is let in, on their way through a network in plain
/// text.
fn plain_connections(reader: &mut Reader<'_>, services: &ServicesConfig) {
    let redis = services.redis_url.as_ref();
    let redis = redis.and_then(|url| Url::parse(url.expose()).ok());
    let is_unverified =
        |url: &Url| url.scheme() == "rediss" && url.fragment() == Some(redis_address::INSECURE);
    if redis.as_ref().is_some_and(is_unverified) {
        reader.warn(
            REDIS_URL.variable.name,
            "ends in #insecure: the certificate is not verified, so anyone on the network path can read the password and change the limits",
            Remedy::note("if a private CA has signed the certificate, name its file: todoctl config set SSL_CERT_FILE=/etc/ssl/certs/your-ca.pem")
                .then(Remedy::unset("REDIS_URL.fragment")),
        );
    }
    if reader.environment == Environment::Development {
        return;
    }
    let plain = |url: &Option<Url>| {
        url.as_ref()
            .is_some_and(|url| url.scheme() == "http" && is_remote(url))
    };
    for (url, name, what) in [
        (
            &services.auth_server_url,
            AUTH_SERVER_URL.variable.name,
            "session tokens are sent, and signing keys fetched, without encryption",
        ),
        (
            &services.resend_api_url,
            RESEND_API_URL.variable.name,
            "the API key and mail addresses are sent without encryption",
        ),
        (
            &services.gemini_api_url,
            GEMINI_API_URL.variable.name,
            "users' API keys are sent without encryption",
        ),
    ] {
        if plain(url) {
            reader.warn(
                name,
                format!("is http:// to another machine: {what}; use https://"),
                Remedy::note(format!(
                    "if that server speaks TLS, write https:// in {name}"
                )),
            );
        }
    }
    if redis
        .is_some_and(|url| url.scheme() == "redis" && is_remote(&url) && url.password().is_some())
    {
        reader.warn(
            REDIS_URL.variable.name,
            "sends its password to another machine without encryption; use rediss://",
            Remedy::note("if that Redis speaks TLS, write rediss:// in REDIS_URL"),
        );
    }
}

fn is_remote(url: &Url) -> bool {
    is_remote_host(url.host_str().unwrap_or_default())
}

/// RFC 7519, section 4.1.1: compared as it is written.
fn issuer(text: &str) -> Result<String, Fault> {
    if text.contains(|one: char| one.is_whitespace() || one.is_control()) {
        return Err("contains white space".into());
    }
    Ok(text.to_owned())
}

fn redis_url(text: &str) -> Result<Secret, Fault> {
    redis_address::check(text).map(|()| Secret::new(text))
}

fn email_address(text: &str) -> Result<String, Fault> {
    match text.trim_end_matches('>').split_once('@') {
        Some((name, domain)) if !name.is_empty() && domain.contains('.') => Ok(text.to_owned()),
        _ => Err("is not an e-mail address".into()),
    }
}
