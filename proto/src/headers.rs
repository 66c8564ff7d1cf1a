// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The chain of IPv6 headers from the fixed header to the upper layer (RFC 8200 section 4).

use super::flow_id::{FlowId, ICMPV6, TCP, UDP};
use core::num::NonZeroU16;

/// Bytes of the fixed header.
pub const IPV6_LEN: usize = 40;
/// Offset of the next header field in the fixed header.
pub const NEXT_HEADER_AT: usize = 6;
/// Headers of one packet that are followed before it is given up.
const CHAIN_MAX: usize = 8;

/// Protocol number of the Hop-by-Hop Options header.
pub const HOP_BY_HOP: u8 = 0;
/// Protocol number of the Routing header.
pub const ROUTING: u8 = 43;
/// Protocol number of the Fragment header.
pub const FRAGMENT: u8 = 44;
/// Protocol number of AH.
pub const AH: u8 = 51;
/// Protocol number that says nothing follows.
pub const NO_NEXT: u8 = 59;
/// Protocol number of the Destination Options header.
pub const DESTINATION_OPTIONS: u8 = 60;

/// Bits of the Fragment header's second word that are the offset.
const FRAGMENT_OFFSET: u16 = 0xFFF8;

const PAD1: u8 = 0;
const ROUTER_ALERT: u8 = 5;
const JUMBO_PAYLOAD: u8 = 0xC2;
const HOME_ADDRESS: u8 = 0xC9;

const ROUTING_TYPE_2: u8 = 2;
const ROUTING_SEGMENT: u8 = 4;

const ICMPV6_ECHO_REQUEST: u8 = 128;
const ICMPV6_ECHO_REPLY: u8 = 129;
const DHCPV6_PORTS: core::ops::RangeInclusive<u16> = 546..=547;

/// What the upper layer's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// TCP: flags byte, header length in bytes.
    Tcp {
        /// SYN is set.
        syn: bool,
        /// ACK is set.
        ack: bool,
        /// Bytes of the TCP header with its options.
        header_len: u8,
    },
    /// ICMPv6 echo request or reply.
    Echo,
    /// Any other ICMPv6 message.
    OtherIcmpv6,
    /// Anything else.
    Other,
}

/// Where an extension header stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    at: u16,
    len: NonZeroU16,
}

impl Place {
    fn new(at: usize, len: usize) -> Option<Self> {
        Some(Self { at: u16::try_from(at).ok()?, len: NonZeroU16::new(u16::try_from(len).ok()?)? })
    }

    /// Its offset from the fixed header, bytes.
    pub fn at(self) -> usize {
        self.at.into()
    }

    /// Its bytes, of a packet's.
    pub fn of(self, packet: &[u8]) -> Option<&[u8]> {
        packet.get(self.at()..self.at().checked_add(self.len.get().into())?)
    }
}

/// A packet's headers, followed to the upper layer. Offsets count from the fixed header, bytes. Small, as it is made twice
/// for each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Source of the upper layer's pseudo-header: the home address, if an option carries one.
    pub source: [u8; 16],
    /// Destination of the upper layer's pseudo-header: the last one behind a Routing header.
    pub destination: [u8; 16],
    /// Source and destination port, or 0, 0.
    pub ports: (u16, u16),
    /// Upper-layer protocol.
    pub protocol: u8,
    /// This is the first fragment of a packet; later ones have no upper layer.
    pub fragment: bool,
    /// A Routing header names destinations that the packet has yet to visit.
    pub under_way: bool,
    /// A hop-by-hop option asks routers to look.
    pub router_alert: bool,
    /// An Authentication Header precedes the upper layer.
    pub authenticated: bool,
    /// More of the upper layer.
    pub upper: Upper,
    upper_at: u16,
    next_header_at: u16,
    /// The Destination Options header immediately before the upper layer.
    pub final_options: Option<Place>,
    /// The first Destination Options header before that, where none of our options belongs.
    pub earlier_options: Option<Place>,
    options_named_at: u16,
    payload_len: u32,
}

/// Why a packet's headers could not be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The bytes at hand end within a header.
    Truncated,
    /// A chain longer than is followed, a jumbogram (RFC 2675), or a Routing header of a type whose last destination is
    /// not known.
    Unsupported,
    /// The upper layer lies in another fragment.
    LaterFragment,
    /// There is no upper layer.
    NoUpper,
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk::<2>()?))
}

fn address(bytes: &[u8], at: usize) -> Option<[u8; 16]> {
    bytes.get(at..)?.first_chunk::<16>().copied()
}

