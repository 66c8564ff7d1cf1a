// SPDX-License-Identifier: GPL-2.0-only

//! How much a namespace keeps, and how often it asks and tells. Limits belong to the namespace: they stay when its rules go.

use crate::proto::uapi::attr::policy as attr;
use kernel::sync::atomic::{Atomic, Relaxed};

/// A limit.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Limit {
    /// Most flows.
    FlowsMax,
    /// Seconds until an idle flow may be dropped.
    Idle,
    /// Seconds without a packet until a flow gives up what only a flow in use needs.
    Rest,
    /// Most associations.
    AssociationsMax,
    /// Most pending entries.
    PendingMax,
    /// ACQUIRE messages a second.
    AcquireRate,
    /// Events a second.
    EventRate,
    /// Keys a second, asked for or derived on behalf of unauthenticated packets.
    StrangerRate,
}

impl Limit {
    /// Each, its attribute, and its value unless told otherwise.
    pub(crate) const ALL: [(Self, u16, u32); 8] = [
        (Self::FlowsMax, attr::FLOWS_MAX, 16384),
        (Self::Idle, attr::IDLE, 120),
        (Self::Rest, attr::REST, 30),
        (Self::AssociationsMax, attr::ASSOCIATIONS_MAX, 4096),
        (Self::PendingMax, attr::PENDING_MAX, 1024),
        (Self::AcquireRate, attr::ACQUIRE_RATE, 512),
        (Self::EventRate, attr::EVENT_RATE, 512),
        (Self::StrangerRate, attr::STRANGER_RATE, 512),
    ];
}

/// A namespace's limits.
pub(crate) struct Limits([Atomic<u32>; Limit::ALL.len()]);

impl Limits {
    /// Those of a namespace that was told nothing.
    pub(crate) fn new() -> Self {
        Self(Limit::ALL.map(|(_, _, value)| Atomic::new(value)))
    }

    /// What it is now.
    pub(crate) fn get(&self, limit: Limit) -> u32 {
        self.0.get(limit as usize).map_or(0, |value| value.load(Relaxed))
    }

    /// Sets it.
    pub(crate) fn set(&self, limit: Limit, value: u32) {
        if let Some(place) = self.0.get(limit as usize) {
            place.store(value, Relaxed);
        }
    }
}
