// SPDX-License-Identifier: GPL-2.0-only

//! The key of one flow, direction and epoch: prepared for the cipher, with its base nonce.

use crate::proto::flow_id::FlowId;
use crate::proto::schedule::{key_info, nonce, MATERIAL_MAX};
use crate::proto::suite::Suite;
use crate::proto::uapi::{Profile, NONCE_LEN};
use crate::proto::wire::{AAD_LEN, SEALED_LEN, V2_INTERIOR_LEN};
use crate::sys::aead;
use crate::sys::errno;
use crate::sys::hmac::Prk;
use crate::sys::wipe::wipe;
use kernel::prelude::*;

/// A flow key. Wiped when dropped.
pub(crate) struct FlowKey {
    key: aead::Key,
    base_nonce: [u8; NONCE_LEN],
}

impl FlowKey {
    /// From key material that the helper derived.
    pub(crate) fn new(key: &[u8], base_nonce: &[u8; NONCE_LEN]) -> Result<KBox<Self>> {
        let mut flow_key = KBox::new(Self { key: aead::Key::empty(), base_nonce: *base_nonce }, GFP_ATOMIC)?;
        flow_key.key.prepare(key)?;
        Ok(flow_key)
    }

    /// Derives it: `key || base_nonce = LabeledExpand(prk, "pdmv2_key", context, Nk + 12)`. `sender` has the packet's
    /// source as its local side.
    pub(crate) fn derive(prk: &Prk, suite: Suite, epoch: u16, sender: &FlowId) -> Result<KBox<Self>> {
        let (info, len) = key_info(suite, Profile::V2 as u8, u32::from(epoch), sender).ok_or(errno::eopnotsupp())?;
        let mut material = [0; MATERIAL_MAX];
        let derived = material.get_mut(..len).ok_or(EINVAL)?;
        prk.expand(&info, derived)?;
        let key = match derived.split_last_chunk::<NONCE_LEN>() {
            Some((key, base_nonce)) => Self::new(key, base_nonce),
            None => Err(EINVAL),
        };
        wipe(&mut material);
        key
    }

    /// Seals an option's interior. `counter` is never used twice with this key.
    pub(crate) fn seal(
        &self,
        counter: u16,
        aad: &[u8; AAD_LEN],
        interior: &[u8; V2_INTERIOR_LEN],
    ) -> Result<[u8; SEALED_LEN]> {
        let mut sealed = [0; SEALED_LEN];
        self.key.seal(&nonce(&self.base_nonce, counter), aad, interior, &mut sealed)?;
        Ok(sealed)
    }

    /// Opens a sealed interior, if its tag is right.
    pub(crate) fn open(&self, counter: u16, aad: &[u8], sealed: &[u8; SEALED_LEN]) -> Option<[u8; V2_INTERIOR_LEN]> {
        let mut interior = [0; V2_INTERIOR_LEN];
        self.key.open(&nonce(&self.base_nonce, counter), aad, sealed, &mut interior).ok()?;
        Some(interior)
    }
}

impl Drop for FlowKey {
    fn drop(&mut self) {
        wipe(&mut self.base_nonce);
    }
}
