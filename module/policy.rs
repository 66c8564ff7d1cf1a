// SPDX-License-Identifier: GPL-2.0-only

//! The policy in force in a namespace.

use crate::proto::flow_id::FlowId;
use crate::proto::policy::{first_match, mechanism_bit, Rule, PLAIN};
use crate::proto::uapi::Mechanism;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// Flows a namespace holds unless told otherwise.
const FLOWS_MAX: u32 = 16384;
/// Seconds after which an idle flow may be dropped, unless told otherwise.
const IDLE_S: u32 = 120;

/// Seconds without a packet after which a flow rests, unless told otherwise.
const REST_S: u32 = 30;

/// How much a namespace keeps, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Most flows.
    pub(crate) flows_max: u32,
    /// Seconds until an idle flow may be dropped.
    pub(crate) idle: u32,
    /// Seconds without a packet until a flow gives up what only a flow in use needs.
    pub(crate) rest: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows_max: FLOWS_MAX, idle: IDLE_S, rest: REST_S }
    }
}

/// A whole policy, replaced as one.
pub(crate) struct Policy {
    /// In order.
    pub(crate) rules: KVec<Rule>,
    hits: KVec<Atomic<u64>>,
    /// Neither send nor accept plain mechanisms.
    pub(crate) forbid_plain: bool,
    /// How much is kept.
    pub(crate) limits: Limits,
}

impl Policy {
    /// A policy whose rules nothing has hit yet.
    pub(crate) fn new(rules: KVec<Rule>, forbid_plain: bool, limits: Limits) -> Result<Self> {
        let mut hits = KVec::with_capacity(rules.len(), GFP_KERNEL)?;
        for _ in 0..rules.len() {
            hits.push(Atomic::new(0), GFP_KERNEL)?;
        }
        Ok(Self { rules, hits, forbid_plain, limits })
    }

    /// The rule that decides about a flow, and its index.
    pub(crate) fn decide(&self, id: &FlowId, outbound: bool, now: u64) -> Option<(usize, &Rule)> {
        let index = first_match(&self.rules, id, outbound, now)?;
        Some((index, self.rules.get(index)?))
    }

    /// Counts packets that a rule decided.
    pub(crate) fn hit(&self, index: usize, packets: u32) {
        if let Some(hits) = self.hits.get(index) {
            hits.fetch_add(u64::from(packets), Relaxed);
        }
    }

    /// Packets a rule decided.
    pub(crate) fn hits(&self, index: usize) -> u64 {
        self.hits.get(index).map_or(0, |hits| hits.load(Relaxed))
    }

    /// Whether a mechanism is forbidden whatever the rules say.
    pub(crate) fn forbids(&self, mechanism: Mechanism) -> bool {
        self.forbid_plain && mechanism_bit(mechanism) & PLAIN != 0
    }
}