/// The options of a header, each with its offset from the header's start; ends at damage.
fn options(header: &[u8]) -> impl Iterator<Item = (u8, usize, &[u8])> {
    let mut at = 2usize;
    core::iter::from_fn(move || loop {
        match header.get(at..)? {
            [PAD1, ..] => at = at.checked_add(1)?,
            [kind, len, ..] => {
                let start = at;
                at = start.checked_add(2)?.checked_add(usize::from(*len))?;
                let body = header.get(start.checked_add(2)?..at)?;
                return Some((*kind, start, body));
            }
            _ => return None,
        }
    })
}

/// The last destination behind a Routing header.
fn last_destination(header: &[u8], now: [u8; 16]) -> Option<[u8; 16]> {
    match header.get(..4)? {
        [_, _, _, 0] => Some(now),
        [_, _, ROUTING_TYPE_2, _] => address(header, 8),
        // The segment list is in reverse order: its first entry is the last destination (RFC 8754 section 2).
        [_, _, ROUTING_SEGMENT, _] => address(header, 8),
        _ => None,
    }
}

/// Whether a header of this protocol is followed to the next one.
fn is_followed(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AH | DESTINATION_OPTIONS)
}

impl Headers {
    /// Follows the headers of a packet of which `packet` holds the first bytes and `total` counts all, payload included.
    pub fn parse(packet: &[u8], total: usize) -> Result<Self, Broken> {
        let mut headers = Self {
            source: address(packet, 8).ok_or(Broken::Truncated)?,
            destination: address(packet, 24).ok_or(Broken::Truncated)?,
            protocol: *packet.get(NEXT_HEADER_AT).ok_or(Broken::Truncated)?,
            upper_at: IPV6_LEN as u16,
            next_header_at: NEXT_HEADER_AT as u16,
            final_options: None,
            earlier_options: None,
            options_named_at: 0,
            fragment: false,
            under_way: false,
            router_alert: false,
            authenticated: false,
            ports: (0, 0),
            upper: Upper::Other,
            payload_len: 0,
        };
        headers.read(packet, total)?;
        Ok(headers)
    }

    fn read(&mut self, packet: &[u8], total: usize) -> Result<(), Broken> {
        // Most packets have none to follow.
        if is_followed(self.protocol) {
            self.follow(packet)?;
        }
        self.look_at_upper(packet, total)
    }

