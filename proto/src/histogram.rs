// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How often a delay was how long: two buckets an octave from a microsecond to two minutes, in constant space.
//!
//! ```text
//! bucket   0    below 1024 ns
//! bucket   1    from 1024 ns to below 1536 ns
//! bucket   2    from 1536 ns to below 2048 ns
//! bucket 2n+1   from 2^(10+n) ns to below 1.5 * 2^(10+n) ns
//! bucket 2n+2   from 1.5 * 2^(10+n) ns to below 2^(11+n) ns
//! the last      all above
//! ```

use super::uapi::HISTOGRAM_BUCKETS;

/// The octave of the first bucket but one: 2^10 ns.
const FIRST_OCTAVE: u32 = 10;

/// Samples by their length.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u32; HISTOGRAM_BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; HISTOGRAM_BUCKETS] }
    }
}

/// The bucket of a delay, ns.
pub fn bucket(ns: u64) -> usize {
    let Some(octave) = ns.checked_ilog2().and_then(|log| log.checked_sub(FIRST_OCTAVE)) else { return 0 };
    let upper = (ns >> octave.saturating_add(FIRST_OCTAVE).saturating_sub(1)) & 1;
    (octave as usize).saturating_mul(2).saturating_add(1).saturating_add(upper as usize).min(HISTOGRAM_BUCKETS - 1)
}

/// The least delay of a bucket, ns.
pub fn lower_bound(bucket: usize) -> u64 {
    let Some(step) = bucket.checked_sub(1) else { return 0 };
    let octave = (1u64 << FIRST_OCTAVE).checked_shl((step / 2) as u32).unwrap_or(u64::MAX);
    octave.saturating_add(if step % 2 == 1 { octave / 2 } else { 0 })
}

impl Histogram {
    /// Adds a sample, ns.
    pub fn add(&mut self, ns: u64) {
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count = count.saturating_add(1);
        }
    }

    /// Samples by bucket, up to the last bucket that has any.
    pub fn counts(&self) -> &[u32] {
        let used = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last.saturating_add(1));
        self.counts.get(..used).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    extern crate std;

    #[test]
    fn bounds() {
        for (ns, want) in [
            (0, 0),
            (1023, 0),
            (1024, 1),
            (1535, 1),
            (1536, 2),
            (2047, 2),
            (2048, 3),
            (40_000_000, 31),
            (u64::MAX, HISTOGRAM_BUCKETS - 1),
        ] {
            assert_eq!(bucket(ns), want, "{ns}");
        }
        assert_eq!((lower_bound(0), lower_bound(1), lower_bound(2), lower_bound(3)), (0, 1024, 1536, 2048));
        assert!(lower_bound(HISTOGRAM_BUCKETS - 1) > 120_000_000_000);
    }

    #[test]
    fn counts_end_with_the_last_that_has_any() {
        let mut h = Histogram::default();
        assert_eq!(h.counts(), &[] as &[u32]);
        for ns in [5, 1100, 1100, 2000] {
            h.add(ns);
        }
        assert_eq!(h.counts(), &[1, 2, 1]);
    }

    proptest! {
        #[test]
        fn each_delay_lies_in_its_bucket(ns in 0u64..1 << 45) {
            let b = bucket(ns);
            prop_assert!(lower_bound(b) <= ns);
            prop_assert!(b == HISTOGRAM_BUCKETS - 1 || ns < lower_bound(b + 1));
        }
    }
}
