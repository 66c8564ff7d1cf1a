// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! "A pseudo-random non-repeating sequence of 1..2^15-1 per Kri" (docs/protocol.md, section 4, Profile v2-kri).
//!
//! A Feistel network permutes the 15-bit numbers. Its rounds are keyed by the flow's key and Kri, each changes one half by
//! a function of the other, and so each can be undone whatever that function is: no value comes twice.
//!
//! The values are nonces: they must differ, and no more. That they look random keeps an onlooker from counting packets; it
//! is no cipher, and 64 bits of key are all the entropy there is.

/// Bits of a value.
pub const BITS: u32 = 15;
/// Values of a sequence: 1..=`LENGTH`, each once.
pub const LENGTH: u16 = (1 << BITS) - 1;

const LOW_BITS: u32 = 7;
const LOW_MASK: u16 = (1 << LOW_BITS) - 1;
const HIGH_MASK: u16 = LENGTH >> LOW_BITS;
/// Pairs of rounds, one for each half.
const ROUNDS: u64 = 4;

/// The finaliser of SplitMix64: each bit of the result depends on every bit of `x`.
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A permutation of 0..=[`LENGTH`].
fn permute(key: u64, value: u16) -> u16 {
    let (mut high, mut low) = (value >> LOW_BITS & HIGH_MASK, value & LOW_MASK);
    for round in 0..ROUNDS {
        let word = |half: u16, which: u64| mix(key ^ (round << 32 | which << 16 | u64::from(half))) as u16;
        high ^= word(low, 0) & HIGH_MASK;
        low ^= word(high, 1) & LOW_MASK;
    }
    high << LOW_BITS | low
}

/// The value at `place`, 1..=[`LENGTH`], of the sequence of this key and Kri; other places are taken modulo 2^15.
///
/// 0 is no value: the place whose value would be 0 has the value of place 0, which is none (a walk along the cycle).
pub fn at(key: u64, kri: u32, place: u16) -> u16 {
    let key = mix(key ^ mix(u64::from(kri).wrapping_add(1)));
    match permute(key, place) {
        0 => permute(key, 0),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    extern crate std;
    use std::vec;
    use std::vec::Vec;

    fn sequence(key: u64, kri: u32) -> Vec<u16> {
        (1..=LENGTH).map(|place| at(key, kri, place)).collect()
    }

    fn visits_each_once(values: &[u16]) -> bool {
        let mut seen = vec![false; usize::from(LENGTH) + 1];
        values.iter().all(|v| *v != 0 && *v <= LENGTH && !core::mem::replace(&mut seen[usize::from(*v)], true))
            && values.len() == usize::from(LENGTH)
    }

    /// Every place of whole sequences: keys of few bits, of many, and Kris at both ends of their range.
    #[test]
    fn every_value_comes_exactly_once() {
        let keys = (0..12).flat_map(|n| [n, 1 << (n * 2), mix(n), !mix(n)]);
        for (n, key) in keys.enumerate() {
            let kri = [0, 1, n as u32, u32::MAX][n % 4];
            assert!(visits_each_once(&sequence(key, kri)), "key {key:#x} Kri {kri}");
        }
        assert!(!visits_each_once(&vec![1; usize::from(LENGTH)]) && !visits_each_once(&[1, 2]));
    }

    /// Another Kri, or another key, is another sequence: of 32767 values about one stays in its place.
    #[test]
    fn sequences_differ() {
        let base = sequence(7, 0);
        for other in [sequence(7, 1), sequence(7, 2), sequence(8, 0), sequence(7 | 1 << 63, 0)] {
            let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 12, "{same}");
        }
    }

    /// What an onlooker would count by: steps of the sequence, and the bits of each value.
    #[test]
    fn it_looks_random() {
        for key in [0, 1, u64::MAX, 0x0123_4567_89AB_CDEF] {
            let values = sequence(key, 0);
            let mut steps: Vec<u16> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) & LENGTH).collect();
            let rising = values.windows(2).filter(|pair| pair[0] < pair[1]).count();
            // A half of 32766 within six standard deviations (52 each, as neighbouring pairs share a value).
            assert!(rising.abs_diff(16383) < 6 * 52, "{rising}");
            steps.sort_unstable();
            let most = steps.chunk_by(|a, b| a == b).map(<[u16]>::len).max().unwrap();
            assert!(most < 14, "a step comes {most} times");
            for bit in 0..BITS {
                let flips = values.windows(2).filter(|pair| (pair[0] ^ pair[1]) >> bit & 1 == 1).count();
                assert!(flips.abs_diff(16383) < 6 * 91, "bit {bit} flips {flips} times");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_value_comes_exactly_once_for_any_key(key: u64, kri: u32) {
            prop_assert!(visits_each_once(&sequence(key, kri)));
        }
    }
}
