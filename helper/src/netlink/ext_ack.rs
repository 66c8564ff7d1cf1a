// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Extended acknowledgements: the module's words, and the attribute they are about, by the specification's names.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};
use pdmv2_proto::uapi::{attr, cmd, Rule};

use super::attribute::Attributes;

/// NLMSGERR_ATTR_MSG of linux/netlink.h.
const ATTR_MSG: u16 = 1;
/// NLMSGERR_ATTR_OFFS: offset of the attribute from the start of the request.
const ATTR_OFFS: u16 = 2;
/// NLMSGERR_ATTR_MISS_TYPE: number of the attribute that is missing.
const ATTR_MISS_TYPE: u16 = 5;
/// NLMSGERR_ATTR_MISS_NEST: offset of the nest it is missing from.
const ATTR_MISS_NEST: u16 = 6;

/// Bytes of the netlink and the generic netlink header.
const HEADERS_LEN: usize = 20;

/// Bytes of a netlink header.
const NLMSGHDR_LEN: usize = 16;

/// What an acknowledgement said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtAck {
    /// The module's words.
    pub message: Option<String>,
    /// The attribute they are about, such as `rule[2].local.length`.
    pub attribute: Option<String>,
}

impl ExtAck {
    /// Reads what follows the errno: `echo` is the request's header, or the whole request, then the attributes.
    pub fn parse(flags: u16, echo: &[u8], request: &[u8]) -> Self {
        if flags & NLM_F_ACK_TLVS == 0 {
            return Self::default();
        }
        let echoed = if flags & NLM_F_CAPPED != 0 {
            NLMSGHDR_LEN
        } else {
            let length = echo.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length) as usize);
            length.next_multiple_of(4)
        };
        Self::parse_attributes(echo.get(echoed..).unwrap_or_default(), request)
    }

    /// Reads the attributes alone, as they follow the errno at the end of a dump.
    pub fn parse_attributes(attributes: &[u8], request: &[u8]) -> Self {
        let (mut ack, mut missing, mut nest) = (Self::default(), None, None);
        for attribute in Attributes(attributes).flatten() {
            match attribute.kind {
                ATTR_MSG => ack.message = attribute.text().ok(),
                ATTR_OFFS => ack.attribute = attribute.u32().ok().and_then(|at| path(request, at as usize)),
                ATTR_MISS_TYPE => missing = attribute.u32().ok(),
                ATTR_MISS_NEST => nest = attribute.u32().ok(),
                _ => {}
            }
        }
        if let Some(missing) = missing {
            ack.attribute = missing_path(request, nest.map(|at| at as usize), missing as u16);
        }
        // The module starts its words with the attribute's own name, which the path ends with.
        let own = ack
            .attribute
            .as_deref()
            .and_then(|path| path.rsplit('.').next())
            .map(|name| name.split('[').next().unwrap_or(name).to_owned());
        if let (Some(own), Some(message)) = (own, &mut ack.message) {
            if let Some(rest) = message.strip_prefix(&own).and_then(|rest| rest.strip_prefix(": ")) {
                *message = rest.to_owned();
            }
        }
        ack
    }
}

/// A set of attributes, as far as names need it.
#[derive(Clone, Copy)]
struct Set {
    rules: &'static [Rule],
    nests: &'static [(u16, &'static Set)],
}

static PREFIX: Set = Set { rules: &attr::prefix::RULES, nests: &[] };
static FLOW_ID: Set = Set { rules: &attr::flow_id::RULES, nests: &[] };
static RULE: Set =
    Set { rules: &attr::rule::RULES, nests: &[(attr::rule::LOCAL, &PREFIX), (attr::rule::REMOTE, &PREFIX)] };
static POLICY: Set = Set { rules: &attr::policy::RULES, nests: &[(attr::policy::RULE, &RULE)] };
static ASSOCIATION: Set = Set {
    rules: &attr::association::RULES,
    nests: &[(attr::association::LOCAL, &PREFIX), (attr::association::REMOTE, &PREFIX)],
};
static SECRET: Set = Set { rules: &attr::secret::RULES, nests: &[] };
static KEY: Set = Set { rules: &attr::key::RULES, nests: &[(attr::key::FLOW, &FLOW_ID)] };
static FLOW: Set = Set { rules: &attr::flow::RULES, nests: &[] };
static STATS: Set = Set { rules: &attr::stats::RULES, nests: &[] };

fn set_of(command: u8) -> Option<&'static Set> {
    match command {
        cmd::POLICY_SET | cmd::POLICY_GET | cmd::LIMITS_SET => Some(&POLICY),
        cmd::ASSOCIATION_SET | cmd::ASSOCIATION_DEL | cmd::ASSOCIATION_GET => Some(&ASSOCIATION),
        cmd::SECRET_ADD | cmd::SECRET_ACTIVATE | cmd::SECRET_DEL => Some(&SECRET),
        cmd::KEY_ADD => Some(&KEY),
        cmd::FLOW_GET | cmd::FLOW_FLUSH => Some(&FLOW),
        cmd::STATS_GET => Some(&STATS),
        _ => None,
    }
}

impl Set {
    fn name(&self, kind: u16) -> String {
        match self.rules.get(usize::from(kind)) {
            Some(rule) if kind != 0 => rule.name.to_owned(),
            _ => format!("attribute {kind}"),
        }
    }

    fn nest(&self, kind: u16) -> Option<&'static Set> {
        self.nests.iter().find(|(nest, _)| *nest == kind).map(|(_, set)| *set)
    }
}

