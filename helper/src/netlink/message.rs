// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A generic netlink message whose attributes are bytes.

use std::fmt;

use netlink_packet_core::{
    DecodeError, Emitable, NetlinkHeader, NetlinkMessage, NetlinkPayload, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use pdmv2_proto::uapi;
use zeroize::Zeroizing;

/// A command and its attributes, which are wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The command.
    pub command: u8,
    /// Its attributes.
    pub attributes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload {{ command: {}, attributes: {} bytes }}", self.command, self.attributes.len())
    }
}

impl GenlFamily for Payload {
    fn family_name() -> &'static str {
        uapi::FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        uapi::VERSION
    }
}

impl Emitable for Payload {
    fn buffer_len(&self) -> usize {
        self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.attributes);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Payload {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: header.cmd, attributes: Zeroizing::new(buffer.to_vec()) })
    }
}

/// The whole message.
pub type Message = NetlinkMessage<GenlMessage<Payload>>;

/// The bytes of a request, wiped when dropped.
pub fn encode(family: u16, flags: u16, sequence: u32, payload: Payload) -> Zeroizing<Vec<u8>> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut inner = GenlMessage::from_payload(payload);
    inner.set_resolved_family_id(family);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(inner));
    message.finalize();
    let mut bytes = Zeroizing::new(vec![0; message.buffer_len()]);
    message.serialize(&mut bytes);
    bytes
}

/// Cuts what one read returned into messages; ends at the first one that cannot be cut.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let message = bytes.get(..length).filter(|message| message.len() >= 16)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_of_a_request() {
        let payload = Payload { command: 12, attributes: Zeroizing::new(vec![4, 0, 1, 0]) };
        let bytes = encode(0x21, 5, 9, payload.clone());
        let expected: Vec<u8> = [
            &24u32.to_ne_bytes()[..],
            &0x21u16.to_ne_bytes(),
            &5u16.to_ne_bytes(),
            &9u32.to_ne_bytes(),
            &0u32.to_ne_bytes(),
            &[12, 1, 0, 0],
            &[4, 0, 1, 0],
        ]
        .concat();
        assert_eq!(*bytes, expected);
        let message = Message::deserialize(&bytes).unwrap();
        assert!(matches!(message.payload, NetlinkPayload::InnerMessage(inner) if inner.payload == payload));
    }

    #[test]
    fn split_never_runs_past_the_end() {
        let one = encode(0x21, 0, 0, Payload { command: 1, attributes: Zeroizing::new(vec![]) });
        assert_eq!(split(&[one.as_slice(), one.as_slice()].concat()).count(), 2);
        assert_eq!(split(&one[..one.len() - 1]).count(), 0);
        assert_eq!(split(&[0; 32]).count(), 0);
        assert_eq!(split(&[]).count(), 0);
    }
}
