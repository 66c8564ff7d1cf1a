// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What bounds the exchanges of a host.

use std::time::Duration;

/// First wait for an answer; doubled each time.
pub const RETRANSMIT: Duration = Duration::from_secs(1);

/// Times a datagram is sent until its exchange is given up, 31 s after the first.
pub const ATTEMPTS: u32 = 5;

/// Cookies that one exchange takes. A bucket ends during an exchange at most once; the others are for answers that
/// cross.
pub const COOKIES_MAX: u32 = 4;

/// Answers that one exchange tries to open.
pub const ANSWERS_MAX: u32 = 8;

/// How long the responder waits for m4, and answers it again: longer than the initiator tries.
pub const RESPONDER_LIFE: Duration = Duration::from_secs(40);

/// Exchanges that a peer may open as long as a cookie is good.
pub const RECENT_MAX: usize = 8;

/// Pairs with an exchange under way, or a recent one, unless configured otherwise.
pub const PAIRS_MAX: usize = 4096;

/// Exchanges a second that are answered with pairing operations, and twice as many at once.
pub const ACCEPTS_A_SECOND: u64 = 64;

/// A budget of so many a second, and of twice as many at once.
pub struct Budget {
    rate: u64,
    /// Thousandths of one.
    left: u64,
    counted: Duration,
}

impl Budget {
    /// Full at `now`. `rate` is per second.
    pub fn new(rate: u64, now: Duration) -> Self {
        Self { rate, left: rate.saturating_mul(2000), counted: now }
    }

    /// Takes one; whether there was one.
    pub fn take(&mut self, now: Duration) -> bool {
        let elapsed = now.saturating_sub(self.counted).as_millis();
        let earned = self.rate.saturating_mul(u64::try_from(elapsed).unwrap_or(u64::MAX));
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.rate.saturating_mul(2000));
            self.counted = now;
        }
        match self.left.checked_sub(1000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_earned() {
        let at = Duration::from_millis;
        let mut budget = Budget::new(4, at(0));
        let mut taken = |now: u64| (0..100).take_while(|_| budget.take(at(now))).count();
        // Twice the rate at once, then one each quarter of a second, and never more than twice the rate.
        assert_eq!([taken(0), taken(0), taken(249), taken(250), taken(1250)], [8, 0, 0, 1, 4]);
        assert_eq!([taken(1_000_000), taken(0)], [8, 0]);
    }
}
