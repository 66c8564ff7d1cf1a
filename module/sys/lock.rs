// SPDX-License-Identifier: GPL-2.0-only

//! Spin locks that keep softirqs out: the same data is used by sockets (process context) and by arriving packets.

use crate::bindings;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use kernel::prelude::*;

/// The kinds of lock, in the order in which they are taken.
#[derive(Clone, Copy)]
pub(crate) enum Class {
    /// A slot of pending entries. A flow's lock (`table.c`) comes behind it, before the others.
    Pending,
    /// The secrets of an association.
    Secrets,
    /// A budget.
    Budget,
}

impl Class {
    fn as_raw(self) -> bindings::pdmv2_lock_class {
        match self {
            Self::Pending => bindings::pdmv2_lock_class_PDMV2_LOCK_PENDING,
            Self::Secrets => bindings::pdmv2_lock_class_PDMV2_LOCK_SECRETS,
            Self::Budget => bindings::pdmv2_lock_class_PDMV2_LOCK_BUDGET,
        }
    }
}

/// A value behind a spin lock, taken with bottom halves disabled. Made only in place by [`boxed`] and [`slice`], as a
/// lock must not move.
pub(crate) struct BhLock<T> {
    lock: UnsafeCell<bindings::spinlock_t>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out the value to one thread at a time.
unsafe impl<T: Send> Send for BhLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for BhLock<T> {}

/// Access to the value while the lock is held.
pub(crate) struct Guard<'a, T> {
    lock: &'a BhLock<T>,
    /// A held spin lock stays on its CPU.
    _not_send: core::marker::PhantomData<*mut ()>,
}

/// A lock in a box.
pub(crate) fn boxed<T>(class: Class, value: T) -> Result<KBox<BhLock<T>>> {
    let lock = KBox::new(BhLock::raw(value), GFP_KERNEL_ACCOUNT)?;
    lock.init(class);
    Ok(lock)
}

/// A slice of locks that never moves.
pub(crate) struct Locks<T>(KVVec<BhLock<T>>);

/// `count` locks around what `make` makes.
pub(crate) fn slice<T>(class: Class, count: usize, mut make: impl FnMut() -> T) -> Result<Locks<T>> {
    let mut locks = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    for _ in 0..count {
        locks.push(BhLock::raw(make()), GFP_KERNEL_ACCOUNT)?;
    }
    // From here on the vector neither grows nor moves its elements.
    locks.iter().for_each(|lock| lock.init(class));
    Ok(Locks(locks))
}

impl<T> Locks<T> {
    /// The lock a hash falls on.
    pub(crate) fn of(&self, hash: u64) -> Option<&BhLock<T>> {
        self.0.get((u128::from(hash).wrapping_mul(self.0.len() as u128) >> u64::BITS) as usize)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The lock at an index.
    pub(crate) fn get(&self, index: usize) -> Option<&BhLock<T>> {
        self.0.get(index)
    }
}

impl<T> BhLock<T> {
    fn raw(value: T) -> Self {
        Self { lock: UnsafeCell::new(bindings::spinlock_t::default()), value: UnsafeCell::new(value) }
    }

    fn init(&self, class: Class) {
        // SAFETY: the lock has its final address, and nobody has taken it yet.
        unsafe { bindings::pdmv2_lock_init(self.lock.get(), class.as_raw()) };
    }

    /// Takes the lock.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        // SAFETY: the lock was initialised by the only two ways to make one.
        unsafe { bindings::pdmv2_lock(self.lock.get()) };
        Guard { lock: self, _not_send: core::marker::PhantomData }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard proves that the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard proves that the lock is held, and is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the guard was made by taking this lock.
        unsafe { bindings::pdmv2_unlock(self.lock.lock.get()) };
    }
}
