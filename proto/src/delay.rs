// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A measured delay: last, least, smoothed and greatest, in nanoseconds.

/// The scalars of one delay. All zero until the first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Samples taken.
    pub samples: u64,
    /// The last one, ns.
    pub last: u64,
    /// The least, ns.
    pub min: u64,
    /// Exponentially smoothed with gain 1/8 as the SRTT of RFC 6298, ns.
    pub smoothed: u64,
    /// The greatest, ns.
    pub max: u64,
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
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
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
        assert_eq!((d.samples, d.last, d.min, d.max), (4, u64::MAX, 0, u64::MAX));
        let mut d = Delay::default();
        d.add(800);
        d.add(1600);
        assert_eq!(d.smoothed, 900);
        d.add(100);
        assert_eq!(d.smoothed, 800);
    }
}
