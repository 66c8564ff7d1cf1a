// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Prefixes and 5-tuples as attributes.

use std::net::Ipv6Addr;

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::uapi::attr::{flow_id, prefix};

use super::attribute::{Attributes, Builder};
use super::error::Malformed;
use crate::prefix::Prefix;

/// Adds a prefix.
pub fn put_prefix(builder: &mut Builder, kind: u16, value: &Prefix) {
    builder.nest(kind, |nest| {
        nest.bytes(prefix::ADDRESS, &value.address().octets()).u8(prefix::LENGTH, value.length());
    });
}

/// Reads a prefix.
///
/// # Errors
/// A part missing, or bits set after the length.
pub fn get_prefix(attributes: Attributes<'_>) -> Result<Prefix, Malformed> {
    let (mut address, mut length) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            prefix::ADDRESS => address = Some(Ipv6Addr::from(attribute.array::<16>()?)),
            prefix::LENGTH => length = Some(attribute.u8()?),
            _ => {}
        }
    }
    Prefix::new(address.ok_or(Malformed)?, length.ok_or(Malformed)?).map_err(|_| Malformed)
}

/// Adds a 5-tuple.
pub fn put_flow_id(builder: &mut Builder, kind: u16, id: &FlowId) {
    builder.nest(kind, |nest| {
        nest.bytes(flow_id::LOCAL_ADDRESS, &id.local)
            .u16(flow_id::LOCAL_PORT, id.local_port)
            .bytes(flow_id::REMOTE_ADDRESS, &id.remote)
            .u16(flow_id::REMOTE_PORT, id.remote_port)
            .u8(flow_id::PROTOCOL, id.protocol);
    });
}

/// Reads a 5-tuple; ports that are missing are 0.
///
/// # Errors
/// An address or the protocol missing.
pub fn get_flow_id(attributes: Attributes<'_>) -> Result<FlowId, Malformed> {
    let mut id = FlowId::default();
    let mut seen = 0u8;
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            flow_id::LOCAL_ADDRESS => (id.local, seen) = (attribute.array()?, seen | 1),
            flow_id::LOCAL_PORT => id.local_port = attribute.u16()?,
            flow_id::REMOTE_ADDRESS => (id.remote, seen) = (attribute.array()?, seen | 2),
            flow_id::REMOTE_PORT => id.remote_port = attribute.u16()?,
            flow_id::PROTOCOL => (id.protocol, seen) = (attribute.u8()?, seen | 4),
            _ => {}
        }
    }
    if seen == 7 {
        Ok(id)
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let id = FlowId { local: [1; 16], remote: [2; 16], local_port: 1000, remote_port: 2000, protocol: 17 };
        let prefix: Prefix = "fd00::/64".parse().unwrap();
        let mut builder = Builder::default();
        put_flow_id(&mut builder, 1, &id);
        put_prefix(&mut builder, 2, &prefix);
        let bytes = builder.into_bytes();
        let read: Vec<_> = Attributes(&bytes).map(Result::unwrap).collect();
        assert_eq!(get_flow_id(read[0].nest()), Ok(id));
        assert_eq!(get_prefix(read[1].nest()), Ok(prefix));
        assert_eq!(get_flow_id(Attributes(&[])), Err(Malformed));
        assert_eq!(get_prefix(Attributes(&[])), Err(Malformed));
    }
}
