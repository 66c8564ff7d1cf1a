// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The key schedule (docs/protocol.md, section 4): HKDF over the byte strings that `pdmv2_proto::schedule` builds.

use hkdf::Hkdf;
use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::schedule::{id_info, key_info, prk_prefix, HPKE_V1};
use pdmv2_proto::suite::{Suite, KDF_HKDF_SHA256, KDF_HKDF_SHA512};
use pdmv2_proto::uapi::{NONCE_LEN, SECRET_ID_LEN};
use sha2::{Sha256, Sha512};
use zeroize::Zeroize;

use crate::secret::Secret;

/// The schedule knows no such KDF or AEAD, or a length does not fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key schedule does not know this suite")]
pub struct UnknownSuite;

/// The public identifier of a secret.
pub type SecretId = [u8; SECRET_ID_LEN];

/// What one direction of a flow needs for one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// AEAD key, Nk bytes.
    pub key: Secret,
    /// AEAD base nonce.
    pub base_nonce: [u8; NONCE_LEN],
}

/// A pair's pseudo-random key and the suite it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prk {
    suite: Suite,
    bytes: Secret,
}

impl Prk {
    /// `LabeledExtract(salt, "pdmv2_prk", SharedSecret)`.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn extract(suite: Suite, salt: &[u8], shared_secret: &Secret) -> Result<Self, UnknownSuite> {
        let ikm = Secret::new([prk_prefix(suite).as_bytes(), shared_secret.as_bytes()].concat());
        let mut bytes = Secret::zeroed(suite.hash_len().ok_or(UnknownSuite)?);
        match suite.kdf {
            KDF_HKDF_SHA256 => keep(&mut Hkdf::<Sha256>::extract(Some(salt), ikm.as_bytes()).0, &mut bytes),
            KDF_HKDF_SHA512 => keep(&mut Hkdf::<Sha512>::extract(Some(salt), ikm.as_bytes()).0, &mut bytes),
            _ => return Err(UnknownSuite),
        }
        Ok(Self { suite, bytes })
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The key's bytes, for the module in key mode `kernel`.
    pub fn secret(&self) -> &Secret {
        &self.bytes
    }

    /// `LabeledExpand(prk, "pdmv2_id", "", 8)`.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn secret_id(&self) -> Result<SecretId, UnknownSuite> {
        let mut id = [0; SECRET_ID_LEN];
        self.expand(id_info(self.suite).as_bytes(), &mut id)?;
        Ok(id)
    }

    /// `LabeledExpand(prk, "pdmv2_key", context, Nk + 12)`, split. `sender` is the 5-tuple as sent: the packet's source is
    /// its local side.
    ///
    /// # Errors
    /// An unknown KDF or AEAD.
    pub fn flow_key(&self, profile: u8, epoch: u32, sender: &FlowId) -> Result<FlowKey, UnknownSuite> {
        let (info, len) = key_info(self.suite, profile, epoch, sender).ok_or(UnknownSuite)?;
        let mut material = Secret::zeroed(len);
        self.expand(info.as_bytes(), material.as_mut_bytes())?;
        let (key, nonce) = material.as_bytes().split_last_chunk::<NONCE_LEN>().ok_or(UnknownSuite)?;
        Ok(FlowKey { key: Secret::new(key.to_vec()), base_nonce: *nonce })
    }

    fn expand(&self, info: &[u8], out: &mut [u8]) -> Result<(), UnknownSuite> {
        expand(self.suite, &self.bytes, info, out)
    }
}

/// `LabeledExpand(key, label, info, len)` of RFC 9180 section 4, under a key of Nh bytes.
///
/// # Errors
/// An unknown KDF, a key shorter than Nh, or a length that the KDF does not give.
pub fn labeled_expand(
    suite: Suite,
    key: &Secret,
    label: &[u8],
    info: &[u8],
    len: usize,
) -> Result<Secret, UnknownSuite> {
    let length = u16::try_from(len).map_err(|_| UnknownSuite)?.to_be_bytes();
    let mut out = Secret::zeroed(len);
    expand(suite, key, &[&length, HPKE_V1, &suite.id(), label, info].concat(), out.as_mut_bytes())?;
    Ok(out)
}

