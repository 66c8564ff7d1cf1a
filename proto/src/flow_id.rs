// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The 5-tuple that names a flow (RFC 8250 section 3; docs/protocol.md, section 3).

/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;
/// DCCP.
pub const DCCP: u8 = 33;
/// UDP-Lite.
pub const UDPLITE: u8 = 136;

/// A 5-tuple seen from this host. ICMPv6 and protocols without ports have ports 0, 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// This host's address.
    pub local: [u8; 16],
    /// The peer's address.
    pub remote: [u8; 16],
    /// This host's port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Upper-layer protocol.
    pub protocol: u8,
}

impl FlowId {
    /// The same flow seen from the other end.
    pub const fn reversed(&self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            local_port: self.remote_port,
            remote_port: self.local_port,
            protocol: self.protocol,
        }
    }

    /// Whether both directions have the same 5-tuple (`ping ::1`): they would share one key.
    pub fn is_own_mirror(&self) -> bool {
        self.local == self.remote && self.local_port == self.remote_port
    }

    /// Whether the protocol's header starts with a source and a destination port.
    pub const fn has_ports(protocol: u8) -> bool {
        matches!(protocol, TCP | UDP | SCTP | DCCP | UDPLITE)
    }

    /// A flat form, for hashing and comparing.
    pub fn words(&self) -> [u64; 5] {
        let [a, b] = halves(&self.local);
        let [c, d] = halves(&self.remote);
        let rest = u64::from(self.local_port) | u64::from(self.remote_port) << 16 | u64::from(self.protocol) << 32;
        [a, b, c, d, rest]
    }

    /// The flow of a flat form.
    pub fn from_words(words: &[u64; 5]) -> Self {
        let [a, b, c, d, rest] = *words;
        Self {
            local: whole(a, b),
            remote: whole(c, d),
            local_port: rest as u16,
            remote_port: (rest >> 16) as u16,
            protocol: (rest >> 32) as u8,
        }
    }
}

fn halves(address: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_ne_bytes(*address);
    [whole as u64, (whole >> 64) as u64]
}

fn whole(low: u64, high: u64) -> [u8; 16] {
    (u128::from(low) | u128::from(high) << 64).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_flows_apart_and_give_them_back() {
        let id = FlowId {
            local: core::array::from_fn(|n| n as u8),
            remote: [9; 16],
            local_port: 0xfffe,
            remote_port: 0xfdfc,
            protocol: 255,
        };
        let others = [
            FlowId { local: [9; 16], ..id },
            FlowId { remote: [8; 16], ..id },
            FlowId { local_port: 0xfffd, ..id },
            FlowId { remote_port: 0xfdfd, ..id },
            FlowId { protocol: 254, ..id },
            id.reversed(),
        ];
        assert_eq!(FlowId::from_words(&id.words()), id);
        for other in others {
            assert_ne!(other.words(), id.words());
            assert_eq!(FlowId::from_words(&other.words()), other);
        }
    }
}
