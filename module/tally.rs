// SPDX-License-Identifier: GPL-2.0-only

//! What happened on one flow, by reason. Few reasons ever apply to one flow, so that only those take memory.

use crate::account::Payer;
use crate::proto::uapi::{Refusal, Skip};
use kernel::prelude::*;

/// Why a packet went or came without an option, or an option was ignored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Sent without.
    Skipped(Skip),
    /// Ignored.
    Refused(Refusal),
    /// Arrived without, though the peer's packets had one before.
    Missing,
}

/// Counts in one piece of memory.
const CHUNK: usize = 2;

#[derive(Default)]
struct Chunk {
    counts: [Option<(Reason, u32)>; CHUNK],
    more: Option<KBox<Chunk>>,
}

const _: () = assert!(size_of::<Chunk>() <= 32);

/// Counts by reason.
#[derive(Default)]
pub(crate) struct Tallies(Option<KBox<Chunk>>);

impl Tallies {
    /// Counts `n` more, and returns how many there were in all. Without memory nothing is counted. The
    /// owner gives [`Self::bytes`] back when it drops the counts.
    pub(crate) fn count(&mut self, reason: Reason, n: u32, payer: Payer<'_>) -> u32 {
        let mut place = &mut self.0;
        loop {
            if place.is_none() {
                *place = payer.boxed(Chunk::default()).ok();
            }
            let Some(chunk) = place else { return 0 };
            for entry in &mut chunk.counts {
                let (held, count) = entry.get_or_insert((reason, 0));
                if *held == reason {
                    *count = count.saturating_add(n);
                    return *count;
                }
            }
            place = &mut chunk.more;
        }
    }

    /// Bytes the counts take.
    pub(crate) fn bytes(&self) -> usize {
        core::iter::successors(self.0.as_deref(), |chunk| chunk.more.as_deref()).count() * size_of::<Chunk>()
    }

    /// Every reason that applied, and how often.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Reason, u32)> + '_ {
        let mut chunk = self.0.as_deref();
        core::iter::from_fn(move || {
            let here = chunk?;
            chunk = here.more.as_deref();
            Some(here.counts.iter().flatten().copied())
        })
        .flatten()
    }

    /// How often packets were sent without an option, for any reason.
    pub(crate) fn skipped(&self) -> u64 {
        self.iter().filter(|(reason, _)| matches!(reason, Reason::Skipped(_))).map(|(_, n)| u64::from(n)).sum()
    }

    /// How many options were ignored, for any reason.
    pub(crate) fn refused(&self) -> u64 {
        self.iter().filter(|(reason, _)| matches!(reason, Reason::Refused(_))).map(|(_, n)| u64::from(n)).sum()
    }
}
