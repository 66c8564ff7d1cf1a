// SPDX-License-Identifier: GPL-2.0-only

//! Work that repeats in process context until it is dropped.

use crate::bindings;
use core::cell::UnsafeCell;
use kernel::ffi::c_void;
use kernel::prelude::*;

/// What is repeated.
pub(crate) trait Run: Sync {
    /// Runs once, in process context.
    fn run(&self);
}

/// Repeats the work of a `T` that outlives it.
pub(crate) struct Periodic(KBox<UnsafeCell<bindings::pdmv2_periodic>>);

// SAFETY: the C side is only touched to start and to stop it.
unsafe impl Send for Periodic {}
// SAFETY: as above.
unsafe impl Sync for Periodic {}

unsafe extern "C" fn run<T: Run>(context: *mut c_void) {
    // SAFETY: `context` is the `T` given to `start`, which its caller keeps alive.
    unsafe { &*context.cast::<T>() }.run();
}

impl Periodic {
    /// Starts repeating.
    ///
    /// # Safety
    ///
    /// `target` must stay valid until the returned value was dropped.
    pub(crate) unsafe fn start<T: Run>(target: *const T, period_ms: u32) -> Result<Self> {
        let work = KBox::new(UnsafeCell::new(bindings::pdmv2_periodic::default()), GFP_KERNEL_ACCOUNT)?;
        // SAFETY: the box keeps the work at its address until `drop` has stopped it; the caller keeps `target`.
        unsafe { bindings::pdmv2_periodic_start(work.get(), Some(run::<T>), target.cast_mut().cast(), period_ms) };
        Ok(Self(work))
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        // SAFETY: started by `start`; waits for a run under way.
        unsafe { bindings::pdmv2_periodic_stop(self.0.get()) };
    }
}
