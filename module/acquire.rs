// SPDX-License-Identifier: GPL-2.0-only

//! ACQUIRE: asking the helper for the key of a flow, direction and epoch.
//!
//! Netlink multicast loses messages, so a question is repeated with back-off until its key is there; one question is
//! outstanding per flow and direction, and a namespace asks only so often.

use crate::association::Association;
use crate::counters::Count;
use crate::namespace::Namespace;
use crate::netlink::write;
use crate::proto::flow_id::FlowId;
use crate::proto::receive::KeyName;
use crate::proto::uapi::{attr, cmd, group, KeyDirection};
use crate::sys::genl;
use crate::sys::lock::BhLock;
use crate::sys::time::{MILLISECOND, SECOND};
use kernel::prelude::*;
use kernel::sync::Arc;

const FIRST_INTERVAL: u64 = 50 * MILLISECOND;
const LONGEST_INTERVAL: u64 = 5 * SECOND;
/// What a namespace may ask or tell at once, in seconds of its rate.
const BURST_S: u32 = 2;

/// The outstanding question of one flow and direction.
#[derive(Default)]
pub(crate) struct Outstanding {
    wanted: Option<KeyName>,
    again_at: u64,
    interval: u64,
}

impl Outstanding {
    /// Whether this key was asked for, and it is too early to ask again.
    pub(crate) fn waits_for(&self, name: KeyName, now: u64) -> bool {
        self.wanted == Some(name) && now < self.again_at
    }

    /// Whether to ask for this key now.
    pub(crate) fn asks(&mut self, name: KeyName, now: u64) -> bool {
        if self.wanted != Some(name) {
            *self = Self { wanted: Some(name), again_at: now, interval: FIRST_INTERVAL };
        }
        if self.waits_for(name, now) {
            return false;
        }
        self.again_at = now.saturating_add(self.interval);
        self.interval = self.interval.saturating_mul(2).min(LONGEST_INTERVAL);
        true
    }
}

/// A question to be asked once the locks are released.
pub(crate) struct Question {
    /// The association.
    pub(crate) association: Arc<Association>,
    /// Which key.
    pub(crate) name: KeyName,
    /// Whose packets it protects.
    pub(crate) direction: KeyDirection,
    /// The flow.
    pub(crate) flow: FlowId,
    /// It is known from unauthenticated packets alone: the question was paid for from the strangers' budget.
    pub(crate) stranger: bool,
}

/// Questions one packet may raise: this epoch's, the next one's, and the peer's.
#[derive(Default)]
pub(crate) struct Questions([Option<Question>; 3]);

impl Questions {
    /// Adds one.
    pub(crate) fn add(&mut self, question: Question) {
        if let Some(place) = self.0.iter_mut().find(|q| q.is_none()) {
            *place = Some(question);
        }
    }

    /// Asks them.
    #[inline]
    pub(crate) fn ask(&self, namespace: &Namespace, now: u64) {
        if self.0.iter().any(Option::is_some) {
            self.0.iter().flatten().for_each(|question| question.ask(namespace, now));
        }
    }
}

/// How often a namespace may ask or tell, at a rate a second that is one of its limits.
pub(crate) struct Budget {
    tokens: u32,
    /// Up to when it earned them, ns; 0 is before its first use.
    filled_at: u64,
}

impl Budget {
    /// A full budget.
    pub(crate) const fn new() -> Self {
        Self { tokens: 0, filled_at: 0 }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, rate: u32, now: u64) -> bool {
        let burst = rate.saturating_mul(BURST_S);
        // Longer fills it anyway.
        let passed = now.saturating_sub(self.filled_at).min(u64::from(BURST_S) * SECOND);
        let earned = passed.saturating_mul(u64::from(rate)) / SECOND;
        if self.filled_at == 0 {
            self.tokens = burst;
            self.filled_at = now;
        } else if earned > 0 {
            self.tokens = (earned as u32).saturating_add(self.tokens);
            // What is left of the time counts for the next.
            let used = earned.saturating_mul(SECOND).checked_div(u64::from(rate)).unwrap_or(passed);
            self.filled_at = now.saturating_sub(passed.saturating_sub(used));
        }
        self.tokens = self.tokens.min(burst);
        let has = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        has
    }
}

/// A namespace's budget.
pub(crate) type SharedBudget = KBox<BhLock<Budget>>;

impl Question {
    #[cold]
    fn ask(&self, namespace: &Namespace, now: u64) {
        if !self.stranger && !namespace.may_acquire(now) {
            return;
        }
        let sent = genl::notify(namespace.net, group::KEYS, cmd::ACQUIRE, |m| {
            m.text(attr::key::ASSOCIATION, self.association.name.as_str())?;
            m.u64(attr::key::GENERATION, self.name.generation)?;
            m.u8(attr::key::DIRECTION, self.direction as u8)?;
            write::flow_id(m, attr::key::FLOW, &self.flow)?;
            m.u32(attr::key::EPOCH, self.name.epoch)
        });
        if sent {
            namespace.counters.count(Count::Acquires, 1);
        }
    }
}
