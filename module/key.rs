// SPDX-License-Identifier: GPL-2.0-only

//! The key of one flow, direction and epoch: its material, and the cipher prepared with it while the flow is in use.

use crate::account::{PaidBox, Payer};
use crate::proto::flow_id::FlowId;
use crate::proto::schedule::{key_info, nonce, MATERIAL_MAX};
use crate::proto::suite::{Aead, Suite};
use crate::proto::uapi::{Profile, KEY_MAX, NONCE_LEN};
use crate::proto::wire::{AAD_LEN, SEALED_LEN, V2_INTERIOR_LEN};
use crate::sys::aead;
use crate::sys::errno;
use crate::sys::hmac::Prk;
use crate::sys::wipe::wipe;
use kernel::prelude::*;

/// Key material where it stays: a move would leave a copy behind. Wiped when dropped.
struct Material {
    key: [u8; KEY_MAX],
    aead: Aead,
    base_nonce: [u8; NONCE_LEN],
}

impl Material {
    fn key(&self) -> &[u8] {
        self.key.get(..self.aead.key_len()).unwrap_or(&[])
    }
}

impl Drop for Material {
    fn drop(&mut self) {
        wipe(&mut self.key);
        wipe(&mut self.base_nonce);
    }
}

/// The cipher of key material.
fn prepared(material: &Material, payer: Payer<'_>) -> Result<PaidBox<aead::Key>> {
    let mut cipher = PaidBox::new(aead::Key::empty(material.aead), payer)?;
    cipher.prepare(material.key())?;
    Ok(cipher)
}

/// A flow key.
pub(crate) struct FlowKey {
    material: PaidBox<Material>,
    cipher: Option<PaidBox<aead::Key>>,
}

impl FlowKey {
    /// From key material of the suite's lengths.
    pub(crate) fn new(suite: Suite, key: &[u8], base_nonce: &[u8; NONCE_LEN], payer: Payer<'_>) -> Result<Self> {
        let aead = Aead::of(suite).ok_or(errno::eopnotsupp())?;
        if key.len() != aead.key_len() {
            return Err(EINVAL);
        }
        let empty = Material { key: [0; KEY_MAX], aead, base_nonce: *base_nonce };
        let mut material = PaidBox::new(empty, payer)?;
        material.key.get_mut(..key.len()).ok_or(EINVAL)?.copy_from_slice(key);
        let cipher = Some(prepared(&material, payer)?);
        Ok(Self { material, cipher })
    }

    /// Derives it: `key || base_nonce = LabeledExpand(prk, "pdmv2_key", context, Nk + 12)`. `sender` has the packet's
    /// source as its local side; `epoch` is Kri in profile `v2-kri`.
    pub(crate) fn derive(
        prk: &Prk,
        suite: Suite,
        profile: Profile,
        epoch: u32,
        sender: &FlowId,
        payer: Payer<'_>,
    ) -> Result<Self> {
        let (info, len) = key_info(suite, profile as u8, epoch, sender).ok_or(errno::eopnotsupp())?;
        let mut material = [0; MATERIAL_MAX];
        let derived = material.get_mut(..len).ok_or(EINVAL)?;
        prk.expand(&info, derived)?;
        let key = match derived.split_last_chunk::<NONCE_LEN>() {
            Some((key, base_nonce)) => Self::new(suite, key, base_nonce, payer),
            None => Err(EINVAL),
        };
        wipe(&mut material);
        key
    }

    /// Prepares the cipher, if it is not. A key that is prepared seals and opens without fail for want of memory.
    pub(crate) fn prepare(&mut self) -> Result {
        if self.cipher.is_none() {
            self.cipher = Some(prepared(&self.material, self.material.payer())?);
        }
        Ok(())
    }

    /// Gives the prepared cipher up, and keeps the material.
    pub(crate) fn rest(&mut self) {
        self.cipher = None;
    }

    /// Seals an option's interior, once prepared. `counter` is never used twice with this key.
    pub(crate) fn seal(
        &self,
        counter: u16,
        aad: &[u8; AAD_LEN],
        interior: &[u8; V2_INTERIOR_LEN],
    ) -> Result<[u8; SEALED_LEN]> {
        let mut sealed = [0; SEALED_LEN];
        let cipher = self.cipher.as_ref().ok_or(EINVAL)?;
        cipher.seal(&nonce(&self.material.base_nonce, counter), aad, interior, &mut sealed)?;
        Ok(sealed)
    }

    /// Opens a sealed interior, if its tag is right.
    pub(crate) fn open(
        &mut self,
        counter: u16,
        aad: &[u8],
        sealed: &[u8; SEALED_LEN],
    ) -> Option<[u8; V2_INTERIOR_LEN]> {
        self.prepare().ok()?;
        let mut interior = [0; V2_INTERIOR_LEN];
        let nonce = nonce(&self.material.base_nonce, counter);
        self.cipher.as_ref()?.open(&nonce, aad, sealed, &mut interior).ok()?;
        Some(interior)
    }
}
