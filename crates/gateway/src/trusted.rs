//! Networks of proxies that stand before Skep and may speak for others.

use std::net::IpAddr;
use std::str::FromStr;

/// The proxies whose word about a request's origin is taken; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: u128,
    mask: u128,
}

/// A text that is not a list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network; write for example 10.0.0.0/8 or ::1, several with commas")]
pub struct NetworkError(String);

impl TrustedProxies {
    /// Whether this address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        self.0
            .iter()
            .any(|network| bits & network.mask == network.address)
    }
}

impl FromStr for TrustedProxies {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items
            .map(|item| network(item).ok_or_else(|| NetworkError(item.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn network(item: &str) -> Option<Network> {
    let (address, length) = match item.split_once('/') {
        Some((address, length)) => (address.parse::<IpAddr>().ok()?, Some(length.parse::<u32>().ok()?)),
        None => (item.parse::<IpAddr>().ok()?, None),
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(width);
    if length > width {
        return None;
    }
    // IPv4 lies in the last 32 bits of its IPv6 form.
    let mask = u128::MAX.checked_shl(width - length).unwrap_or(0);
    let mask = if address.is_ipv4() {
        mask | (u128::MAX << 32)
    } else {
        mask
    };
    Some(Network {
        address: bits(address) & mask,
        mask,
    })
}

/// An address as IPv6; IPv4 as it is mapped, so that both forms of one address are equal.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(list: &str, address: &str) -> bool {
        list.parse::<TrustedProxies>()
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        assert!(trusts("10.0.0.0/8", "10.1.2.3"));
        assert!(!trusts("10.0.0.0/8", "11.0.0.1"));
        assert!(trusts("127.0.0.1, ::1", "::1"));
        assert!(trusts("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(trusts("2001:db8::/32", "2001:db8:1::5"));
        assert!(!trusts("2001:db8::/32", "2001:db9::5"));
        assert!(trusts("0.0.0.0/0", "192.0.2.1"));
        assert!(!trusts("0.0.0.0/0", "2001:db8::1"));
        assert!(!trusts("", "127.0.0.1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["localhost", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/"] {
            assert!(bad.parse::<TrustedProxies>().is_err(), "{bad}");
        }
    }
}
