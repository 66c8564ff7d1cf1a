// SPDX-License-Identifier: GPL-2.0-only

//! The thin layer over the kernel's C interfaces. Everything unsafe is here, behind safe types.

pub(crate) mod aead;
mod chacha20_poly1305;
pub(crate) mod counters;
pub(crate) mod errno;
pub(crate) mod genl;
pub(crate) mod hash;
pub(crate) mod hmac;
pub(crate) mod hooks;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod notifier;
pub(crate) mod periodic;
pub(crate) mod pernet;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod skb;
pub(crate) mod sysfs;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod trace;
pub(crate) mod wipe;