    /// Steps over one header after the other, to the upper layer.
    fn follow(&mut self, packet: &[u8]) -> Result<(), Broken> {
        for _ in 0..CHAIN_MAX {
            let rest = packet.get(self.upper_at()..).ok_or(Broken::Truncated)?;
            let words = || rest.get(1).copied().map(usize::from).ok_or(Broken::Truncated);
            let len = match self.protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (words()? + 1) * 8,
                AH => (words()? + 2) * 4,
                FRAGMENT => 8,
                _ => return Ok(()),
            };
            let header = rest.get(..len).ok_or(Broken::Truncated)?;
            self.step_over(header)?;
            self.next_header_at = self.upper_at;
            self.protocol = *header.first().ok_or(Broken::Truncated)?;
            let next_at = self.upper_at().checked_add(len).and_then(|at| u16::try_from(at).ok());
            self.upper_at = next_at.ok_or(Broken::Truncated)?;
        }
        if is_followed(self.protocol) {
            return Err(Broken::Unsupported);
        }
        Ok(())
    }

    /// Takes in what a header says.
    fn step_over(&mut self, header: &[u8]) -> Result<(), Broken> {
        self.earlier_options = self.earlier_options.or(self.final_options.take());
        match self.protocol {
            HOP_BY_HOP => {
                for (kind, ..) in options(header) {
                    match kind {
                        ROUTER_ALERT => self.router_alert = true,
                        JUMBO_PAYLOAD => return Err(Broken::Unsupported),
                        _ => {}
                    }
                }
            }
            ROUTING => {
                self.destination = last_destination(header, self.destination).ok_or(Broken::Unsupported)?;
                // What type 2 names is the home address of the very host that gets it (RFC 6275 section 6.4).
                self.under_way |= matches!(header, [_, _, kind, left, ..] if *kind != ROUTING_TYPE_2 && *left != 0);
            }
            AH => self.authenticated = true,
            FRAGMENT => {
                if be16(header, 2).ok_or(Broken::Truncated)? & FRAGMENT_OFFSET != 0 {
                    return Err(Broken::LaterFragment);
                }
                self.fragment = true;
            }
            _ => {
                if let Some((_, _, body)) = options(header).find(|(kind, ..)| *kind == HOME_ADDRESS) {
                    self.source = address(body, 0).unwrap_or(self.source);
                }
                self.final_options = Place::new(self.upper_at(), header.len());
                self.options_named_at = self.next_header_at;
            }
        }
        Ok(())
    }

    /// Reads the first bytes of the upper layer.
    fn look_at_upper(&mut self, packet: &[u8], total: usize) -> Result<(), Broken> {
        if self.protocol == NO_NEXT {
            return Err(Broken::NoUpper);
        }
        let rest = packet.get(self.upper_at()..).ok_or(Broken::Truncated)?;
        if FlowId::has_ports(self.protocol) {
            self.ports = (be16(rest, 0).ok_or(Broken::Truncated)?, be16(rest, 2).ok_or(Broken::Truncated)?);
        }
        let mut header_len = 0;
        match self.protocol {
            TCP => {
                let (offset, flags) = (rest.get(12).ok_or(Broken::Truncated)?, rest.get(13).ok_or(Broken::Truncated)?);
                header_len = (offset >> 4) * 4;
                self.upper = Upper::Tcp { syn: flags & 2 != 0, ack: flags & 16 != 0, header_len };
            }
            UDP => header_len = 8,
            ICMPV6 => {
                let kind = *rest.first().ok_or(Broken::Truncated)?;
                let echo = matches!(kind, ICMPV6_ECHO_REQUEST | ICMPV6_ECHO_REPLY);
                self.upper = if echo { Upper::Echo } else { Upper::OtherIcmpv6 };
            }
            _ => {}
        }
        let payload_len = total.saturating_sub(self.upper_at()).saturating_sub(header_len.into());
        self.payload_len = u32::try_from(payload_len).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Where the upper layer starts.
    pub fn upper_at(&self) -> usize {
        self.upper_at.into()
    }

    /// The next header field that names the upper-layer protocol.
    pub fn next_header_at(&self) -> usize {
        self.next_header_at.into()
    }

    /// The next header field that names the final Destination Options header, if there is one.
    pub fn options_named_at(&self) -> usize {
        self.options_named_at.into()
    }

    /// Whether anything stands behind the upper layer's header.
    pub const fn has_payload(&self) -> bool {
        self.payload_len > 0
    }

    /// The flow of a packet this host sends.
    pub const fn flow_sent(&self) -> FlowId {
        FlowId {
            local: self.source,
            remote: self.destination,
            local_port: self.ports.0,
            remote_port: self.ports.1,
            protocol: self.protocol,
        }
    }

    /// The flow of a packet this host received.
    pub const fn flow_received(&self) -> FlowId {
        self.flow_sent().reversed()
    }

    /// DHCPv6 (RFC 8415 section 7.2), by its ports: what is sent to them, and by them to a relay's own (RFC 8357).
    pub fn is_dhcpv6(&self) -> bool {
        self.protocol == UDP && (DHCPV6_PORTS.contains(&self.ports.0) || DHCPV6_PORTS.contains(&self.ports.1))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    extern crate std;

    /// A packet from ..01 to ..02 with these extension headers, (protocol, bytes without next header), and upper layer.
    pub fn packet(extensions: &[(u8, &[u8])], protocol: u8, upper: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (index, (_, rest)) in extensions.iter().enumerate() {
            body.push(extensions.get(index + 1).map_or(protocol, |(next, _)| *next));
            body.extend_from_slice(rest);
        }
        body.extend_from_slice(upper);
        let mut out = std::vec![0x60, 0, 0, 0];
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
        out.push(extensions.first().map_or(protocol, |(first, _)| *first));
        out.push(64);
        for last in [1, 2] {
            out.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        out.extend_from_slice(&body);
        out
    }

    const UDP_HEADER: [u8; 10] = [0, 7, 0, 9, 0, 10, 0, 0, b'h', b'i'];

    fn parse(extensions: &[(u8, &[u8])], protocol: u8, upper: &[u8]) -> Result<Headers, Broken> {
        let p = packet(extensions, protocol, upper);
        Headers::parse(&p, p.len())
    }

    #[test]
    fn plain_udp() {
        let h = parse(&[], UDP, &UDP_HEADER).unwrap();
        assert_eq!((h.ports, h.upper_at(), h.next_header_at(), h.payload_len), ((7, 9), 40, 6, 2));
        assert_eq!(h.flow_sent(), h.flow_received().reversed());
    }

    #[test]
    fn tcp_flags_and_payload() {
        let mut tcp = [0u8; 27];
        (tcp[12], tcp[13]) = (0x60, 0x12);
        let h = parse(&[], TCP, &tcp).unwrap();
        assert_eq!(h.upper, Upper::Tcp { syn: true, ack: true, header_len: 24 });
        assert_eq!(h.payload_len, 3);
    }

    #[test]
    fn only_the_last_destination_options_header_is_final() {
        let pad: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
        let h = parse(&[(DESTINATION_OPTIONS, pad)], UDP, &UDP_HEADER).unwrap();
        assert_eq!((h.final_options, h.options_named_at(), h.next_header_at()), (Place::new(40, 8), 6, 40));
        let routing: &[u8] = &[2, 2, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
        let h = parse(&[(DESTINATION_OPTIONS, pad), (ROUTING, routing)], UDP, &UDP_HEADER).unwrap();
        assert_eq!((h.final_options, h.earlier_options), (None, Place::new(40, 8)));
    }

    #[test]
    fn addresses_are_those_of_the_pseudo_header() {
        let mut routing = [9u8; 23];
        routing[..7].copy_from_slice(&[2, ROUTING_SEGMENT, 1, 0, 0, 0, 0]);
        let h = parse(&[(ROUTING, &routing)], UDP, &UDP_HEADER).unwrap();
        assert_eq!(h.destination, [9; 16]);
        assert!(h.under_way);
        routing[2] = 0;
        let h = parse(&[(ROUTING, &routing)], UDP, &UDP_HEADER).unwrap();
        assert_eq!((h.destination[15], h.under_way), (2, false));
        (routing[1], routing[2]) = (ROUTING_TYPE_2, 1);
        let h = parse(&[(ROUTING, &routing)], UDP, &UDP_HEADER).unwrap();
        assert_eq!((h.destination, h.under_way), ([9; 16], false));
        (routing[1], routing[2]) = (3, 1);
        assert_eq!(parse(&[(ROUTING, &routing)], UDP, &UDP_HEADER), Err(Broken::Unsupported));
        let mut home = [7u8; 23];
        home[..7].copy_from_slice(&[2, 1, 2, 0, 0, HOME_ADDRESS, 16]);
        assert_eq!(parse(&[(DESTINATION_OPTIONS, &home)], UDP, &UDP_HEADER).unwrap().source, [7; 16]);
    }

    #[test]
    fn fragments_router_alert_and_ipsec_are_seen() {
        let fragment = |b| parse(&[(FRAGMENT, &[0, 0, b, 0, 0, 0, 0])], UDP, &UDP_HEADER);
        assert!(fragment(1).unwrap().fragment);
        assert_eq!(fragment(8), Err(Broken::LaterFragment));
        assert!(parse(&[(HOP_BY_HOP, &[0, 5, 2, 0, 0, 1, 0])], UDP, &UDP_HEADER).unwrap().router_alert);
        assert!(!parse(&[(HOP_BY_HOP, &[0, 1, 4, 0, 0, 0, 0])], UDP, &UDP_HEADER).unwrap().router_alert);
        let jumbo: &[u8] = &[0, JUMBO_PAYLOAD, 4, 0, 1, 0, 0];
        assert_eq!(parse(&[(HOP_BY_HOP, jumbo)], UDP, &UDP_HEADER), Err(Broken::Unsupported));
        let ah: &[u8] = &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(parse(&[(AH, ah)], UDP, &UDP_HEADER).unwrap().authenticated);
        assert_eq!(parse(&[], 50, &[0; 8]).unwrap().ports, (0, 0));
        assert_eq!(parse(&[], NO_NEXT, &[]), Err(Broken::NoUpper));
    }

    #[test]
    fn icmpv6_and_dhcpv6() {
        assert_eq!(parse(&[], ICMPV6, &[128, 0, 0, 0]).unwrap().upper, Upper::Echo);
        assert_eq!(parse(&[], ICMPV6, &[135, 0, 0, 0]).unwrap().upper, Upper::OtherIcmpv6);
        assert!(parse(&[], UDP, &[2, 34, 2, 35, 0, 8, 0, 0]).unwrap().is_dhcpv6());
        assert!(parse(&[], UDP, &[200, 0, 2, 35, 0, 8, 0, 0]).unwrap().is_dhcpv6());
        assert!(parse(&[], UDP, &[2, 35, 200, 0, 0, 8, 0, 0]).unwrap().is_dhcpv6());
        assert!(!parse(&[], TCP, &[2, 34, 2, 35, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0]).unwrap().is_dhcpv6());
        assert!(!parse(&[], UDP, &UDP_HEADER).unwrap().is_dhcpv6());
    }

    proptest! {
        #[test]
        fn any_bytes_are_followed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256), total: usize) {
            let _ = Headers::parse(&bytes, total);
        }

        #[test]
        fn any_chain_is_followed_without_panic(
            kinds in proptest::collection::vec(prop::sample::select(std::vec![0u8, 43, 44, 50, 51, 59, 60, 6, 17, 58]), 0..10),
            bytes in proptest::collection::vec(any::<u8>(), 7..64),
        ) {
            let chain: Vec<(u8, &[u8])> = kinds.iter().map(|k| (*k, bytes.as_slice())).collect();
            let p = packet(&chain, 6, &bytes);
            let _ = Headers::parse(&p, p.len());
        }
    }
}
