// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What the module, or something that is none, says over netlink.

use netlink_packet_core::NetlinkPayload;
use pdmv2::netlink::acquire;
use pdmv2::netlink::association::AssociationInfo;
use pdmv2::netlink::attribute::{Attribute, Attributes};
use pdmv2::netlink::ext_ack::ExtAck;
use pdmv2::netlink::flow::Flow;
use pdmv2::netlink::message::{split, Message};
use pdmv2::netlink::notice::Notice;
use pdmv2::netlink::policy::Policy;
use pdmv2::netlink::stats::Stats;
use pdmv2_proto::uapi::cmd;

/// Decoders of all that the module sends, by the first byte.
const DECODERS: [fn(&[u8]); 7] = [
    |bytes| drop(acquire::decode(bytes)),
    |bytes| drop(Notice::decode(bytes)),
    |bytes| drop(Flow::decode(bytes)),
    |bytes| drop(AssociationInfo::decode(bytes)),
    |bytes| drop(Stats::decode(bytes)),
    |bytes| {
        if let Ok(policy) = Policy::decode(bytes) {
            let again = Policy::decode(&policy.encode().into_bytes()).expect("what was written is read");
            assert_eq!(again, policy);
        }
    },
    |bytes| walk(Attributes(bytes), 0),
];

/// The attributes of one message.
pub fn attributes(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    if let Some(decode) = DECODERS.get(usize::from(*choice)) {
        decode(bytes);
    }
}

/// Every reading of every attribute, nested ones too.
fn walk(attributes: Attributes<'_>, depth: usize) {
    for attribute in attributes.flatten() {
        let Attribute { value, .. } = attribute;
        let _ = (attribute.u8(), attribute.u16(), attribute.u32(), attribute.uint(), attribute.array::<16>());
        assert!(attribute.text().map_or(0, |text| text.len()) <= value.len());
        if depth < 8 {
            walk(attribute.nest(), depth + 1);
        }
    }
}

/// What one read from the socket gives: messages, as client and listener take them apart.
pub fn datagram(input: &[u8]) {
    let mut total = 0;
    for message in split(input) {
        total += message.len();
        let Ok(message) = Message::deserialize(message) else { continue };
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => {
                let bytes = &inner.payload.attributes;
                match inner.payload.command {
                    cmd::ACQUIRE => drop(acquire::decode(bytes)),
                    cmd::EVENT => drop(Notice::decode(bytes)),
                    cmd::FLOW_GET => drop(Flow::decode(bytes)),
                    cmd::ASSOCIATION_GET => drop(AssociationInfo::decode(bytes)),
                    cmd::POLICY_GET => drop(Policy::decode(bytes)),
                    cmd::STATS_GET => drop(Stats::decode(bytes)),
                    _ => {}
                }
            }
            NetlinkPayload::Error(error) => {
                let _ = (error.raw_code(), ExtAck::parse(message.header.flags, &error.header, input));
            }
            NetlinkPayload::Done(done) => drop(ExtAck::parse_attributes(&done.extended_ack, input)),
            _ => {}
        }
    }
    assert!(total <= input.len());
}

/// An extended acknowledgement: flags, length of the request, the request, and what came back.
pub fn ext_ack(input: &[u8]) {
    let Some((&[f0, f1, l0, l1], rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
    let (request, answer) = rest.split_at(length);
    let _ = ExtAck::parse(u16::from_be_bytes([f0, f1]), answer, request);
    let _ = ExtAck::parse_attributes(answer, request);
}
