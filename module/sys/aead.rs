// SPDX-License-Identifier: GPL-2.0-only

//! Authenticated encryption by the kernel's libraries: no allocation, any context, keys shared without locks.

use super::chacha20_poly1305;
use super::wipe::wipe_value;
use crate::bindings;
use crate::proto::suite::{Aead, TAG_LEN};
use crate::proto::uapi::NONCE_LEN;
use kernel::prelude::*;

/// AES-GCM's prepared key. Wiped when dropped.
#[derive(Default)]
struct AesGcm(bindings::pdmv2_aes_gcm_key);

impl Drop for AesGcm {
    fn drop(&mut self) {
        // SAFETY: the structure is plain integers and arrays of them.
        unsafe { wipe_value(&mut self.0) };
    }
}

/// A key prepared for sealing and opening. Wiped when dropped.
pub(crate) struct Key(Cipher);

enum Cipher {
    AesGcm(AesGcm),
    ChaCha20Poly1305(chacha20_poly1305::Key),
}

// SAFETY: a prepared key is plain data that nothing changes after its preparation.
unsafe impl Send for Key {}
// SAFETY: as above; the libraries take it by pointer to const.
unsafe impl Sync for Key {}

impl Key {
    /// Room for a key of this AEAD, to be prepared where it will stay: a move would leave a copy behind.
    pub(crate) fn empty(aead: Aead) -> Self {
        Self(match aead {
            Aead::Aes128Gcm | Aead::Aes256Gcm => Cipher::AesGcm(AesGcm::default()),
            Aead::ChaCha20Poly1305 => Cipher::ChaCha20Poly1305(chacha20_poly1305::Key::default()),
        })
    }

    /// Prepares a key; the caller has checked its length against the suite's.
    pub(crate) fn prepare(&mut self, raw: &[u8]) -> Result {
        match &mut self.0 {
            Cipher::AesGcm(AesGcm(key)) => {
                // SAFETY: the key structure is valid for writes, `raw` for reads of its length.
                let err = unsafe { bindings::pdmv2_aes_gcm_prepare(key, raw.as_ptr(), raw.len(), TAG_LEN) };
                kernel::error::to_result(err)
            }
            Cipher::ChaCha20Poly1305(key) => key.prepare(raw),
        }
    }

    /// Seals `plain` into `sealed`, which is longer by the tag. The caller never uses a nonce twice.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], plain: &[u8], sealed: &mut [u8]) -> Result {
        let (data, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(EINVAL)?;
        if data.len() != plain.len() {
            return Err(EINVAL);
        }
        match &self.0 {
            Cipher::AesGcm(AesGcm(key)) => {
                // SAFETY: every pointer is valid for the length given with it, and `tag` for that of a tag.
                unsafe {
                    bindings::pdmv2_aes_gcm_seal(
                        key,
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
            Cipher::ChaCha20Poly1305(key) => key.seal(nonce, aad, plain, data, tag),
        }
    }

    /// Opens `sealed` into `plain`, which is shorter by the tag. On failure `plain` holds nothing of use.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], sealed: &[u8], plain: &mut [u8]) -> Result {
        let (data, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(EINVAL)?;
        if data.len() != plain.len() {
            return Err(EINVAL);
        }
        match &self.0 {
            Cipher::AesGcm(AesGcm(key)) => {
                // SAFETY: as in `seal`. The library compares the tag in constant time.
                let err = unsafe {
                    bindings::pdmv2_aes_gcm_open(
                        key,
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
            Cipher::ChaCha20Poly1305(key) => key.open(nonce, aad, data, tag, plain),
        }
    }
}
