// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Inputs of the key schedule (docs/protocol.md, section 4), as byte strings for any HKDF.
//!
//! ```text
//! prk               = LabeledExtract(salt, "pdmv2_prk", SharedSecret)
//! secret_id         = LabeledExpand(prk, "pdmv2_id", "", 8)
//! key || base_nonce = LabeledExpand(prk, "pdmv2_key", context, Nk + 12)
//! ```
//!
//! LabeledExtract and LabeledExpand are those of RFC 9180 section 4:
//!
//! ```text
//! LabeledExtract(salt, label, ikm)  = Extract(salt, "HPKE-v1" || suite_id || label || ikm)
//! LabeledExpand(prk, label, info, L) = Expand(prk, I2OSP(L, 2) || "HPKE-v1" || suite_id || label || info, L)
//! ```

use super::flow_id::FlowId;
use super::suite::{Suite, SUITE_ID_LEN};
use super::uapi::{KEY_MAX, NONCE_LEN, SECRET_ID_LEN};

/// Label of the pseudo-random key.
pub const LABEL_PRK: &[u8] = b"pdmv2_prk";
/// Label of the public identifier.
pub const LABEL_ID: &[u8] = b"pdmv2_id";
/// Label of a flow's key material.
pub const LABEL_KEY: &[u8] = b"pdmv2_key";

/// Version label of RFC 9180 section 4.
pub const HPKE_V1: &[u8] = b"HPKE-v1";

/// Bytes of [`flow_context`].
pub const CONTEXT_LEN: usize = 1 + 4 + 1 + 16 + 16 + 2 + 2;

/// Longest string this module builds, bytes.
pub const INPUT_MAX: usize = 2 + 7 + SUITE_ID_LEN + 9 + CONTEXT_LEN;

/// Longest key material of a flow, bytes: an AEAD key and a base nonce.
pub const MATERIAL_MAX: usize = KEY_MAX + NONCE_LEN;

/// A byte string of bounded length.
#[derive(Clone, Copy)]
pub struct Input {
    bytes: [u8; INPUT_MAX],
    len: usize,
}

impl Input {
    fn of(parts: &[&[u8]]) -> Self {
        let mut input = Self { bytes: [0; INPUT_MAX], len: 0 };
        for part in parts {
            let end = input.len.saturating_add(part.len());
            // INPUT_MAX is the sum of the longest parts, so this always finds room.
            if let Some(room) = input.bytes.get_mut(input.len..end) {
                room.copy_from_slice(part);
                input.len = end;
            }
        }
        input
    }

    /// The string.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// What precedes the secret in the input keying material of LabeledExtract for the prk: the extract's `ikm` is this
/// string followed by SharedSecret, its `salt` the negotiated one (may be empty).
pub fn prk_prefix(suite: Suite) -> Input {
    Input::of(&[HPKE_V1, &suite.id(), LABEL_PRK])
}

/// The `info` of Expand for the secret's public identifier of [`SECRET_ID_LEN`] bytes.
pub fn id_info(suite: Suite) -> Input {
    Input::of(&[&(SECRET_ID_LEN as u16).to_be_bytes(), HPKE_V1, &suite.id(), LABEL_ID])
}

/// The `info` of Expand for a flow's key and base nonce, and their joint length (Nk + 12) in bytes.
///
/// `sender` is the 5-tuple with the packet's source as the local side. `None` for an unknown AEAD.
pub fn key_info(suite: Suite, profile: u8, epoch: u32, sender: &FlowId) -> Option<(Input, usize)> {
    let len = suite.key_len()?.checked_add(NONCE_LEN)?;
    let context = flow_context(profile, epoch, sender);
    Some((Input::of(&[&(len as u16).to_be_bytes(), HPKE_V1, &suite.id(), LABEL_KEY, &context]), len))
}

/// `profile || epoch-or-kri || protocol || SADDR || DADDR || SPORT || DPORT`, as sent.
pub fn flow_context(profile: u8, epoch: u32, sender: &FlowId) -> [u8; CONTEXT_LEN] {
    let mut context = [0; CONTEXT_LEN];
    let (epoch, sport, dport) =
        (epoch.to_be_bytes(), sender.local_port.to_be_bytes(), sender.remote_port.to_be_bytes());
    let parts: [&[u8]; 7] = [&[profile], &epoch, &[sender.protocol], &sender.local, &sender.remote, &sport, &dport];
    for (to, from) in context.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *from;
    }
    context
}

/// `base_nonce XOR I2OSP(counter, 12)`: the nonce of one packet; `counter` is PSNTP in profile `v2`, the 15-bit
/// field in `v2-kri`.
pub fn nonce(base: &[u8; NONCE_LEN], counter: u16) -> [u8; NONCE_LEN] {
    let [high, low] = counter.to_be_bytes();
    let mut nonce = *base;
    let [.., a, b] = &mut nonce;
    *a ^= high;
    *b ^= low;
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_input_fits() {
        let id = FlowId::default();
        let (info, len) = key_info(Suite { aead: 3, ..Suite::DEFAULT }, 2, 0xfff, &id).unwrap();
        assert_eq!(info.as_bytes().len(), INPUT_MAX);
        assert_eq!(len, MATERIAL_MAX);
    }

    /// `u8 profile || u32 epoch-or-kri || ...`: a Kri takes all 32 bits.
    #[test]
    fn context_begins_with_profile_and_kri() {
        let id = FlowId { protocol: 17, local_port: 0x0102, remote_port: 0x0304, ..FlowId::default() };
        let context = flow_context(3, 0x0A0B_0C0D, &id);
        assert_eq!(context[..6], [3, 0x0A, 0x0B, 0x0C, 0x0D, 17]);
        assert_eq!(context[CONTEXT_LEN - 4..], [1, 2, 3, 4]);
    }

    #[test]
    fn nonce_changes_only_its_last_two_bytes() {
        let base = [0xa5; NONCE_LEN];
        assert_eq!(nonce(&base, 0), base);
        let n = nonce(&base, 0x1234);
        assert_eq!(n[..10], base[..10]);
        assert_eq!(n[10..], [0xa5 ^ 0x12, 0xa5 ^ 0x34]);
    }
}
