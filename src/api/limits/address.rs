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

/// The peer, if it seems to be a proxy that is not trusted: it forwards requests from a private
/// address. Any client on the internet can send the header as well.
pub(in crate::api) fn untrusted_proxy(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    let is_private = match peer {
        IpAddr::V4(peer) => peer.is_private() || peer.is_loopback(),
        IpAddr::V6(peer) => peer.is_unique_local() || peer.is_loopback(),
    };
    let is_untrusted = is_private
        && headers.contains_key(X_FORWARDED_FOR)
        && !trusted.iter().any(|network| network.contains(&peer));
    is_untrusted.then_some(peer)
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
    fn proxies_that_are_not_trusted() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        let is_found = |peer: &str, headers: &HeaderMap| {
            untrusted_proxy(peer.parse().unwrap(), headers, &trusted).is_some()
        };
        assert!(!is_found("127.0.0.1", &headers));
        headers.append(X_FORWARDED_FOR, "198.51.100.7".parse().unwrap());
        for peer in [
            "127.0.0.1",
            "::1",
            "172.17.0.1",
            "::ffff:192.168.0.1",
            "fd00::5",
        ] {
            assert!(is_found(peer, &headers), "{peer}");
        }
        for peer in ["10.1.2.3", "198.51.100.7", "2001:db8::1"] {
            assert!(!is_found(peer, &headers), "{peer}");
        }
    }

    #[test]
    fn one_client_has_many_addresses_of_version_6() {
        let key = |text: &str| client_key(text.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("192.0.2.1"), "192.0.2.1");
    }
}
