// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Scaled time deltas (RFC 8250 section 3.2.1; docs/protocol.md, section 2).
//!
//! A delta in attoseconds is shifted right until it fits 16 bits; the shift is its scale.

/// Attoseconds in a nanosecond.
pub const ATTOSECONDS_PER_NS: u64 = 1_000_000_000;

/// ATTOSECONDS_PER_NS is 2^9 times this, which keeps the way back inside 64 bits.
const ODD_PART: u64 = ATTOSECONDS_PER_NS >> 9;

/// A delta as the wire carries it: `value * 2^scale` attoseconds, truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// 16-bit mantissa.
    pub value: u16,
    /// Bits that were shifted out.
    pub scale: u8,
}

impl Delta {
    /// No time, or no earlier packet.
    pub const ZERO: Self = Self { value: 0, scale: 0 };

    /// The delta of a duration in attoseconds.
    pub const fn from_attoseconds(asec: u128) -> Self {
        let scale = (128 - asec.leading_zeros()).saturating_sub(16);
        Self { value: (asec >> scale) as u16, scale: scale as u8 }
    }

    /// The delta of a duration in nanoseconds.
    pub const fn from_ns(ns: u64) -> Self {
        Self::from_attoseconds((ns as u128).wrapping_mul(ATTOSECONDS_PER_NS as u128))
    }

    /// The duration in nanoseconds, truncated, saturating at `u64::MAX`.
    pub const fn to_ns(self) -> u64 {
        if self.value == 0 {
            return 0;
        }
        // value * 2^scale / (2^9 * ODD_PART); below scale 9 the result is under one nanosecond.
        let Some(shift) = (self.scale as u32).checked_sub(9) else { return 0 };
        if shift <= 47 {
            return ((self.value as u64) << shift) / ODD_PART;
        }
        let ns = ((self.value as u64) << 47) / ODD_PART;
        let more = shift - 47;
        if more > ns.leading_zeros() {
            u64::MAX
        } else {
            ns << more
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AS_PER_US: u128 = 1_000_000_000_000;

    /// docs/protocol.md, section 2 and the examples of RFC 8250 appendix A.
    #[test]
    fn vectors() {
        let table: [(u128, u16, u8); 11] = [
            (39_838 * AS_PER_US, 0x8D88, 40),
            (32_311_072 * AS_PER_US, 0xE033, 49),
            (3_000_000 * AS_PER_US, 0xA688, 46),
            (4_000_000 * AS_PER_US, 0xDE0B, 46),
            (12_000_000 * AS_PER_US, 0xA688, 48),
            (65_535, 0xFFFF, 0),
            (65_536, 0x8000, 1),
            (65_537, 0x8000, 1),
            (AS_PER_US / 1000, 0xEE6B, 14),
            (AS_PER_US, 0xE8D4, 24),
            (1000 * AS_PER_US, 0xE35F, 34),
        ];
        for (asec, value, scale) in table {
            assert_eq!(Delta::from_attoseconds(asec), Delta { value, scale }, "{asec} as");
            if asec % u128::from(ATTOSECONDS_PER_NS) == 0 {
                assert_eq!(Delta::from_ns((asec / u128::from(ATTOSECONDS_PER_NS)) as u64), Delta { value, scale });
            }
        }
    }

    proptest! {
        #[test]
        fn every_encoding_decodes_without_panic(value: u16, scale: u8) {
            let _ = Delta { value, scale }.to_ns();
        }

        #[test]
        fn a_round_trip_loses_at_most_one_part_in_32768_and_a_nanosecond(ns: u64) {
            let back = Delta::from_ns(ns).to_ns();
            prop_assert!(back <= ns);
            prop_assert!(ns - back <= (ns >> 15) + 1);
        }

        #[test]
        fn values_are_normalised(asec: u128) {
            let delta = Delta::from_attoseconds(asec);
            prop_assert!(delta.scale == 0 || delta.value >= 0x8000);
        }
    }
}
