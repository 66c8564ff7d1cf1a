// SPDX-License-Identifier: GPL-2.0-only

//! What is known from unauthenticated packets alone: entries in a table of fixed size, which take each other's place.

use crate::flow::Flow;
use crate::proto::flow_id::FlowId;
use crate::sys::hash::HashKey;
use crate::sys::lock::{self, Class, Guard, Locks};
use crate::sys::time::SECOND;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// How long an entry lives without another option.
const AGE: u64 = 2 * SECOND;

type Entry = Option<KBox<(FlowId, Flow)>>;

/// The entries.
pub(crate) struct Pending {
    hash: HashKey,
    slots: Locks<Entry>,
    /// Entries held: packets that no rule wants take no lock where there are none.
    held: Atomic<u32>,
}

/// A slot whose lock is held.
pub(crate) struct Slot<'a> {
    entry: Guard<'a, Entry>,
    held: &'a Atomic<u32>,
}

impl Pending {
    /// An empty table.
    pub(crate) fn new(slots: u32) -> Result<Self> {
        Ok(Self {
            hash: HashKey::random(),
            slots: lock::slice(Class::Pending, slots as usize, || None)?,
            held: Atomic::new(0),
        })
    }

    /// Slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Entries held.
    pub(crate) fn len(&self) -> u32 {
        self.held.load(Relaxed)
    }

    /// Locks the slot a flow falls on; whatever flow is there.
    pub(crate) fn slot(&self, id: &FlowId) -> Option<Slot<'_>> {
        Some(Slot { entry: self.slots.of(self.hash.flow(id))?.lock(), held: &self.held })
    }

    /// Locks the slot a flow falls on, if any slot has an entry.
    pub(crate) fn slot_of_any(&self, id: &FlowId) -> Option<Slot<'_>> {
        (self.len() > 0).then(|| self.slot(id))?
    }

    /// Locks a slot by number.
    pub(crate) fn slot_at(&self, index: usize) -> Option<Slot<'_>> {
        Some(Slot { entry: self.slots.get(index)?.lock(), held: &self.held })
    }
}

impl Slot<'_> {
    /// The entry of a flow, if it is here and its time is not over.
    pub(crate) fn entry(&mut self, id: &FlowId, now: u64) -> Option<&mut Flow> {
        self.entry.as_mut().filter(|entry| entry.0 == *id && !is_stale(&entry.1, now)).map(|entry| &mut entry.1)
    }

    /// Whatever entry is here.
    pub(crate) fn any(&mut self) -> Option<(&FlowId, &mut Flow)> {
        self.entry.as_mut().map(|entry| {
            let (id, flow) = &mut **entry;
            (&*id, flow)
        })
    }

    /// Puts an entry in the place of whatever is here.
    pub(crate) fn put(&mut self, id: &FlowId, flow: Flow) -> Result<&mut Flow> {
        let entry = KBox::new((*id, flow), GFP_ATOMIC)?;
        if self.entry.is_none() {
            self.held.fetch_add(1, Relaxed);
        }
        Ok(&mut self.entry.insert(entry).1)
    }

    /// Takes out whatever is here.
    pub(crate) fn take(&mut self) -> Option<Flow> {
        let entry = self.entry.take()?;
        self.held.fetch_sub(1, Relaxed);
        Some(KBox::into_inner(entry).1)
    }

    /// Wipes an entry whose time is over; whatever is here if `now` is `None`.
    pub(crate) fn expire(&mut self, now: Option<u64>) {
        if self.entry.as_ref().is_some_and(|entry| now.is_none_or(|now| is_stale(&entry.1, now))) {
            self.take();
        }
    }
}

/// Whether an entry's time is over.
fn is_stale(flow: &Flow, now: u64) -> bool {
    flow.idle_for(now) > AGE
}
