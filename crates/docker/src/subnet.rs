//! Subnets as Docker writes them: `172.17.0.0/16`, `fd00::/64`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    address: IpAddr,
    length: u8,
}

impl Subnet {
    pub(crate) const LOOPBACK: Self = Self {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        length: 8,
    };

    pub(crate) fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u8 = length.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then_some(Self { address, length })
    }

    /// Whether an address lies in it; an IPv4 address may come in its IPv6 form.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }

    /// The first address in it, which Docker gives to the gateway when nobody asks for another.
    pub(crate) fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(own) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                Ipv4Addr::from_bits((own.to_bits() & mask) | 1).into()
            }
            IpAddr::V6(own) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                Ipv6Addr::from_bits((own.to_bits() & mask) | 1).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_own_subnet_only() {
        let subnet = Subnet::read("172.17.0.0/16").unwrap();
        assert!(subnet.contains("172.17.255.3".parse().unwrap()));
        assert!(subnet.contains("::ffff:172.17.0.3".parse().unwrap()));
        assert!(!subnet.contains("172.18.0.3".parse().unwrap()));
        assert!(!subnet.contains("::1".parse().unwrap()));
        assert!(
            Subnet::read("0.0.0.0/0")
                .unwrap()
                .contains("8.8.8.8".parse().unwrap())
        );
        assert_eq!(Subnet::read("10.0.0.0/33"), None);
    }

    #[test]
    fn the_first_address_is_the_gateway_that_docker_takes() {
        assert_eq!(
            Subnet::read("10.9.0.0/24").unwrap().first().to_string(),
            "10.9.0.1"
        );
        assert_eq!(
            Subnet::read("fd00:9::/64").unwrap().first().to_string(),
            "fd00:9::1"
        );
    }
}
