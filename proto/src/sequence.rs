// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Loss, reordering and duplication of the options a peer sent, by their 16-bit PSNs.

pub use super::uapi::Arrival;
use super::window::{Seen, Window};

/// A forward step larger than this is taken for a peer that started anew, not for loss.
pub const JUMP: u16 = 4096;

/// Where a first PSN stands in a window: late ones before it have a place.
const BASE: u64 = 1 << 16;

/// Counts of one direction of a flow. Which PSNs arrived is in a [`Window`] that a resting flow does without.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// Sent by the peer and not arrived.
    pub lost: u32,
    /// Arrived after a later one.
    pub reordered: u32,
    /// Arrived more than once.
    pub duplicated: u32,
    highest: u16,
    started: bool,
}

impl Sequence {
    /// The window of a flow that goes on: what came before it was given up counts as arrived.
    pub fn window(&self) -> Window {
        match self.started {
            true => Window::seen_below(BASE.saturating_add(u64::from(self.highest)).saturating_add(1)),
            false => Window::new(),
        }
    }

    /// Records an arrived PSN. Without a window what is late cannot be told from what comes twice.
    pub fn arrived(&mut self, psn: u16, window: Option<&mut Window>) -> Arrival {
        if !self.started {
            return self.start(psn, window, Arrival::Forward);
        }
        let ahead = psn.wrapping_sub(self.highest);
        if ahead == 0 {
            return self.duplicate();
        }
        let at = |window: &Window| window.highest().unwrap_or(BASE);
        if ahead <= JUMP {
            if let Some(window) = window {
                window.mark(at(window).saturating_add(u64::from(ahead)));
            }
            self.highest = psn;
            self.lost = self.lost.saturating_add(u32::from(ahead.saturating_sub(1)));
            return Arrival::Forward;
        }
        let behind = u64::from(ahead.wrapping_neg());
        let Some(window) = window else {
            return if behind <= u64::from(JUMP) { self.duplicate() } else { self.start(psn, None, Arrival::Jump) };
        };
        match at(window).checked_sub(behind).map(|seq| window.mark(seq)) {
            Some(Seen::New) => {
                self.lost = self.lost.saturating_sub(1);
                self.reordered = self.reordered.saturating_add(1);
                Arrival::Reordered
            }
            Some(Seen::Duplicate) => self.duplicate(),
            Some(Seen::TooOld) | None => self.start(psn, Some(window), Arrival::Jump),
        }
    }

    /// Records that a PSN came once more.
    pub fn duplicate(&mut self) -> Arrival {
        self.duplicated = self.duplicated.saturating_add(1);
        Arrival::Duplicate
    }

    fn start(&mut self, psn: u16, window: Option<&mut Window>, arrival: Arrival) -> Arrival {
        (self.highest, self.started) = (psn, true);
        if let Some(window) = window {
            *window = Window::new();
            window.mark(BASE.saturating_add(u64::from(psn)));
        }
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_reordering_and_duplication_are_exact() {
        let (mut s, mut w) = (Sequence::default(), Window::new());
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
            assert_eq!(s.arrived(psn, Some(&mut w)), want, "{psn}");
        }
        assert_eq!((s.lost, s.reordered, s.duplicated), (1, 1, 2));
    }

    #[test]
    fn a_late_packet_before_the_first_is_reordering_and_not_negative_loss() {
        let (mut s, mut w) = (Sequence::default(), Window::new());
        s.arrived(10, Some(&mut w));
        assert_eq!(s.arrived(9, Some(&mut w)), Arrival::Reordered);
        assert_eq!((s.lost, s.reordered), (0, 1));
    }

    #[test]
    fn a_flow_that_rested_counts_on_and_takes_nothing_twice() {
        let (mut s, mut w) = (Sequence::default(), Window::new());
        for psn in [7, 8, 10] {
            s.arrived(psn, Some(&mut w));
        }
        let mut w = s.window();
        for (psn, want) in
            [(8, Arrival::Duplicate), (10, Arrival::Duplicate), (12, Arrival::Forward), (11, Arrival::Reordered)]
        {
            assert_eq!(s.arrived(psn, Some(&mut w)), want, "{psn}");
        }
        assert_eq!((s.lost, s.reordered, s.duplicated), (1, 1, 2));
        assert_eq!(s.arrived(12, None), Arrival::Duplicate);
        assert_eq!(s.arrived(11, None), Arrival::Duplicate);
        assert_eq!(s.arrived(13, None), Arrival::Forward);
    }
}
