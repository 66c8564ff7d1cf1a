// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What spreads thousands of hosts in time, and what bounds how often one of them may ask.

use std::time::Duration;

use crate::negotiate::Entropy;

/// A random part of a time, from none of it to all.
pub fn part_of(whole: Duration, entropy: &mut impl Entropy) -> Duration {
    whole.mul_f64(f64::from(entropy.next_u32()) / f64::from(u32::MAX))
}

/// Requests that may come now, and how soon there may be another: a token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    burst: u32,
    every: Duration,
    left: u32,
    /// When `left` was last brought up to date.
    at: Duration,
}

impl Bucket {
    /// A full one, with room for so many at once, and one more each so often.
    pub fn new(burst: u32, every: Duration, now: Duration) -> Self {
        Self { burst, every, left: burst, at: now }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        let new = now.saturating_sub(self.at).as_nanos() / self.every.as_nanos().max(1);
        if let Ok(new) = u32::try_from(new) {
            self.at = self.at.saturating_add(self.every.saturating_mul(new));
            self.left = self.left.saturating_add(new).min(self.burst);
        } else {
            (self.at, self.left) = (now, self.burst);
        }
        let there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_and_a_rate_through() {
        let mut bucket = Bucket::new(3, Duration::from_secs(2), Duration::ZERO);
        let mut taken = |second, many: u32| (0..many).filter(|_| bucket.take(Duration::from_secs(second))).count();
        assert_eq!(taken(0, 9), 3);
        assert_eq!(taken(1, 1), 0);
        assert_eq!(taken(2, 2), 1);
        assert_eq!(taken(5, 2), 1);
        assert_eq!(taken(6, 2), 1);
        assert_eq!(taken(1_000_000_000_000, 9), 3);
    }

    #[test]
    fn a_part_is_a_part() {
        let whole = Duration::from_secs(10);
        let parts: Vec<_> = (0..50).map(|_| part_of(whole, &mut crate::negotiate::system_entropy())).collect();
        assert!(parts.iter().all(|part| *part <= whole));
        assert!(parts.iter().min().unwrap() < &(whole / 2) && parts.iter().max().unwrap() > &(whole / 2));
    }
}