fn command_of(request: &[u8]) -> Option<u8> {
    request.get(NLMSGHDR_LEN).copied()
}

/// The attribute that starts at an offset of the request.
fn path(request: &[u8], at: usize) -> Option<String> {
    find(set_of(command_of(request)?)?, request, HEADERS_LEN, request.len(), at).map(|(path, _)| path)
}

/// An attribute that a nest of the request lacks, or the request itself.
fn missing_path(request: &[u8], nest: Option<usize>, kind: u16) -> Option<String> {
    let top = set_of(command_of(request)?)?;
    Some(match nest.and_then(|at| find(top, request, HEADERS_LEN, request.len(), at)) {
        Some((path, Some(set))) => format!("{path}.{}", set.name(kind)),
        _ => top.name(kind),
    })
}

/// Walks the attributes of `request[start..end]`, numbering those that come more than once from 1.
fn find(
    set: &'static Set,
    request: &[u8],
    start: usize,
    end: usize,
    wanted: usize,
) -> Option<(String, Option<&'static Set>)> {
    let attributes = Attributes(request.get(start..end)?);
    let mut at = start;
    let mut seen: Vec<u16> = Vec::new();
    for attribute in attributes.map_while(Result::ok) {
        seen.push(attribute.kind);
        let (value, next) = (at + 4, at + (4 + attribute.value.len()).next_multiple_of(4));
        if (at..next).contains(&wanted) {
            let mut name = set.name(attribute.kind);
            let total = attributes.flatten().filter(|other| other.kind == attribute.kind).count();
            if total > 1 {
                name = format!("{name}[{}]", seen.iter().filter(|kind| **kind == attribute.kind).count());
            }
            let inner = set.nest(attribute.kind);
            if wanted == at {
                return Some((name, inner));
            }
            let found = inner.and_then(|set| find(set, request, value, value + attribute.value.len(), wanted));
            return Some(found.map_or((name.clone(), inner), |(path, set)| (format!("{name}.{path}"), set)));
        }
        at = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Builder;
    use super::super::message::{encode, Payload};
    use super::*;
    use proptest::prelude::*;

    /// Two rules; the second has a local prefix.
    fn request() -> Vec<u8> {
        let mut attributes = Builder::default();
        for _ in 0..2 {
            attributes.nest(attr::policy::RULE, |rule| {
                rule.u8(attr::rule::SEND, 3).nest(attr::rule::LOCAL, |prefix| {
                    prefix.bytes(attr::prefix::ADDRESS, &[0; 16]).u8(attr::prefix::LENGTH, 200);
                });
            });
        }
        encode(0x21, 5, 1, Payload { command: cmd::POLICY_SET, attributes: attributes.into_bytes() }).to_vec()
    }

    fn ack(fill: impl FnOnce(&mut Builder)) -> Vec<u8> {
        let mut attributes = Builder::default();
        fill(&mut attributes);
        [&request()[..16], &attributes.into_bytes()].concat()
    }

    #[test]
    fn names_the_attribute_at_an_offset() {
        let request = request();
        // Headers 20; rule 4 + send 8 + local (4 + address 20 + length 8) = 44; second rule's length at 20+44+4+8+4+20.
        for (at, expected) in [
            (20, "rule[1]"),
            (24, "rule[1].send"),
            (32, "rule[1].local"),
            (36, "rule[1].local.address"),
            (64, "rule[2]"),
            (100, "rule[2].local.length"),
        ] {
            let own = expected.rsplit('.').next().unwrap().split('[').next().unwrap();
            let echo = ack(|a| {
                a.text(ATTR_MSG, &format!("{own}: no")).u32(ATTR_OFFS, at);
            });
            let got = ExtAck::parse(NLM_F_ACK_TLVS | NLM_F_CAPPED, &echo, &request);
            let expected = ExtAck { message: Some("no".into()), attribute: Some(expected.into()) };
            assert_eq!(got, expected, "offset {at}");
        }
    }

    #[test]
    fn names_what_is_missing() {
        let request = request();
        let echo = ack(|a| {
            a.u32(ATTR_MISS_TYPE, u32::from(attr::prefix::LENGTH)).u32(ATTR_MISS_NEST, 76);
        });
        let got = ExtAck::parse(NLM_F_ACK_TLVS | NLM_F_CAPPED, &echo, &request);
        assert_eq!(got.attribute.as_deref(), Some("rule[2].local.length"));
        let echo = ack(|a| {
            a.u32(ATTR_MISS_TYPE, u32::from(attr::policy::IDLE));
        });
        let got = ExtAck::parse(NLM_F_ACK_TLVS | NLM_F_CAPPED, &echo, &request);
        assert_eq!(got.attribute.as_deref(), Some("idle"));
    }

    #[test]
    fn an_uncapped_echo_is_stepped_over() {
        let request = request();
        let mut attributes = Builder::default();
        attributes.text(ATTR_MSG, "why");
        let echo = [request.as_slice(), &attributes.into_bytes()].concat();
        assert_eq!(ExtAck::parse(NLM_F_ACK_TLVS, &echo, &request).message.as_deref(), Some("why"));
        assert_eq!(ExtAck::parse(0, &echo, &request), ExtAck::default());
    }

    proptest! {
        #[test]
        fn no_input_panics(
            echo in prop::collection::vec(any::<u8>(), 0..100),
            request in prop::collection::vec(any::<u8>(), 0..100),
            flags in any::<u16>(),
            at in 0usize..120,
        ) {
            let _ = ExtAck::parse(flags, &echo, &request);
            let _ = path(&request, at);
        }
    }
}
