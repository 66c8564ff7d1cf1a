// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The Boneh-Franklin cryptosystem with the Fujisaki-Okamoto transform, as in RFC 5091, section 5, as a key
//! encapsulation, moved to BLS12-381. It does not interoperate with the curves of RFC 5091.
//!
//! RFC 5091 has one group and a symmetric pairing; here they are two. Identities and private keys are in G1, the
//! generator P, P_pub and U in G2:
//!
//! ```text
//! Q_id  = hash_to_curve(id)         RFC 9380, BLS12381G1_XMD:SHA-256_SSWU_RO_, with the tag DST
//! P_pub = [s]P                      BFsetup
//! S_id  = [s]Q_id                   BFextractPriv
//! e([l]Q_id, [s]P) = e([s]Q_id, [l]P) = e(Q_id, P)^(s l)
//! ```
//!
//! `blst` does the arithmetic: it was audited and formally verified in parts, what it does with secrets takes constant
//! time, and its types check curve, subgroup and encoding. Its BLS signatures have public keys in G2 and signatures
//! `[s]hash_to_curve(message)` in G1: `sign` is BFextractPriv, and a signature that verifies is a private key that
//! belongs to its identity.

use blst::min_sig::{PublicKey, SecretKey, Signature};
use blst::{blst_fp, blst_fp12, blst_p1_affine, blst_p2_affine, BLST_ERROR};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::hash::{hash, hash_bytes, hash_to_range, xor, Hashed, HASH_LEN};
use crate::negotiate::Entropy;
use crate::secret::Secret;

/// Domain separation tag of the identities (RFC 9380, section 3.1).
pub const DST: &[u8] = b"PDMV2-IBE-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_";

/// What the first byte of public parameters stands for: E, p, q and P of BLS12-381, DST, and SHA-256 as hashfcn.
pub const PARAMETERS_VERSION: u8 = 1;

/// Bytes of a compressed point of G2.
pub const G2_LEN: usize = 96;

/// Bytes of encoded public parameters.
pub const PARAMETERS_LEN: usize = 1 + G2_LEN;

/// Bytes of an encoded private key: a compressed point of G1.
pub const PRIVATE_KEY_LEN: usize = 48;

/// Bytes of a master key.
pub const MASTER_KEY_LEN: usize = 32;

/// Bytes of an encapsulation: U, V, W.
pub const CIPHERTEXT_LEN: usize = G2_LEN + 2 * HASH_LEN;

/// Bytes of the encapsulated key.
pub const SHARED_LEN: usize = HASH_LEN;

/// (U, V, W).
pub type Ciphertext = [u8; CIPHERTEXT_LEN];

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Of a wrong length, or of another version.
    #[error("not the encoding of this version")]
    Encoding,
    /// Not canonical, not on the curve, not in the group, or the identity.
    #[error("not a point of the group")]
    Point,
    /// No number from 1 to q - 1.
    #[error("not a key")]
    Scalar,
    /// "the ciphertext is rejected and no plaintext is returned" (RFC 5091, section 5.5.1).
    #[error("the encapsulation does not open")]
    NotOpened,
    /// A private key of another identity or another generator.
    #[error("the private key does not belong to the identity")]
    NotItsKey,
}

/// P_pub, and what all generators have in common: checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    p_pub: PublicKey,
    digest: [u8; 32],
}

impl Parameters {
    fn new(p_pub: PublicKey) -> Self {
        let digest = Sha256::new().chain_update([PARAMETERS_VERSION]).chain_update(p_pub.compress()).finalize();
        Self { p_pub, digest: digest.into() }
    }

    /// Reads public parameters.
    ///
    /// # Errors
    /// [`Refused::Encoding`], [`Refused::Point`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        match bytes.split_first() {
            Some((&PARAMETERS_VERSION, point)) if point.len() == G2_LEN => Ok(Self::new(g2(point)?)),
            _ => Err(Refused::Encoding),
        }
    }

    /// `u8 version || P_pub`.
    pub fn encode(&self) -> [u8; PARAMETERS_LEN] {
        let mut bytes = [PARAMETERS_VERSION; PARAMETERS_LEN];
        for (to, from) in bytes.iter_mut().skip(1).zip(self.p_pub.compress()) {
            *to = from;
        }
        bytes
    }

    /// SHA-256 of the encoding.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// BFencrypt (algorithm 5.4.1) of a session key drawn at random: the key, and (U, V, W).
    ///
    /// # Errors
    /// [`Refused::Scalar`], once in 2^255.
    pub fn encapsulate(&self, id: &[u8], entropy: &mut impl Entropy) -> Result<(Secret, Ciphertext), Refused> {
        let (mut m, mut rho) = (Hashed::default(), Hashed::default());
        entropy.fill_bytes(&mut *m);
        entropy.fill_bytes(&mut *rho);
        let l = blinding(&rho, &m)?;
        let u = l.sk_to_pk().compress();
        // theta' = e(Q_id, P_pub)^l
        let w = pair(&mut l.sign(id, DST, &[]).into(), (&self.p_pub).into());
        let (v, w) = (xor(&w, &rho), xor(&hash_bytes(&*rho), &m));
        let mut ciphertext = [0; CIPHERTEXT_LEN];
        for (to, from) in ciphertext.iter_mut().zip(u.iter().chain(&*v).chain(&*w)) {
            *to = *from;
        }
        Ok((Secret::new(m.to_vec()), ciphertext))
    }
}

