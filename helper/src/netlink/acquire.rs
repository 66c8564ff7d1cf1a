// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The module asks for a key.

use pdmv2_proto::uapi::attr::key as attr;
use pdmv2_proto::uapi::KeyDirection;

use super::attribute::Attributes;
use super::error::Malformed;
use super::flow_id::get_flow_id;
use super::key::KeyName;

/// Reads an acquire.
///
/// # Errors
/// An attribute missing or of a wrong length.
pub fn decode(bytes: &[u8]) -> Result<KeyName, Malformed> {
    let (mut association, mut generation, mut direction, mut flow, mut epoch) = (None, None, None, None, None);
    for attribute in Attributes(bytes) {
        let attribute = attribute?;
        match attribute.kind {
            attr::ASSOCIATION => association = Some(attribute.text()?),
            attr::GENERATION => generation = Some(attribute.uint()?),
            attr::DIRECTION => direction = KeyDirection::from_u8(attribute.u8()?),
            attr::FLOW => flow = Some(get_flow_id(attribute.nest())?),
            attr::EPOCH => epoch = Some(attribute.u32()?),
            _ => {}
        }
    }
    Ok(KeyName {
        association: association.ok_or(Malformed)?,
        generation: generation.ok_or(Malformed)?,
        direction: direction.ok_or(Malformed)?,
        flow: flow.ok_or(Malformed)?,
        epoch: epoch.ok_or(Malformed)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::schedule::FlowKey;
    use crate::secret::Secret;
    use pdmv2_proto::flow_id::FlowId;
    use proptest::prelude::*;

    #[test]
    fn a_key_goes_by_the_name_it_was_asked_under() {
        let name = KeyName {
            association: "b".into(),
            generation: 4,
            direction: KeyDirection::Receive,
            flow: FlowId { local: [1; 16], remote: [2; 16], local_port: 5, remote_port: 6, protocol: 6 },
            epoch: 1 << 20,
        };
        let key = FlowKey { key: Secret::new(vec![1; 16]), base_nonce: [2; 12] };
        assert_eq!(decode(&name.encode(&key).into_bytes()), Ok(name.clone()));
        assert_eq!(name.sender().local, [2; 16]);
        assert_eq!(name.sender().local_port, 6);
        assert_eq!(KeyName { direction: KeyDirection::Send, ..name.clone() }.sender(), name.flow);
        assert_eq!(decode(&[]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
