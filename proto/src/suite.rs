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
        match self.kdf {
            KDF_HKDF_SHA256 => Some(32),
            KDF_HKDF_SHA512 => Some(64),
            _ => None,
        }
    }

    /// Nk: bytes of an AEAD key, `None` for an unknown AEAD.
    pub const fn key_len(self) -> Option<usize> {
        match self.aead {
            AEAD_AES_128_GCM => Some(16),
            AEAD_AES_256_GCM | AEAD_CHACHA20_POLY1305 => Some(32),
            _ => None,
        }
    }
}
