//! The way to a server: its name, its port, its certificate.

use std::time::Duration;

use crate::config::{PostgresTarget, TlsMode};
use crate::diagnostics::check::{Budget, Check, Verdict};
use crate::store::messages::Known;
use crate::store::{self, Address, TlsFinding, Trust};

use super::names::{CONNECTION, DNS, TLS};
use super::{Request, fault};

const NAME_LIMIT: Duration = Duration::from_secs(5);
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
const TLS_LIMIT: Duration = Duration::from_secs(5);

/// Whether the host's name resolves.
pub(super) async fn name(server: &PostgresTarget, budget: Budget) -> (Check, Option<Address>) {
    let limit = budget.limit(NAME_LIMIT);
    let work = async {
        match store::resolve(server, limit).await {
            Ok(address) => (Verdict::pass(named(server, &address)), Some(address)),
            Err(error) => (fault(&error), None),
        }
    };
    // The work ends by itself in time, and says more than the limit does.
    DNS.check(limit + Duration::from_secs(1), work).await
}

fn named(server: &PostgresTarget, address: &Address) -> String {
    match address {
        Address::Socket(path) => format!("{} is a socket and needs no name server", path.display()),
        Address::Tcp(addresses) => {
            let host = server.host.trim_matches(['[', ']']);
            if host.parse::<std::net::IpAddr>().is_ok() {
                return format!("{host} is an address and needs no name server");
            }
            let mut texts: Vec<String> = addresses.iter().map(|one| one.ip().to_string()).collect();
            texts.dedup();
            format!("{host} is {}", texts.join(", "))
        }
    }
}

/// Whether something accepts connections there.
pub(super) async fn connection(
    server: &PostgresTarget,
    address: &Address,
    budget: Budget,
) -> Check {
    let limit = budget.limit(CONNECTION_LIMIT);
    let work = async {
        let verdict = match store::connect(server, address, limit).await {
            Ok(at) => Verdict::pass(format!("{at} accepts connections")),
            Err(error) => fault(&error),
        };
        (verdict, None::<()>)
    };
    CONNECTION
        .check(limit + Duration::from_secs(1), work)
        .await
        .0
}

/// What TLS protects on the way, whatever `sslmode` asks for.
pub(super) async fn tls(server: &PostgresTarget, address: &Address, request: Request<'_>) -> Check {
    if let Address::Socket(_) = address {
        let verdict = Verdict::pass("not needed: a socket does not leave this machine");
        return TLS.done(verdict, Duration::ZERO);
    }
    let limit = request.budget.limit(TLS_LIMIT);
    let work = async {
        let verdict = match store::look_at_tls(server, address, request.clock, limit).await {
            Ok(finding) => judge(server, &finding),
            Err(error) => fault(&error),
        };
        (verdict, None::<()>)
    };
    TLS.check(limit + Duration::from_secs(1), work).await.0
}

const EAVESDROPPER: &str =
    "whoever is on the way can read the password and every task, and pose as the server";
const IMPOSTOR: &str =
    "whoever is on the way can pose as the server, and read the password and every task";

fn judge(server: &PostgresTarget, finding: &TlsFinding) -> Verdict {
    let strict = "write sslmode=verify-full in DATABASE_URL";
    let loopback = server.is_loopback();
    match (server.tls, finding) {
        (TlsMode::Disable | TlsMode::Prefer, _) if loopback => {
            Verdict::pass("not needed: the connection does not leave this machine")
        }
        (TlsMode::Disable, TlsFinding::Offered { .. }) => Verdict::warn(
            format!("off (sslmode=disable), although the server offers it: {EAVESDROPPER}"),
            strict.to_owned(),
        ),
        (TlsMode::Disable, TlsFinding::NotOffered) => Verdict::warn(
            format!("off (sslmode=disable), and not offered: {EAVESDROPPER}"),
            format!(
                "turn TLS on at the server, then {strict}; leave it only on a network of your own"
            ),
        ),
        (TlsMode::Prefer, TlsFinding::NotOffered) => Verdict::warn(
            format!(
                "the server does not offer it, and sslmode=prefer goes on without: {EAVESDROPPER}"
            ),
            format!("turn TLS on at the server, then {strict}"),
        ),
        (_, TlsFinding::NotOffered) => {
            let known = Known::find("server does not support tls");
            let remedy = known.map(|known| known.remedy_at(server));
            Verdict::fail("the server does not offer TLS", remedy)
        }
        (mode, TlsFinding::Offered { version, trust }) => judge_trust(server, mode, version, trust),
    }
}

fn judge_trust(server: &PostgresTarget, mode: TlsMode, version: &str, trust: &Trust) -> Verdict {
    let remedy = |id: &str| {
        let known = store::messages::messages().find(|one| one.id == id);
        known.map(|known| known.remedy_at(server))
    };
    let (wrong, mend) = match trust {
        Trust::Full { .. } => (String::new(), None),
        Trust::OtherHost(names) => (
            format!("the certificate is for {names}, not for {}", server.host),
            remedy("tls.host-name"),
        ),
        Trust::UnknownIssuer => (
            "no authority that is trusted here signed the certificate".to_owned(),
            remedy("tls.certificate"),
        ),
        Trust::Expired => (
            "the certificate has expired".to_owned(),
            remedy("tls.expired"),
        ),
        Trust::Bad(text) => (
            format!("the certificate is not good: {text}"),
            remedy("tls.certificate"),
        ),
    };
    match (mode, trust) {
        (TlsMode::VerifyFull, Trust::Full { ends_soon: true }) => Verdict::warn(
            format!("{version}; the certificate ends within two weeks"),
            "renew the certificate at the server".to_owned(),
        ),
        (TlsMode::VerifyFull, Trust::Full { .. }) => Verdict::pass(format!(
            "{version}; a known authority vouches for {}",
            server.host
        )),
        (TlsMode::VerifyCa, Trust::Full { .. } | Trust::OtherHost(_)) => {
            let remedy = match trust {
                Trust::OtherHost(_) => mend,
                _ => Some("write sslmode=verify-full in DATABASE_URL: this certificate allows it".to_owned()),
            };
            Verdict::warn(
                format!("{version}; sslmode=verify-ca does not check the host's name: whoever has another certificate of that authority can pose as the server"),
                remedy,
            )
        }
        (TlsMode::VerifyFull | TlsMode::VerifyCa, _) => Verdict::fail(wrong, mend),
        (_, Trust::Full { .. }) => Verdict::warn(
            format!("{version}, and nothing is verified: {IMPOSTOR}"),
            "write sslmode=verify-full in DATABASE_URL: this certificate allows it".to_owned(),
        ),
        _ => Verdict::warn(
            format!("{version}, and nothing is verified: {IMPOSTOR}; verify-full would not work yet: {wrong}"),
            "write sslmode=verify-full&sslrootcert=/path/ca.pem in DATABASE_URL, with the CA that signed the server's certificate".to_owned(),
        ),
    }
}
