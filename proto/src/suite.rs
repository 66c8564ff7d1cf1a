// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Cipher suites by their HPKE registry numbers (RFC 9180 section 7; docs/protocol.md, section 4).

/// KEM X25519, HKDF-SHA256.
pub const KEM_X25519: u16 = 0x0020;
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

/// A key derivation function of the key schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// HKDF with SHA-256.
    HkdfSha256,
    /// HKDF with SHA-512.
    HkdfSha512,
}

impl Kdf {
    /// A suite's, if the key schedule has it.
    pub const fn of(suite: Suite) -> Option<Self> {
        match suite.kdf {
            KDF_HKDF_SHA256 => Some(Self::HkdfSha256),
            KDF_HKDF_SHA512 => Some(Self::HkdfSha512),
            _ => None,
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
    /// A suite's, if options can be sealed by it.
    pub const fn of(suite: Suite) -> Option<Self> {
        match suite.aead {
            AEAD_AES_128_GCM => Some(Self::Aes128Gcm),
            AEAD_AES_256_GCM => Some(Self::Aes256Gcm),
            AEAD_CHACHA20_POLY1305 => Some(Self::ChaCha20Poly1305),
            _ => None,
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
    use super::*;

    /// The tables of RFC 9180 section 7; the numbers in between belong to others.
    #[test]
    fn lengths() {
        let kdf = |kdf| Suite { kdf, ..Suite::DEFAULT }.hash_len();
        let aead = |aead| Suite { aead, ..Suite::DEFAULT }.key_len();
        assert_eq!([0, 1, 2, 3, 4, 0xFFFF].map(kdf), [None, Some(32), None, Some(64), None, None]);
        assert_eq!([0, 1, 2, 3, 4, 0xFFFF].map(aead), [None, Some(16), Some(32), Some(32), None, None]);
    }
}
