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

    /// A flat form for hashing, 40 bytes with zero padding.
    pub fn hash_input(&self) -> [u8; 40] {
        let mut out = [0; 40];
        let (lp, rp) = (self.local_port.to_be_bytes(), self.remote_port.to_be_bytes());
        let parts: [&[u8]; 5] = [&self.local, &self.remote, &lp, &rp, &[self.protocol]];
        for (to, from) in out.iter_mut().zip(parts.iter().copied().flatten()) {
            *to = *from;
        }
        out
    }
}
