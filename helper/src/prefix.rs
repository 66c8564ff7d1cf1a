// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! IPv6 prefixes.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An IPv6 prefix; the bits after its length are 0. Ordered by address, then by length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

/// Why a prefix was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an IPv6 address, with or without a length.
    #[error("not an IPv6 address or prefix")]
    Malformed,
    /// More than 128 bits.
    #[error("prefix length over 128")]
    Length,
    /// The address has bits that the length leaves out.
    #[error("the address has bits set after its prefix length; did you mean {0}?")]
    HostBits(Prefix),
}

impl Prefix {
    /// The prefix of this address and length in bits.
    ///
    /// # Errors
    /// A length over 128, or bits set after it.
    pub fn new(address: Ipv6Addr, length: u8) -> Result<Self, PrefixError> {
        if length > 128 {
            return Err(PrefixError::Length);
        }
        let network = Ipv6Addr::from_bits(address.to_bits() & mask(length));
        let prefix = Self { address: network, length };
        if network == address {
            Ok(prefix)
        } else {
            Err(PrefixError::HostBits(prefix))
        }
    }

    /// The prefix of this length that the address lies in; a length over 128 is 128.
    pub fn around(address: Ipv6Addr, length: u8) -> Self {
        Self { address: Ipv6Addr::from_bits(address.to_bits() & mask(length)), length: length.min(128) }
    }

    /// The first address.
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Bits.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        (address.to_bits() ^ self.address.to_bits()) & mask(self.length) == 0
    }

    /// Whether some address lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let shorter = self.length.min(other.length);
        (self.address.to_bits() ^ other.address.to_bits()) & mask(shorter) == 0
    }

    /// Whether it holds link-local addresses only.
    pub fn is_link_local(&self) -> bool {
        self.length >= 10 && self.address.is_unicast_link_local()
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

/// A single address.
impl From<Ipv6Addr> for Prefix {
    fn from(address: Ipv6Addr) -> Self {
        Self::around(address, 128)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, length.parse().map_err(|_| PrefixError::Malformed)?),
            None => (text, 128),
        };
        Self::new(address.parse().map_err(|_| PrefixError::Malformed)?, length)
    }
}

/// An address for a single host, `address/length` otherwise.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            128 => write!(f, "{}", self.address),
            length => write!(f, "{}/{length}", self.address),
        }
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn text_forms() {
        assert_eq!(p("fd00::1").to_string(), "fd00::1");
        assert_eq!(p("fd00::1/128").to_string(), "fd00::1");
        assert_eq!(p("::/0").to_string(), "::/0");
        assert_eq!(p("fd00::/64").to_string(), "fd00::/64");
        for (text, error) in [
            ("", PrefixError::Malformed),
            ("fd00::/", PrefixError::Malformed),
            ("fd00::/129", PrefixError::Length),
            ("10.0.0.0/8", PrefixError::Malformed),
            ("fd00::1/64", PrefixError::HostBits(p("fd00::/64"))),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(error), "{text}");
        }
    }

    #[test]
    fn containment_and_overlap() {
        assert!(p("::/0").contains("fd00::1".parse().unwrap()));
        assert!(p("fd00::/64").contains("fd00::1".parse().unwrap()));
        assert!(!p("fd00::/64").contains("fd00:0:0:1::1".parse().unwrap()));
        assert!(p("fd00::/16").overlaps(&p("fd00:1::/32")));
        assert!(p("fd00:1::/32").overlaps(&p("fd00::/16")));
        assert!(!p("fd00::1").overlaps(&p("fd00::2")));
        assert!(p("fe80::1").is_link_local());
        assert!(!p("::/0").is_link_local());
    }
}
