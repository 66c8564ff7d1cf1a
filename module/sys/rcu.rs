// SPDX-License-Identifier: GPL-2.0-only

//! A value that readers see whole, old or new, and that is freed when no reader can see it any more.

use crate::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full};
use kernel::sync::rcu;

/// Waits until every read-side section that has begun has ended. Sleeps.
pub(crate) fn synchronize() {
    // SAFETY: may be called wherever sleeping is allowed.
    unsafe { bindings::synchronize_rcu() };
}

/// An optional boxed value, read under RCU and replaced as a whole.
pub(crate) struct RcuCell<T> {
    pointer: Atomic<*mut T>,
    _owns: PhantomData<KBox<T>>,
}

// SAFETY: the value is shared between threads and may be dropped by any.
unsafe impl<T: Send + Sync> Send for RcuCell<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for RcuCell<T> {}

impl<T> RcuCell<T> {
    /// Holds nothing.
    pub(crate) const fn empty() -> Self {
        Self { pointer: Atomic::new(core::ptr::null_mut()), _owns: PhantomData }
    }

    /// What it holds, for as long as the read-side section lasts.
    pub(crate) fn read<'a>(&'a self, _section: &'a rcu::Guard) -> Option<&'a T> {
        // SAFETY: the pointer is null or came out of a box that `replace` frees only after every section has ended that
        // could have loaded it.
        unsafe { self.pointer.load(Acquire).as_ref() }
    }

    /// What it holds, where the owner puts a value in once and keeps it until the cell is dropped.
    pub(crate) fn get_kept(&self) -> Option<&T> {
        // SAFETY: the pointer is null or came out of a box, and the owner says that it replaces nothing but nothing.
        unsafe { self.pointer.load(Acquire).as_ref() }
    }

    /// Puts another value in its place; sleeps until the old one is unseen, then frees it. The caller is the only writer.
    pub(crate) fn replace(&self, value: Option<KBox<T>>) {
        let new = value.map_or(core::ptr::null_mut(), KBox::into_raw);
        let old = self.pointer.xchg(new, Full);
        if !old.is_null() {
            synchronize();
            // SAFETY: it came out of a box in an earlier call, and no reader sees it any more.
            drop(unsafe { KBox::from_raw(old) });
        }
    }
}

impl<T> Drop for RcuCell<T> {
    fn drop(&mut self) {
        let old = self.pointer.xchg(core::ptr::null_mut(), Full);
        if !old.is_null() {
            // SAFETY: it came out of a box, and `&mut self` says that no reader is left.
            drop(unsafe { KBox::from_raw(old) });
        }
    }
}
