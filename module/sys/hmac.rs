// SPDX-License-Identifier: GPL-2.0-only

//! HMAC-SHA256 by the kernel's library, and HKDF-Expand (RFC 5869 section 2.3) over it.

use super::wipe::{wipe, wipe_value};
use crate::bindings;
use crate::proto::schedule::{Input, INPUT_MAX};
use kernel::prelude::*;

const HASH_LEN: usize = 32;

/// A prepared pseudo-random key. Wiped when dropped.
pub(crate) struct Prk(bindings::hmac_sha256_key);

// SAFETY: plain data that nothing changes after its preparation.
unsafe impl Send for Prk {}
// SAFETY: as above.
unsafe impl Sync for Prk {}

impl Prk {
    /// Prepares a key of any length, where it will stay: a move would leave a copy behind.
    pub(crate) fn new(raw: &[u8]) -> Result<KBox<Self>> {
        let mut prk = KBox::new(Self(bindings::hmac_sha256_key::default()), GFP_KERNEL)?;
        // SAFETY: the structure is valid for writes, `raw` for reads of its length.
        unsafe { bindings::hmac_sha256_preparekey(&mut prk.0, raw.as_ptr(), raw.len()) };
        Ok(prk)
    }

    /// HKDF-Expand of `info` into `out`, at most 255 blocks.
    pub(crate) fn expand(&self, info: &Input, out: &mut [u8]) -> Result {
        let info = info.as_bytes();
        let mut message = [0u8; HASH_LEN + INPUT_MAX + 1];
        let mut block = [0u8; HASH_LEN];
        let (mut counter, mut chained) = (1u8, 0usize);
        for part in out.chunks_mut(HASH_LEN) {
            let end = chained + info.len();
            message.get_mut(..chained).ok_or(EINVAL)?.copy_from_slice(block.get(..chained).ok_or(EINVAL)?);
            message.get_mut(chained..end).ok_or(EINVAL)?.copy_from_slice(info);
            *message.get_mut(end).ok_or(EINVAL)? = counter;
            // SAFETY: `message` holds at least `end + 1` bytes, as the line above has found the last, `block` 32.
            unsafe { bindings::hmac_sha256(&self.0, message.as_ptr(), end + 1, block.as_mut_ptr()) };
            part.copy_from_slice(block.get(..part.len()).ok_or(EINVAL)?);
            chained = HASH_LEN;
            counter = counter.checked_add(1).ok_or(EINVAL)?;
        }
        wipe(&mut message);
        wipe(&mut block);
        Ok(())
    }
}

impl Drop for Prk {
    fn drop(&mut self) {
        // SAFETY: the structure is plain integers and arrays of them.
        unsafe { wipe_value(&mut self.0) };
    }
}
