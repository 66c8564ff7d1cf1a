// SPDX-License-Identifier: GPL-2.0-only

//! Counters of a namespace, and of the module as a whole.

use crate::proto::uapi::{Refusal, Skip};
use kernel::sync::atomic::{Atomic, Relaxed};

/// What is counted besides the reasons.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Count {
    /// IPv6 packets sent, on the wire.
    PacketsOut,
    /// Options sent.
    OptionsOut,
    /// Options that arrived.
    OptionsIn,
    /// Options accepted.
    Accepted,
    /// Deltas that came out negative.
    NegativeDeltas,
    /// Flows dropped.
    FlowsDropped,
    /// ACQUIRE messages sent.
    Acquires,
    /// MSS values lowered.
    MssClamped,
    /// Events told.
    Events,
    /// Events not told, as there were too many.
    EventsSuppressed,
}

/// Names of [`Count`], in its order, as files in sysfs.
pub(crate) const COUNT_NAMES: [&str; 10] = [
    "packets_out",
    "options_out",
    "options_in",
    "accepted",
    "negative_deltas",
    "flows_dropped",
    "acquires",
    "mss_clamped",
    "events",
    "events_suppressed",
];

/// A set of counters.
pub(crate) struct Counters {
    counts: [Atomic<u64>; COUNT_NAMES.len()],
    skipped: [Atomic<u64>; Skip::ALL.len()],
    refused: [Atomic<u64>; Refusal::ALL.len()],
}

/// Those of the whole module.
pub(crate) static MODULE: Counters = Counters::new();

impl Counters {
    /// All zero.
    pub(crate) const fn new() -> Self {
        Self {
            counts: [const { Atomic::new(0) }; COUNT_NAMES.len()],
            skipped: [const { Atomic::new(0) }; Skip::ALL.len()],
            refused: [const { Atomic::new(0) }; Refusal::ALL.len()],
        }
    }

    fn add(&self, which: impl Fn(&Self) -> Option<&Atomic<u64>>, n: u64) {
        for counters in [self, &MODULE] {
            if let Some(counter) = which(counters) {
                counter.fetch_add(n, Relaxed);
            }
        }
    }

    /// Counts here and in the module.
    pub(crate) fn count(&self, what: Count, n: u64) {
        self.add(|c| c.counts.get(what as usize), n);
    }

    /// Counts packets sent without an option.
    pub(crate) fn skip(&self, reason: Skip, n: u64) {
        self.add(|c| c.skipped.get(reason as usize), n);
    }

    /// Counts an option refused.
    pub(crate) fn refuse(&self, reason: Refusal) {
        self.add(|c| c.refused.get(reason as usize), 1);
    }

    /// A count, by the index of its name.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.counts.get(index).map_or(0, |c| c.load(Relaxed))
    }

    /// A skip count.
    pub(crate) fn skipped(&self, index: usize) -> u64 {
        self.skipped.get(index).map_or(0, |c| c.load(Relaxed))
    }

    /// A refusal count.
    pub(crate) fn refused(&self, index: usize) -> u64 {
        self.refused.get(index).map_or(0, |c| c.load(Relaxed))
    }
}