/// s, the master secret of a generator: wiped when dropped, never printed.
pub struct MasterKey(SecretKey);

impl MasterKey {
    /// BFsetup (algorithm 5.1.1): a new master secret. s is drawn as KeyGen of draft-irtf-cfrg-bls-signature does.
    ///
    /// # Errors
    /// None with the 32 bytes that this draws.
    pub fn generate(entropy: &mut impl Entropy) -> Result<Self, Refused> {
        let mut ikm = Hashed::default();
        entropy.fill_bytes(&mut *ikm);
        SecretKey::key_gen(&*ikm, &[]).map(Self).map_err(|_| Refused::Scalar)
    }

    /// A stored master secret, 32 bytes big-endian.
    ///
    /// # Errors
    /// [`Refused::Scalar`].
    pub fn decode(bytes: &Secret) -> Result<Self, Refused> {
        SecretKey::from_bytes(bytes.as_bytes()).map(Self).map_err(|_| Refused::Scalar)
    }

    /// The bytes to store, encrypted.
    pub fn encode(&self) -> Secret {
        Secret::new(Zeroizing::new(self.0.to_bytes()).to_vec())
    }

    /// The public parameters.
    pub fn parameters(&self) -> Parameters {
        Parameters::new(self.0.sk_to_pk())
    }

    /// BFextractPriv (algorithm 5.3.1).
    pub fn extract(&self, id: &[u8]) -> PrivateKey {
        PrivateKey(self.0.sign(id, DST, &[]).into())
    }
}

/// S_id: wiped when dropped, never printed.
pub struct PrivateKey(blst_p1_affine);

impl PrivateKey {
    /// Reads a private key, and checks that it is the identity's under these parameters.
    ///
    /// # Errors
    /// [`Refused::Encoding`], [`Refused::Point`], [`Refused::NotItsKey`].
    pub fn decode(bytes: &Secret, parameters: &Parameters, id: &[u8]) -> Result<Self, Refused> {
        if bytes.as_bytes().len() != PRIVATE_KEY_LEN {
            return Err(Refused::Encoding);
        }
        let point = Signature::sig_validate(bytes.as_bytes(), true).map_err(|_| Refused::Point)?;
        // e(S_id, P) = e(Q_id, P_pub)
        match point.verify(false, id, DST, &[], &parameters.p_pub, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(Self(point.into())),
            _ => Err(Refused::NotItsKey),
        }
    }

    /// The bytes to hand over, or to store encrypted.
    pub fn encode(&self) -> Secret {
        Secret::new(Zeroizing::new(Signature::from(self.0).compress()).to_vec())
    }

    /// BFdecrypt (algorithm 5.5.1): the session key.
    ///
    /// # Errors
    /// [`Refused::Point`] for a U that is not of the group, [`Refused::NotOpened`].
    pub fn decapsulate(&self, ciphertext: &Ciphertext) -> Result<Secret, Refused> {
        let (u, masked) = ciphertext.split_at(G2_LEN);
        let (Some((v, w)), point) = (masked.split_first_chunk::<HASH_LEN>(), g2(u)?) else {
            return Err(Refused::Encoding);
        };
        let w: &[u8; HASH_LEN] = w.try_into().map_err(|_| Refused::Encoding)?;
        let mut s_id = self.0;
        let rho = xor(&pair(&mut s_id, (&point).into()), v);
        let m = xor(&hash_bytes(&*rho), w);
        let l = blinding(&rho, &m).map_err(|_| Refused::NotOpened)?;
        // "Verify that U = [l]P"
        if !bool::from(l.sk_to_pk().compress().ct_eq(u)) {
            return Err(Refused::NotOpened);
        }
        Ok(Secret::new(m.to_vec()))
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        wipe_point(&mut self.0);
    }
}

/// A point of G2 from its compressed encoding, other than the identity.
fn g2(bytes: &[u8]) -> Result<PublicKey, Refused> {
    let point = PublicKey::uncompress(bytes).map_err(|_| Refused::Point)?;
    point.validate().map_err(|_| Refused::Point)?;
    Ok(point)
}

/// `l = HashToRange(rho || t, q, hashfcn)`, `t = hashfcn(m)`.
fn blinding(rho: &Hashed, m: &Hashed) -> Result<SecretKey, Refused> {
    let l = hash_to_range([&**rho, &*hash(&[&**m])]);
    SecretKey::from_bytes(&*l).map_err(|_| Refused::Scalar)
}

/// `hashfcn(Canonical(e(p, q)))`; wipes `p` and all between.
fn pair(p: &mut blst_p1_affine, q: &blst_p2_affine) -> Hashed {
    let mut miller = blst_fp12::miller_loop(q, p);
    let mut theta = miller.final_exp();
    // The coefficients of 1, w, .. w^5, each of 1 and u, big-endian.
    let canonical = Zeroizing::new(theta.to_bendian());
    wipe_point(p);
    for fp12 in [&mut miller, &mut theta] {
        fp12.fp6.iter_mut().flat_map(|fp6| &mut fp6.fp2).flat_map(|fp2| &mut fp2.fp).for_each(wipe);
    }
    hash(&[&*canonical])
}

fn wipe_point(point: &mut blst_p1_affine) {
    wipe(&mut point.x);
    wipe(&mut point.y);
}

fn wipe(fp: &mut blst_fp) {
    fp.l.zeroize();
}

#[cfg(test)]
mod tests;