fn expand(suite: Suite, key: &Secret, info: &[u8], out: &mut [u8]) -> Result<(), UnknownSuite> {
    match suite.kdf {
        KDF_HKDF_SHA256 => Hkdf::<Sha256>::from_prk(key.as_bytes())
            .map_err(|_| UnknownSuite)?
            .expand(info, out)
            .map_err(|_| UnknownSuite),
        KDF_HKDF_SHA512 => Hkdf::<Sha512>::from_prk(key.as_bytes())
            .map_err(|_| UnknownSuite)?
            .expand(info, out)
            .map_err(|_| UnknownSuite),
        _ => Err(UnknownSuite),
    }
}

/// Moves an extract's output, leaving zeros behind.
fn keep(from: &mut [u8], to: &mut Secret) {
    to.as_mut_bytes().copy_from_slice(from);
    from.zeroize();
}

/// `LabeledExtract(salt, label, ikm)` of RFC 9180 section 4, of a salt that is secret too.
///
/// # Errors
/// An unknown KDF.
pub fn labeled_extract(suite: Suite, salt: &Secret, label: &[u8], ikm: &Secret) -> Result<Secret, UnknownSuite> {
    let labeled = Secret::new([HPKE_V1, &suite.id(), label, ikm.as_bytes()].concat());
    let (salt, ikm) = (Some(salt.as_bytes()), labeled.as_bytes());
    let mut bytes = Secret::zeroed(suite.hash_len().ok_or(UnknownSuite)?);
    match suite.kdf {
        KDF_HKDF_SHA256 => keep(&mut Hkdf::<Sha256>::extract(salt, ikm).0, &mut bytes),
        KDF_HKDF_SHA512 => keep(&mut Hkdf::<Sha512>::extract(salt, ikm).0, &mut bytes),
        _ => return Err(UnknownSuite),
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    /// Vector (a) of docs/protocol.md, section 4.
    #[test]
    fn vector_a() {
        let prk = Prk::extract(Suite::DEFAULT, &[0x11; 16], &Secret::new(vec![0x22; 32])).unwrap();
        assert_eq!(
            hex::encode(prk.secret().as_bytes()),
            "9687eb2e09fb2dc69835d5a8f4af4c55b47716b953737a082ac283ccee578815"
        );
        let sender = FlowId {
            local: "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            remote: "fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            local_port: 1000,
            remote_port: 2000,
            protocol: 17,
        };
        let key = prk.flow_key(2, 0, &sender).unwrap();
        assert_eq!(hex::encode(key.key.as_bytes()), "43d6df13ddce990b0a98ffbe4e82c2bc");
        assert_eq!(hex::encode(&key.base_nonce), "4431f922280772b6594b6ae0");
    }

    /// Vector (b) of docs/protocol.md, section 4.
    #[test]
    fn vector_b() {
        let suite = Suite { kem: 0x20, kdf: 3, aead: 2 };
        let prk = Prk::extract(suite, &[0x11; 16], &Secret::new(vec![0x22; 64])).unwrap();
        let sender = FlowId {
            local: "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            remote: "fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            protocol: 58,
            ..FlowId::default()
        };
        let key = prk.flow_key(2, 0x123, &sender).unwrap();
        assert_eq!(key.key.as_bytes().len(), 32);
        assert_eq!(hex::encode(&key.base_nonce), "49dfb7c8e17ddd1ba95cdae7");
    }

    #[test]
    fn unknown_suites_are_refused() {
        let secret = Secret::new(vec![0; 32]);
        assert!(Prk::extract(Suite { kdf: 9, ..Suite::DEFAULT }, &[], &secret).is_err());
        let prk = Prk::extract(Suite { aead: 9, ..Suite::DEFAULT }, &[], &secret).unwrap();
        assert!(prk.flow_key(2, 0, &FlowId::default()).is_err());
        assert!(labeled_extract(Suite { kdf: 9, ..Suite::DEFAULT }, &secret, b"label", &secret).is_err());
    }

    #[test]
    fn a_labeled_extract_is_that_of_the_prk() {
        for (kdf, len) in [(KDF_HKDF_SHA256, 32), (KDF_HKDF_SHA512, 64)] {
            let suite = Suite { kdf, ..Suite::DEFAULT };
            let (salt, secret) = (Secret::new(vec![0x11; 16]), Secret::new(vec![0x22; len]));
            let prk = Prk::extract(suite, salt.as_bytes(), &secret).unwrap();
            assert_eq!(labeled_extract(suite, &salt, b"pdmv2_prk", &secret).as_ref(), Ok(prk.secret()));
        }
    }
}
