// SPDX-License-Identifier: GPL-2.0-only

//! A value for each network namespace.

use crate::bindings;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use kernel::ffi::{c_int, c_uint, c_void};
use kernel::prelude::*;

/// A network namespace that outlives the value kept for it.
#[derive(Clone, Copy)]
pub(crate) struct Net(NonNull<bindings::net>);

// SAFETY: a namespace is used from any thread.
unsafe impl Send for Net {}
// SAFETY: as above.
unsafe impl Sync for Net {}

impl Net {
    /// Wraps the kernel's pointer.
    ///
    /// # Safety
    ///
    /// The namespace must stay valid while the value is used.
    pub(super) unsafe fn from_raw(net: *mut bindings::net) -> Option<Self> {
        NonNull::new(net).map(Self)
    }

    pub(super) fn as_raw(self) -> *mut bindings::net {
        self.0.as_ptr()
    }

    /// Whether it belongs to the initial user namespace, so that its administrator is the machine's.
    pub(crate) fn is_initial(self) -> bool {
        // SAFETY: valid by the type's promise.
        unsafe { bindings::pdmv2_net_is_initial(self.as_raw()) }
    }

    /// The user that its user namespace came from, by the number the initial user namespace has for it; `None` in that
    /// itself. All that a user's own user namespaces contain counts as that user's.
    pub(crate) fn foreign_user(self) -> Option<u32> {
        // SAFETY: valid by the type's promise.
        (!self.is_initial()).then(|| unsafe { bindings::pdmv2_net_user(self.as_raw()) })
    }

    /// `net.ipv6.max_dst_opts_number`.
    pub(crate) fn max_dst_opts(self) -> i32 {
        // SAFETY: valid by the type's promise.
        unsafe { bindings::pdmv2_max_dst_opts(self.as_raw()) }
    }
}

/// What is kept for a namespace.
pub(crate) trait PerNet: Sized + Send + Sync + 'static {
    /// Makes the value of a new namespace.
    fn new(net: Net) -> Result<KBox<Self>>;

    /// The namespace goes away: stop what uses packets. Every packet on its way has passed before the value is dropped.
    fn stop(&self);
}

struct Id(UnsafeCell<c_uint>);

// SAFETY: written once at registration, before any namespace is set up.
unsafe impl Sync for Id {}

static ID: Id = Id(UnsafeCell::new(0));

unsafe extern "C" fn init<T: PerNet>(net: *mut bindings::net) -> c_int {
    // SAFETY: the value is dropped in `exit`, before the namespace is freed.
    let Some(wrapped) = (unsafe { Net::from_raw(net) }) else { return EINVAL.to_errno() };
    match T::new(wrapped) {
        Ok(value) => {
            // SAFETY: the kernel made room for one pointer for each namespace, and nothing reads it before this returns.
            unsafe { *slot::<T>(net) = KBox::into_raw(value) };
            0
        }
        Err(error) => error.to_errno(),
    }
}

unsafe extern "C" fn pre_exit<T: PerNet>(net: *mut bindings::net) {
    // SAFETY: `init` succeeded for this namespace, or the kernel would not call this.
    if let Some(value) = unsafe { (*slot::<T>(net)).as_ref() } {
        value.stop();
    }
}

unsafe extern "C" fn exit<T: PerNet>(net: *mut bindings::net) {
    // SAFETY: as above; the kernel has waited for a grace period since `pre_exit`, so that no packet uses the value.
    unsafe {
        let value = core::ptr::replace(slot::<T>(net), core::ptr::null_mut());
        if !value.is_null() {
            drop(KBox::from_raw(value));
        }
    }
}

/// # Safety
///
/// `net` must be valid, and the registration of `T` under way or done.
unsafe fn slot<T>(net: *mut bindings::net) -> *mut *mut T {
    // SAFETY: the id was written at registration; the caller vouches for the rest.
    unsafe { bindings::pdmv2_net_private(net, *ID.0.get()).cast() }
}

/// The value of a namespace.
///
/// # Safety
///
/// `net` must be valid and `T` registered; the namespace must outlive the reference, which packets, netlink requests and
/// the namespace's own work can promise for their duration.
pub(super) unsafe fn of<'a, T: PerNet>(net: *mut bindings::net) -> Option<&'a T> {
    // SAFETY: see above.
    unsafe { (*slot::<T>(net)).as_ref() }
}

unsafe extern "C" fn visit<T: PerNet>(net: *mut bindings::net, context: *mut c_void) {
    // SAFETY: the namespace is on the kernel's list, whose lock is held; `context` is the function `for_each` was given.
    unsafe {
        let what: fn(&T) = core::mem::transmute(context);
        if let Some(value) = of::<T>(net) {
            what(value);
        }
    }
}

/// Calls `what` for the value of every namespace; sleeps.
pub(crate) fn for_each<T: PerNet>(what: fn(&T)) {
    // SAFETY: `visit` gets the function back as what it is.
    unsafe { bindings::pdmv2_for_each_net(Some(visit::<T>), what as *mut c_void) };
}

/// The registration; dropping it drops the value of every namespace.
pub(crate) struct Registration(KBox<UnsafeCell<bindings::pernet_operations>>);

// SAFETY: touched only to register and to unregister.
unsafe impl Send for Registration {}
// SAFETY: as above.
unsafe impl Sync for Registration {}

impl Registration {
    /// Makes a `T` for every namespace there is and will be. Only one type is ever registered.
    pub(crate) fn new<T: PerNet>() -> Result<Self> {
        let ops = KBox::new(
            UnsafeCell::new(bindings::pernet_operations {
                init: Some(init::<T>),
                pre_exit: Some(pre_exit::<T>),
                exit: Some(exit::<T>),
                id: ID.0.get(),
                size: core::mem::size_of::<*mut T>(),
                ..Default::default()
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: the box keeps the operations at their address until `drop`.
        kernel::error::to_result(unsafe { bindings::register_pernet_subsys(ops.get()) })?;
        Ok(Self(ops))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: registered by `new`.
        unsafe { bindings::unregister_pernet_subsys(self.0.get()) };
    }
}
