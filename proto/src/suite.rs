// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Cipher suites by their HPKE registry numbers (RFC 9180 section 7; docs/protocol.md, section 4).

use core::fmt;

/// KEM X25519, HKDF-SHA256.
pub const KEM_X25519: u16 = 0x0020;
/// KEM P-256, HKDF-SHA256.
pub const KEM_P256: u16 = 0x0010;
/// KEM X-Wing: ML-KEM-768 with X25519.
pub const KEM_XWING: u16 = 0x647A;
/// The identity-based exchange between two Secondaries (docs/protocol.md, "Identity Based"). It is never negotiated.
pub const KEM_IDENTITY_BASED: u16 = 0xFF01;
/// KDF HKDF-SHA256.
pub const KDF_HKDF_SHA256: u16 = 0x0001;
/// KDF HKDF-SHA512.
pub const KDF_HKDF_SHA512: u16 = 0x0003;
/// AEAD AES-128-GCM.
pub const AEAD_AES_128_GCM: u16 = 0x0001;
/// AEAD AES-256-GCM.
pub const AEAD_AES_256_GCM: u16 = 0x0002;
/// AEAD ChaCha20-Poly1305.
pub const AEAD_CHACHA20_POLY1305: u16 = 0x0003;

/// Bytes of every AEAD's tag.
pub const TAG_LEN: usize = 16;

/// Length of [`Suite::id`], bytes.
pub const SUITE_ID_LEN: usize = 10;

/// A KEM, a KDF and an AEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suite {
    /// Key encapsulation mechanism.
    pub kem: u16,
    /// Key derivation function.
    pub kdf: u16,
    /// Authenticated encryption.
    pub aead: u16,
}

impl Suite {
    /// The suite every implementation has: X25519, HKDF-SHA256, AES-128-GCM.
    pub const DEFAULT: Self = Self { kem: KEM_X25519, kdf: KDF_HKDF_SHA256, aead: AEAD_AES_128_GCM };

    /// `"HPKE" || kem || kdf || aead`, the suite_id of RFC 9180 section 5.1.
    pub const fn id(self) -> [u8; SUITE_ID_LEN] {
        let (m, k, a) = (self.kem.to_be_bytes(), self.kdf.to_be_bytes(), self.aead.to_be_bytes());
        [b'H', b'P', b'K', b'E', m[0], m[1], k[0], k[1], a[0], a[1]]
    }

    /// Nh: bytes the KDF extracts, `None` for an unknown KDF.
    pub const fn hash_len(self) -> Option<usize> {
        match Kdf::of(self) {
            Some(kdf) => Some(kdf.hash_len()),
            None => None,
        }
    }

    /// Nk: bytes of an AEAD key, `None` for an unknown AEAD.
    pub const fn key_len(self) -> Option<usize> {
        match Aead::of(self) {
            Some(aead) => Some(aead.key_len()),
            None => None,
        }
    }
}

/// The three names joined by slashes, as `x-wing/hkdf-sha256/aes-128-gcm`; a number for what has no name here.
impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [Kem::of(*self).map(Kem::name), Kdf::of(*self).map(Kdf::name), Aead::of(*self).map(Aead::name)];
        for (place, (name, number)) in names.into_iter().zip([self.kem, self.kdf, self.aead]).enumerate() {
            if place > 0 {
                f.write_str("/")?;
            }
            match name {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{number:04x}")?,
            }
        }
        Ok(())
    }
}

/// A key encapsulation mechanism of the negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kem {
    /// ML-KEM-768 with X25519 (draft-connolly-cfrg-xwing-kem).
    XWing,
    /// DHKEM(X25519, HKDF-SHA256).
    X25519,
    /// DHKEM(P-256, HKDF-SHA256).
    P256,
}

impl Kem {
    /// Every one, best first.
    pub const ALL: [Self; 3] = [Self::XWing, Self::X25519, Self::P256];

    /// A suite's, if it can be negotiated.
    pub const fn of(suite: Suite) -> Option<Self> {
        match suite.kem {
            KEM_XWING => Some(Self::XWing),
            KEM_X25519 => Some(Self::X25519),
            KEM_P256 => Some(Self::P256),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        match self {
            Self::XWing => KEM_XWING,
            Self::X25519 => KEM_X25519,
            Self::P256 => KEM_P256,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XWing => "x-wing",
            Self::X25519 => "x25519",
            Self::P256 => "p-256",
        }
    }
}

/// A key derivation function of the key schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// HKDF with SHA-256.
    HkdfSha256,
    /// HKDF with SHA-512.
    HkdfSha512,
}

