// SPDX-License-Identifier: GPL-2.0-only

//! The module parameter `memory_max`.

use crate::bindings;

/// Gives it its default, a part of the machine's memory, unless it was set.
pub(crate) fn init() {
    // SAFETY: called once, before anything is charged.
    unsafe { bindings::pdmv2_memory_init() };
}

/// Bytes that the flows of all namespaces may take.
pub(crate) fn host_max() -> u64 {
    // SAFETY: reads one word.
    unsafe { bindings::pdmv2_memory_max_now() }
}
