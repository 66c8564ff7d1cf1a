// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Ordered rules that decide what is measured, and how (docs/protocol.md, section 7).

use super::flow_id::{FlowId, ICMPV6, TCP, UDP};
use super::prefix::{is_loopback, is_multicast, Prefix};
use super::uapi::{mechanisms, rule_direction, Mechanism, Profile};

/// Seconds after which a rule made without an expiry stops by itself.
pub const DEFAULT_EXPIRY_S: u32 = 3600;

/// One rule. An absent field matches anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// This host's addresses.
    pub local: Option<Prefix>,
    /// The peers' addresses.
    pub remote: Option<Prefix>,
    /// Upper-layer protocol; absent means TCP, UDP and ICMPv6 echo.
    pub protocol: Option<u8>,
    /// This host's ports, first and last.
    pub local_ports: (u16, u16),
    /// The peers' ports, first and last.
    pub remote_ports: (u16, u16),
    /// Bits of [`rule_direction`].
    pub direction: u8,
    /// What to send.
    pub send: Mechanism,
    /// Wire profile of plain `v2` options.
    pub profile: Profile,
    /// Bits of [`mechanisms`]: what to accept.
    pub accept: u8,
    /// Send the option in every Nth packet, at least 1.
    pub sample: u32,
    /// Answer with the mechanism the peer used, if `accept` has it.
    pub mirror: bool,
    /// Monotonic time at which the rule stops, ns; `None` is never.
    pub expires_at: Option<u64>,
}

/// Who sent the first packet of a flow that this host saw, as a bit of [`rule_direction`].
pub const fn direction_bit(outbound: bool) -> u8 {
    if outbound {
        rule_direction::OUTBOUND
    } else {
        rule_direction::INBOUND
    }
}

/// The bit of a mechanism in an accepted set.
pub const fn mechanism_bit(mechanism: Mechanism) -> u8 {
    1 << mechanism as u8
}

/// The set of mechanisms that protect nothing.
pub const PLAIN: u8 = mechanisms::PDM | mechanisms::V2;

impl Rule {
    /// Whether the rule is in force at `now` (monotonic, ns) and speaks of the flow.
    pub fn matches(&self, flow: &FlowId, outbound: bool, now: u64) -> bool {
        self.speaks_of(flow.protocol)
            && self.speaks_of_direction(outbound)
            && self.is_in_force(now)
            && self.local.is_none_or(|p| p.contains(&flow.local))
            && self.remote.is_none_or(|p| p.contains(&flow.remote))
            && (self.local_ports.0..=self.local_ports.1).contains(&flow.local_port)
            && (self.remote_ports.0..=self.remote_ports.1).contains(&flow.remote_port)
    }

    /// Whether the rule speaks of flows of a protocol.
    pub const fn speaks_of(&self, protocol: u8) -> bool {
        match self.protocol {
            Some(named) => named == protocol,
            None => matches!(protocol, TCP | UDP | ICMPV6),
        }
    }

    /// Whether the rule speaks of flows that this host began, or of those that the peer did.
    pub const fn speaks_of_direction(&self, outbound: bool) -> bool {
        self.direction & direction_bit(outbound) != 0
    }

    /// Whether the rule has not expired at `now` (monotonic, ns).
    pub const fn is_in_force(&self, now: u64) -> bool {
        match self.expires_at {
            Some(at) => now < at,
            None => true,
        }
    }

    /// Whether the rule names multicast: its remote prefix holds nothing else.
    pub fn names_multicast(&self) -> bool {
        self.remote.is_some_and(|p| is_multicast(p.address()) && p.len() >= 8)
    }

    /// Whether the rule names loopback: its remote prefix is `::1`, or one single address (that turned out to be ours).
    pub fn names_loopback(&self) -> bool {
        self.remote.is_some_and(|p| is_loopback(p.address()) || p.len() == 128)
    }

