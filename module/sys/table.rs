// SPDX-License-Identifier: GPL-2.0-only

//! A hash table of locked values: found by key without a lock, in constant time however many there are.
//!
//! Each value has a lock of its own. What was found is used while its lock is held; what is removed is dropped at once,
//! under that lock, and its memory goes when no reader can see it any more.

use crate::bindings;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::sync::rcu;

/// Words of a key.
const KEY_WORDS: usize = bindings::PDMV2_KEY_WORDS as usize;
/// A key.
pub(crate) type Key = [u64; KEY_WORDS];

/// A value in a table.
#[repr(C)]
struct Node<T> {
    raw: bindings::pdmv2_node,
    value: UnsafeCell<ManuallyDrop<T>>,
}

/// Bytes of a value in a table, with what finds and locks it.
pub(crate) const fn node_size<T>() -> usize {
    core::mem::size_of::<Node<T>>()
}

/// The table.
pub(crate) struct Table<T> {
    raw: KBox<UnsafeCell<bindings::pdmv2_table>>,
    _values: PhantomData<T>,
}

// SAFETY: the table hands out its values to one thread at a time, and its own state is locked.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Table<T> {}

/// A value whose lock is held.
pub(crate) struct Locked<'a, T> {
    table: &'a Table<T>,
    node: NonNull<Node<T>>,
    /// A held spin lock stays on its CPU.
    _not_send: PhantomData<*mut ()>,
}

/// Why a value was not added.
pub(crate) enum NotAdded {
    /// There is one of this key.
    Exists,
    /// There is no memory.
    NoMemory,
}

unsafe extern "C" fn release<T>(node: *mut bindings::pdmv2_node) {
    // SAFETY: the table goes, so that nobody else uses the node, which is the first member of a `Node<T>` whose value was
    // not dropped.
    unsafe { ManuallyDrop::drop(&mut *(*node.cast::<Node<T>>()).value.get()) };
}

impl<T: Send> Table<T> {
    /// An empty table; it grows and shrinks with what it holds.
    pub(crate) fn new() -> Result<Self> {
        // What frees a node stands where its value stood.
        const { assert!(core::mem::size_of::<T>() >= core::mem::size_of::<bindings::callback_head>()) };
        let raw = KBox::new(UnsafeCell::new(bindings::pdmv2_table::default()), GFP_KERNEL_ACCOUNT)?;
        // SAFETY: the box keeps the table at its address until `drop`.
        kernel::error::to_result(unsafe { bindings::pdmv2_table_init(raw.get()) })?;
        Ok(Self { raw, _values: PhantomData })
    }

