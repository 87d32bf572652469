//! Authentication, token lifetimes and rate limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::environment::Environment;
use super::parse::{list, number, shown};
use super::reader::Reader;
use super::remedy::Remedy;
use super::secret::RotatingSecret;
use super::secret_name::SecretName;
use super::secrets::Secrets;
use super::variable::{Defaulted, Fault, Optional, Section, Variable, declare};

/// The secrets, the lifetime of access tokens and the limits of callers.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Key of the HMAC under which session tokens are stored.
    pub session_hash_secret: RotatingSecret,
    /// Bearer token of trusted services.
    pub service_auth_token: RotatingSecret,
    /// Encrypts stored provider keys; a Fernet key.
    pub encryption_key: RotatingSecret,
    /// Signs user tokens (HS256). Not set: every HS256 token is answered with 401.
    pub jwt_secret: Option<RotatingSecret>,
    /// `JWT_ACCESS_TOKEN_EXPIRE_MINUTES`.
    pub access_token_lifetime: Duration,
    /// Authentication failures per minute and address; 0 is no limit.
    pub failures_per_minute: u32,
    /// Requests per minute and caller; 0 is no limit.
    pub requests_per_minute: u32,
    /// Networks whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
}

const fn variable(name: &'static str, help: &'static str) -> Variable {
    Variable::new(Section::Http, name, help)
}

declare! {
    static JWT_ALGORITHM: Defaulted<()> = variable(
        "JWT_ALGORITHM",
        "Algorithm of the tokens that JWT_SECRET signs; only HS256 is supported.",
    )
    .default("HS256", |text| match text {
        "HS256" => Ok(()),
        _ => Err(Fault {
            message: "is not HS256, the only algorithm for tokens signed with JWT_SECRET (for EdDSA, ES256 and RS256 set AUTH_SERVER_URL)".to_owned(),
            remedy: is_of_key_pairs(text).then(|| {
                Remedy::note("the tokens of that algorithm are checked with the public keys that the sign-in service publishes, never with JWT_SECRET: todoctl config set AUTH_SERVER_URL=https://auth.example.com")
                    .then(Remedy::unset("JWT_ALGORITHM"))
            }),
        }),
    });

    static JWT_ACCESS_TOKEN_EXPIRE_MINUTES: Defaulted<u32> = variable(
        "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
        "Minutes for which an access token from POST /api/auth/refresh is valid.",
    )
    .default("30", |text| number(text, 1, 60 * 24 * 365));

    static TRUSTED_PROXIES: Optional<Vec<IpNet>> = variable(
        "TRUSTED_PROXIES",
        "Proxies whose X-Forwarded-For is believed: IP addresses and networks, separated by \
         commas.",
    )
    .example("10.0.0.0/8")
    .optional(networks);

    static RATE_LIMIT_PER_MINUTE: Defaulted<u32> = variable(
        "RATE_LIMIT_PER_MINUTE",
        "Requests per minute and user, then 429; 0 is no limit.",
    )
    .default("0", |text| number(text, 0, u32::MAX));

    static AUTH_FAILURES_PER_MINUTE: Defaulted<u32> = variable(
        "AUTH_FAILURES_PER_MINUTE",
        "Wrong credentials per minute and IP address, then 429; 0 is no limit. Missing and \
         expired credentials do not count.",
    )
    .default("600", |text| number(text, 0, u32::MAX));
}

/// The algorithms of RFC 7518, section 3.1 and RFC 8037 whose signatures a public key verifies.
fn is_of_key_pairs(algorithm: &str) -> bool {
    let name = algorithm.to_ascii_uppercase();
    name == "EDDSA"
        || ["RS", "PS", "ES"]
            .iter()
            .any(|begin| name.starts_with(begin))
}

/// No operator has proxies in a network of more addresses than `10.0.0.0/8`, or than a provider's
/// whole allocation of IPv6 addresses.
const WIDEST: (u8, u8) = (8, 16);

/// The addresses that are used inside of one organization (RFC 4193) and on one link (RFC 4291).
const PRIVATE_V6: [Ipv6Net; 2] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
];

