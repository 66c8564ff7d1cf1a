// SPDX-License-Identifier: GPL-2.0-only

//! The flows of a namespace, and those known from unauthenticated packets alone.
//!
//! A flow is found by its 5-tuple under RCU and used under its own lock. A pending entry is used under its slot's lock,
//! under which it also becomes a flow: who holds the slot and finds no flow knows that there is none.

use crate::flow::Flow;
use crate::proto::flow_id::FlowId;
use crate::sys::hash::HashKey;
use crate::sys::lock::{self, Class, Guard, Locks};
use crate::sys::random;
use crate::sys::table::{Locked, NotAdded, Table, Walk};
use crate::sys::time::SECOND;
use kernel::prelude::*;
use kernel::sync::rcu;

/// Pending entries of a namespace (docs/protocol.md, section 6).
const PENDING: usize = 1024;
/// How long a pending entry lives without another option.
const PENDING_AGE: u64 = 2 * SECOND;
/// Buckets looked at for a flow that may yield its place.
const BUCKETS_SEARCHED: u32 = 8;
/// Flows visited in one read-side section.
const STEP: u32 = 256;

/// A flow whose lock is held.
pub(crate) type LockedFlow<'a> = Locked<'a, Flow>;
/// A pending entry.
pub(crate) type Pending = Option<KBox<(FlowId, Flow)>>;
/// A walk through all flows.
pub(crate) type FlowWalk = Walk<Flow>;

/// Both tables.
pub(crate) struct FlowTable {
    hash: HashKey,
    flows: Table<Flow>,
    pending: Locks<Pending>,
}

impl FlowTable {
    /// Empty tables.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            hash: HashKey::random(),
            flows: Table::new()?,
            pending: lock::slice(Class::Pending, PENDING, || None)?,
        })
    }

    /// Flows held.
    pub(crate) fn len(&self) -> u32 {
        self.flows.len()
    }

    /// The flow of a 5-tuple, locked.
    pub(crate) fn find<'a>(&'a self, section: &'a rcu::Guard, id: &FlowId) -> Option<LockedFlow<'a>> {
        self.flows.find(section, &id.words())
    }

    /// Adds a flow, unless there are `most` already and none of those looked at may yield. One that was added meanwhile
    /// is taken instead.
    pub(crate) fn insert<'a>(
        &'a self,
        section: &'a rcu::Guard,
        id: &FlowId,
        flow: Flow,
        most: u32,
        now: u64,
    ) -> Result<LockedFlow<'a>, NoRoom> {
        if self.flows.len() >= most && !self.make_room(section, now) {
            return Err(NoRoom::Full);
        }
        match self.flows.insert(section, &id.words(), flow) {
            Ok(flow) => Ok(flow),
            Err(NotAdded::Exists) => self.find(section, id).ok_or(NoRoom::NoMemory),
            Err(NotAdded::NoMemory) => Err(NoRoom::NoMemory),
        }
    }

    /// Drops a flow that may yield, if one is found near a random place. True if it was.
    fn make_room(&self, section: &rcu::Guard, now: u64) -> bool {
        let mut found = false;
        self.flows.sample(section, random::u64() as u32, BUCKETS_SEARCHED, |flow| {
            found = flow.may_yield(now);
            if found {
                flow.remove();
            }
            !found
        });
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
            crate::sys::time::yield_now();
        }
        for slot in self.pending.iter() {
            if let Some(entry) = slot.lock().as_mut() {
                what(&mut entry.1);
            }
        }
        Ok(())
    }

    /// Locks the pending slot a flow falls on; whatever flow is there.
    pub(crate) fn pending(&self, id: &FlowId) -> Option<Guard<'_, Pending>> {
        Some(self.pending.of(self.hash.flow(id))?.lock())
    }

    /// Locks a pending slot by number.
    pub(crate) fn pending_at(&self, index: usize) -> Option<Guard<'_, Pending>> {
        Some(self.pending.get(index)?.lock())
    }

    /// Wipes pending entries whose time is over; all of them if `now` is `None`.
    pub(crate) fn expire_pending(&self, now: Option<u64>) {
        for slot in self.pending.iter() {
            let mut slot = slot.lock();
            if slot.as_ref().is_some_and(|entry| now.is_none_or(|now| is_stale(&entry.1, now))) {
                *slot = None;
            }
        }
    }

    /// Pending entries held.
    pub(crate) fn pending_len(&self) -> u64 {
        self.pending.iter().filter(|slot| slot.lock().is_some()).count() as u64
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

/// The pending entry of a flow, if a slot holds that and its time is not over.
pub(crate) fn entry_of<'a>(slot: &'a mut Pending, id: &FlowId, now: u64) -> Option<&'a mut Flow> {
    slot.as_mut().filter(|entry| entry.0 == *id && !is_stale(&entry.1, now)).map(|entry| &mut entry.1)
}

/// Whether a pending entry's time is over.
fn is_stale(flow: &Flow, now: u64) -> bool {
    flow.idle_for(now) > PENDING_AGE
}
