// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A host's Ed25519 identity (docs/protocol.md, section 9), used only in TLS 1.3.
//!
//! Keys are written as WireGuard's users know them: 32 bytes in base64, 44 characters. A private key may also be PKCS#8 in
//! PEM, as OpenSSL writes it. A peer is named by its key, or by what its certificate says.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use crate::subject::Subject;

/// Bytes of a public or a private key.
pub const KEY_LEN: usize = 32;

/// What precedes the 32 key bytes in a SubjectPublicKeyInfo of Ed25519 (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What precedes the 32 seed bytes in a PKCS#8 key of Ed25519 (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// First line of a private key in PEM (RFC 7468 section 10), and its last.
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// Why a key was refused. It never shows the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the base64 of 32 bytes.
    #[error("not a key: 32 bytes in base64 (44 characters) expected")]
    Malformed,
    /// PEM of something else.
    #[error("not an Ed25519 key in PEM: PKCS#8 without a passphrase (`BEGIN PRIVATE KEY`) expected")]
    Pem,
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

/// How a peer is named in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// By its public key, which is pinned.
    Key(PublicKey),
    /// By a name that the private CA has certified.
    Subject(Subject),
}

impl Identity {
    /// Whether it is the one that TLS authenticated. A pinned key counts as a raw key only, a name in a certificate only.
    pub fn is(&self, peer: &Authenticated) -> bool {
        match (self, peer) {
            (Self::Key(key), Authenticated::Key(theirs)) => key == theirs,
            (Self::Subject(subject), Authenticated::Certificate { subjects, .. }) => subjects.contains(subject),
            _ => false,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Subject(subject) => subject.fmt(f),
        }
    }
}

/// Who is at the other end, as TLS authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authenticated {
    /// The holder of a key.
    Key(PublicKey),
    /// The holder of the key of a certificate.
    Certificate {
        /// The key.
        key: PublicKey,
        /// The names in the certificate that a peer can be named by.
        subjects: Vec<Subject>,
    },
}

impl Authenticated {
    /// The key that its handshake was signed with: its identity in a negotiation.
    pub fn key(&self) -> PublicKey {
        match self {
            Self::Key(key) | Self::Certificate { key, .. } => *key,
        }
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

    /// Reads a key as files hold it: one base64 line, or PKCS#8 in PEM.
    ///
    /// # Errors
    /// [`KeyError::Malformed`]; of PEM, [`KeyError::Pem`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        match text.contains("-----BEGIN") {
            true => Self::from_pem(text),
            false => Self::from_base64(text),
        }
    }

    /// The first private key of a PEM text. What surrounds it is left aside (RFC 7468 section 2).
    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (_, rest) = text.split_once(PEM_BEGIN).ok_or(KeyError::Pem)?;
        let (body, _) = rest.split_once(PEM_END).ok_or(KeyError::Pem)?;
        let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
        base64.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
        let mut der = Zeroizing::new(vec![0; base64.len()]);
        let len = STANDARD.decode_slice(base64.as_bytes(), &mut der).map_err(|_| KeyError::Pem)?;
        let der = der.get(..len).ok_or(KeyError::Pem)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::Pem)?;
        let seed = pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| KeyError::Unusable)?;
        let mut key = Zeroizing::new([0; KEY_LEN]);
        key.copy_from_slice(Some(seed.as_ref()).filter(|seed| seed.len() == KEY_LEN).ok_or(KeyError::Unusable)?);
        Ok(Self(key))
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

    /// The key in PEM, as OpenSSL takes it.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut pem = Zeroizing::new(String::with_capacity(256));
        let base64 = Zeroizing::new(STANDARD.encode(self.pkcs8().as_slice()));
        pem.push_str(PEM_BEGIN);
        for (at, character) in base64.chars().enumerate() {
            if at % PEM_LINE == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push('\n');
        pem.push_str(PEM_END);
        pem.push('\n');
        pem
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

    /// What `openssl genpkey -algorithm ed25519` writes is RFC 8410's own example (section 10.3), and its form with the public
    /// key and attributes.
    #[test]
    fn pem_of_rfc_8410() {
        let short = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                     -----END PRIVATE KEY-----\n";
        let long = "Some words before\n-----BEGIN PRIVATE KEY-----\r\n\
                    MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\r\n\
                    oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\r\n\
                    Z9w7lshQhqowtrbLDFw4rXAxZuE=\r\n-----END PRIVATE KEY-----\r\n";
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        for pem in [short, long] {
            let key = PrivateKey::from_text(pem).unwrap();
            assert_eq!(crate::hex::encode(&key.public().unwrap().0), public);
            assert_eq!(key.to_pem().as_str(), short);
        }
    }

    #[test]
    fn what_is_no_ed25519_key_in_pem_is_refused() {
        let good = PrivateKey::from_seed([7; 32]).to_pem();
        assert!(PrivateKey::from_text(&good).is_ok());
        // A public key of the same file format, one with a passphrase, and one of X25519.
        let x25519 = "MC4CAQAwBQYDK2VuBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
        for bad in [
            good.replace("PRIVATE", "PUBLIC"),
            good.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            good.replace("-----END", "-----"),
            good.replace("MC4", "MC5"),
            good.replace("MC4", "MC4="),
            format!("{PEM_BEGIN}\n{x25519}\n{PEM_END}\n"),
            format!("{PEM_BEGIN}\n{PEM_END}\n"),
        ] {
            assert_eq!(PrivateKey::from_text(&bad).map(drop), Err(KeyError::Pem), "{bad}");
        }
    }

    #[test]
    fn a_peer_is_who_it_is_named_as() {
        let (key, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let subject = |name: &str| name.parse::<Subject>().unwrap();
        let certificate =
            Authenticated::Certificate { key, subjects: vec![subject("a.example"), subject("b.example")] };
        let table = [
            (Identity::Key(key), Authenticated::Key(key), true),
            (Identity::Key(other), Authenticated::Key(key), false),
            (Identity::Subject(subject("b.example")), certificate.clone(), true),
            (Identity::Subject(subject("c.example")), certificate.clone(), false),
            // A pinned key is pinned for raw keys, a name needs a certificate.
            (Identity::Key(key), certificate, false),
            (Identity::Subject(subject("a.example")), Authenticated::Key(key), false),
        ];
        for (identity, peer, expected) in table {
            assert_eq!(identity.is(&peer), expected, "{identity:?} {peer:?}");
        }
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
