// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Suites in order of preference.

use pdmv2_proto::suite::{Aead, Kdf, Kem, Suite};

/// Every suite of some KEMs, KDFs and AEADs, each best first: the KEM counts before the KDF, the KDF before the AEAD.
pub fn of(kems: &[Kem], kdfs: &[Kdf], aeads: &[Aead]) -> Vec<Suite> {
    let pairs = kems.iter().flat_map(|kem| kdfs.iter().map(move |kdf| (kem.number(), kdf.number())));
    pairs.flat_map(|(kem, kdf)| aeads.iter().map(move |aead| Suite { kem, kdf, aead: aead.number() })).collect()
}

/// All that this implementation has, best first.
pub fn all() -> Vec<Suite> {
    of(&Kem::ALL, &Kdf::ALL, &Aead::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kem_counts_before_the_kdf_and_the_kdf_before_the_aead() {
        let suites: Vec<_> = all().iter().map(|suite| (suite.kem, suite.kdf, suite.aead)).collect();
        assert_eq!(suites.len(), 18);
        assert_eq!(suites[..4], [(0x647a, 1, 1), (0x647a, 1, 2), (0x647a, 1, 3), (0x647a, 3, 1)]);
        assert_eq!(suites[6..8], [(0x20, 1, 1), (0x20, 1, 2)]);
        assert_eq!(suites[17], (0x10, 3, 3));
        let few = of(&[Kem::P256, Kem::XWing], &[Kdf::HkdfSha512], &[Aead::ChaCha20Poly1305]);
        assert_eq!(few, [Suite { kem: 0x10, kdf: 3, aead: 3 }, Suite { kem: 0x647a, kdf: 3, aead: 3 }]);
        assert!(of(&Kem::ALL, &[], &Aead::ALL).is_empty());
    }
}
