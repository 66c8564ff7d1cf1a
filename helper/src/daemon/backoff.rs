// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How long to wait before the next attempt: twice as long each time, up to a bound, with jitter.

use std::time::Duration;

/// First wait, before jitter.
const FIRST: Duration = Duration::from_millis(500);

/// Longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// The state of one sequence of attempts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: between half and all of `FIRST * 2^failures`, at most [`LONGEST`].
    pub fn next_wait(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + 0.5 * fraction())
    }

    /// The attempts bore fruit.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number from 0 to 1. Without randomness there is no jitter, which does no harm.
pub fn fraction() -> f64 {
    let mut bytes = [0xff; 2];
    let _ = getrandom::fill(&mut bytes);
    f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound_with_jitter() {
        let mut backoff = Backoff::default();
        for failures in 0..40u32 {
            let wait = backoff.next_wait();
            let whole = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
            assert!(wait <= whole && wait >= whole / 2, "{failures}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
