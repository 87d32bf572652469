//! What a client's address is: the peer's, or what a trusted proxy says it is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The right-most address that is not a trusted proxy's, starting with the peer's own.
///
/// Each proxy appends the address that it received the request from. Addresses further left come
/// from a client or proxy that is not trusted.
pub(in crate::api) fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(&address));
    let mut nearest = peer.to_canonical();
    let mut values = headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
    // Several lines are one list (RFC 9110, section 5.3).
    while let Some(value) = values.pop() {
        for entry in value.to_str().unwrap_or_default().rsplit(',') {
            if !is_trusted(nearest) {
                return nearest;
            }
            match read(entry.trim()) {
                Some(address) => nearest = address.to_canonical(),
                // What stands before nonsense is no better: the proxy itself is all that is known.
                None => return nearest,
            }
        }
    }
    nearest
}

/// Whether a proxy of this machine, container or pod forwards the request.
pub(in crate::api) fn is_forwarded_locally(peer: IpAddr, headers: &HeaderMap) -> bool {
    peer.to_canonical().is_loopback() && headers.contains_key(X_FORWARDED_FOR)
}

/// The client's address as far as it can be told: private ones may be those of proxies, which are
/// believed here although they are not trusted. Nothing is decided by it.
pub(in crate::api) fn likely_address(client: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !is_private(client) {
        return client;
    }
    let last = headers.get_all(X_FORWARDED_FOR).iter().next_back();
    let last = last.and_then(|value| value.to_str().ok());
    let entries = last.unwrap_or_default().rsplit(',');
    let mut said = entries.map_while(|entry| read(entry.trim()));
    let nearest = said.next().map(|address| address.to_canonical());
    match nearest {
        Some(inner) if is_private(inner) => said
            .map(|address| address.to_canonical())
            .find(|address| !is_private(*address))
            .unwrap_or(inner),
        _ => nearest.unwrap_or(client),
    }
}

/// What may stand for many clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum SharedBy {
    /// It is an address of one client.
    Nobody,
    /// A proxy that is not trusted forwards requests from a private address, to the daemon or to a
    /// proxy that is trusted. Any client on the internet can send the header as well.
    UntrustedProxy(IpAddr),
    /// A trusted proxy does not say for whom it asks.
    SilentProxy(IpAddr),
    /// The same, and it says so in a header that is not read, or without an address.
    OtherHeader(IpAddr, &'static str),
    /// A trusted proxy names another one, of this network, which is not trusted and names `behind`.
    SecondProxy { network: IpNet, behind: IpAddr },
}

/// Headers in place of `X-Forwarded-For`.
const OTHER_HEADERS: [&str; 6] = [
    "x-real-ip",
    "forwarded",
    "cf-connecting-ip",
    "true-client-ip",
    "fastly-client-ip",
    "x-client-ip",
];

/// What may stand for many clients with the address `client`.
pub(in crate::api) fn shared_by(
    peer: IpAddr,
    client: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> SharedBy {
    let peer = peer.to_canonical();
    let is_trusted = trusted.iter().any(|network| network.contains(&peer));
    let forwarded = headers.get(X_FORWARDED_FOR);
    match forwarded {
        Some(_) if !is_trusted && is_private(peer) => SharedBy::UntrustedProxy(peer),
        _ if !is_trusted => SharedBy::Nobody,
        _ if client == peer => {
            let mut others = OTHER_HEADERS.into_iter();
            match others.find(|name| headers.contains_key(*name)) {
                Some(name) => SharedBy::OtherHeader(peer, name),
                None if forwarded.is_some() => SharedBy::OtherHeader(peer, "no address"),
                None => SharedBy::SilentProxy(peer),
            }
        }
        Some(first) => {
            let text = first.to_str().unwrap_or_default();
            let farthest = text.split(',').next().and_then(|entry| read(entry.trim()));
            match farthest.map(|address| address.to_canonical()) {
                Some(behind) if behind != client && is_private(client) => {
                    SharedBy::UntrustedProxy(client)
                }
                Some(behind) if behind != client => SharedBy::SecondProxy {
                    network: network_of(client),
                    behind,
                },
                _ => SharedBy::Nobody,
            }
        }
        None => SharedBy::Nobody,
    }
}

/// Whether the address is of this machine or a private network.
pub(in crate::api) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_private() || address.is_loopback() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local()
        }
    }
}

/// The neighbourhood of an address, which does not tell whose it is.
fn network_of(address: IpAddr) -> IpNet {
    let bits = if address.is_ipv4() { 16 } else { 32 };
    IpNet::new(address, bits).map_or_else(|_| address.into(), |network| network.trunc())
}

/// An address as proxies write it: alone, with a port, or in brackets.
fn read(entry: &str) -> Option<IpAddr> {
    let bare = || entry.trim_start_matches('[').trim_end_matches(']').parse();
    entry
        .parse::<SocketAddr>()
        .map(|socket| socket.ip())
        .or_else(|_| bare())
        .ok()
}

