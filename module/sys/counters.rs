// SPDX-License-Identifier: GPL-2.0-only

//! Sets of counters that every CPU has its own of: counting takes no lock and shares no cache line.

use crate::bindings;
use kernel::prelude::*;

/// Counters of a set.
pub(crate) const COUNTERS: usize = bindings::PDMV2_COUNTERS as usize;

/// A set of counters. What is counted in any set is counted for the module, too, and stays when the set goes.
pub(crate) struct CpuCounters(bindings::pdmv2_counters);

// SAFETY: each CPU writes its own, by single instructions; any may read.
unsafe impl Send for CpuCounters {}
// SAFETY: as above.
unsafe impl Sync for CpuCounters {}

impl CpuCounters {
    /// All zero.
    pub(crate) fn new() -> Result<Self> {
        let mut counters = bindings::pdmv2_counters::default();
        // SAFETY: valid for writes; may be called wherever sleeping is allowed.
        kernel::error::to_result(unsafe { bindings::pdmv2_counters_init(&mut counters) })?;
        Ok(Self(counters))
    }

    /// Counts; what is no counter is not counted.
    pub(crate) fn add(&self, index: usize, n: u64) {
        if index < COUNTERS {
            // SAFETY: the set lives as long as `self`, and has this counter.
            unsafe { bindings::pdmv2_count(&self.0, index as u32, n) };
        }
    }

    /// What all CPUs counted.
    pub(crate) fn get(&self, index: usize) -> u64 {
        if index >= COUNTERS {
            return 0;
        }
        // SAFETY: as in `add`.
        unsafe { bindings::pdmv2_counted(&self.0, index as u32) }
    }
}

/// What was counted in any set, since the module was loaded.
pub(crate) fn module(index: usize) -> u64 {
    if index >= COUNTERS {
        return 0;
    }
    // SAFETY: the module has this counter.
    unsafe { bindings::pdmv2_module_counted(index as u32) }
}

impl Drop for CpuCounters {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`; nobody else uses the set any more.
        unsafe { bindings::pdmv2_counters_free(&mut self.0) };
    }
}

/// One counter that every CPU has its own of.
pub(crate) struct CpuCount(bindings::pdmv2_counters);

// SAFETY: each CPU writes its own, by single instructions; any may read.
unsafe impl Send for CpuCount {}
// SAFETY: as above.
unsafe impl Sync for CpuCount {}

impl CpuCount {
    /// Zero.
    pub(crate) fn new() -> Result<Self> {
        let mut counter = bindings::pdmv2_counters::default();
        // SAFETY: valid for writes; may be called wherever sleeping is allowed.
        kernel::error::to_result(unsafe { bindings::pdmv2_count_init(&mut counter) })?;
        Ok(Self(counter))
    }

    /// Counts.
    pub(crate) fn add(&self, n: u64) {
        // SAFETY: the counter lives as long as `self`.
        unsafe { bindings::pdmv2_count_one(&self.0, n) };
    }

    /// What all CPUs counted.
    pub(crate) fn get(&self) -> u64 {
        // SAFETY: as in `add`; it is the first and only one of its set.
        unsafe { bindings::pdmv2_counted(&self.0, 0) }
    }
}

impl Drop for CpuCount {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`; nobody else uses it any more.
        unsafe { bindings::pdmv2_counters_free(&mut self.0) };
    }
}
