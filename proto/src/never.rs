// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Packets that never get an option, whatever a rule wants (docs/protocol.md, section 5).

use super::flow_id::FlowId;
use super::headers::{Headers, Upper};
use super::policy::Rule;
use super::prefix::{is_link_scope_multicast, is_loopback, is_multicast, is_unspecified};
use super::uapi::{Mechanism, Skip};

/// What is known of a packet besides its headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// IPsec transport or BEET mode will follow.
    pub ipsec_outer: bool,
    /// TCP-AO signs it.
    pub tcp_ao: bool,
    /// Clear text for a device to encrypt (kTLS, PSP), or memory that cannot be read.
    pub device_crypto: bool,
    /// It leaves by a loopback device.
    pub loopback: bool,
    /// This host translates the connection, or may yet.
    pub translated: bool,
}

/// Why the packet goes unchanged; `None` if an option may go in.
pub fn reason(headers: &Headers, facts: Facts, rule: &Rule, mechanism: Mechanism, flow: &FlowId) -> Option<Skip> {
    let sealed = mechanism == Mechanism::V2Encrypted;
    let loopback = facts.loopback || is_loopback(&flow.remote);
    let table = [
        (Skip::Icmpv6, headers.upper == Upper::OtherIcmpv6),
        (Skip::UnspecifiedSource, is_unspecified(&flow.local)),
        (Skip::LinkMulticast, is_link_scope_multicast(&flow.remote)),
        (Skip::Dhcpv6, headers.is_dhcpv6()),
        (Skip::RouterAlert, headers.router_alert),
        (Skip::Fragment, headers.fragment),
        (Skip::Ipsec, facts.ipsec_outer || headers.authenticated),
        (Skip::TcpAo, facts.tcp_ao),
        (Skip::DeviceCrypto, facts.device_crypto),
        (Skip::Multicast, is_multicast(&flow.remote) && (sealed || !rule.names_multicast())),
        (Skip::SameTuple, sealed && flow.is_own_mirror()),
        (Skip::Loopback, loopback && (sealed || !rule.names_loopback())),
        (Skip::Nat, sealed && facts.translated),
    ];
    table.into_iter().find(|(_, applies)| *applies).map(|(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::super::flow_id::{ICMPV6, UDP};
    use super::super::headers::tests::packet;
    use super::super::headers::{AH, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP};
    use super::super::policy::tests::ANY;
    use super::super::prefix::Prefix;
    use super::*;
    use std::vec::Vec;

    extern crate std;

    const ECHO_PORTS: [u8; 8] = [0, 7, 0, 9, 0, 8, 0, 0];
    const LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    fn multicast(scope: u8) -> [u8; 16] {
        let mut address = [0; 16];
        (address[0], address[1], address[15]) = (0xff, scope, 9);
        address
    }

    /// A UDP datagram from ..01 to ..02 behind these headers, changed by `change`, under every mechanism: the reasons.
    fn decided(
        extensions: &[(u8, &[u8])],
        (protocol, upper): (u8, &[u8]),
        facts: Facts,
        rule: Rule,
        change: impl Fn(&mut FlowId),
    ) -> (Option<Skip>, Option<Skip>) {
        let bytes: Vec<u8> = packet(extensions, protocol, upper);
        let headers = Headers::parse(&bytes, bytes.len()).unwrap();
        let mut flow = headers.flow_sent();
        change(&mut flow);
        let of = |mechanism| reason(&headers, facts, &rule, mechanism, &flow);
        assert_eq!(of(Mechanism::Pdm), of(Mechanism::V2), "one plain mechanism is as good as the other");
        (of(Mechanism::V2), of(Mechanism::V2Encrypted))
    }

    #[test]
    fn nothing_speaks_against_an_ordinary_packet() {
        let pad: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
        for extensions in [&[][..], &[(HOP_BY_HOP, pad)], &[(DESTINATION_OPTIONS, pad)]] {
            assert_eq!(decided(extensions, (UDP, &ECHO_PORTS), Facts::default(), ANY, |_| {}), (None, None));
        }
        assert_eq!(decided(&[], (ICMPV6, &[128, 0, 0, 0]), Facts::default(), ANY, |_| {}), (None, None));
    }

    #[test]
    fn headers_decide() {
        let ah: &[u8] = &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let table: [(Skip, &[(u8, &[u8])], u8, &[u8]); 5] = [
            (Skip::Icmpv6, &[], ICMPV6, &[1, 0, 0, 0]),
            (Skip::Dhcpv6, &[], UDP, &[2, 34, 2, 35, 0, 8, 0, 0]),
            (Skip::RouterAlert, &[(HOP_BY_HOP, &[0, 5, 2, 0, 0, 1, 0])], UDP, &ECHO_PORTS),
            (Skip::Fragment, &[(FRAGMENT, &[0, 0, 1, 0, 0, 0, 0])], UDP, &ECHO_PORTS),
            (Skip::Ipsec, &[(AH, ah)], UDP, &ECHO_PORTS),
        ];
        for (want, extensions, protocol, upper) in table {
            let got = decided(extensions, (protocol, upper), Facts::default(), ANY, |_| {});
            assert_eq!(got, (Some(want), Some(want)));
        }
    }

    #[test]
    fn facts_decide() {
        let none = Facts::default();
        let table = [
            (Facts { ipsec_outer: true, ..none }, Some(Skip::Ipsec), Some(Skip::Ipsec)),
            (Facts { tcp_ao: true, ..none }, Some(Skip::TcpAo), Some(Skip::TcpAo)),
            // What no device at hand offers cannot be shown with real traffic: kTLS (TLS_HW), PSP, device memory.
            (Facts { device_crypto: true, ..none }, Some(Skip::DeviceCrypto), Some(Skip::DeviceCrypto)),
            (Facts { loopback: true, ..none }, Some(Skip::Loopback), Some(Skip::Loopback)),
            (Facts { translated: true, ..none }, None, Some(Skip::Nat)),
            // The first of several reasons is the one that counts.
            (Facts { tcp_ao: true, device_crypto: true, ..none }, Some(Skip::TcpAo), Some(Skip::TcpAo)),
        ];
        for (facts, plain, sealed) in table {
            assert_eq!(decided(&[], (UDP, &ECHO_PORTS), facts, ANY, |_| {}), (plain, sealed), "{facts:?}");
        }
    }

    #[test]
    fn addresses_decide() {
        let named = |address| Rule { remote: Prefix::new(address, 128), ..ANY };
        let to = |address: [u8; 16]| move |flow: &mut FlowId| flow.remote = address;
        let udp = (UDP, &ECHO_PORTS[..]);
        let none = Facts::default();
        let unspecified = decided(&[], udp, none, ANY, |flow| flow.local = [0; 16]);
        assert_eq!(unspecified, (Some(Skip::UnspecifiedSource), Some(Skip::UnspecifiedSource)));
        for scope in [1, 2] {
            // Not even where a rule names it.
            let got = decided(&[], udp, none, named(multicast(scope)), to(multicast(scope)));
            assert_eq!(got, (Some(Skip::LinkMulticast), Some(Skip::LinkMulticast)));
        }
        let site = multicast(5);
        assert_eq!(decided(&[], udp, none, ANY, to(site)), (Some(Skip::Multicast), Some(Skip::Multicast)));
        assert_eq!(decided(&[], udp, none, named(site), to(site)), (None, Some(Skip::Multicast)));
        assert_eq!(decided(&[], udp, none, ANY, to(LOOPBACK)), (Some(Skip::Loopback), Some(Skip::Loopback)));
        assert_eq!(decided(&[], udp, none, named(LOOPBACK), to(LOOPBACK)), (None, Some(Skip::Loopback)));
        let mirror = |flow: &mut FlowId| (flow.remote, flow.remote_port) = (flow.local, flow.local_port);
        assert_eq!(decided(&[], udp, none, ANY, mirror), (None, Some(Skip::SameTuple)));
    }
}
