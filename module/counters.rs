// SPDX-License-Identifier: GPL-2.0-only

//! Counters of a namespace, and of the module as a whole.

use crate::proto::uapi::{Refusal, Skip};
use crate::sys::counters::{CpuCounters, COUNTERS};
use kernel::prelude::*;

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
    /// Flows dropped, for whatever reason.
    FlowsDropped,
    /// ACQUIRE messages sent.
    Acquires,
    /// MSS values lowered.
    MssClamped,
    /// Events told.
    Events,
    /// Events not told, as there were too many.
    EventsSuppressed,
    /// Flows dropped to make room for others.
    FlowsEvicted,
}

/// Names of [`Count`], in its order, as files in sysfs.
pub(crate) const COUNT_NAMES: [&str; 11] = [
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
    "flows_evicted",
];

/// Where skip reasons, and behind them refusals, stand in a set.
const SKIPPED: usize = COUNT_NAMES.len();
const REFUSED: usize = SKIPPED + Skip::ALL.len();
const _: () = assert!(REFUSED + Refusal::ALL.len() <= COUNTERS);

/// The counters of a namespace.
pub(crate) struct Counters(CpuCounters);

impl Counters {
    /// All zero.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(CpuCounters::new()?))
    }

    /// Counts here and in the module.
    pub(crate) fn count(&self, what: Count, n: u64) {
        self.0.add(what as usize, n);
    }

    /// Counts packets sent without an option.
    pub(crate) fn skip(&self, reason: Skip, n: u64) {
        self.0.add(SKIPPED + reason as usize, n);
    }

    /// Counts an option refused.
    pub(crate) fn refuse(&self, reason: Refusal) {
        self.0.add(REFUSED + reason as usize, 1);
    }

    /// A count, by the index of its name.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.0.get(index)
    }

    /// A skip count.
    pub(crate) fn skipped(&self, index: usize) -> u64 {
        self.0.get(SKIPPED.saturating_add(index))
    }

    /// A refusal count.
    pub(crate) fn refused(&self, index: usize) -> u64 {
        self.0.get(REFUSED.saturating_add(index))
    }
}

/// Likewise of the module: all namespaces there are and were.
pub(crate) mod module {
    use crate::sys::counters::module;

    /// A count, by the index of its name.
    pub(crate) fn get(index: usize) -> u64 {
        module(index)
    }

    /// A skip count.
    pub(crate) fn skipped(index: usize) -> u64 {
        module(super::SKIPPED.saturating_add(index))
    }

    /// A refusal count.
    pub(crate) fn refused(index: usize) -> u64 {
        module(super::REFUSED.saturating_add(index))
    }
}
