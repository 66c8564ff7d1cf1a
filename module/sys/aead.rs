// SPDX-License-Identifier: GPL-2.0-only

//! AES-GCM by the kernel's library: no allocation, any context, keys shared without locks.

use crate::bindings;
use crate::proto::suite::TAG_LEN;
use crate::proto::uapi::NONCE_LEN;
use kernel::prelude::*;

/// A key prepared for sealing and opening. Wiped when dropped.
pub(crate) struct Key(bindings::pdmv2_aead_key);

// SAFETY: a prepared key is plain data that nothing changes after its preparation.
unsafe impl Send for Key {}
// SAFETY: as above; the library takes it by pointer to const.
unsafe impl Sync for Key {}

impl Key {
    /// Room for a key, to be prepared where it will stay: a move would leave a copy behind.
    pub(crate) fn empty() -> Self {
        Self(bindings::pdmv2_aead_key::default())
    }

    /// Prepares a key of 16 or 32 bytes.
    pub(crate) fn prepare(&mut self, raw: &[u8]) -> Result {
        // SAFETY: the key structure is valid for writes, `raw` for reads of its length.
        let err = unsafe { bindings::pdmv2_aead_prepare(&mut self.0, raw.as_ptr(), raw.len(), TAG_LEN) };
        kernel::error::to_result(err)
    }

    /// Seals `plain` into `sealed`, which is longer by the tag. The caller never uses a nonce twice.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], plain: &[u8], sealed: &mut [u8]) -> Result {
        if sealed.len() != plain.len() + TAG_LEN {
            return Err(EINVAL);
        }
        let (data, tag) = sealed.split_at_mut(plain.len());
        // SAFETY: every pointer is valid for the length given with it, and `tag` for the length of the prepared key's tag.
        unsafe {
            bindings::pdmv2_aead_seal(
                &self.0,
                nonce.as_ptr(),
                aad.as_ptr(),
                aad.len(),
                plain.as_ptr(),
                plain.len(),
                data.as_mut_ptr(),
                tag.as_mut_ptr(),
            )
        };
        Ok(())
    }

    /// Opens `sealed` into `plain`, which is shorter by the tag. On failure `plain` holds nothing of use.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], sealed: &[u8], plain: &mut [u8]) -> Result {
        if sealed.len() != plain.len() + TAG_LEN {
            return Err(EINVAL);
        }
        let (data, tag) = sealed.split_at(plain.len());
        // SAFETY: as in `seal`. The library compares the tag in constant time.
        let err = unsafe {
            bindings::pdmv2_aead_open(
                &self.0,
                nonce.as_ptr(),
                aad.as_ptr(),
                aad.len(),
                data.as_ptr(),
                data.len(),
                tag.as_ptr(),
                plain.as_mut_ptr(),
            )
        };
        kernel::error::to_result(err)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the structure is plain integers and arrays of them.
        unsafe { super::wipe::wipe_value(&mut self.0) };
    }
}
