// SPDX-License-Identifier: GPL-2.0-only

//! The flows of a namespace, and those known from unauthenticated packets alone.
//!
//! A flow is used under its bucket's lock. Buckets are chosen by a keyed hash, so that nobody outside can fill one.

use crate::flow::Flow;
use crate::proto::flow_id::FlowId;
use crate::sys::hash::HashKey;
use crate::sys::lock::{self, Class, Guard, Locks};
use crate::sys::time::SECOND;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// Pending entries of a namespace (docs/protocol.md, section 6).
const PENDING: usize = 1024;
/// How long a pending entry lives without another option.
const PENDING_AGE: u64 = 2 * SECOND;

/// A locked bucket.
pub(crate) type Bucket<'a> = Guard<'a, KVec<KBox<Flow>>>;

/// Both tables.
pub(crate) struct FlowTable {
    hash: HashKey,
    buckets: Locks<KVec<KBox<Flow>>>,
    pending: Locks<Option<KBox<Flow>>>,
    count: Atomic<u32>,
}

impl FlowTable {
    /// Tables for about this many flows.
    pub(crate) fn new(flows: u32) -> Result<Self> {
        let buckets = (flows as usize).next_power_of_two().clamp(256, 1 << 20);
        Ok(Self {
            hash: HashKey::random(),
            buckets: lock::slice(Class::Bucket, buckets, KVec::new)?,
            pending: lock::slice(Class::Pending, PENDING, || None)?,
            count: Atomic::new(0),
        })
    }

    /// Flows held.
    pub(crate) fn len(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// Locks the bucket of a flow.
    pub(crate) fn bucket(&self, id: &FlowId) -> Option<Bucket<'_>> {
        Some(self.buckets.of(self.hash.flow(id))?.lock())
    }

    /// Locks a bucket by number, for walking them all.
    pub(crate) fn bucket_at(&self, index: usize) -> Option<Bucket<'_>> {
        Some(self.buckets.get(index)?.lock())
    }

    /// The buckets there are.
    pub(crate) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Puts a flow into its bucket, unless there are `most` flows already.
    pub(crate) fn insert<'b>(&self, bucket: &'b mut Bucket<'_>, flow: KBox<Flow>, most: u32) -> Option<&'b mut Flow> {
        if self.count.load(Relaxed) >= most {
            return None;
        }
        bucket.push(flow, GFP_ATOMIC).ok()?;
        self.count.fetch_add(1, Relaxed);
        bucket.last_mut().map(|flow| &mut **flow)
    }

    /// Drops the flows that `which` names, and says how many.
    pub(crate) fn remove(&self, mut which: impl FnMut(&mut Flow) -> bool) -> u64 {
        let mut dropped = 0;
        for bucket in self.buckets.iter() {
            let mut bucket = bucket.lock();
            let mut index = 0;
            while let Some(flow) = bucket.get_mut(index) {
                if which(flow) {
                    // Wiped and freed here; its epochs close under the bucket's lock.
                    let _ = bucket.remove(index);
                    self.count.fetch_sub(1, Relaxed);
                    dropped += 1;
                } else {
                    index += 1;
                }
            }
            if bucket.is_empty() && bucket.capacity() > 0 {
                *bucket = KVec::new();
            }
        }
        dropped
    }

    /// Locks the pending slot a flow falls on; whatever flow is there.
    pub(crate) fn pending(&self, id: &FlowId) -> Option<Guard<'_, Option<KBox<Flow>>>> {
        Some(self.pending.of(self.hash.flow(id))?.lock())
    }

    /// Locks a pending slot by number.
    pub(crate) fn pending_at(&self, index: usize) -> Option<Guard<'_, Option<KBox<Flow>>>> {
        Some(self.pending.get(index)?.lock())
    }

    /// Takes the pending entry of a flow that turned out to be real.
    pub(crate) fn take_pending(&self, id: &FlowId, now: u64) -> Option<KBox<Flow>> {
        let mut slot = self.pending(id)?;
        if slot.as_ref().is_some_and(|flow| flow.id == *id && !is_stale(flow, now)) {
            slot.take()
        } else {
            None
        }
    }

    /// Wipes pending entries whose time is over; all of them if `now` is `None`.
    pub(crate) fn expire_pending(&self, now: Option<u64>) {
        for slot in self.pending.iter() {
            let mut slot = slot.lock();
            if slot.as_ref().is_some_and(|flow| now.is_none_or(|now| is_stale(flow, now))) {
                *slot = None;
            }
        }
    }

    /// Does something to every flow, pending ones too.
    pub(crate) fn for_each(&self, mut what: impl FnMut(&mut Flow)) {
        for bucket in self.buckets.iter() {
            bucket.lock().iter_mut().for_each(|flow| what(flow));
        }
        for slot in self.pending.iter() {
            if let Some(flow) = slot.lock().as_mut() {
                what(flow);
            }
        }
    }

    /// Pending entries held.
    pub(crate) fn pending_len(&self) -> u64 {
        self.pending.iter().filter(|slot| slot.lock().is_some()).count() as u64
    }
}

/// Whether a pending entry's time is over.
pub(crate) fn is_stale(flow: &Flow, now: u64) -> bool {
    now.saturating_sub(flow.last_packet_at) > PENDING_AGE
}

/// The flow of a bucket, by its 5-tuple.
pub(crate) fn find<'b>(bucket: &'b mut Bucket<'_>, id: &FlowId) -> Option<&'b mut Flow> {
    bucket.iter_mut().find(|flow| flow.id == *id).map(|flow| &mut **flow)
}
