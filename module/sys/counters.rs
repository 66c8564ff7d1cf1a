// SPDX-License-Identifier: GPL-2.0-only

//! Counters that every CPU has its own of: counting takes no lock and shares no cache line.

use crate::bindings;
use kernel::prelude::*;

/// Counters of a set.
pub(crate) const COUNTERS: usize = bindings::PDMV2_COUNTERS as usize;

/// So many counters of each CPU.
struct PerCpu<const N: usize>(bindings::pdmv2_counters);

// SAFETY: each CPU writes its own, by single instructions; any may read.
unsafe impl<const N: usize> Send for PerCpu<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for PerCpu<N> {}

impl<const N: usize> PerCpu<N> {
    fn new() -> Result<Self> {
        let mut counters = bindings::pdmv2_counters::default();
        // SAFETY: valid for writes; may be called wherever sleeping is allowed.
        kernel::error::to_result(unsafe { bindings::pdmv2_counters_init(&mut counters, N as u32) })?;
        Ok(Self(counters))
    }

    fn get(&self, index: usize) -> u64 {
        if index >= N {
            return 0;
        }
        // SAFETY: the counters live as long as `self`, and this is one of them.
        unsafe { bindings::pdmv2_counted(&self.0, index as u32) }
    }
}

impl<const N: usize> Drop for PerCpu<N> {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`; nobody else uses them any more.
        unsafe { bindings::pdmv2_counters_free(&mut self.0) };
    }
}

/// A set of counters. What is counted in any set is counted for the module, too, and stays when the set goes.
pub(crate) struct CpuCounters(PerCpu<COUNTERS>);

impl CpuCounters {
    /// All zero.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(PerCpu::new()?))
    }

    /// Counts; what is no counter is not counted.
    pub(crate) fn add(&self, index: usize, n: u64) {
        if index < COUNTERS {
            // SAFETY: the set lives as long as `self`, and has this counter.
            unsafe { bindings::pdmv2_count(&self.0 .0, index as u32, n) };
        }
    }

    /// What all CPUs counted.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.0.get(index)
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

/// One counter, which the module's counters have no part in.
pub(crate) struct CpuCount(PerCpu<1>);

impl CpuCount {
    /// Zero.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(PerCpu::new()?))
    }

    /// Counts one more.
    pub(crate) fn add_one(&self) {
        // SAFETY: the counter lives as long as `self`.
        unsafe { bindings::pdmv2_count_one(&self.0 .0) };
    }

    /// What all CPUs counted.
    pub(crate) fn get(&self) -> u64 {
        self.0.get(0)
    }
}
