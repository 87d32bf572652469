//! Networks of trusted proxies.

use std::net::IpAddr;

/// An address or a CIDR range, as in `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNetwork {
    /// The network's address.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

impl IpNetwork {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address| match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let (network, length) = bits(self.address);
        let (other, other_length) = bits(address);
        // No leading bits at all: everything of the family differs in none of them.
        let ignored = length - u32::from(self.prefix).min(length);
        length == other_length && (network ^ other).checked_shr(ignored).unwrap_or(0) == 0
    }
}
