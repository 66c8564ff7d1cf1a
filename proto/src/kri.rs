// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The one counter Kri and the 15-bit field come from in profile `v2-kri` (docs/protocol.md, section 4, Profile v2-kri).
//! PSNTP is no nonce there: it goes on as in `v2`, from [`super::psn::SendCounter`].

use super::random15::{at, LENGTH};

/// Floor of a bucket in which no flow may start: "dropping a flow closes its bucket".
pub const CLOSED: u32 = u32::MAX;

/// A Kri and a place in its sequence that were handed out, and never will be again under the same secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KriStamp {
    /// Kri of the key; `None` where the bucket is closed or every Kri is used.
    pub kri: Option<u32>,
    /// "F = Kri mod 2".
    pub flag: bool,
    /// The 15-bit field, 1..=2^15-1: the nonce.
    pub random: u16,
}

/// A flow's counter under one secret. It is not `Clone`: a copy could hand out the same pair twice.
#[derive(Debug)]
pub struct KriCounter {
    /// Key of the flow's sequences.
    key: u64,
    kri: u32,
    /// Values of the sequence of `kri` that were handed out.
    taken: u16,
    /// Nothing may be sealed under the secret any more.
    closed: bool,
}

impl KriCounter {
    /// "Flows start at Kri 0", unless the floor of the flow's bucket says that it is closed. `sequence_key` is random.
    pub const fn new(sequence_key: u64, floor: u32) -> Self {
        Self { key: sequence_key, kri: 0, taken: 0, closed: floor != 0 }
    }

    /// The Kri of the next stamp, and whether it has run out: "at its end or earlier Kri rises, F flips, the sequence
    /// restarts".
    const fn next(&self) -> (u32, u16, bool) {
        if self.taken < LENGTH {
            (self.kri, self.taken, self.closed)
        } else {
            (self.kri.wrapping_add(1), 0, self.closed || self.kri == u32::MAX)
        }
    }

    /// The Kri of the next stamp, as [`Self::peek`] tells it.
    pub const fn kri(&self) -> Option<u32> {
        match self.next() {
            (kri, _, false) => Some(kri),
            _ => None,
        }
    }

    /// What [`Self::take`] would hand out next. Nothing is used up by looking.
    pub fn peek(&self) -> KriStamp {
        let (kri, taken, closed) = self.next();
        KriStamp { kri: (!closed).then_some(kri), flag: kri & 1 == 1, random: at(self.key, kri, taken.wrapping_add(1)) }
    }

    /// Hands out the next stamp.
    pub fn take(&mut self) -> KriStamp {
        let stamp = self.peek();
        (self.kri, self.taken, self.closed) = self.next();
        self.taken = self.taken.saturating_add(1);
        stamp
    }

    /// Makes the next stamp the first of the next Kri, "earlier if appropriate". A Kri that nothing was sent in is kept:
    /// the receiver looks for the next one only so far ahead.
    pub fn step(&mut self) {
        if self.taken > 0 {
            self.taken = LENGTH;
        }
    }

    /// The Kri that [`Self::step`] leads to.
    pub const fn after(&self) -> u32 {
        if self.taken > 0 {
            self.kri.saturating_add(1)
        } else {
            self.kri
        }
    }

    /// The floor that the flow leaves behind in its bucket.
    pub const fn floor(&self) -> u32 {
        if self.closed || self.kri > 0 || self.taken > 0 {
            CLOSED
        } else {
            0
        }
    }

    /// Stamps left before Kri rises.
    pub const fn left_in_kri(&self) -> u16 {
        LENGTH.saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    extern crate std;

    const ALL: usize = LENGTH as usize;

    #[test]
    fn kri_rises_and_f_flips_at_the_end_of_the_sequence() {
        let mut c = KriCounter::new(7, 0);
        let stamps: std::vec::Vec<_> = (0..2 * ALL + 1).map(|_| c.take()).collect();
        for (n, stamp) in stamps.iter().enumerate() {
            let kri = (n / ALL) as u32;
            assert_eq!((stamp.kri, stamp.flag), (Some(kri), kri % 2 == 1), "stamp {n}");
            assert!((1..=LENGTH).contains(&stamp.random));
        }
        assert_eq!(stamps.iter().map(|s| (s.kri, s.random)).collect::<HashSet<_>>().len(), stamps.len());
    }

    #[test]
    fn looking_uses_nothing_up() {
        let mut c = KriCounter::new(7, 0);
        for _ in 0..ALL + 2 {
            assert_eq!((c.peek(), c.kri()), (c.peek(), c.peek().kri));
            assert_eq!(c.peek(), c.take());
        }
    }

    #[test]
    fn dropping_a_flow_closes_its_bucket_until_a_new_secret() {
        let mut c = KriCounter::new(7, 0);
        assert_eq!(c.floor(), 0, "nothing was sent");
        c.take();
        assert_eq!(c.floor(), CLOSED);
        let mut next = KriCounter::new(7, c.floor());
        assert_eq!((next.peek().kri, next.floor()), (None, CLOSED));
        assert_eq!((next.take().kri, next.take().kri), (None, None));
    }

    #[test]
    fn kri_may_rise_early_but_skips_none() {
        let mut c = KriCounter::new(7, 0);
        c.step();
        assert_eq!(c.take().kri, Some(0));
        for kri in 1..5000 {
            assert_eq!(c.after(), kri);
            c.step();
            c.step();
            assert_eq!((c.peek().kri, c.peek().random), (Some(kri), at(7, kri, 1)));
            c.take();
            assert_eq!(c.left_in_kri(), LENGTH - 1);
        }
    }

    #[test]
    fn past_the_last_kri_there_is_none() {
        let mut c = KriCounter { key: 7, kri: u32::MAX, taken: LENGTH - 1, closed: false };
        assert_eq!(c.take().kri, Some(u32::MAX));
        for _ in 0..2 * ALL {
            assert_eq!(c.take().kri, None);
        }
    }

    #[test]
    fn no_pair_is_handed_out_twice_over_flow_reuse() {
        let (mut seen, mut floor) = (HashSet::new(), 0);
        for life in 0..3u64 {
            let mut c = KriCounter::new(life, floor);
            for n in 0..2 * ALL {
                let stamp = c.take();
                assert!(stamp.kri.is_none() || seen.insert((stamp.kri, stamp.random)), "{stamp:?}");
                if n % 10_000 == 9_999 {
                    c.step();
                }
            }
            floor = c.floor();
        }
        assert_eq!(seen.len(), 2 * ALL);
    }
}