/// The part of an address that identifies a client: one client has a whole /64 of IPv6 addresses.
pub(in crate::api) fn client_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap());
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, lines, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            ("10.1.2.3", &["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
            (
                "10.1.2.3",
                &["1.1.1.1, 198.51.100.7, 10.9.9.9"],
                "198.51.100.7",
            ),
            (
                "10.1.2.3",
                &["1.1.1.1", "198.51.100.7", "10.9.9.9"],
                "198.51.100.7",
            ),
            ("10.1.2.3", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            ("10.1.2.3", &["198.51.100.7:1234"], "198.51.100.7"),
            ("10.1.2.3", &["1.1.1.1, unknown"], "10.1.2.3"),
            ("10.1.2.3", &["1.1.1.1, unknown, 10.9.9.9"], "10.9.9.9"),
            ("10.1.2.3", &[""], "10.1.2.3"),
            ("::ffff:10.1.2.3", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("2001:db8:1::5", &["[2001:db8:2::6]:443"], "2001:db8:2::6"),
            ("2001:db8:1::5", &["[2001:db8:2::6]"], "2001:db8:2::6"),
            ("2001:db8:2::5", &["2001:db8:3::6"], "2001:db8:2::5"),
        ] {
            assert_eq!(found(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn proxies_that_stand_for_many_clients() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            let peer = peer.parse().unwrap();
            let client = client_address(peer, &headers, &trusted);
            shared_by(peer, client, &headers, &trusted)
        };
        let forwarded = [("x-forwarded-for", "198.51.100.7")];
        for peer in [
            "127.0.0.1",
            "::1",
            "172.17.0.1",
            "::ffff:192.168.0.1",
            "fd00::5",
        ] {
            let proxy = peer.parse::<IpAddr>().unwrap().to_canonical();
            assert_eq!(of(peer, &forwarded), SharedBy::UntrustedProxy(proxy));
            assert_eq!(of(peer, &[]), SharedBy::Nobody, "{peer}");
        }
        for peer in ["10.1.2.3", "198.51.100.7", "2001:db8::1"] {
            assert_eq!(of(peer, &forwarded), SharedBy::Nobody, "{peer}");
        }
        let proxy = "10.1.2.3".parse().unwrap();
        assert_eq!(of("10.1.2.3", &[]), SharedBy::SilentProxy(proxy));
        let real = [("x-real-ip", "198.51.100.7")];
        let expected = SharedBy::OtherHeader(proxy, "x-real-ip");
        assert_eq!(of("10.1.2.3", &real), expected);
        let unknown = [("x-forwarded-for", "unknown")];
        let expected = SharedBy::OtherHeader(proxy, "no address");
        assert_eq!(of("10.1.2.3", &unknown), expected);
        let twice = [("x-forwarded-for", "192.0.2.5, 198.51.100.7")];
        let expected = SharedBy::SecondProxy {
            network: "198.51.0.0/16".parse().unwrap(),
            behind: "192.0.2.5".parse().unwrap(),
        };
        assert_eq!(of("10.1.2.3", &twice), expected);
        // The second proxy has an address of a private network that is not trusted.
        let inner = [("x-forwarded-for", "198.51.100.7, 192.168.0.5")];
        let expected = SharedBy::UntrustedProxy("192.168.0.5".parse().unwrap());
        assert_eq!(of("10.1.2.3", &inner), expected);
        let in_house = [("x-forwarded-for", "192.168.0.5")];
        assert_eq!(of("10.1.2.3", &in_house), SharedBy::Nobody);
        let through_trusted = [("x-forwarded-for", "198.51.100.7, 10.9.9.9")];
        assert_eq!(of("10.1.2.3", &through_trusted), SharedBy::Nobody);
    }

    #[test]
    fn likely_addresses() {
        let of = |client: &str, forwarded: Option<&str>| {
            let forwarded = forwarded.map(|value| (X_FORWARDED_FOR, value.parse().unwrap()));
            let headers = HeaderMap::from_iter(forwarded);
            likely_address(client.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(of("10.0.0.7", None), "10.0.0.7");
        assert_eq!(of("10.0.0.7", Some("1.1.1.1, 192.0.2.1")), "192.0.2.1");
        let through_inner = Some("192.0.2.1, 10.0.0.5");
        assert_eq!(of("10.0.0.7", through_inner), "192.0.2.1");
        assert_eq!(of("10.0.0.7", Some("10.0.0.6, 10.0.0.5")), "10.0.0.5");
        assert_eq!(of("10.0.0.7", Some("unknown, 10.0.0.5")), "10.0.0.5");
        assert_eq!(of("10.0.0.7", Some("unknown")), "10.0.0.7");
        assert_eq!(of("192.0.2.1", Some("10.0.0.7")), "192.0.2.1");
    }

    #[test]
    fn one_client_has_many_addresses_of_version_6() {
        let key = |text: &str| client_key(text.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("192.0.2.1"), "192.0.2.1");
    }
}
