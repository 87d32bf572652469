//! Messages on the way to a server: names, addresses and TLS.

use crate::config::{Remedy, unresolved};

use super::entry::{ConnectFault, KnownMessage, Retry};

pub(super) static NETWORK: &[KnownMessage] = &[
    KnownMessage {
        id: "network.host-not-found",
        fault: ConnectFault::HostNotFound,
        patterns: &[
            "failed to lookup address",
            "could not translate host name",
            "name or service not known",
            "getaddrinfo",
            "enotfound",
            "nodename nor servname",
            "host name does not resolve",
        ],
        codes: &[],
        meaning: "The host name does not resolve",
        retry: Retry::Later,
        remedy: |at| {
            let place = at.name();
            let correct = Remedy::note(format!(
                "correct the host in DATABASE_URL ({place}): between containers it is the name of the service"
            ));
            unresolved("DATABASE_URL", &place, correct)
        },
    },
    KnownMessage {
        id: "network.refused",
        fault: ConnectFault::Refused,
        patterns: &["connection refused", "econnrefused", "no server socket"],
        codes: &[],
        meaning: "Nothing listens at that address",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(format!(
                "start {} at {}, or correct host and port in DATABASE_URL; inside a container, localhost is the container itself",
                at.program(),
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "network.timeout",
        fault: ConnectFault::TimedOut,
        patterns: &[
            "connection timed out",
            "etimedout",
            "no route to host",
            "network is unreachable",
            "temporary failure in name resolution",
            "name server did not answer",
            "timeout expired",
        ],
        codes: &[],
        meaning: "No answer: a firewall drops the packets, or the machine is off",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(format!(
                "let this machine through to {}: its firewall, the provider's allow-list of addresses; or correct the address in DATABASE_URL",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "network.silent",
        fault: ConnectFault::TimedOut,
        patterns: &["accepts connections, but did not answer"],
        codes: &[],
        meaning: "The server accepts connections but does not answer: it hangs, or it is another service",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(format!(
                "what listens at {} hangs, or is no PostgreSQL: on that machine, find it with ss -ltnp and restart it, or correct the address in DATABASE_URL",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "tls.not-offered",
        fault: ConnectFault::TlsUnsupported,
        patterns: &[
            "server does not support ssl",
            "server does not support tls",
            "does not offer tls",
            "server does not support channel binding",
        ],
        codes: &[],
        meaning: "The server does not offer TLS, and DATABASE_URL requires it",
        retry: Retry::No,
        remedy: |at| {
            if let Some(pooler) = at.server().filter(|server| server.leads_to_pooler()) {
                let plain = Remedy::set(format!("{}.sslmode", pooler.variable), "disable");
                let enable = Remedy::note(format!(
                    "the pooler at {} offers no TLS: set client_tls_sslmode = require, client_tls_cert_file and client_tls_key_file in pgbouncer.ini, then restart it",
                    at.name()
                ));
                return if pooler.is_loopback() {
                    Remedy::note("the pooler is on this machine, so nobody is in between:")
                        .then(plain)
                        .or(enable)
                } else {
                    enable.then(Remedy::note(format!(
                        "only if the network in between is trusted: {plain}"
                    )))
                };
            }
            Remedy::note(format!("enable TLS on the server (ssl = on in postgresql.conf of {})", at.name())).then(at.enable_tls()).then(Remedy::note("only if the network in between is trusted: todoctl config set DATABASE_URL.sslmode=disable"))
        },
    },
    KnownMessage {
        id: "tls.ca-file",
        fault: ConnectFault::Certificate,
        patterns: &["root certificate file"],
        codes: &[],
        meaning: "The file that sslrootcert names is missing, or has no certificate that can be read",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "put the certificate of the CA there in PEM form, or name its file: todoctl config set DATABASE_URL.sslrootcert=/etc/ssl/certs/your-ca.pem",
            )
        },
    },
    KnownMessage {
        id: "tls.certificate",
        fault: ConnectFault::Certificate,
        patterns: &[
            "unknownissuer",
            "badsignature",
            "unable to get local issuer",
            "self-signed certificate",
            "self signed certificate",
            "certificate verify failed",
            "unknown ca",
        ],
        codes: &[],
        meaning: "The server's certificate is not signed by a trusted authority",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note(
                "trust the CA that signed it, with its own file: todoctl config set DATABASE_URL.sslrootcert=/etc/ssl/certs/your-ca.pem",
            )
        },
    },
    KnownMessage {
        id: "tls.ca-as-server",
        fault: ConnectFault::Certificate,
        patterns: &["causedasendentity"],
        codes: &[],
        meaning: "The server's certificate is that of a CA (CA:TRUE, as openssl req -x509 makes it), which no server may use as its own",
        retry: Retry::No,
        remedy: |at| at.certificate_of_server(),
    },
    KnownMessage {
        id: "tls.version-1",
        fault: ConnectFault::Certificate,
        patterns: &["unsupportedcertversion"],
        codes: &[],
        meaning: "The server's certificate is of version 1, without extensions, as openssl x509 -req makes it",
        retry: Retry::No,
        remedy: |at| at.signed_certificate(),
    },
    KnownMessage {
        id: "tls.no-name",
        fault: ConnectFault::Certificate,
        patterns: &["certificate is not valid for any names"],
        codes: &[],
        meaning: "The server's certificate names no host (subjectAltName): its common name does not count",
        retry: Retry::No,
        remedy: |at| {
            at.signed_certificate().then(Remedy::note("or, with a private CA, verify the CA alone: todoctl config set DATABASE_URL.sslmode=verify-ca"))
        },
    },
    KnownMessage {
        id: "tls.host-name",
        fault: ConnectFault::Certificate,
        patterns: &[
            "notvalidforname",
            "not valid for name",
            "does not match host name",
        ],
        codes: &[],
        meaning: "The server's certificate was issued for another host name",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note("use the host name of the certificate in DATABASE_URL").then(Remedy::note("only with a private CA, verify the CA alone: todoctl config set DATABASE_URL.sslmode=verify-ca"))
        },
    },
    KnownMessage {
        id: "tls.not-valid-yet",
        fault: ConnectFault::Certificate,
        patterns: &["not valid yet", "notvalidyet", "not yet valid"],
        codes: &[],
        meaning: "The server's certificate is not valid yet: this machine's clock is behind, or that of who made the certificate is ahead",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "set this machine's clock if it is behind (as root: timedatectl set-ntp true); otherwise wait, or give {} another certificate:",
                at.name()
            ))
            .then(Remedy::command("date -u"))
        },
    },
    KnownMessage {
        id: "tls.expired",
        fault: ConnectFault::Certificate,
        patterns: &[
            "certificate has expired",
            "certificate expired",
            "invalid peer certificate: expired",
        ],
        codes: &[],
        meaning: "The server's certificate has expired, or this machine's clock is wrong",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "renew the certificate of {}, unless this machine's clock is wrong:",
                at.name()
            ))
            .then(Remedy::command("date -u"))
        },
    },
];
