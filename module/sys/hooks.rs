// SPDX-License-Identifier: GPL-2.0-only

//! Netfilter hooks of one namespace.

use super::pernet::Net;
use super::skb::{Incoming, Outgoing};
use crate::bindings;
use core::cell::UnsafeCell;
use kernel::ffi::{c_uint, c_void};
use kernel::prelude::*;

/// What becomes of a packet.
pub(crate) enum Verdict {
    /// It goes on.
    Accept,
    /// It is freed.
    Drop,
    /// It was taken over: the hook sent it, or its segments, itself.
    Stolen,
}

impl Verdict {
    fn as_raw(self) -> c_uint {
        match self {
            Self::Accept => bindings::NF_ACCEPT,
            Self::Drop => bindings::NF_DROP,
            Self::Stolen => bindings::NF_STOLEN,
        }
    }
}

/// What sees the packets of a namespace.
pub(crate) trait Hooked: Sync {
    /// A packet this host sends, after every other hook of LOCAL_OUT.
    fn outgoing(&self, packet: Outgoing<'_>) -> Verdict;

    /// A packet for this host, after filtering and before conntrack confirms it.
    fn incoming(&self, packet: Incoming<'_>) -> Verdict;
}

unsafe extern "C" fn outgoing<T: Hooked>(
    context: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: `context` is the value given at registration, which outlives the hooks by a grace period; the kernel hands
    // over a valid packet and state, in an RCU read-side section.
    unsafe { (*context.cast::<T>()).outgoing(Outgoing::from_raw(skb, state)) }.as_raw()
}

unsafe extern "C" fn incoming<T: Hooked>(
    context: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: as in `outgoing`.
    unsafe { (*context.cast::<T>()).incoming(Incoming::from_raw(skb, state)) }.as_raw()
}

const COUNT: usize = 2;

/// Registered hooks. Packets may still be inside a hook for a grace period after the drop, and others may read the
/// operations for as long (`nft list hooks`).
pub(crate) struct Hooks {
    net: Net,
    ops: core::mem::ManuallyDrop<KBox<UnsafeCell<[bindings::nf_hook_ops; COUNT]>>>,
}

// SAFETY: touched only to register and to unregister.
unsafe impl Send for Hooks {}
// SAFETY: as above.
unsafe impl Sync for Hooks {}

impl Hooks {
    /// Registers both hooks: the last of LOCAL_OUT, and the one before conntrack's confirmation in LOCAL_IN.
    ///
    /// # Safety
    ///
    /// `target` must stay valid for a grace period after the returned value was dropped.
    pub(crate) unsafe fn register<T: Hooked>(net: Net, target: *const T) -> Result<Self> {
        let hook = |function, hooknum, priority| bindings::nf_hook_ops {
            hook: Some(function),
            priv_: target.cast_mut().cast(),
            pf: bindings::NFPROTO_IPV6 as u8,
            hooknum,
            priority,
            ..Default::default()
        };
        let ops = KBox::new(
            UnsafeCell::new([
                hook(
                    outgoing::<T>,
                    bindings::nf_inet_hooks_NF_INET_LOCAL_OUT,
                    bindings::nf_ip6_hook_priorities_NF_IP6_PRI_LAST,
                ),
                hook(
                    incoming::<T>,
                    bindings::nf_inet_hooks_NF_INET_LOCAL_IN,
                    bindings::nf_ip6_hook_priorities_NF_IP6_PRI_LAST - 1,
                ),
            ]),
            GFP_KERNEL,
        )?;
        // SAFETY: the namespace is valid; the box keeps the operations at their address until `drop`.
        let err = unsafe { bindings::nf_register_net_hooks(net.as_raw(), ops.get().cast(), COUNT as c_uint) };
        kernel::error::to_result(err)?;
        Ok(Self { net, ops: core::mem::ManuallyDrop::new(ops) })
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // SAFETY: registered by `register`, in a namespace that is still there.
        unsafe { bindings::nf_unregister_net_hooks(self.net.as_raw(), self.ops.get().cast(), COUNT as c_uint) };
        // SAFETY: the box is given up here, once; its memory came from kmalloc, holds nothing that is dropped, and is freed
        // when nobody can read it any more.
        unsafe {
            let ops = KBox::into_raw(core::mem::ManuallyDrop::take(&mut self.ops));
            bindings::pdmv2_free_unread(ops.cast());
        }
    }
}
