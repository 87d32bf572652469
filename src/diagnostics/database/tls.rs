//! Whether the connection to the server is protected, whatever `sslmode` asks for.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, TlsMode};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::{self, Address, TlsFinding, Trust};
use crate::diagnostics::verdict::Verdict;
use crate::store::messages::{self, Place};

use super::fault::cannot_connect;

pub(super) async fn tls(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let server = server.target;
    let address = match context.address(server, limit).await {
        Ok(Address::Socket(_)) => {
            return Verdict::pass("not needed: a socket does not leave this machine");
        }
        Ok(address) => address,
        Err(error) => return cannot_connect(error),
    };
    match probe::inspect_tls(server, address, &context.request.clock, limit).await {
        Ok(finding) => check_finding(server, &finding, context.is_here(server)),
        Err(error) => with_halted(cannot_connect(&error), &server.host, server.port).await,
    }
}

const EAVESDROPPING: &str =
    "anyone on the network path can read the password and every task, and impersonate the server";
const IMPERSONATION: &str =
    "anyone on the network path can impersonate the server, and read the password and every task";

/// Verifies the server's certificate.
fn strict() -> Remedy {
    Remedy::set("DATABASE_URL.sslmode", "verify-full")
}

fn check_finding(server: &PostgresTarget, finding: &TlsFinding, is_here: bool) -> Verdict {
    match (server.tls, finding) {
        (TlsMode::Disable | TlsMode::Prefer, _)
        | (TlsMode::Require, TlsFinding::Offered { .. })
            if is_here =>
        {
            Verdict::pass("not needed: the connection does not leave this machine")
        }
        (TlsMode::Disable, TlsFinding::Offered { .. }) => Verdict::warn(
            format!("off (sslmode=disable), although the server offers TLS: {EAVESDROPPING}"),
            strict(),
        ),
        (TlsMode::Disable, TlsFinding::NotOffered) => Verdict::warn(
            format!("off (sslmode=disable), and the server does not offer it: {EAVESDROPPING}"),
            enable_first(),
        ),
        (TlsMode::Prefer, TlsFinding::NotOffered) => Verdict::warn(
            format!(
                "the server does not offer TLS, and sslmode=prefer continues without it: {EAVESDROPPING}"
            ),
            enable_first(),
        ),
        (TlsMode::Require, TlsFinding::NotOffered) if is_here => Verdict::fail(
            "the server does not offer TLS, which sslmode=require asks for; the connection does not leave this machine, and needs none",
            Remedy::set(format!("{}.sslmode", server.variable), "prefer").or(remedy(
                "tls.not-offered",
                server,
            )
            .unwrap_or_default()),
        ),
        (_, TlsFinding::NotOffered) => Verdict::fail(
            "the server does not offer TLS",
            remedy("tls.not-offered", server),
        ),
        (mode, TlsFinding::Offered { version, trust }) => check_trust(server, mode, version, trust),
    }
}

fn check_trust(server: &PostgresTarget, mode: TlsMode, version: &str, trust: &Trust) -> Verdict {
    let (wrong, fix) = match trust {
        Trust::Full { .. } => (String::new(), None),
        Trust::OtherHost(None) => (
            "the certificate names no host (subjectAltName), and its common name does not count"
                .to_owned(),
            remedy("tls.no-name", server),
        ),
        Trust::OtherHost(Some(names)) => (
            format!("the certificate is for {names}, not for {}", server.host),
            remedy("tls.host-name", server),
        ),
        Trust::UnknownIssuer => (
            "the certificate is not signed by a trusted authority".to_owned(),
            remedy("tls.certificate", server),
        ),
        Trust::Expired => (
            "the certificate has expired".to_owned(),
            remedy("tls.expired", server),
        ),
        Trust::Bad(text) => match messages::find(text) {
            Some(known) => (
                known.meaning.to_owned(),
                Some((known.remedy)(Place::Server(server))),
            ),
            None => (
                format!("the certificate is not valid: {text}"),
                remedy("tls.certificate", server),
            ),
        },
    };
    match (mode, trust) {
        (TlsMode::VerifyFull, Trust::Full { ends_soon: true }) => Verdict::warn(
            format!("{version}; the certificate expires within two weeks"),
            Remedy::note("renew the certificate on the server"),
        ),
        (TlsMode::VerifyFull, Trust::Full { .. }) => Verdict::pass(format!(
            "{version}; the certificate is valid for {}",
            server.host
        )),
        (TlsMode::VerifyCa, Trust::Full { .. } | Trust::OtherHost(_)) => {
            let remedy = match trust {
                Trust::OtherHost(_) => fix,
                _ => Some(strict()),
            };
            Verdict::warn(
                format!(
                    "{version}; sslmode=verify-ca does not check the host name: anyone with another certificate of that authority can impersonate the server"
                ),
                remedy,
            )
        }
        (TlsMode::VerifyFull | TlsMode::VerifyCa, _) => Verdict::fail(wrong, fix),
        (_, Trust::Full { .. }) => Verdict::warn(
            format!("{version}, but the certificate is not verified: {IMPERSONATION}"),
            strict(),
        ),
        _ => {
            let verify = Remedy::note(
                "verify it, with the file of the CA that signed it: todoctl config set DATABASE_URL.sslmode=verify-full DATABASE_URL.sslrootcert=/etc/ssl/certs/your-ca.pem",
            );
            // One that no CA file helps has to be replaced first.
            let first = fix.filter(|_| matches!(trust, Trust::Bad(_) | Trust::OtherHost(None)));
            Verdict::warn(
                format!(
                    "{version}, but the certificate is not verified: {IMPERSONATION}; sslmode=verify-full would not work yet: {wrong}"
                ),
                first.unwrap_or_default().then(verify),
            )
        }
    }
}

/// The remedy of a known message.
fn remedy(id: &str, server: &PostgresTarget) -> Option<Remedy> {
    messages::by_id(id).map(|known| (known.remedy)(Place::Server(server)))
}

fn enable_first() -> Remedy {
    Remedy::note("enable TLS on the server (ssl = on in postgresql.conf), then verify it: todoctl config set DATABASE_URL.sslmode=verify-full")
        .then(Remedy::note("on a private network the risk may be acceptable"))
}
