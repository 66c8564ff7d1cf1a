// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What binds a negotiation to its messages, its TLS session and its two identities.

use sha2::{Digest, Sha256};

use super::frame::frame;
use super::Purpose;
use crate::identity::PublicKey;

/// HPKE's psk_id.
pub const PSK_ID: &[u8] = b"pdmv2-tls";

/// Exporter context of the secret.
pub const fn secret_label(purpose: Purpose) -> &'static [u8] {
    match purpose {
        Purpose::Pair => b"PDMv2 SharedSecret",
        Purpose::Master => b"PDMv2 PairMasterSecret",
    }
}

/// Exporter context of m5's confirmation.
pub const CLIENT_CONFIRM: &[u8] = b"pdmv2 client confirm";

/// Start of the exporter context of m4's confirmation.
const SERVER_CONFIRM: &[u8] = b"pdmv2 server confirm";

/// Start of HPKE's info.
const INFO: &[u8] = b"pdmv2 v1\0";

/// SHA-256 of a transcript.
pub type Transcript = [u8; 32];

/// `T = SHA-256(u32 len(m1) || m1 || u32 len(m2) || m2)`: the two messages as framed.
pub fn transcript(m1: &[u8], m2: &[u8]) -> Transcript {
    Sha256::new().chain_update(frame(m1)).chain_update(frame(m2)).finalize().into()
}

/// `info = "pdmv2 v1" || 00 || T || client identity key || server identity key`.
pub fn info(transcript: &Transcript, client: &PublicKey, server: &PublicKey) -> Vec<u8> {
    [INFO, transcript, &client.0, &server.0].concat()
}

/// `"pdmv2 server confirm" || SHA-256(m3)`.
pub fn server_confirm(m3: &[u8]) -> Vec<u8> {
    [SERVER_CONFIRM, &Sha256::digest(m3)].concat()
}
