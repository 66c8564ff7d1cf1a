// SPDX-License-Identifier: GPL-2.0-only

//! The flows of a namespace, and those known from unauthenticated packets alone.
//!
//! A flow is found by its 5-tuple under RCU and used under its own lock. A pending entry is used under its slot's lock,
//! under which it also becomes a flow: who holds the slot and finds no flow knows that there is none.

use crate::account::Account;
use crate::counters::Count;
use crate::flow::Flow;
use crate::limits::Limit;
use crate::namespace::Namespace;
use crate::pending::{Pending, Slot};
use crate::proto::flow_id::FlowId;
use crate::sys::random;
use crate::sys::rcu::RcuCell;
use crate::sys::table::{Locked, NotAdded, Table, Walk};
use crate::sys::time;
use kernel::prelude::*;
use kernel::sync::{rcu, Arc};

/// Buckets looked at for a flow that may yield its place.
const BUCKETS_SEARCHED: u32 = 8;
/// Flows, or pending slots, visited in one read-side section.
const STEP: u32 = 256;

/// A flow whose lock is held.
pub(crate) type LockedFlow<'a> = Locked<'a, Flow>;
/// A walk through all flows.
pub(crate) type FlowWalk = Walk<Flow>;

/// Both tables.
pub(crate) struct FlowTable {
    flows: Table<Flow>,
    pending: RcuCell<Pending>,
    account: Arc<Account>,
}

impl FlowTable {
    /// Empty tables.
    pub(crate) fn new(account: Arc<Account>, pending: u32) -> Result<Self> {
        let table = Self { flows: Table::new()?, pending: RcuCell::empty(), account };
        table.resize_pending(pending)?;
        Ok(table)
    }

    /// Makes the table of pending entries another size; what is pending goes. A packet on its way may still put an entry
    /// into the old one, or make one a flow of which the new one has an entry too: the flow is what counts.
    pub(crate) fn resize_pending(&self, slots: u32) -> Result {
        if self.pending.read(&rcu::read_lock()).is_none_or(|pending| pending.slots() != slots as usize) {
            self.pending.replace(Some(KBox::new(Pending::new(slots)?, GFP_KERNEL_ACCOUNT)?));
        }
        Ok(())
    }

    /// Flows held.
    pub(crate) fn len(&self) -> u32 {
        self.flows.len()
    }

    /// The flow of a 5-tuple, locked.
    pub(crate) fn find<'a>(&'a self, section: &'a rcu::Guard, id: &FlowId) -> Option<LockedFlow<'a>> {
        self.flows.find(section, &id.words())
    }

    /// Adds a flow, unless there are as many as the namespace may have and none of those looked at may yield. One that was
    /// added meanwhile is taken instead.
    pub(crate) fn insert<'a>(
        &'a self,
        section: &'a rcu::Guard,
        id: &FlowId,
        flow: Flow,
        namespace: &Namespace,
        now: u64,
    ) -> Result<LockedFlow<'a>, NoRoom> {
        if self.flows.len() >= namespace.limits.get(Limit::FlowsMax) && !self.make_room(section, namespace, now) {
            return Err(NoRoom::Full);
        }
        match self.flows.insert(section, &id.words(), flow) {
            Ok(flow) => Ok(flow),
            Err(NotAdded::Exists) => self.find(section, id).ok_or(NoRoom::NoMemory),
            Err(NotAdded::NoMemory) => Err(NoRoom::NoMemory),
        }
    }

    /// A new flow of this host's, to be inserted; where memory is used up, a flow that may yield gives it its own.
    pub(crate) fn begin(&self, section: &rcu::Guard, namespace: &Namespace, now: u64) -> Result<Flow, NoRoom> {
        let new = || Flow::new(true, now, &self.account);
        new()
            .or_else(|_| if self.make_room(section, namespace, now) { new() } else { Err(ENOMEM) })
            .map_err(|_| NoRoom::Full)
    }

    /// A new flow of a peer's, to be pending.
    pub(crate) fn stranger(&self, now: u64) -> Result<Flow> {
        Flow::new(false, now, &self.account)
    }

    /// Drops a flow that may yield, if one is found near a random place, and counts it. True if it was.
    fn make_room(&self, section: &rcu::Guard, namespace: &Namespace, now: u64) -> bool {
        let mut found = false;
        self.flows.sample(section, random::u64() as u32, BUCKETS_SEARCHED, |flow| {
            found = flow.may_yield(now);
            if found {
                flow.remove();
            }
            !found
        });
        if found {
            namespace.counters.count(Count::FlowsDropped, 1);
            namespace.counters.count(Count::FlowsEvicted, 1);
        }
        found
    }

    /// A walk through all flows, for as long as the table lives.
    ///
    /// # Safety
    ///
    /// The table must outlive the walk.
    pub(crate) unsafe fn walk(&self) -> Result<FlowWalk> {
        // SAFETY: the caller's promise.
        unsafe { Walk::new(&self.flows) }
    }

    /// Does something to every flow, pending ones too. Sleeps between steps.
    pub(crate) fn for_each(&self, mut what: impl FnMut(&mut Flow)) -> Result {
        // SAFETY: the walk ends with this function, which borrows the table.
        let mut walk = unsafe { self.walk() }?;
        while walk.some(STEP, |mut flow| {
            what(&mut flow);
            true
        }) {
            time::yield_now();
        }
        self.for_each_pending(|mut slot| {
            if let Some((_, flow)) = slot.any() {
                what(flow);
            }
        });
        Ok(())
    }

    fn for_each_pending(&self, mut what: impl FnMut(Slot<'_>)) {
        let mut from = 0;
        loop {
            let section = rcu::read_lock();
            let Some(pending) = self.pending.read(&section).filter(|pending| pending.len() > 0) else { return };
            for index in from..from + STEP as usize {
                let Some(slot) = pending.slot_at(index) else { return };
                what(slot);
            }
            from += STEP as usize;
            drop(section);
            time::yield_now();
        }
    }

    /// The pending entries.
    pub(crate) fn pending<'a>(&'a self, section: &'a rcu::Guard) -> Option<&'a Pending> {
        self.pending.read(section)
    }

    /// Wipes pending entries whose time is over; all of them if `now` is `None`.
    pub(crate) fn expire_pending(&self, now: Option<u64>) {
        self.for_each_pending(|mut slot| slot.expire(now));
    }

    /// Pending entries held.
    pub(crate) fn pending_len(&self) -> u64 {
        self.pending.read(&rcu::read_lock()).map_or(0, |pending| pending.len().into())
    }
}

/// Why there is no room for a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// There are as many as there may be, and none yields.
    Full,
    /// There is no memory.
    NoMemory,
}
