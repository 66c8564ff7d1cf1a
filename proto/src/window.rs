// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A sliding window over sequence numbers, the anti-replay algorithm of RFC 6479.

const WORDS: usize = 17;
const WORD_BITS: u64 = 64;

/// Sequence numbers behind the highest that are still told apart (docs/protocol.md, section 6: at least 1024).
pub const WINDOW: u64 = (WORDS as u64 - 1) * WORD_BITS;

/// What a window knows of a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen; the first argument of [`Window::mark`] may be it.
    New,
    /// Seen before.
    Duplicate,
    /// Too far behind to be told.
    TooOld,
}

/// Which of the last [`WINDOW`] sequence numbers were seen.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// One more than the highest seen; 0 when none was.
    end: u64,
    /// A ring of words; the bit of `seq` is bit `seq % 64` of word `seq / 64 % WORDS`.
    bits: [u64; WORDS],
}

impl Window {
    /// A window that has seen nothing.
    pub const fn new() -> Self {
        Self { end: 0, bits: [0; WORDS] }
    }

    /// A window in which everything below `end` counts as seen: for a flow whose window was given up.
    pub fn seen_below(end: u64) -> Self {
        let mut bits = [u64::MAX; WORDS];
        // The last word's bits from `end` on are not seen yet; where that is a whole word, it is cleared on the way in.
        if let (Some(word), rest @ 1..) = (bits.get_mut(Self::place(end).0), end % WORD_BITS) {
            *word = !(u64::MAX << rest);
        }
        Self { end, bits }
    }

    /// The highest number seen.
    pub const fn highest(&self) -> Option<u64> {
        self.end.checked_sub(1)
    }

    fn place(seq: u64) -> (usize, u64) {
        (((seq / WORD_BITS) % WORDS as u64) as usize, 1u64 << (seq % WORD_BITS))
    }

    /// What is known of `seq`.
    pub fn check(&self, seq: u64) -> Seen {
        if seq >= self.end {
            return Seen::New;
        }
        if self.end.saturating_sub(seq) > WINDOW {
            return Seen::TooOld;
        }
        let (word, bit) = Self::place(seq);
        match self.bits.get(word) {
            Some(bits) if bits & bit == 0 => Seen::New,
            _ => Seen::Duplicate,
        }
    }

    /// Records `seq` and returns what was known of it; anything but [`Seen::New`] changes nothing.
    pub fn mark(&mut self, seq: u64) -> Seen {
        let seen = self.check(seq);
        if seen != Seen::New {
            return seen;
        }
        if seq >= self.end {
            // Words between the old highest and the new one hold nothing any more.
            let (last, new) = (self.end.saturating_sub(1) / WORD_BITS, seq / WORD_BITS);
            for step in 1..=new.saturating_sub(last).min(WORDS as u64) {
                if let Some(word) = self.bits.get_mut((last.wrapping_add(step) % WORDS as u64) as usize) {
                    *word = 0;
                }
            }
            self.end = seq.saturating_add(1);
        }
        let (word, bit) = Self::place(seq);
        if let Some(bits) = self.bits.get_mut(word) {
            *bits |= bit;
        }
        Seen::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    extern crate std;

    #[test]
    fn numbered_cases() {
        use Seen::*;
        let cases: [(u64, Seen); 14] = [
            (0, New),
            (0, Duplicate),
            (1, New),
            (1023, New),
            (1024, New),
            (2, New),
            (1, Duplicate),
            (0, TooOld),
            (1024 + 1023, New),
            (1024, Duplicate),
            (1023, TooOld),
            (1 << 40, New),
            ((1 << 40) - 1, New),
            (2047, TooOld),
        ];
        let mut window = Window::new();
        for (number, (seq, want)) in cases.into_iter().enumerate() {
            assert_eq!(window.mark(seq), want, "case {number}: {seq}");
        }
    }

    #[test]
    fn what_was_given_up_counts_as_seen() {
        let mut window = Window::seen_below(5000);
        let cases = [
            (4999, Seen::Duplicate),
            (4000, Seen::Duplicate),
            (3000, Seen::TooOld),
            (5000, Seen::New),
            (5003, Seen::New),
            (5001, Seen::New),
            (4998, Seen::Duplicate),
        ];
        for (seq, want) in cases {
            assert_eq!(window.mark(seq), want, "{seq}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(seqs in proptest::collection::vec(0u64..5000, 0..2000)) {
            let (mut window, mut set, mut highest) = (Window::new(), HashSet::new(), None::<u64>);
            for seq in seqs {
                let old = highest.is_some_and(|h| h >= seq && h - seq >= WINDOW);
                let want = if old { Seen::TooOld } else if set.contains(&seq) { Seen::Duplicate } else { Seen::New };
                prop_assert_eq!(window.mark(seq), want);
                set.insert(seq);
                highest = Some(highest.map_or(seq, |h| h.max(seq)));
            }
        }
    }
}
