// SPDX-License-Identifier: GPL-2.0-only

//! ChaCha20-Poly1305 (RFC 8439 section 2.8) from the kernel's ChaCha20 and Poly1305 libraries: no allocation, any context.
//!
//! The library's own combination of the two takes a nonce of 64 bits, and the crypto API's cannot be had in softirq.

use super::errno;
use super::wipe::{wipe, wipe_value};
use crate::bindings;
use crate::proto::suite::TAG_LEN;
use crate::proto::uapi::NONCE_LEN;
use kernel::prelude::*;

const KEY_LEN: usize = 32;
const ROUNDS: i32 = 20;
/// "expand 32-byte k", as the little-endian words it is read in (RFC 8439 section 2.3).
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// Bytes that Poly1305 is fed to make lengths multiples of 16.
const ZEROS: [u8; POLY1305_BLOCK_LEN] = [0; POLY1305_BLOCK_LEN];
const POLY1305_BLOCK_LEN: usize = 16;
const POLY1305_KEY_LEN: usize = 32;

/// A key, as the words it is used in. Wiped when dropped.
#[derive(Default)]
pub(super) struct Key([u32; KEY_LEN / 4]);

impl Key {
    /// Prepares a key of 32 bytes.
    pub(super) fn prepare(&mut self, raw: &[u8]) -> Result {
        if raw.len() != KEY_LEN {
            return Err(EINVAL);
        }
        read_words(raw, &mut self.0);
        Ok(())
    }

    /// Seals `plain` into `data`, of the same length, and `tag`.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        plain: &[u8],
        data: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result {
        let mut stream = Stream::new(self, nonce);
        let mut one_time = stream.one_time_key()?;
        stream.apply(plain, data)?;
        *tag = mac(&one_time, aad, data);
        wipe(&mut one_time);
        Ok(())
    }

    /// Opens `data` into `plain`, of the same length, if `tag` is right.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &[u8],
        tag: &[u8; TAG_LEN],
        plain: &mut [u8],
    ) -> Result {
        let mut stream = Stream::new(self, nonce);
        let mut one_time = stream.one_time_key()?;
        let mut expected = mac(&one_time, aad, data);
        wipe(&mut one_time);
        // SAFETY: both are valid for reads of their length. It takes the same time whatever they hold.
        let differs = unsafe { bindings::__crypto_memneq(expected.as_ptr().cast(), tag.as_ptr().cast(), TAG_LEN) } != 0;
        wipe(&mut expected);
        if differs {
            return Err(errno::ebadmsg());
        }
        stream.apply(data, plain)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: an array of integers.
        unsafe { wipe_value(&mut self.0) };
    }
}

/// ChaCha20's state, from block 0 on. Wiped when dropped.
struct Stream(bindings::chacha_state);

impl Stream {
    /// The constants, the key, a block counter of 32 bits, the nonce (RFC 8439 section 2.3).
    fn new(key: &Key, nonce: &[u8; NONCE_LEN]) -> Self {
        let mut state = bindings::chacha_state::default();
        let mut words = [0; NONCE_LEN / 4];
        read_words(nonce, &mut words);
        let parts: [&[u32]; 4] = [&CONSTANTS, &key.0, &[0], &words];
        for (to, from) in state.x.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        Self(state)
    }

    /// Enciphers `from` into `to`, of the same length. Each call begins with a new block.
    fn apply(&mut self, from: &[u8], to: &mut [u8]) -> Result {
        let len = u32::try_from(from.len()).map_err(|_| EINVAL)?;
        if to.len() != from.len() {
            return Err(EINVAL);
        }
        // SAFETY: the state is valid, `to` for writes and `from` for reads of `len` bytes.
        unsafe { bindings::chacha_crypt(&mut self.0, to.as_mut_ptr(), from.as_ptr(), len, ROUNDS) };
        Ok(())
    }

    /// Poly1305's key: the first half of block 0 (RFC 8439 section 2.6).
    fn one_time_key(&mut self) -> Result<[u8; POLY1305_KEY_LEN]> {
        let mut key = [0; POLY1305_KEY_LEN];
        self.apply(&[0; POLY1305_KEY_LEN], &mut key)?;
        Ok(key)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the structure is an array of integers.
        unsafe { wipe_value(&mut self.0) };
    }
}

/// Reads little-endian words.
fn read_words(bytes: &[u8], words: &mut [u32]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_le_bytes);
    }
}

/// The tag of `aad || pad16 || data || pad16 || u64 aad's length || u64 data's length`, little-endian.
fn mac(one_time: &[u8; POLY1305_KEY_LEN], aad: &[u8], data: &[u8]) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    let mut state = bindings::poly1305_desc_ctx::default();
    // SAFETY: the state is valid for writes, the key for reads of its 32 bytes.
    unsafe { bindings::poly1305_init(&mut state, one_time.as_ptr()) };
    let (aad_len, data_len) = ((aad.len() as u64).to_le_bytes(), (data.len() as u64).to_le_bytes());
    for part in [aad, padding(aad), data, padding(data), &aad_len, &data_len] {
        // SAFETY: the state was initialised, `part` is valid for reads of its length, which is that of packet headers.
        unsafe { bindings::poly1305_update(&mut state, part.as_ptr(), part.len() as u32) };
    }
    // SAFETY: the state was initialised, and `tag` is valid for writes of the 16 bytes of a tag. This wipes the state.
    unsafe { bindings::poly1305_final(&mut state, tag.as_mut_ptr()) };
    tag
}

/// What makes the length of `part` a multiple of Poly1305's block.
fn padding(part: &[u8]) -> &'static [u8] {
    let short = part.len().wrapping_neg() % POLY1305_BLOCK_LEN;
    ZEROS.get(..short).unwrap_or(&[])
}