impl Kdf {
    /// Every one, best first.
    pub const ALL: [Self; 2] = [Self::HkdfSha256, Self::HkdfSha512];

    /// A suite's, if the key schedule has it.
    pub const fn of(suite: Suite) -> Option<Self> {
        match suite.kdf {
            KDF_HKDF_SHA256 => Some(Self::HkdfSha256),
            KDF_HKDF_SHA512 => Some(Self::HkdfSha512),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        match self {
            Self::HkdfSha256 => KDF_HKDF_SHA256,
            Self::HkdfSha512 => KDF_HKDF_SHA512,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HkdfSha256 => "hkdf-sha256",
            Self::HkdfSha512 => "hkdf-sha512",
        }
    }

    /// Nh: bytes it extracts.
    pub const fn hash_len(self) -> usize {
        match self {
            Self::HkdfSha256 => 32,
            Self::HkdfSha512 => 64,
        }
    }
}

/// What an option's interior is sealed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// AES-GCM with keys of 128 bits.
    Aes128Gcm,
    /// AES-GCM with keys of 256 bits.
    Aes256Gcm,
    /// RFC 8439.
    ChaCha20Poly1305,
}

impl Aead {
    /// Every one, best first.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// A suite's, if options can be sealed by it.
    pub const fn of(suite: Suite) -> Option<Self> {
        match suite.aead {
            AEAD_AES_128_GCM => Some(Self::Aes128Gcm),
            AEAD_AES_256_GCM => Some(Self::Aes256Gcm),
            AEAD_CHACHA20_POLY1305 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Aes128Gcm => AEAD_AES_128_GCM,
            Self::Aes256Gcm => AEAD_AES_256_GCM,
            Self::ChaCha20Poly1305 => AEAD_CHACHA20_POLY1305,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// Nk: bytes of a key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// The tables of RFC 9180 section 7; the numbers in between belong to others.
    #[test]
    fn lengths() {
        let kdf = |kdf| Suite { kdf, ..Suite::DEFAULT }.hash_len();
        let aead = |aead| Suite { aead, ..Suite::DEFAULT }.key_len();
        assert_eq!([0, 1, 2, 3, 4, 0xFFFF].map(kdf), [None, Some(32), None, Some(64), None, None]);
        assert_eq!([0, 1, 2, 3, 4, 0xFFFF].map(aead), [None, Some(16), Some(32), Some(32), None, None]);
    }

    /// Each number leads back to what it is of, and no two names are alike.
    #[test]
    fn numbers_and_names() {
        let mut names = std::vec::Vec::new();
        for kem in Kem::ALL {
            assert_eq!(Kem::of(Suite { kem: kem.number(), ..Suite::DEFAULT }), Some(kem));
            names.push(kem.name());
        }
        for kdf in Kdf::ALL {
            assert_eq!(Kdf::of(Suite { kdf: kdf.number(), ..Suite::DEFAULT }), Some(kdf));
            names.push(kdf.name());
        }
        for aead in Aead::ALL {
            assert_eq!(Aead::of(Suite { aead: aead.number(), ..Suite::DEFAULT }), Some(aead));
            names.push(aead.name());
        }
        assert_eq!(Kem::ALL.map(Kem::number), [0x647A, 0x0020, 0x0010]);
        assert_eq!([0, 0x11, 0x21, 0xFFFF].map(|kem| Kem::of(Suite { kem, ..Suite::DEFAULT })), [None; 4]);
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn shown_by_its_names() {
        let table = [
            (Suite::DEFAULT, "x25519/hkdf-sha256/aes-128-gcm"),
            (Suite { kem: 0x647A, kdf: 3, aead: 3 }, "x-wing/hkdf-sha512/chacha20-poly1305"),
            (Suite { kem: 0x0010, kdf: 9, aead: 2 }, "p-256/0009/aes-256-gcm"),
            (Suite { kem: 0xFF01, kdf: 1, aead: 0xFFFF }, "ff01/hkdf-sha256/ffff"),
        ];
        for (suite, shown) in table {
            assert_eq!(std::format!("{suite}"), shown);
        }
    }
}
