// SPDX-License-Identifier: GPL-2.0-only

//! The kernel's random numbers.

use crate::bindings;

/// A random 16-bit number.
pub(crate) fn u16() -> u16 {
    // SAFETY: may be called from any context.
    unsafe { bindings::get_random_u16() }
}

/// A random 64-bit number.
pub(crate) fn u64() -> u64 {
    // SAFETY: may be called from any context.
    unsafe { bindings::get_random_u64() }
}
