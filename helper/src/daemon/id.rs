// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What a peer is known by inside the daemon.

/// A peer, from when it comes until it goes. A number is never given twice, so that what was meant for a peer that went
/// reaches nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

impl PeerId {
    /// This number; the next call gives the next.
    pub fn take(&mut self) -> Self {
        let taken = *self;
        self.0 = self.0.wrapping_add(1);
        taken
    }
}
