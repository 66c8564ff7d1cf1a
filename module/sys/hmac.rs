// SPDX-License-Identifier: GPL-2.0-only

//! HMAC by the kernel's library, with SHA-256 or SHA-512, and HKDF-Expand (RFC 5869 section 2.3) over it.

use super::wipe::{wipe, wipe_value};
use crate::bindings;
use crate::proto::schedule::{Input, INPUT_MAX};
use crate::proto::suite::Kdf;
use kernel::prelude::*;

/// Bytes of the longer hash.
const HASH_MAX: usize = 64;

/// A prepared pseudo-random key. Wiped when dropped.
pub(crate) struct Prk(Hmac);

enum Hmac {
    Sha256(bindings::hmac_sha256_key),
    Sha512(bindings::hmac_sha512_key),
}

// SAFETY: plain data that nothing changes after its preparation.
unsafe impl Send for Prk {}
// SAFETY: as above.
unsafe impl Sync for Prk {}

impl Prk {
    /// Prepares a key of any length, where it will stay: a move would leave a copy behind.
    pub(crate) fn new(kdf: Kdf, raw: &[u8]) -> Result<KBox<Self>> {
        let empty = match kdf {
            Kdf::HkdfSha256 => Hmac::Sha256(bindings::hmac_sha256_key::default()),
            Kdf::HkdfSha512 => Hmac::Sha512(bindings::hmac_sha512_key::default()),
        };
        let mut prk = KBox::new(Self(empty), GFP_KERNEL_ACCOUNT)?;
        match &mut prk.0 {
            // SAFETY: the structure is valid for writes, `raw` for reads of its length.
            Hmac::Sha256(key) => unsafe { bindings::hmac_sha256_preparekey(key, raw.as_ptr(), raw.len()) },
            // SAFETY: as above.
            Hmac::Sha512(key) => unsafe { bindings::hmac_sha512_preparekey(key, raw.as_ptr(), raw.len()) },
        }
        Ok(prk)
    }

    fn hash_len(&self) -> usize {
        match &self.0 {
            Hmac::Sha256(_) => Kdf::HkdfSha256.hash_len(),
            Hmac::Sha512(_) => Kdf::HkdfSha512.hash_len(),
        }
    }

    /// The HMAC of `message`, in the first bytes of `block`.
    fn hash(&self, message: &[u8], block: &mut [u8; HASH_MAX]) {
        match &self.0 {
            // SAFETY: `message` is valid for reads of its length, and `block` longer than any hash.
            Hmac::Sha256(key) => unsafe {
                bindings::hmac_sha256(key, message.as_ptr(), message.len(), block.as_mut_ptr())
            },
            // SAFETY: as above.
            Hmac::Sha512(key) => unsafe {
                bindings::hmac_sha512(key, message.as_ptr(), message.len(), block.as_mut_ptr())
            },
        }
    }

    /// HKDF-Expand of `info` into `out`, at most 255 blocks.
    pub(crate) fn expand(&self, info: &Input, out: &mut [u8]) -> Result {
        let (info, hash_len) = (info.as_bytes(), self.hash_len());
        let mut message = [0u8; HASH_MAX + INPUT_MAX + 1];
        let mut block = [0u8; HASH_MAX];
        let (mut counter, mut chained) = (1u8, 0usize);
        for part in out.chunks_mut(hash_len) {
            let end = chained + info.len();
            message.get_mut(..chained).ok_or(EINVAL)?.copy_from_slice(block.get(..chained).ok_or(EINVAL)?);
            message.get_mut(chained..end).ok_or(EINVAL)?.copy_from_slice(info);
            *message.get_mut(end).ok_or(EINVAL)? = counter;
            self.hash(message.get(..end + 1).ok_or(EINVAL)?, &mut block);
            part.copy_from_slice(block.get(..part.len()).ok_or(EINVAL)?);
            chained = hash_len;
            counter = counter.checked_add(1).ok_or(EINVAL)?;
        }
        wipe(&mut message);
        wipe(&mut block);
        Ok(())
    }
}

impl Drop for Prk {
    fn drop(&mut self) {
        match &mut self.0 {
            // SAFETY: the structure is plain integers and arrays of them.
            Hmac::Sha256(key) => unsafe { wipe_value(key) },
            // SAFETY: as above.
            Hmac::Sha512(key) => unsafe { wipe_value(key) },
        }
    }
}
