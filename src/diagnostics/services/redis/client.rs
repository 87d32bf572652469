//! Redis's own client, as a remedy calls it.

use url::Url;

use crate::config::{Remedy, Secret};

/// The parts of `REDIS_URL` that may be shown.
pub(super) struct Client {
    pub(super) host: String,
    pub(super) port: u16,
    /// `default` where the URL names none.
    pub(super) user: String,
    pub(super) has_password: bool,
    has_tls: bool,
}

impl Client {
    pub(super) fn of(url: &Secret) -> Self {
        let parsed = Url::parse(url.expose()).ok();
        let parsed = parsed.as_ref();
        let user = parsed.map(Url::username).filter(|name| !name.is_empty());
        Self {
            host: parsed
                .and_then(Url::host_str)
                .unwrap_or("127.0.0.1")
                .to_owned(),
            port: parsed.and_then(Url::port).unwrap_or(6379),
            user: user.unwrap_or("default").to_owned(),
            has_password: parsed
                .and_then(Url::password)
                .is_some_and(|one| !one.is_empty()),
            has_tls: parsed.is_some_and(|url| url.scheme() == "rediss"),
        }
    }

    /// A command with the server's address. Never the password.
    pub(super) fn command(&self, words: &[&str]) -> Remedy {
        let client = Remedy::command("redis-cli -h")
            .arg(&self.host)
            .arg("-p")
            .arg(self.port.to_string());
        let client = if self.has_tls {
            client.arg("--tls")
        } else {
            client
        };
        words.iter().fold(client, Remedy::arg)
    }
}
