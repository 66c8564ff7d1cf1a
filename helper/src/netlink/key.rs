// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The key of one flow, direction and epoch.

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::uapi::attr::key as attr;
use pdmv2_proto::uapi::KeyDirection;

use super::attribute::Builder;
use super::flow_id::put_flow_id;
use crate::keys::schedule::FlowKey;

/// Which key is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// Name of the association.
    pub association: String,
    /// Generation.
    pub generation: u64,
    /// Whose packets it protects.
    pub direction: KeyDirection,
    /// The flow, seen from this host.
    pub flow: FlowId,
    /// Epoch, or Kri.
    pub epoch: u32,
}

impl KeyName {
    /// The 5-tuple as the sender of this direction sends it: its own address and port first.
    pub fn sender(&self) -> FlowId {
        match self.direction {
            KeyDirection::Send => self.flow,
            KeyDirection::Receive => self.flow.reversed(),
        }
    }

    /// The attributes of key-add.
    pub fn encode(&self, key: &FlowKey) -> Builder {
        let mut builder = Builder::with_capacity(512);
        builder
            .text(attr::ASSOCIATION, &self.association)
            .u64(attr::GENERATION, self.generation)
            .u8(attr::DIRECTION, self.direction as u8);
        put_flow_id(&mut builder, attr::FLOW, &self.flow);
        builder
            .u32(attr::EPOCH, self.epoch)
            .bytes(attr::KEY, key.key.as_bytes())
            .bytes(attr::BASE_NONCE, &key.base_nonce);
        builder
    }
}
