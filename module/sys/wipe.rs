// SPDX-License-Identifier: GPL-2.0-only

//! Erasing secrets in a way the compiler keeps.

/// Overwrites bytes with zeros.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // The address escapes to something the compiler cannot see through, so that the fill is not dropped as dead.
    core::hint::black_box(bytes);
}

/// Overwrites a plain C structure with zeros.
///
/// # Safety
///
/// All-zero must be a valid value of `T`.
pub(super) unsafe fn wipe_value<T>(value: &mut T) {
    let at: *mut T = value;
    // SAFETY: `at` is valid for writes of its own type, and the caller promises that zeros are a value of it.
    unsafe { core::ptr::write_bytes(at, 0, 1) };
    core::hint::black_box(value);
}
