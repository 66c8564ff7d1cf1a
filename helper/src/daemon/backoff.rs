// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How long to wait before the next attempt: twice as long each time, up to a bound, with jitter.

use std::time::Duration;

/// First wait, before jitter.
const FIRST: Duration = Duration::from_millis(500);

/// Longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// A session that lasted this long may be followed by another at once.
const LASTING: Duration = Duration::from_secs(60);

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

/// When a peer is dialled: attempts that fail are ever farther apart, and one that succeeds begins anew, however soon its
/// session ends. Sessions that end soon are apart by the first wait, so that they do not chase each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    backoff: Backoff,
    succeeded_at: Option<Duration>,
}

impl Pace {
    /// The wait after an attempt that failed.
    pub fn failed(&mut self) -> Duration {
        self.backoff.next_wait()
    }

    /// An exchange succeeded, and its session begins.
    pub fn succeeded(&mut self, now: Duration) {
        self.backoff.reset();
        self.succeeded_at = Some(now);
    }

    /// The wait before the next attempt, if the last session began so lately that there is one. Asked again, there is none.
    pub fn wait_after_session(&mut self, now: Duration) -> Option<Duration> {
        let began = self.succeeded_at.take()?;
        (now.saturating_sub(began) < LASTING).then(|| self.backoff.next_wait())
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

    #[test]
    fn an_exchange_that_succeeded_begins_anew_however_soon_its_session_ends() {
        let mut pace = Pace::default();
        let first = FIRST / 2..=FIRST;
        for session in 0..20u64 {
            // The more attempts failed before, the longer were their waits.
            for failures in 0..8u32 {
                // A session that ended soon had the first wait of this sequence.
                let whole = FIRST.saturating_mul(1 << (failures + u32::from(session > 0))).min(LONGEST);
                let wait = pace.failed();
                assert!(wait >= whole / 2 && wait <= whole, "{session}, {failures}: {wait:?}");
            }
            let now = Duration::from_secs(100 * session);
            pace.succeeded(now);
            let wait = pace.wait_after_session(now + LASTING / 2).unwrap();
            assert!(first.contains(&wait), "{session}: {wait:?}");
            assert_eq!(pace.wait_after_session(now + LASTING / 2), None);
        }
        // One soon after the other, and one that lasted.
        for now in (0..100).map(Duration::from_secs) {
            pace.succeeded(now);
            assert!(first.contains(&pace.wait_after_session(now).unwrap()));
        }
        pace.succeeded(Duration::ZERO);
        assert_eq!(pace.wait_after_session(LASTING), None);
    }

    #[test]
    fn waits_differ() {
        let waits: std::collections::HashSet<_> = (0..20).map(|_| Pace::default().failed()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
