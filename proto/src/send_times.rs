// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! When packets were sent, for as many of those in flight as a small ring can hold.
//!
//! The ring keeps a hash-selected subset of PSNs. Its density halves when entries are overwritten that the peer has not
//! passed yet, so that tens of thousands of packets in flight still yield samples; it doubles again when they all were.
//! The subset is chosen by a hash and not by a stride, as an even stride would never meet acknowledgements of every
//! second packet. Entries stand in the order of sending, so that a packet is found by bisection.

/// A power of two, and at most the bits of [`SendTimes::payload`].
const ENTRIES: usize = 32;
const INDEX_MASK: u8 = ENTRIES as u8 - 1;
/// Density is at least one PSN in 2^10.
const MOST_SHIFT: u8 = 10;
/// Packet numbers are compared within this distance.
const HALF: u32 = u32::MAX / 2;

/// A packet of ours that a PSNLR named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// When it was sent, monotonic ns.
    pub sent_at: u64,
    /// It carried upper-layer payload, and this is the first time that it is named by [`SendTimes::take_payload`].
    pub payload: bool,
    /// Where it stands.
    place: u8,
}

/// Send times of one flow.
#[derive(Debug)]
pub struct SendTimes {
    sent_at: [u64; ENTRIES],
    /// Each packet's number in [`Self::newest`]'s count.
    number: [u32; ENTRIES],
    /// A bit for each entry whose packet carried payload.
    payload: u32,
    /// The packet sent last, its PSN in the low 16 bits and its wraps above, so that a PSN of 65536 packets ago is
    /// not taken for a new one.
    newest: u32,
    /// The furthest packet a peer has named.
    passed: Option<u32>,
    /// The place of the oldest entry.
    oldest: u8,
    len: u8,
    /// One PSN in 2^shift is kept.
    shift: u8,
    /// Entries written since the density was halved last.
    calm: u8,
}

impl Default for SendTimes {
    fn default() -> Self {
        Self {
            sent_at: [0; ENTRIES],
            number: [0; ENTRIES],
            payload: 0,
            newest: 0,
            passed: None,
            oldest: 0,
            len: 0,
            shift: 0,
            calm: 0,
        }
    }
}

impl SendTimes {
    fn selects(number: u32, shift: u8) -> bool {
        let hash = number.wrapping_add(1).wrapping_mul(0x9E37_79B1) >> 16;
        hash & !(u32::MAX << (shift & 15)) == 0
    }

    fn has_passed(&self, number: u32) -> bool {
        self.passed.is_some_and(|passed| passed.wrapping_sub(number) <= HALF)
    }

    /// The number of the latest packet sent with this PSN.
    fn number_of(&self, psn: u16) -> u32 {
        self.newest.wrapping_sub(u32::from((self.newest as u16).wrapping_sub(psn)))
    }

    /// The place of the entry that is `index` after the oldest.
    const fn place(&self, index: u8) -> u8 {
        self.oldest.wrapping_add(index) & INDEX_MASK
    }

    fn number_at(&self, place: u8) -> u32 {
        self.number.get(usize::from(place)).copied().unwrap_or(0)
    }

    fn put(&mut self, place: u8, number: u32, sent_at: u64, payload: bool) {
        if let (Some(n), Some(at)) = (self.number.get_mut(usize::from(place)), self.sent_at.get_mut(usize::from(place)))
        {
            (*n, *at) = (number, sent_at);
        }
        let bit = 1u32 << (place & INDEX_MASK);
        self.payload = if payload { self.payload | bit } else { self.payload & !bit };
    }

    fn drop_oldest(&mut self) {
        self.oldest = self.place(1);
        self.len = self.len.saturating_sub(1);
    }

    /// Keeps only what the density selects.
    fn thin_out(&mut self) {
        let (len, mut kept) = (self.len, 0u8);
        for index in 0..len {
            let from = self.place(index);
            let number = self.number_at(from);
            if Self::selects(number, self.shift) {
                let sent_at = self.sent_at.get(usize::from(from)).copied().unwrap_or(0);
                let payload = self.payload & (1u32 << (from & INDEX_MASK)) != 0;
                self.put(self.place(kept), number, sent_at, payload);
                kept = kept.saturating_add(1);
            }
        }
        self.len = kept;
    }

