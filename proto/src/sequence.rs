// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Loss, reordering and duplication of the options a peer sent, by their 16-bit PSNs.

use super::window::{Seen, Window};

/// A forward step larger than this is taken for a peer that started anew, not for loss.
pub const JUMP: u16 = 4096;

/// What an arrived PSN turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In order, perhaps after a gap.
    Forward,
    /// Late: it fills a gap that was counted as loss.
    Reordered,
    /// Accepted before.
    Duplicate,
    /// Implausibly far from the last; counting started anew.
    Jump,
}

/// Counts of one direction of a flow.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// The highest PSN so far, unwrapped; the first is offset by one window, so that late ones before it have a place.
    highest: Option<u64>,
    window: Window,
    /// Sent by the peer and not arrived.
    pub lost: u64,
    /// Arrived after a later one.
    pub reordered: u64,
    /// Arrived more than once.
    pub duplicated: u64,
}

impl Sequence {
    /// Records an arrived PSN.
    pub fn arrived(&mut self, psn: u16) -> Arrival {
        let Some(highest) = self.highest else {
            self.start(psn);
            return Arrival::Forward;
        };
        let ahead = psn.wrapping_sub(highest as u16);
        if ahead == 0 {
            self.duplicated = self.duplicated.saturating_add(1);
            return Arrival::Duplicate;
        }
        if ahead <= JUMP {
            let seq = highest.saturating_add(u64::from(ahead));
            self.window.mark(seq);
            self.highest = Some(seq);
            self.lost = self.lost.saturating_add(u64::from(ahead.saturating_sub(1)));
            return Arrival::Forward;
        }
        let behind = u64::from(ahead.wrapping_neg());
        match highest.checked_sub(behind).map(|seq| self.window.mark(seq)) {
            Some(Seen::New) => {
                self.lost = self.lost.saturating_sub(1);
                self.reordered = self.reordered.saturating_add(1);
                Arrival::Reordered
            }
            Some(Seen::Duplicate) => {
                self.duplicated = self.duplicated.saturating_add(1);
                Arrival::Duplicate
            }
            Some(Seen::TooOld) | None => {
                self.start(psn);
                Arrival::Jump
            }
        }
    }

    fn start(&mut self, psn: u16) {
        let seq = (1 << 16) + u64::from(psn);
        self.window = Window::new();
        self.window.mark(seq);
        self.highest = Some(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_reordering_and_duplication_are_exact() {
        let mut s = Sequence::default();
        for (psn, want) in [
            (65534, Arrival::Forward),
            (65535, Arrival::Forward),
            (2, Arrival::Forward),
            (0, Arrival::Reordered),
            (0, Arrival::Duplicate),
            (2, Arrival::Duplicate),
            (3, Arrival::Forward),
            (30000, Arrival::Jump),
            (30001, Arrival::Forward),
        ] {
            assert_eq!(s.arrived(psn), want, "{psn}");
        }
        assert_eq!((s.lost, s.reordered, s.duplicated), (1, 1, 2));
    }

    #[test]
    fn a_late_packet_before_the_first_is_reordering_and_not_negative_loss() {
        let mut s = Sequence::default();
        s.arrived(10);
        assert_eq!(s.arrived(9), Arrival::Reordered);
        assert_eq!((s.lost, s.reordered), (0, 1));
    }
}
