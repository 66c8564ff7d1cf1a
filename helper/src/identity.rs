// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A host's Ed25519 identity (docs/protocol.md, section 9), used only in TLS 1.3.
//!
//! Keys are written as WireGuard's users know them: 32 bytes in base64, 44 characters.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

/// Bytes of a public or a private key.
pub const KEY_LEN: usize = 32;

/// What precedes the 32 key bytes in a SubjectPublicKeyInfo of Ed25519 (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What precedes the 32 seed bytes in a PKCS#8 key of Ed25519 (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a key was refused. It never shows the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the base64 of 32 bytes.
    #[error("not a key: 32 bytes in base64 (44 characters) expected")]
    Malformed,
    /// The system gave no randomness.
    #[error("the system gave no random bytes")]
    Random,
    /// The cryptographic library refused the key.
    #[error("not a usable Ed25519 key")]
    Unusable,
}

/// A host's public key: its name to other hosts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; KEY_LEN]);

impl PublicKey {
    /// The key as TLS carries it (RFC 7250).
    pub fn spki(&self) -> SubjectPublicKeyInfoDer<'static> {
        SubjectPublicKeyInfoDer::from([SPKI_PREFIX.as_slice(), &self.0].concat())
    }

    /// The key in a SubjectPublicKeyInfo, `None` when that holds anything but an Ed25519 key.
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        Some(Self(spki.strip_prefix(SPKI_PREFIX.as_slice())?.try_into().ok()?))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

/// A host's private key: the 32-byte seed of RFC 8032. Wiped when dropped, never printed.
pub struct PrivateKey(Zeroizing<[u8; KEY_LEN]>);

impl PrivateKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; KEY_LEN]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| KeyError::Random)?;
        Ok(Self(seed))
    }

    /// The key of a 32-byte seed.
    pub fn from_seed(seed: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(seed))
    }

    /// Reads one base64 line; white space around it does not count.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        decode(text.trim()).map(Self)
    }

    /// The key in base64, without a line end.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }

    /// The public key.
    ///
    /// # Errors
    /// [`KeyError::Unusable`].
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(self.0.as_slice()).map_err(|_| KeyError::Unusable)?;
        Ok(PublicKey(pair.public_key().as_ref().try_into().map_err(|_| KeyError::Unusable)?))
    }

    /// The key in PKCS#8, as the TLS library takes it.
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([PKCS8_PREFIX.as_slice(), self.0.as_slice()].concat())
    }

    /// The key for signing TLS handshakes.
    ///
    /// # Errors
    /// [`KeyError::Unusable`].
    pub fn signing_key(&self) -> Result<std::sync::Arc<dyn rustls::sign::SigningKey>, KeyError> {
        let pkcs8 = self.pkcs8();
        rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))
            .map_err(|_| KeyError::Unusable)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    // Room for what a text one group too long decodes to, so that the library can say how long it was.
    let mut bytes = Zeroizing::new([0; 36]);
    if text.len() != 44 {
        return Err(KeyError::Malformed);
    }
    let len = STANDARD.decode_slice(text, bytes.as_mut_slice()).map_err(|_| KeyError::Malformed)?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    key.copy_from_slice(bytes.get(..len).filter(|b| b.len() == KEY_LEN).ok_or(KeyError::Malformed)?);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, test 1.
    #[test]
    fn public_key_of_rfc_8032() {
        let seed = crate::hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = PrivateKey::from_seed(seed.try_into().unwrap());
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(crate::hex::encode(&key.public().unwrap().0), public);
        assert!(key.signing_key().is_ok());
    }

    #[test]
    fn base64_round_trip() {
        let key = PrivateKey::generate().unwrap();
        let text = key.to_base64();
        assert_eq!(text.len(), 44);
        let again = PrivateKey::from_base64(&format!(" {}\n", text.as_str())).unwrap();
        assert_eq!(again.public(), key.public());
        let public = key.public().unwrap();
        assert_eq!(public.to_string().parse::<PublicKey>(), Ok(public));
        assert_eq!(PublicKey::from_spki(&public.spki()), Some(public));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "AAAA", "not base64 at all, and also of a length of 44", &"A".repeat(44), &"A".repeat(48)] {
            assert!(PrivateKey::from_base64(text).is_err(), "{text}");
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::Malformed), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_private_key() {
        assert_eq!(format!("{:?}", PrivateKey::from_seed([7; 32])), "PrivateKey(..)");
    }
}
