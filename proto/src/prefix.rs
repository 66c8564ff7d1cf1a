// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Address prefixes, and the kinds of address that decide what is measured.

/// An IPv6 prefix; the bits behind its length are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    address: [u8; 16],
    len: u8,
}

impl Prefix {
    /// Makes a prefix, `None` when the length exceeds 128 or bits behind it are set.
    pub fn new(address: [u8; 16], len: u8) -> Option<Self> {
        if len > 128 || u128::from_be_bytes(address) & !mask(len) != 0 {
            return None;
        }
        Some(Self { address, len })
    }

    /// The address, network byte order.
    pub const fn address(&self) -> &[u8; 16] {
        &self.address
    }

    /// The length, bits.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// The first and the last address, as numbers.
    pub fn range(&self) -> (u128, u128) {
        let first = u128::from_be_bytes(self.address);
        (first, first | !mask(self.len))
    }

    /// Whether the address lies in this prefix.
    pub fn contains(&self, address: &[u8; 16]) -> bool {
        (u128::from_be_bytes(*address) ^ u128::from_be_bytes(self.address)) & mask(self.len) == 0
    }

    /// Whether every address of `other` lies in this prefix.
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(&other.address)
    }

    /// Whether some address lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

const fn mask(len: u8) -> u128 {
    match len {
        0 => 0,
        1..=127 => u128::MAX << (128 - len as u32),
        _ => u128::MAX,
    }
}

/// `::`.
pub const fn is_unspecified(address: &[u8; 16]) -> bool {
    u128::from_be_bytes(*address) == 0
}

/// `::1`.
pub const fn is_loopback(address: &[u8; 16]) -> bool {
    u128::from_be_bytes(*address) == 1
}

/// `ff00::/8`.
pub const fn is_multicast(address: &[u8; 16]) -> bool {
    address[0] == 0xff
}

/// Multicast of interface-local or link-local scope (RFC 4291 section 2.7).
pub const fn is_link_scope_multicast(address: &[u8; 16]) -> bool {
    is_multicast(address) && matches!(address[1] & 0x0f, 1 | 2)
}

/// `fe80::/10`.
pub const fn is_link_local(address: &[u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> [u8; 16] {
        text.parse::<std::net::Ipv6Addr>().unwrap().octets()
    }

    extern crate std;

    #[test]
    fn membership() {
        let table = [
            ("::", 0, "fd00::1", true),
            ("fd00::", 8, "fdff::1", true),
            ("fd00::", 8, "fc00::1", false),
            ("fd00::8000", 113, "fd00::8001", true),
            ("fd00::8000", 113, "fd00::1", false),
            ("fd00::1", 128, "fd00::1", true),
            ("fd00::1", 128, "fd00::2", false),
        ];
        for (address, len, probe, inside) in table {
            assert_eq!(
                Prefix::new(addr(address), len).unwrap().contains(&addr(probe)),
                inside,
                "{probe} in {address}/{len}"
            );
        }
        assert_eq!(Prefix::new(addr("fd00::1"), 64), None);
        assert_eq!(Prefix::new([0; 16], 129), None);
    }

    #[test]
    fn overlap() {
        let p = |a, l| Prefix::new(addr(a), l).unwrap();
        assert!(p("fd00::", 8).overlaps(&p("fd00:1::", 32)));
        assert!(!p("fd00::", 32).overlaps(&p("fd00:1::", 32)));
    }

    #[test]
    fn kinds() {
        assert!(is_link_scope_multicast(&addr("ff02::1")));
        assert!(!is_link_scope_multicast(&addr("ff05::1")));
        assert!(is_link_local(&addr("fe80::1")) && is_link_local(&addr("febf::1")) && !is_link_local(&addr("fec0::1")));
        assert!(is_loopback(&addr("::1")) && is_unspecified(&addr("::")));
    }
}