    /// Values held.
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: initialised by `new`, as in every method below.
        unsafe { bindings::pdmv2_table_len(self.raw.get()) }
    }

    /// The value of a key, locked.
    pub(crate) fn find<'a>(&'a self, _section: &'a rcu::Guard, key: &Key) -> Option<Locked<'a, T>> {
        // SAFETY: in a read-side section, as the guard proves.
        let node = unsafe { bindings::pdmv2_table_find(self.raw.get(), key.as_ptr()) };
        // SAFETY: what was found is locked, and the first member of a `Node<T>`.
        Some(unsafe { self.locked(NonNull::new(node)?) })
    }

    /// # Safety
    ///
    /// The node must be one of this table, locked, and nobody else's to unlock.
    unsafe fn locked(&self, node: NonNull<bindings::pdmv2_node>) -> Locked<'_, T> {
        Locked { table: self, node: node.cast(), _not_send: PhantomData }
    }

    /// Adds a value, locked. Any context.
    pub(crate) fn insert<'a>(
        &'a self,
        _section: &'a rcu::Guard,
        key: &Key,
        value: T,
    ) -> Result<Locked<'a, T>, NotAdded> {
        // Where there is no memory, the value is dropped here: a node would not do that.
        let place = KBox::<Node<T>>::new_uninit(GFP_ATOMIC).map_err(|_| NotAdded::NoMemory)?;
        let node = Node { raw: bindings::pdmv2_node::default(), value: UnsafeCell::new(ManuallyDrop::new(value)) };
        let node = KBox::into_raw(KBox::write(place, node));
        // SAFETY: the node is ours, and has its final address.
        let err = unsafe {
            bindings::pdmv2_node_init(node.cast(), key.as_ptr());
            bindings::pdmv2_table_insert(self.raw.get(), node.cast())
        };
        if err != 0 {
            // SAFETY: nobody saw the node; its value is dropped, then its memory freed.
            unsafe {
                ManuallyDrop::drop((*node).value.get_mut());
                drop(KBox::from_raw(node));
            }
            return Err(if err == EEXIST.to_errno() { NotAdded::Exists } else { NotAdded::NoMemory });
        }
        // SAFETY: the table holds the node now, locked by us; the read-side section keeps its memory.
        Ok(unsafe { self.locked(NonNull::new_unchecked(node.cast())) })
    }

    /// Calls `visit` with the values of a few buckets, from the one that a random number falls on.
    pub(crate) fn sample(
        &self,
        _section: &rcu::Guard,
        from: u32,
        buckets: u32,
        mut visit: impl FnMut(Locked<'_, T>) -> bool,
    ) {
        let mut visitor = Visitor { table: self, visit: &mut visit };
        // SAFETY: in a read-side section; the visitor outlives the call.
        unsafe {
            bindings::pdmv2_table_sample(
                self.raw.get(),
                from,
                buckets,
                Some(visit_node::<T>),
                core::ptr::from_mut(&mut visitor).cast(),
            )
        };
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self` says that nobody else uses the table; its worker is stopped first. Sleeps.
        unsafe { bindings::pdmv2_table_destroy(self.raw.get(), Some(release::<T>)) };
    }
}

struct Visitor<'a, T> {
    table: &'a Table<T>,
    visit: &'a mut dyn FnMut(Locked<'_, T>) -> bool,
}

unsafe extern "C" fn visit_node<T: Send>(node: *mut bindings::pdmv2_node, context: *mut c_void) -> bool {
    // SAFETY: the context is the visitor of the call under way; the node is one of its table, locked for it.
    unsafe {
        let visitor = &mut *context.cast::<Visitor<'_, T>>();
        let Some(node) = NonNull::new(node) else { return false };
        (visitor.visit)(visitor.table.locked(node))
    }
}

impl<T> Locked<'_, T> {
    /// Its key.
    pub(crate) fn key(&self) -> Key {
        // SAFETY: the node is in the table, and a key never changes.
        unsafe { *bindings::pdmv2_node_key(self.node.as_ptr().cast()).cast::<Key>() }
    }

    /// Takes it out of the table and drops it, here and now.
    pub(crate) fn remove(self) {
        let (table, node) = (self.table, self.node);
        core::mem::forget(self);
        // SAFETY: the lock is held; the value is dropped once, as a dead node is never locked again, and before the lock
        // is released, so that whoever adds the same key afterwards sees what the drop did.
        unsafe {
            ManuallyDrop::drop(&mut *(*node.as_ptr()).value.get());
            bindings::pdmv2_table_remove(table.raw.get(), node.as_ptr().cast());
        }
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, and the node not dead.
        unsafe { &*self.node.as_ref().value.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and borrowed mutably.
        unsafe { &mut *self.node.as_ref().value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the lock is held by us.
        unsafe { bindings::pdmv2_node_unlock(self.node.as_ptr().cast()) };
    }
}

/// A walk through every value of a table that outlives it; kept between calls.
pub(crate) struct Walk<T> {
    raw: KBox<UnsafeCell<bindings::pdmv2_walk>>,
    table: *const Table<T>,
}

// SAFETY: the walk is used by one thread at a time, as its methods take it mutably.
unsafe impl<T: Send> Send for Walk<T> {}

impl<T: Send> Walk<T> {
    /// Begins. Process context.
    ///
    /// # Safety
    ///
    /// The table must outlive the walk.
    pub(crate) unsafe fn new(table: &Table<T>) -> Result<Self> {
        let raw = KBox::new(UnsafeCell::new(bindings::pdmv2_walk::default()), GFP_KERNEL_ACCOUNT)?;
        // SAFETY: the box keeps the walk at its address until `drop`, which takes it off the table's list.
        unsafe { bindings::pdmv2_walk_enter(raw.get(), table.raw.get()) };
        Ok(Self { raw, table })
    }

    /// Calls `visit` with up to `most` values until it returns false; that one comes again in the next call. Returns false
    /// once every value was visited.
    pub(crate) fn some(&mut self, most: u32, mut visit: impl FnMut(Locked<'_, T>) -> bool) -> bool {
        // SAFETY: the caller of `new` keeps the table.
        let mut visitor = Visitor { table: unsafe { &*self.table }, visit: &mut visit };
        let context = core::ptr::from_mut(&mut visitor).cast();
        // SAFETY: begun by `new`; the visitor outlives the call.
        unsafe { bindings::pdmv2_walk_some(self.raw.get(), most, Some(visit_node::<T>), context) }
    }
}

impl<T> Drop for Walk<T> {
    fn drop(&mut self) {
        // SAFETY: begun by `new`.
        unsafe { bindings::pdmv2_walk_exit(self.raw.get()) };
    }
}
