// SPDX-License-Identifier: GPL-2.0-only

//! Debug builds check the published vectors against the kernel's own crypto before the module goes live.

#[path = "selftest_vectors.rs"]
mod vectors;

use crate::key::FlowKey;
use crate::proto::flow_id::FlowId;
use crate::proto::schedule::{id_info, key_info, MATERIAL_MAX};
use crate::proto::suite::{Suite, KDF_HKDF_SHA256};
use crate::proto::uapi::{Profile, SECRET_ID_LEN};
use crate::sys::errno;
use crate::sys::hmac::Prk;
use kernel::prelude::*;
use vectors::{Vector, VECTORS};

/// What of a vector did not come out.
type Wrong = &'static str;

fn check_derivation(v: &Vector, suite: Suite) -> Result<(), Wrong> {
    let prk = Prk::new(v.prk).map_err(|_| "prk: not prepared")?;
    let mut id = [0; SECRET_ID_LEN];
    prk.expand(&id_info(suite), &mut id).map_err(|_| "secret_id: not derived")?;
    if id != v.secret_id {
        return Err("secret_id");
    }
    let flow =
        FlowId { local: v.saddr, remote: v.daddr, local_port: v.sport, remote_port: v.dport, protocol: v.protocol };
    let (info, len) = key_info(suite, Profile::V2 as u8, u32::from(v.epoch), &flow).ok_or("suite")?;
    let mut material = [0; MATERIAL_MAX];
    let material = material.get_mut(..len).ok_or("length of the key material")?;
    prk.expand(&info, material).map_err(|_| "key: not derived")?;
    if material.strip_suffix(&v.base_nonce) != Some(v.key) {
        return Err("key and base_nonce");
    }
    Ok(())
}

fn check_sealing(v: &Vector) -> Result<(), Wrong> {
    let key = FlowKey::new(v.key, &v.base_nonce).map_err(|_| "key: not prepared")?;
    let sealed = key.seal(v.psntp, &v.aad, &v.body).map_err(|_| "sealing")?;
    if sealed != v.sealed {
        return Err("sealed");
    }
    if key.open(v.psntp, &v.aad, &sealed) != Some(v.body) {
        return Err("opening");
    }
    for bit in 0..sealed.len() * 8 {
        let mut forged = sealed;
        if let Some(byte) = forged.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        if key.open(v.psntp, &v.aad, &forged).is_some() {
            return Err("a flipped bit is accepted");
        }
    }
    if key.open(v.psntp ^ 1, &v.aad, &sealed).is_some() {
        return Err("another nonce is accepted");
    }
    Ok(())
}

/// Checks every vector. The module does not load when one is wrong.
pub(crate) fn run() -> Result {
    let mut derived = 0;
    for (number, v) in VECTORS.iter().enumerate() {
        let suite = Suite { kem: v.kem, kdf: v.kdf, aead: v.aead };
        // Key mode kernel has HKDF-SHA256; keys under other KDFs come from the helper.
        let checked = if v.kdf == KDF_HKDF_SHA256 {
            derived += 1;
            check_derivation(v, suite)
        } else {
            Ok(())
        };
        if let Err(wrong) = checked.and_then(|()| check_sealing(v)) {
            pr_err!("self-test: vector {number}: {wrong} differs; the module is not loaded\n");
            return Err(errno::ebadmsg());
        }
    }
    pr_info!("self-test: {} vectors sealed and opened, {derived} of them derived here\n", VECTORS.len());
    Ok(())
}
