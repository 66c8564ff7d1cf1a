// SPDX-License-Identifier: GPL-2.0-only

//! Moments at which this machine may become two: a virtual machine was forked, or the system is put to sleep.

use crate::bindings;
use core::cell::UnsafeCell;
use kernel::ffi::{c_int, c_ulong, c_void};
use kernel::prelude::*;

static CALLBACK: kernel::sync::atomic::Atomic<*mut c_void> = kernel::sync::atomic::Atomic::new(core::ptr::null_mut());

fn call() {
    let function = CALLBACK.load(kernel::sync::atomic::Acquire);
    if !function.is_null() {
        // SAFETY: only `Forked::register` stores it, from a function of this type.
        let function: fn() = unsafe { core::mem::transmute(function) };
        function();
    }
}

unsafe extern "C" fn on_fork(_: *mut bindings::notifier_block, _: c_ulong, _: *mut c_void) -> c_int {
    call();
    0
}

unsafe extern "C" fn on_sleep(_: *mut bindings::notifier_block, action: c_ulong, _: *mut c_void) -> c_int {
    if action == bindings::PM_SUSPEND_PREPARE as c_ulong || action == bindings::PM_HIBERNATION_PREPARE as c_ulong {
        call();
    }
    0
}

/// Registered notifiers.
pub(crate) struct Forked {
    fork: KBox<UnsafeCell<bindings::notifier_block>>,
    sleep: KBox<UnsafeCell<bindings::notifier_block>>,
}

// SAFETY: touched only to register and to unregister.
unsafe impl Send for Forked {}
// SAFETY: as above.
unsafe impl Sync for Forked {}

impl Forked {
    /// Calls `function` at each such moment, in process context.
    pub(crate) fn register(function: fn()) -> Result<Self> {
        type Call = unsafe extern "C" fn(*mut bindings::notifier_block, c_ulong, *mut c_void) -> c_int;
        let block = |call: Call| {
            KBox::new(
                UnsafeCell::new(bindings::notifier_block { notifier_call: Some(call), ..Default::default() }),
                GFP_KERNEL,
            )
        };
        let (fork, sleep) = (block(on_fork)?, block(on_sleep)?);
        CALLBACK.store(function as *mut c_void, kernel::sync::atomic::Release);
        // SAFETY: the boxes keep the blocks at their addresses until `drop`.
        kernel::error::to_result(unsafe { bindings::pdmv2_register_fork_notifier(fork.get()) })?;
        // SAFETY: as above.
        let registered = kernel::error::to_result(unsafe { bindings::pdmv2_register_sleep_notifier(sleep.get()) });
        if let Err(error) = registered {
            // SAFETY: registered just above.
            unsafe { bindings::pdmv2_unregister_fork_notifier(fork.get()) };
            return Err(error);
        }
        Ok(Self { fork, sleep })
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // SAFETY: both were registered by `register`; unregistering waits for a call under way.
        unsafe {
            bindings::pdmv2_unregister_sleep_notifier(self.sleep.get());
            bindings::pdmv2_unregister_fork_notifier(self.fork.get());
        }
    }
}
