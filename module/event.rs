// SPDX-License-Identifier: GPL-2.0-only

//! Events for operators and the helper (draft-ietf-ippm-encrypted-pdmv2 section 7.3), by netlink multicast, rate limited.

use crate::association::Association;
use crate::counters::Count;
use crate::namespace::Namespace;
use crate::netlink::write;
use crate::proto::flow_id::FlowId;
use crate::proto::uapi::{attr, cmd, group, Event, Refusal};
use crate::sys::genl;
use kernel::sync::Arc;

/// Refusals of one reason on one flow that make a burst.
pub(crate) const BURST: u32 = 16;

/// What happened, to be told once the locks are released.
#[derive(Clone)]
pub(crate) struct Notice {
    /// What.
    pub(crate) event: Event,
    /// The association it concerns.
    pub(crate) association: Option<Arc<Association>>,
    /// The generation it concerns.
    pub(crate) generation: Option<u64>,
    /// The flow it concerns.
    pub(crate) flow: Option<FlowId>,
    /// The reason of the refusals it tells.
    pub(crate) reason: Option<Refusal>,
    /// How often it happened.
    pub(crate) count: Option<u32>,
}

impl Notice {
    /// Of an event alone.
    pub(crate) const fn of(event: Event) -> Self {
        Self { event, association: None, generation: None, flow: None, reason: None, count: None }
    }

    /// Tells the namespace's listeners.
    pub(crate) fn tell(&self, namespace: &Namespace, now: u64) {
        if !namespace.may_tell(now) {
            namespace.counters.count(Count::EventsSuppressed, 1);
            return;
        }
        namespace.counters.count(Count::Events, 1);
        genl::notify(namespace.net, group::EVENTS, cmd::EVENT, |m| {
            m.u8(attr::notice::EVENT, self.event as u8)?;
            if let Some(association) = &self.association {
                m.text(attr::notice::ASSOCIATION, association.name.as_str())?;
            }
            if let Some(generation) = self.generation {
                m.u64(attr::notice::GENERATION, generation)?;
            }
            if let Some(flow) = &self.flow {
                write::flow_id(m, attr::notice::FLOW, flow)?;
            }
            if let Some(reason) = self.reason {
                m.u32(attr::notice::REASON, u32::from(reason as u8))?;
            }
            if let Some(count) = self.count {
                m.uint(attr::notice::COUNT, u64::from(count))?;
            }
            Ok(())
        });
    }
}

/// Notices one packet may raise.
#[derive(Default)]
pub(crate) struct Notices([Option<Notice>; 2]);

impl Notices {
    /// Adds one.
    pub(crate) fn add(&mut self, notice: Notice) {
        if let Some(place) = self.0.iter_mut().find(|n| n.is_none()) {
            *place = Some(notice);
        }
    }

    /// Tells them.
    #[inline]
    pub(crate) fn tell(&self, namespace: &Namespace, now: u64) {
        if self.0.iter().any(Option::is_some) {
            self.0.iter().flatten().for_each(|notice| notice.tell(namespace, now));
        }
    }
}