    /// The mechanism to send with, when the peer last used `peer`.
    pub fn mechanism(&self, peer: Mechanism) -> Mechanism {
        if self.mirror && peer != Mechanism::None && self.accepts(peer) {
            peer
        } else {
            self.send
        }
    }

    /// Whether the rule accepts a mechanism.
    pub const fn accepts(&self, mechanism: Mechanism) -> bool {
        self.accept & mechanism_bit(mechanism) != 0
    }
}

/// The index of the first rule that decides about a flow, found by asking each ([`super::classifier`] need not).
pub fn first_match(rules: &[Rule], flow: &FlowId, outbound: bool, now: u64) -> Option<usize> {
    rules.iter().position(|rule| rule.matches(flow, outbound, now))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Any flow, encrypted, until further notice.
    pub const ANY: Rule = Rule {
        local: None,
        remote: None,
        protocol: None,
        local_ports: (0, u16::MAX),
        remote_ports: (0, u16::MAX),
        direction: rule_direction::OUTBOUND | rule_direction::INBOUND,
        profile: Profile::V2,
        send: Mechanism::V2Encrypted,
        accept: mechanisms::V2_ENCRYPTED,
        sample: 1,
        mirror: false,
        expires_at: None,
    };

    fn flow(protocol: u8, local_port: u16, remote_port: u16) -> FlowId {
        FlowId { local: [1; 16], remote: [2; 16], local_port, remote_port, protocol }
    }

    #[test]
    fn matching() {
        let remote = Prefix::new([2; 16], 128);
        let other = Prefix::new([3; 16], 128);
        let table: [(&str, Rule, FlowId, bool, bool); 11] = [
            ("no protocol means TCP", ANY, flow(6, 1, 2), true, true),
            ("and UDP", ANY, flow(17, 1, 2), true, true),
            ("and ICMPv6 echo", ANY, flow(58, 0, 0), true, true),
            ("and nothing else", ANY, flow(132, 1, 2), true, false),
            ("a named protocol", Rule { protocol: Some(132), ..ANY }, flow(132, 1, 2), true, true),
            ("remote prefix", Rule { remote, ..ANY }, flow(6, 1, 2), true, true),
            ("another remote prefix", Rule { remote: other, ..ANY }, flow(6, 1, 2), true, false),
            ("ports in range", Rule { remote_ports: (2, 4), ..ANY }, flow(6, 1, 4), true, true),
            ("ports out of range", Rule { remote_ports: (2, 4), ..ANY }, flow(6, 1, 5), true, false),
            ("direction", Rule { direction: rule_direction::INBOUND, ..ANY }, flow(6, 1, 5), true, false),
            ("expired", Rule { expires_at: Some(10), ..ANY }, flow(6, 1, 5), true, false),
        ];
        for (name, rule, flow, outbound, want) in table {
            assert_eq!(rule.matches(&flow, outbound, 10), want, "{name}");
        }
    }

    #[test]
    fn the_first_rule_decides() {
        let none = Rule { send: Mechanism::None, remote_ports: (22, 22), ..ANY };
        assert_eq!(first_match(&[none, ANY], &flow(6, 1, 22), true, 0), Some(0));
        assert_eq!(first_match(&[none, ANY], &flow(6, 1, 23), true, 0), Some(1));
        assert_eq!(first_match(&[none], &flow(6, 1, 23), true, 0), None);
    }

    #[test]
    fn mirror_answers_only_with_what_is_accepted() {
        let rule = Rule { mirror: true, accept: mechanisms::V2_ENCRYPTED | mechanisms::PDM, ..ANY };
        assert_eq!(rule.mechanism(Mechanism::Pdm), Mechanism::Pdm);
        assert_eq!(rule.mechanism(Mechanism::V2), Mechanism::V2Encrypted);
        assert_eq!(rule.mechanism(Mechanism::None), Mechanism::V2Encrypted);
        assert_eq!(ANY.mechanism(Mechanism::Pdm), Mechanism::V2Encrypted);
    }
}
