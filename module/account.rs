// SPDX-License-Identifier: GPL-2.0-only

//! What flows take in memory: charged to their namespace and to the host before it is allocated, given back when it goes.
//!
//! The last part of what there is is kept for flows whose peer is known to be real, so that a flood of new ones cannot
//! keep a live flow from the key of its next epoch.

use crate::sys::memory;
use core::ops::{Deref, DerefMut};
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;

/// Bytes the flows of a namespace may take unless told otherwise.
pub(crate) const MEMORY: u64 = 64 << 20;
/// The part of it, and of the host's, that is kept for live flows.
const KEPT_PART: u64 = 8;
/// The part of the host's that namespaces of other user namespaces than the first may take together with all others.
const FOREIGN_PART: u64 = 2;

/// Bytes that the flows of all namespaces take.
static HOST: Atomic<u64> = Atomic::new(0);

/// Bytes that the flows of all namespaces take.
pub(crate) fn host_used() -> u64 {
    HOST.load(Relaxed)
}

/// Whose memory it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// That of a flow of which nothing shows that its peer exists.
    New,
    /// That of a flow whose peer answered or authenticated.
    Live,
}

impl Standing {
    /// What it may use of `all`.
    const fn part(self, all: u64) -> u64 {
        match self {
            Self::New => all - all / KEPT_PART,
            Self::Live => all,
        }
    }
}

/// A namespace's account.
pub(crate) struct Account {
    used: Atomic<u64>,
    most: Atomic<u64>,
    /// The namespace is one of the initial user namespace.
    initial: bool,
}

impl Account {
    /// Nothing is used yet.
    pub(crate) fn new(initial: bool) -> Result<Arc<Self>> {
        let account = Self { used: Atomic::new(0), most: Atomic::new(MEMORY), initial };
        Ok(Arc::new(account, GFP_KERNEL_ACCOUNT)?)
    }

    /// Bytes used.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Bytes that may be used.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }

    /// Sets how many may be used. What is used already stays.
    pub(crate) fn set_most(&self, most: u64) {
        self.most.store(most, Relaxed);
    }

    /// Uses bytes, if they may be.
    pub(crate) fn take(&self, bytes: usize, standing: Standing) -> Result {
        let host = memory::host_max();
        let host = if self.initial { host } else { host / FOREIGN_PART };
        let within = |counter: &Atomic<u64>, most: u64| {
            let before = counter.fetch_add(bytes as u64, Relaxed);
            if before.saturating_add(bytes as u64) <= standing.part(most) {
                return Ok(());
            }
            counter.fetch_sub(bytes as u64, Relaxed);
            Err(ENOMEM)
        };
        within(&self.used, self.most())?;
        within(&HOST, host).inspect_err(|_| {
            self.used.fetch_sub(bytes as u64, Relaxed);
        })
    }

    /// Bytes are used no more.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Relaxed);
        HOST.fetch_sub(bytes as u64, Relaxed);
    }
}

/// Who pays for what a flow allocates.
#[derive(Clone, Copy)]
pub(crate) struct Payer<'a> {
    /// The account.
    pub(crate) account: &'a Arc<Account>,
    /// The flow's standing.
    pub(crate) standing: Standing,
}

impl Payer<'_> {
    /// Allocates, where the owner gives the bytes back when it drops the box.
    pub(crate) fn boxed<T>(self, value: T) -> Result<KBox<T>> {
        self.account.take(size_of::<T>(), self.standing)?;
        Ok(KBox::new(value, GFP_ATOMIC).inspect_err(|_| self.account.give_back(size_of::<T>()))?)
    }
}

/// A value, and the account it is charged to.
struct Charged<T> {
    account: Arc<Account>,
    value: T,
}

impl<T> Drop for Charged<T> {
    fn drop(&mut self) {
        self.account.give_back(size_of::<Self>());
    }
}

/// A box that is paid for while it lives.
pub(crate) struct PaidBox<T>(KBox<Charged<T>>);

impl<T> PaidBox<T> {
    /// Allocates. Any context.
    pub(crate) fn new(value: T, payer: Payer<'_>) -> Result<Self> {
        payer.account.take(size_of::<Charged<T>>(), payer.standing)?;
        // From here on the value gives back what was taken.
        Ok(Self(KBox::new(Charged { account: payer.account.clone(), value }, GFP_ATOMIC)?))
    }

    /// For more that belongs to a value which is there already.
    pub(crate) fn payer(&self) -> Payer<'_> {
        Payer { account: &self.0.account, standing: Standing::Live }
    }
}

impl<T> Deref for PaidBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> DerefMut for PaidBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.value
    }
}
