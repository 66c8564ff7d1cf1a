// SPDX-License-Identifier: GPL-2.0-only

//! Debug builds check the published vectors against the kernel's own crypto before the module goes live.

#[path = "selftest_vectors.rs"]
mod vectors;

use crate::account::{Account, Payer, Standing};
use crate::key::FlowKey;
use crate::proto::flow_id::FlowId;
use crate::proto::schedule::{id_info, key_info, MATERIAL_MAX};
use crate::proto::suite::{Aead, Kdf, Suite, TAG_LEN};
use crate::proto::uapi::{NONCE_LEN, SECRET_ID_LEN};
use crate::sys::aead;
use crate::sys::errno;
use crate::sys::hmac::Prk;
use kernel::prelude::*;
use vectors::{Vector, VECTORS};

/// What of a vector did not come out.
type Wrong = &'static str;

fn check_derivation(v: &Vector, suite: Suite) -> Result<(), Wrong> {
    let kdf = Kdf::of(suite).ok_or("kdf")?;
    let prk = Prk::new(kdf, v.prk).map_err(|_| "prk: not prepared")?;
    let mut id = [0; SECRET_ID_LEN];
    prk.expand(&id_info(suite), &mut id).map_err(|_| "secret_id: not derived")?;
    if id != v.secret_id {
        return Err("secret_id");
    }
    let flow =
        FlowId { local: v.saddr, remote: v.daddr, local_port: v.sport, remote_port: v.dport, protocol: v.protocol };
    let (info, len) = key_info(suite, v.profile, v.epoch, &flow).ok_or("suite")?;
    let mut material = [0; MATERIAL_MAX];
    let material = material.get_mut(..len).ok_or("length of the key material")?;
    prk.expand(&info, material).map_err(|_| "key: not derived")?;
    if material.strip_suffix(&v.base_nonce) != Some(v.key) {
        return Err("key and base_nonce");
    }
    Ok(())
}

fn check_sealing(v: &Vector, suite: Suite) -> Result<(), Wrong> {
    let account = Account::new(true).map_err(|_| "no memory")?;
    let payer = Payer { account: &account, standing: Standing::Live };
    let mut key = FlowKey::new(suite, v.key, &v.base_nonce, payer).map_err(|_| "key: not prepared")?;
    let sealed = key.seal(v.counter, &v.aad, &v.body).map_err(|_| "sealing")?;
    if sealed != v.sealed {
        return Err("sealed");
    }
    if key.open(v.counter, &v.aad, &sealed) != Some(v.body) {
        return Err("opening");
    }
    for bit in 0..sealed.len() * 8 {
        let mut forged = sealed;
        if let Some(byte) = forged.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        if key.open(v.counter, &v.aad, &forged).is_some() {
            return Err("a flipped bit is accepted");
        }
    }
    if key.open(v.counter ^ 1, &v.aad, &sealed).is_some() {
        return Err("another nonce is accepted");
    }
    Ok(())
}

/// RFC 8439 section 2.8.2: nonce and associated data of its example.
const RFC_8439_NONCE: [u8; NONCE_LEN] = *b"\x07\x00\x00\x00\x40\x41\x42\x43\x44\x45\x46\x47";
const RFC_8439_AAD: &[u8] = b"\x50\x51\x52\x53\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7";
/// Its plaintext, of 114 bytes: longer than a block, and no multiple of 16.
const RFC_8439_PLAIN: &[u8; 114] = b"Ladies and Gentlemen of the class of '99: \
If I could offer you only one tip for the future, sunscreen would be it.";
/// Its ciphertext and tag.
const RFC_8439_SEALED: &[u8; 114 + TAG_LEN] = b"\xd3\x1a\x8d\x34\x64\x8e\x60\xdb\x7b\x86\xaf\xbc\x53\xef\x7e\xc2\
\xa4\xad\xed\x51\x29\x6e\x08\xfe\xa9\xe2\xb5\xa7\x36\xee\x62\xd6\
\x3d\xbe\xa4\x5e\x8c\xa9\x67\x12\x82\xfa\xfb\x69\xda\x92\x72\x8b\
\x1a\x71\xde\x0a\x9e\x06\x0b\x29\x05\xd6\xa5\xb6\x7e\xcd\x3b\x36\
\x92\xdd\xbd\x7f\x2d\x77\x8b\x8c\x98\x03\xae\xe3\x28\x09\x1b\x58\
\xfa\xb3\x24\xe4\xfa\xd6\x75\x94\x55\x85\x80\x8b\x48\x31\xd7\xbc\
\x3f\xf4\xde\xf0\x8e\x4b\x7a\x9d\xe5\x76\xd2\x65\x86\xce\xc6\x4b\
\x61\x16\x1a\xe1\x0b\x59\x4f\x09\xe2\x6a\x7e\x90\x2e\xcb\xd0\x60\x06\x91";

/// The published example of ChaCha20-Poly1305, as the module puts it together from the kernel's two primitives.
fn check_rfc_8439() -> Result<(), Wrong> {
    let raw: [u8; 32] = core::array::from_fn(|at| 0x80 | at as u8);
    let mut key = aead::Key::empty(Aead::ChaCha20Poly1305);
    key.prepare(&raw).map_err(|_| "key: not prepared")?;
    let (mut sealed, mut plain) = ([0; 114 + TAG_LEN], [0; 114]);
    key.seal(&RFC_8439_NONCE, RFC_8439_AAD, RFC_8439_PLAIN, &mut sealed).map_err(|_| "sealing")?;
    if sealed != *RFC_8439_SEALED {
        return Err("sealed");
    }
    key.open(&RFC_8439_NONCE, RFC_8439_AAD, &sealed, &mut plain).map_err(|_| "opening")?;
    if plain != *RFC_8439_PLAIN {
        return Err("opened");
    }
    if key.open(&RFC_8439_NONCE, b"", &sealed, &mut plain).is_ok() {
        return Err("other associated data is accepted, which");
    }
    Ok(())
}

/// Checks every vector. The module does not load when one is wrong.
pub(crate) fn run() -> Result {
    check_rfc_8439().map_err(|wrong| {
        pr_err!("self-test: RFC 8439 section 2.8.2: {wrong} differs; the module is not loaded\n");
        errno::ebadmsg()
    })?;
    for (number, v) in VECTORS.iter().enumerate() {
        let suite = Suite { kem: v.kem, kdf: v.kdf, aead: v.aead };
        if let Err(wrong) = check_derivation(v, suite).and_then(|()| check_sealing(v, suite)) {
            pr_err!("self-test: vector {number}: {wrong} differs; the module is not loaded\n");
            return Err(errno::ebadmsg());
        }
    }
    pr_info!("self-test: {} vectors derived, sealed and opened, and that of RFC 8439\n", VECTORS.len());
    Ok(())
}