    /// Records a packet sent at `now` (monotonic ns).
    pub fn sent(&mut self, psn: u16, now: u64, payload: bool) {
        let number = self.newest.wrapping_add(u32::from(psn.wrapping_sub(self.newest as u16)));
        self.newest = number;
        if !Self::selects(number, self.shift) {
            return;
        }
        let full = usize::from(self.len) >= ENTRIES;
        if full && !self.has_passed(self.number_at(self.oldest)) {
            self.calm = 0;
            self.shift = self.shift.saturating_add(1).min(MOST_SHIFT);
            self.thin_out();
            if !Self::selects(number, self.shift) {
                return;
            }
        } else {
            self.calm = self.calm.saturating_add(1);
            if usize::from(self.calm) >= ENTRIES && self.shift > 0 {
                self.shift = self.shift.saturating_sub(1);
                self.calm = 0;
            }
        }
        if usize::from(self.len) >= ENTRIES {
            self.drop_oldest();
        }
        self.put(self.place(self.len), number, now, payload);
        self.len = self.len.saturating_add(1);
    }

    fn find(&self, number: u32) -> Option<u8> {
        let age = self.newest.wrapping_sub(number);
        let (mut from, mut to) = (0u8, self.len);
        while from < to {
            // Answers name what was sent last more often than not, so that the search begins there.
            let middle =
                if to == self.len { to.saturating_sub(1) } else { from.saturating_add(to.saturating_sub(from) / 2) };
            let place = self.place(middle);
            let here = self.newest.wrapping_sub(self.number_at(place));
            if here == age {
                return Some(place);
            }
            if here > age {
                from = middle.saturating_add(1);
            } else {
                to = middle;
            }
        }
        None
    }

    /// What is known of the packet a PSNLR names.
    pub fn named(&mut self, psnlr: u16) -> Option<Named> {
        let number = self.number_of(psnlr);
        if !self.has_passed(number) {
            self.passed = Some(number);
        }
        let place = self.find(number)?;
        let sent_at = *self.sent_at.get(usize::from(place))?;
        Some(Named { sent_at, payload: self.payload & (1u32 << (place & INDEX_MASK)) != 0, place })
    }

    /// Uses up a packet's payload mark: each PSNLR yields one server-delay sample.
    pub fn take_payload(&mut self, named: &Named) {
        self.payload &= !(1u32 << (named.place & INDEX_MASK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(t: &mut SendTimes, psn: u16) -> Option<(u64, bool)> {
        t.named(psn).map(|named| (named.sent_at, named.payload))
    }

    #[test]
    fn few_in_flight_are_all_known() {
        let mut t = SendTimes::default();
        for n in 0..10_000u16 {
            t.sent(n, u64::from(n) * 10, n % 2 == 0);
            if n >= 20 {
                assert_eq!(known(&mut t, n - 20), Some((u64::from(n - 20) * 10, n % 2 == 0)), "{n}");
            }
        }
    }

    #[test]
    fn payload_is_taken_once() {
        let mut t = SendTimes::default();
        t.sent(5, 1, true);
        let named = t.named(5).unwrap();
        assert!(named.payload);
        t.take_payload(&named);
        assert_eq!(known(&mut t, 5), Some((1, false)));
        assert_eq!(t.named(6), None);
    }

    /// "32,000 packets in flight still yield samples", also when only every second or every fourth is named.
    #[test]
    fn many_in_flight_still_yield_samples() {
        for (in_flight, stride) in [(1_000u32, 1u32), (32_000, 1), (32_000, 2), (32_000, 4), (8_000, 64)] {
            let (mut t, mut samples) = (SendTimes::default(), 0);
            for n in 0..400_000u32 {
                t.sent(n as u16, u64::from(n), false);
                if n >= in_flight && n % stride == 0 {
                    if let Some(named) = t.named((n - in_flight) as u16) {
                        assert_eq!(named.sent_at, u64::from(n - in_flight), "{in_flight} in flight");
                        samples += 1;
                    }
                }
            }
            assert!(samples > 10, "{in_flight} in flight, every {stride}: {samples} samples");
        }
    }

    #[test]
    fn density_recovers() {
        let mut t = SendTimes::default();
        for n in 0..40_000u16 {
            t.sent(n, 0, false);
        }
        assert!(t.shift > 3);
        for n in 0..200_000u32 {
            t.sent(n as u16, 0, false);
            t.named(n as u16);
        }
        assert_eq!(t.shift, 0);
    }

    /// Bisection finds just what a search through all finds, whatever gaps the thinning left.
    #[test]
    fn every_entry_is_found() {
        let mut t = SendTimes::default();
        let mut random = 1u32;
        for n in 0..50_000u32 {
            t.sent(n as u16, u64::from(n), n % 3 == 0);
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if random >> 28 == 0 {
                t.named((n - (random >> 8) % 900.min(n + 1)) as u16);
            }
            let all: [u32; ENTRIES] = core::array::from_fn(|i| t.number_at(t.place(i as u8)));
            for number in all.into_iter().take(usize::from(t.len)) {
                let place = t.find(number).unwrap();
                assert_eq!(t.sent_at[usize::from(place)], u64::from(number));
            }
        }
    }
}
