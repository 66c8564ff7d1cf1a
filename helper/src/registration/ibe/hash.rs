// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The supporting algorithms of RFC 5091, section 4, with SHA-256 as hashfcn.

use crypto_bigint::{NonZero, U256, U512};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a hash: hashlen.
pub const HASH_LEN: usize = 32;

/// Bytes of a hash that are secret.
pub type Hashed = Zeroizing<[u8; HASH_LEN]>;

/// q, the prime order of both groups of BLS12-381 (RFC 9380, section 8.8 calls it r).
const Q: NonZero<U256> =
    NonZero::<U256>::new_unwrap(U256::from_be_hex("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"));

/// hashfcn of some strings joined.
pub fn hash(parts: &[&[u8]]) -> Hashed {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Zeroizing::new(hasher.finalize().into())
}

/// HashToRange(s, q, hashfcn), algorithm 4.1.1, of `s` in two parts: big-endian. The time it takes does not depend on
/// them.
pub fn hash_to_range(s: [&[u8]; 2]) -> Hashed {
    let first = hash(&[&[0; HASH_LEN], s[0], s[1]]);
    let second = hash(&[&*first, s[0], s[1]]);
    let mut wide = Zeroizing::new([0; 2 * HASH_LEN]);
    let (high, low) = wide.split_at_mut(HASH_LEN);
    high.copy_from_slice(&*first);
    low.copy_from_slice(&*second);
    let mut v = U512::from_be_slice(&*wide);
    // Of variable time with respect to q only.
    let mut reduced = v.rem_vartime(&Q);
    let out = Zeroizing::new(reduced.to_be_bytes().into());
    v.zeroize();
    reduced.zeroize();
    out
}

/// HashBytes(32, p, hashfcn), algorithm 4.2.1: one block, as no more is asked for.
pub fn hash_bytes(p: &[u8]) -> Hashed {
    let key = hash(&[p]);
    let first = hash(&[&[0; HASH_LEN]]);
    hash(&[&*first, &*key])
}

/// The exclusive or of two strings.
pub fn xor(a: &[u8; HASH_LEN], b: &[u8; HASH_LEN]) -> Hashed {
    let mut out = Zeroizing::new(*a);
    for (byte, other) in out.iter_mut().zip(b) {
        *byte ^= other;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    /// `Value(h_1) * 2^256 + Value(h_2) mod q` by schoolbook subtraction of q shifted, bit by bit.
    fn slowly(s: &[u8]) -> [u8; 32] {
        let first: [u8; 32] = Sha256::digest([&[0; 32], s].concat()).into();
        let second: [u8; 32] = Sha256::digest([&first, s].concat()).into();
        let mut rest = U256::ZERO;
        for byte in [first, second].concat() {
            for bit in (0..8).rev() {
                // q has 255 bits, so that twice the rest fits 256.
                rest = rest.wrapping_add(&rest).wrapping_add(&U256::from(byte >> bit & 1));
                if rest >= *Q {
                    rest = rest.wrapping_sub(&Q);
                }
            }
        }
        rest.to_be_bytes().into()
    }

    #[test]
    fn the_range_is_that_of_the_order() {
        for n in 0..64u8 {
            let (left, right) = ([n; 32], [!n; 32]);
            assert_eq!(*hash_to_range([&left, &right]), slowly(&[left, right].concat()), "{n}");
        }
    }

    #[test]
    fn where_a_string_is_cut_does_not_matter() {
        assert_eq!(*hash_to_range([b"ab", b"c"]), *hash_to_range([b"a", b"bc"]));
        assert_ne!(*hash_to_range([b"ab", b"c"]), *hash_to_range([b"ab", b"d"]));
    }

    /// SHA-256(SHA-256(32 zero bytes) || SHA-256("abc")), computed elsewhere.
    #[test]
    fn bytes_are_those_of_algorithm_4_2_1() {
        assert_eq!(
            hex::encode(&*hash_bytes(b"abc")),
            "c6242596bfb9ed7f96c54c4407b87e9ae8b061b1ddd38b1f6f897d9806cf2ff7"
        );
    }
}
