// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! When packets were sent, for as many of those in flight as a small ring can hold.
//!
//! The ring keeps a hash-selected subset of PSNs. Its density halves when entries are overwritten that the peer has not
//! passed yet, so that tens of thousands of packets in flight still yield samples; it doubles again when they all were.
//! The subset is chosen by a hash and not by a stride, as an even stride would never meet acknowledgements of every
//! second packet.

const ENTRIES: usize = 64;
/// Density is at least one PSN in 2^10.
const MOST_SHIFT: u8 = 10;

/// A packet of ours that a PSNLR named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// When it was sent, monotonic ns.
    pub sent_at: u64,
    /// It carried upper-layer payload, and this is the first time that it is named by [`SendTimes::take_payload`].
    pub payload: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    sent_at: u64,
    /// The packet's number in [`SendTimes::newest`]'s count.
    number: u32,
    live: bool,
    payload: bool,
}

/// Send times of one flow.
#[derive(Debug)]
pub struct SendTimes {
    entries: [Entry; ENTRIES],
    /// Where the next entry goes.
    next: u8,
    /// One PSN in 2^shift is kept.
    shift: u8,
    /// Entries written since an unanswered one was overwritten last.
    calm: u8,
    /// The packet sent last, its PSN in the low 16 bits and its wraps above, so that a PSN of 65536 packets ago is
    /// not taken for a new one.
    newest: u32,
    /// The furthest packet a peer has named.
    passed: Option<u32>,
}

impl Default for SendTimes {
    fn default() -> Self {
        Self { entries: [Entry::default(); ENTRIES], next: 0, shift: 0, calm: 0, newest: 0, passed: None }
    }
}

impl SendTimes {
    /// Packet numbers are compared within this distance.
    const HALF: u32 = u32::MAX / 2;

    fn selects(number: u32, shift: u8) -> bool {
        let hash = number.wrapping_add(1).wrapping_mul(0x9E37_79B1) >> 16;
        hash & !(u32::MAX << (shift & 15)) == 0
    }

    fn has_passed(&self, number: u32) -> bool {
        self.passed.is_some_and(|passed| passed.wrapping_sub(number) <= Self::HALF)
    }

    /// The number of the latest packet sent with this PSN.
    fn number_of(&self, psn: u16) -> u32 {
        self.newest.wrapping_sub(u32::from((self.newest as u16).wrapping_sub(psn)))
    }

    /// Records a packet sent at `now` (monotonic ns).
    pub fn sent(&mut self, psn: u16, now: u64, payload: bool) {
        let number = self.newest.wrapping_add(u32::from(psn.wrapping_sub(self.newest as u16)));
        self.newest = number;
        if !Self::selects(number, self.shift) {
            return;
        }
        let Some(old) = self.entries.get(usize::from(self.next)).copied() else { return };
        if old.live && !self.has_passed(old.number) {
            self.calm = 0;
            self.shift = self.shift.saturating_add(1).min(MOST_SHIFT);
            // What the new density does not select makes room, instead of what it does.
            let shift = self.shift;
            for entry in &mut self.entries {
                entry.live &= Self::selects(entry.number, shift);
            }
            if !Self::selects(number, shift) {
                return;
            }
            if let Some(free) = self.entries.iter().position(|e| !e.live) {
                self.next = free as u8;
            }
        } else {
            self.calm = self.calm.saturating_add(1);
            if usize::from(self.calm) >= ENTRIES && self.shift > 0 {
                self.shift = self.shift.saturating_sub(1);
                self.calm = 0;
            }
        }
        if let Some(entry) = self.entries.get_mut(usize::from(self.next)) {
            *entry = Entry { sent_at: now, number, live: true, payload };
        }
        self.next = self.next.wrapping_add(1) % ENTRIES as u8;
    }

    fn find(&self, number: u32) -> Option<usize> {
        self.entries.iter().position(|e| e.live && e.number == number)
    }

    /// What is known of the packet a PSNLR names.
    pub fn named(&mut self, psnlr: u16) -> Option<Named> {
        let number = self.number_of(psnlr);
        if !self.has_passed(number) {
            self.passed = Some(number);
        }
        let entry = self.entries.get(self.find(number)?)?;
        Some(Named { sent_at: entry.sent_at, payload: entry.payload })
    }

    /// Uses up a packet's payload mark: each PSNLR yields one server-delay sample.
    pub fn take_payload(&mut self, psnlr: u16) {
        let number = self.number_of(psnlr);
        if let Some(entry) = self.find(number).and_then(|index| self.entries.get_mut(index)) {
            entry.payload = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_in_flight_are_all_known() {
        let mut t = SendTimes::default();
        for n in 0..10_000u16 {
            t.sent(n, u64::from(n) * 10, n % 2 == 0);
            if n >= 20 {
                assert_eq!(
                    t.named(n - 20),
                    Some(Named { sent_at: u64::from(n - 20) * 10, payload: n % 2 == 0 }),
                    "{n}"
                );
            }
        }
    }

    #[test]
    fn payload_is_taken_once() {
        let mut t = SendTimes::default();
        t.sent(5, 1, true);
        assert!(t.named(5).unwrap().payload);
        t.take_payload(5);
        assert_eq!(t.named(5), Some(Named { sent_at: 1, payload: false }));
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
}
