// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The one counter PSNTP and epoch come from (docs/protocol.md, sections 3 and 4).

use super::uapi::EPOCH_MAX;

/// An epoch and a PSN that were handed out, and never will be again under the same secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// 12-bit epoch; `None` once every epoch is used, when only plain options may still be sent.
    pub epoch: Option<u16>,
    /// PSN of the packet.
    pub psn: u16,
}

/// A flow's send counter. It is not `Clone`: a copy could hand out the same pair twice.
#[derive(Debug)]
pub struct SendCounter {
    epoch: u32,
    psn: u16,
    /// Whether any PSN was handed out under `epoch`.
    used: bool,
}

impl SendCounter {
    /// Starts at a random PSN, in the epoch of the flow's floor.
    pub const fn new(first_psn: u16, floor: u32) -> Self {
        Self { epoch: floor, psn: first_psn, used: false }
    }

    /// The epoch of the next stamp: "MUST step when PSNTP wraps (the packet with PSNTP 0 is the first of the next epoch)".
    fn next_epoch(&self) -> u32 {
        if self.psn == 0 && self.used {
            self.epoch.saturating_add(1)
        } else {
            self.epoch
        }
    }

    /// What [`Self::take`] would hand out next. Nothing is used up by looking.
    pub fn peek(&self) -> Stamp {
        let epoch = u16::try_from(self.next_epoch()).ok().filter(|epoch| usize::from(*epoch) <= EPOCH_MAX);
        Stamp { epoch, psn: self.psn }
    }

    /// Hands out the next pair. Plain options take from here too, so that changing the mechanism cannot repeat one.
    pub fn take(&mut self) -> Stamp {
        let stamp = self.peek();
        self.epoch = self.next_epoch();
        self.used = true;
        self.psn = self.psn.wrapping_add(1);
        stamp
    }

    /// Ends the epoch before its PSNs are used up: "MAY step earlier by time or count". The PSN is continuous.
    pub fn step(&mut self) {
        self.epoch = self.floor();
        self.used = false;
    }

    /// Starts over in another secret: epochs begin at that secret's floor, the PSN is continuous.
    pub fn enter_secret(&mut self, floor: u32) {
        self.epoch = floor;
        self.used = false;
    }

    /// The lowest epoch in which nothing was handed out.
    pub const fn floor(&self) -> u32 {
        if self.used {
            self.epoch.saturating_add(1)
        } else {
            self.epoch
        }
    }

    /// PSNs left before the epoch steps.
    pub const fn left_in_epoch(&self) -> u32 {
        if self.psn == 0 && self.used {
            0
        } else {
            0x1_0000 - self.psn as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    extern crate std;

    #[test]
    fn the_epoch_steps_at_the_wrap_and_psn_zero_is_its_first() {
        let mut c = SendCounter::new(65534, 7);
        let got: [_; 4] = core::array::from_fn(|_| c.take());
        let want = [(7, 65534), (7, 65535), (8, 0), (8, 1)];
        assert_eq!(got, want.map(|(e, psn)| Stamp { epoch: Some(e), psn }));
        assert_eq!(c.floor(), 9);
    }

    #[test]
    fn an_epoch_may_end_early_and_none_is_skipped() {
        let mut c = SendCounter::new(65535, 0);
        let mut got = std::vec::Vec::new();
        for _ in 0..3 {
            got.push(c.take());
            c.step();
            // Nothing was sent in the epoch entered: it is not left.
            c.step();
        }
        let want = [(0, 65535), (1, 0), (2, 1)].map(|(e, psn)| Stamp { epoch: Some(e), psn });
        assert_eq!(got, want);
        assert_eq!((c.floor(), c.peek().epoch), (3, Some(3)));
    }

    #[test]
    fn a_flow_may_start_at_psn_zero() {
        let mut c = SendCounter::new(0, 3);
        assert_eq!(c.take(), Stamp { epoch: Some(3), psn: 0 });
        assert_eq!(c.take(), Stamp { epoch: Some(3), psn: 1 });
    }

    #[test]
    fn past_the_last_epoch_there_is_none() {
        let mut c = SendCounter::new(65535, EPOCH_MAX as u32);
        assert_eq!(c.take().epoch, Some(4095));
        assert_eq!(c.peek().epoch, None);
        assert_eq!(c.take(), Stamp { epoch: None, psn: 0 });
        c.enter_secret(0);
        assert_eq!(c.take(), Stamp { epoch: Some(0), psn: 1 });
    }

    #[test]
    fn no_pair_is_handed_out_twice_over_flow_reuse() {
        let (mut seen, mut floor) = (HashSet::new(), 0);
        for life in 0..40u32 {
            let mut c = SendCounter::new((life * 7919) as u16, floor);
            for _ in 0..5000 {
                let stamp = c.take();
                assert!(seen.insert((stamp.epoch, stamp.psn)), "{stamp:?}");
            }
            floor = c.floor();
        }
    }
}
