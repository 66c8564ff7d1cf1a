// SPDX-License-Identifier: GPL-2.0-only

//! The policy in force in a namespace.

use crate::proto::classifier::Classifier;
use crate::proto::flow_id::FlowId;
use crate::proto::policy::{mechanism_bit, Rule, PLAIN};
use crate::proto::uapi::Mechanism;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// The last policy's version.
static VERSION: Atomic<u32> = Atomic::new(0);

/// A whole policy, replaced as one.
pub(crate) struct Policy {
    /// In order.
    pub(crate) rules: KVec<Rule>,
    classifier: Classifier<KVVec<u128>, KVVec<u64>>,
    hits: KVec<Atomic<u64>>,
    /// Neither send nor accept plain mechanisms.
    pub(crate) forbid_plain: bool,
    /// No other policy had it for the last 2^32.
    version: u32,
}

/// The rule that decided about a flow, under one version of the policy. A rule never matches later what it does not match
/// now: what was decided stays so until that rule expires.
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    version: u32,
    /// The rule's index, or one of the two values below.
    rule: u16,
}

// "at most 1 KiB more while a flow is in use", nearly all of which what it remembers of packets takes.
const _: () = assert!(size_of::<Decision>() <= 8);

impl Decision {
    /// No rule matches.
    const NO_RULE: u16 = u16::MAX;
    /// Nothing was decided yet.
    pub(crate) const NOTHING: Self = Self { version: 0, rule: Self::UNDECIDED };
    const UNDECIDED: u16 = u16::MAX - 1;
}

fn zeroed<T: Copy + Default>(len: usize) -> Result<KVVec<T>> {
    let mut out = KVVec::with_capacity(len, GFP_KERNEL_ACCOUNT)?;
    for _ in 0..len {
        out.push(T::default(), GFP_KERNEL_ACCOUNT)?;
    }
    Ok(out)
}

impl Policy {
    /// A policy whose rules nothing has hit yet.
    pub(crate) fn new(rules: KVec<Rule>, forbid_plain: bool) -> Result<Self> {
        let mut hits = KVec::with_capacity(rules.len(), GFP_KERNEL_ACCOUNT)?;
        for _ in 0..rules.len() {
            hits.push(Atomic::new(0), GFP_KERNEL_ACCOUNT)?;
        }
        let classifier = Classifier::new(&rules, zeroed, zeroed)?;
        let version = VERSION.fetch_add(1, Relaxed).wrapping_add(1);
        Ok(Self { rules, classifier, hits, forbid_plain, version })
    }

    /// Whether any rule speaks of flows of a protocol.
    pub(crate) fn speaks_of(&self, protocol: u8) -> bool {
        self.classifier.speaks_of(protocol)
    }

    /// The rule that decides about a flow, and its index.
    pub(crate) fn decide(&self, id: &FlowId, outbound: bool, now: u64) -> Option<(usize, &Rule)> {
        let index = self.classifier.first_match(&self.rules, id, outbound, now)?;
        Some((index, self.rules.get(index)?))
    }

    /// Likewise, where it may have been decided before.
    pub(crate) fn decide_again(
        &self,
        decision: &mut Decision,
        id: &FlowId,
        outbound: bool,
        now: u64,
    ) -> Option<(usize, &Rule)> {
        if decision.version == self.version {
            if decision.rule == Decision::NO_RULE {
                return None;
            }
            let index = usize::from(decision.rule);
            if let Some(rule) = self.rules.get(index).filter(|rule| rule.is_in_force(now)) {
                return Some((index, rule));
            }
        }
        let decided = self.decide(id, outbound, now);
        // There are fewer rules than either of the other values.
        *decision =
            Decision { version: self.version, rule: decided.map_or(Decision::NO_RULE, |(index, _)| index as u16) };
        decided
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