/// IPv4 addresses in the form of IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED_V4: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// What [`AuthConfig`] has beside secrets.
#[derive(Debug)]
pub(super) struct Limits {
    access_token_lifetime: Duration,
    failures_per_minute: u32,
    requests_per_minute: u32,
    trusted_proxies: Vec<IpNet>,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Limits {
    let () = reader.value(&JWT_ALGORITHM);
    let minutes = reader.value(&JWT_ACCESS_TOKEN_EXPIRE_MINUTES);
    let limits = Limits {
        access_token_lifetime: Duration::from_secs(u64::from(minutes) * 60),
        failures_per_minute: reader.value(&AUTH_FAILURES_PER_MINUTE),
        requests_per_minute: reader.value(&RATE_LIMIT_PER_MINUTE),
        trusted_proxies: reader.optional(&TRUSTED_PROXIES).unwrap_or_default(),
    };
    let is_guarded = limits.failures_per_minute > 0 || limits.requests_per_minute > 0;
    if !is_guarded && reader.environment != Environment::Development {
        reader.warn(
            AUTH_FAILURES_PER_MINUTE.variable.name,
            "and RATE_LIMIT_PER_MINUTE are both 0: nothing limits how often tokens are guessed; use 600",
            Remedy::set(AUTH_FAILURES_PER_MINUTE.variable.name, 600),
        );
    }
    if let Some(network) = too_wide(&limits.trusted_proxies) {
        reader.warn(
            TRUSTED_PROXIES.variable.name,
            format!(
                "contains {network}: every client may choose its address with X-Forwarded-For; list the proxies' own addresses"
            ),
            Remedy::note("list the addresses of the proxies alone: todoctl config set TRUSTED_PROXIES=10.0.0.0/8"),
        );
    }
    limits
}

/// A network of clients rather than of proxies, which may be written as several.
fn too_wide(networks: &[IpNet]) -> Option<IpNet> {
    let plain = networks.iter().map(|network| match network {
        IpNet::V6(network) if MAPPED_V4.contains(network) => {
            let mapped = network.addr().to_ipv4_mapped();
            let address = mapped.unwrap_or(Ipv4Addr::UNSPECIFIED);
            IpNet::new_assert(
                address.into(),
                network.prefix_len() - MAPPED_V4.prefix_len(),
            )
        }
        other => *other,
    });
    let whole = IpNet::aggregate(&plain.collect::<Vec<IpNet>>());
    whole.into_iter().find(|network| match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST.0,
        IpNet::V6(network) => {
            network.prefix_len() < WIDEST.1
                && !PRIVATE_V6.iter().any(|private| private.contains(network))
        }
    })
}

impl AuthConfig {
    /// `None` where a required secret is missing.
    pub(super) fn new(limits: Limits, mut secrets: Secrets) -> Option<Self> {
        Some(Self {
            session_hash_secret: secrets.take(SecretName::SessionHashSecret)?,
            service_auth_token: secrets.take(SecretName::ServiceAuthToken)?,
            encryption_key: secrets.take(SecretName::EncryptionKey)?,
            jwt_secret: secrets.take(SecretName::JwtSecret),
            access_token_lifetime: limits.access_token_lifetime,
            failures_per_minute: limits.failures_per_minute,
            requests_per_minute: limits.requests_per_minute,
            trusted_proxies: limits.trusted_proxies,
        })
    }
}

fn networks(text: &str) -> Result<Vec<IpNet>, Fault> {
    list(text, network).map_err(|fault| Fault {
        remedy: Some(match without_ports(text) {
            Some(list) => Remedy::set(TRUSTED_PROXIES.variable.name, list),
            None => Remedy::note("list the addresses of the proxies alone, such as 10.0.0.7,10.0.1.0/24; without a list the daemon starts, and all users of a proxy share the limit of wrong credentials:")
                .then(Remedy::unset(TRUSTED_PROXIES.variable.name)),
        }),
        ..fault
    })
}

/// The list with commas in place of other signs, and without the ports of its addresses: a proxy uses
/// any.
fn without_ports(text: &str) -> Option<String> {
    let is_between = |sign: char| matches!(sign, ',' | ';' | '|') || sign.is_whitespace();
    let entries = text.split(is_between).filter(|entry| !entry.is_empty());
    let entries = entries.map(|entry| match entry.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip().to_string()),
        Err(_) => network(entry).ok().map(|_| entry.to_owned()),
    });
    Some(entries.collect::<Option<Vec<String>>>()?.join(","))
}

/// A network such as `10.0.0.0/8`, or a single address.
fn network(text: &str) -> Result<IpNet, Fault> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            format!(
                "contains {}, which is not an IP address or a network such as 10.0.0.0/8",
                shown(text)
            )
            .into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_with_ports() {
        for (text, expected) in [
            ("10.0.0.5:443", Some("10.0.0.5")),
            ("10.0.0.0/8, [::1]:80", Some("10.0.0.0/8,::1")),
            ("10.0.0.0/8;10.0.0.1 ::1", Some("10.0.0.0/8,10.0.0.1,::1")),
            ("nginx", None),
            ("10.0.0.5:443,nginx", None),
        ] {
            assert_eq!(without_ports(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn networks_of_clients() {
        let found = |text: &str| {
            let networks: Vec<IpNet> = list(text, network).unwrap();
            too_wide(&networks).map(|one| one.to_string())
        };
        for (text, expected) in [
            ("10.0.0.1, 0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0.0.0.0/97,128.0.0.0/1", "0.0.0.0/0"),
            ("0.0.0.0/1,128.0.0.0/1", "0.0.0.0/0"),
            ("::/1,8000::/1", "::/0"),
            ("2000::/3", "2000::/3"),
            ("16.0.0.0/8,17.0.0.0/8", "16.0.0.0/7"),
        ] {
            assert_eq!(found(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10",
            "::1,127.0.0.1,::ffff:10.0.0.1",
            "2400:cb00::/32",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
