// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A measured delay: last, least, smoothed and greatest, in nanoseconds.

/// The scalars of one delay. All zero until the first sample. Packed, as every flow has two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, packed(4))]
pub struct Delay {
    /// The last one, ns.
    pub last: u64,
    /// The least, ns.
    pub min: u64,
    /// Exponentially smoothed with gain 1/8 as the SRTT of RFC 6298, ns.
    pub smoothed: u64,
    /// The greatest, ns.
    pub max: u64,
    /// Samples taken; stays at the greatest number once it is reached.
    pub samples: u32,
}

impl Delay {
    /// Adds a sample, ns.
    pub fn add(&mut self, ns: u64) {
        if self.samples == 0 {
            *self = Self { samples: 1, last: ns, min: ns, smoothed: ns, max: ns };
            return;
        }
        self.samples = self.samples.saturating_add(1);
        self.last = ns;
        if ns < self.min {
            self.min = ns;
        }
        if ns > self.max {
            self.max = ns;
        }
        self.smoothed = if ns >= self.smoothed {
            self.smoothed.saturating_add(ns.saturating_sub(self.smoothed) / 8)
        } else {
            self.smoothed.saturating_sub(self.smoothed.saturating_sub(ns) / 8)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars() {
        let mut d = Delay::default();
        for ns in [800, 1600, 0, u64::MAX] {
            d.add(ns);
        }
        let (samples, last, min, max) = (d.samples, d.last, d.min, d.max);
        assert_eq!((samples, last, min, max), (4, u64::MAX, 0, u64::MAX));
        let mut d = Delay::default();
        d.add(800);
        d.add(1600);
        assert_eq!({ d.smoothed }, 900);
        d.add(100);
        assert_eq!({ d.smoothed }, 800);
    }
}
