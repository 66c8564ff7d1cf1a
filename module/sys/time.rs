// SPDX-License-Identifier: GPL-2.0-only

//! The monotonic clock.

use crate::bindings;

/// Nanoseconds since boot, without suspend.
pub(crate) fn now() -> u64 {
    // SAFETY: may be called from any context.
    let ns = unsafe { bindings::ktime_get() };
    u64::try_from(ns).unwrap_or(0)
}

/// Nanoseconds since boot, suspend included: for lifetimes that a peer counts too.
pub(crate) fn since_boot() -> u64 {
    // SAFETY: may be called from any context.
    let ns = unsafe { bindings::ktime_get_with_offset(bindings::tk_offsets_TK_OFFS_BOOT) };
    u64::try_from(ns).unwrap_or(0)
}

/// Lets others run, between two steps of long work in process context.
pub(crate) fn yield_now() {
    // SAFETY: the caller may sleep.
    unsafe { bindings::pdmv2_cond_resched() };
}

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;
