// SPDX-License-Identifier: GPL-2.0-only

//! What the module keeps for one network namespace.

use crate::acquire::{Budget, SharedBudget};
use crate::association::Associations;
use crate::counters::{Count, Counters};
use crate::event::Notice;
use crate::flow_table::FlowTable;
use crate::policy::{Policy, IDLE_S};
use crate::proto::prefix::is_link_local;
use crate::proto::uapi::Event;
use crate::sys::hooks::{Hooked, Hooks, Verdict};
use crate::sys::lock::{self, Class};
use crate::sys::periodic::{Periodic, Run};
use crate::sys::pernet::{Net, PerNet};
use crate::sys::rcu::RcuCell;
use crate::sys::skb::{Incoming, Outgoing};
use crate::sys::time;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Full, Relaxed};
use kernel::sync::{new_mutex, rcu, Mutex};

/// How often idle flows, pending entries and ended secrets are looked for.
const SWEEP_MS: u32 = 1000;

/// What runs while a policy is in force.
#[derive(Default)]
struct Active {
    hooks: Option<Hooks>,
    _sweep: Option<Periodic>,
}

/// A namespace's state.
pub(crate) struct Namespace {
    /// The namespace.
    pub(crate) net: Net,
    /// The policy in force; none turns everything off.
    pub(crate) policy: RcuCell<Policy>,
    /// The associations.
    pub(crate) associations: RcuCell<Associations>,
    association_version: Atomic<u64>,
    /// The flows; made with the first policy, and kept.
    pub(crate) table: RcuCell<FlowTable>,
    /// What happened here.
    pub(crate) counters: Counters,
    global_pointers: [Atomic<u32>; 2],
    /// How often ACQUIRE may be sent.
    pub(crate) acquires: SharedBudget,
    /// How often keys may be derived or asked for on behalf of unauthenticated packets, apart from live flows.
    pub(crate) strangers: SharedBudget,
    /// How often events may be sent.
    pub(crate) events: SharedBudget,
    active: Pin<KBox<Mutex<Active>>>,
}

impl PerNet for Namespace {
    fn new(net: Net) -> Result<KBox<Self>> {
        warn_of_dropped_options(net);
        let namespace = Self {
            net,
            policy: RcuCell::empty(),
            associations: RcuCell::empty(),
            association_version: Atomic::new(1),
            table: RcuCell::empty(),
            counters: Counters::new(),
            // "initialised to the value 1"
            global_pointers: [Atomic::new(1), Atomic::new(1)],
            acquires: lock::boxed(Class::Budget, Budget::new())?,
            strangers: lock::boxed(Class::Budget, Budget::new())?,
            events: lock::boxed(Class::Budget, Budget::new())?,
            active: KBox::pin_init(new_mutex!(Active::default()), GFP_KERNEL)?,
        };
        Ok(KBox::new(namespace, GFP_KERNEL)?)
    }

    fn stop(&self) {
        self.turn_off();
    }
}

/// A negative limit makes the kernel drop every packet with an option that it does not know itself.
fn warn_of_dropped_options(net: Net) {
    if net.max_dst_opts() < 0 {
        pr_warn!(
            "net.ipv6.max_dst_opts_number is negative: packets with options are dropped on receipt; set it to 8\n"
        );
    }
}

impl Namespace {
    /// The GLOBALPTR of the next packet from this source; counts it, and `packets - 1` more.
    pub(crate) fn global_pointer(&self, source: &[u8; 16], packets: u32) -> u32 {
        self.global_counter(is_link_local(source)).fetch_add(packets, Relaxed)
    }

    fn global_counter(&self, link_local: bool) -> &Atomic<u32> {
        let [global, local] = &self.global_pointers;
        if link_local {
            local
        } else {
            global
        }
    }

    /// The next GLOBALPTR, without counting.
    pub(crate) fn next_global_pointer(&self, link_local: bool) -> u32 {
        self.global_counter(link_local).load(Relaxed)
    }

    /// Changes whenever the associations do.
    pub(crate) fn association_version(&self) -> u64 {
        self.association_version.load(Relaxed)
    }

    /// Replaces the associations. Flows look theirs up anew with their next packet.
    pub(crate) fn replace_associations(&self, associations: Option<KBox<Associations>>) {
        self.associations.replace(associations);
        self.association_version.fetch_add(1, Full);
    }

    /// Puts a policy in force; none turns the namespace off and drops its flows.
    pub(crate) fn replace_policy(&self, policy: Option<KBox<Policy>>) -> Result {
        let Some(policy) = policy else {
            self.turn_off();
            self.policy.replace(None);
            self.flush();
            return Ok(());
        };
        let mut active = self.active.lock();
        if self.table.read(&rcu::read_lock()).is_none() {
            self.table.replace(Some(KBox::new(FlowTable::new(policy.flows_max)?, GFP_KERNEL)?));
        }
        if active.hooks.is_none() {
            // SAFETY: the namespace's state lives until after `stop`, which drops the work and the hooks, and the kernel
            // waits for a grace period in between.
            let (sweep, hooks) = unsafe { (Periodic::start(self, SWEEP_MS)?, Hooks::register(self.net, self)?) };
            *active = Active { _sweep: Some(sweep), hooks: Some(hooks) };
            warn_of_dropped_options(self.net);
        }
        self.policy.replace(Some(policy));
        Ok(())
    }

    fn turn_off(&self) {
        let stopped = core::mem::take(&mut *self.active.lock());
        drop(stopped);
    }

    /// Drops every flow; the epochs they used stay used.
    pub(crate) fn flush(&self) {
        let section = rcu::read_lock();
        if let Some(table) = self.table.read(&section) {
            let dropped = table.remove(|_| true);
            table.expire_pending(None);
            self.counters.count(Count::FlowsDropped, dropped);
        }
    }

    /// Wipes every sending key and retires every secret: this machine may be one of two now.
    pub(crate) fn stop_sending(&self) {
        let section = rcu::read_lock();
        if let Some(all) = self.associations.read(&section) {
            all.0.iter().for_each(|association| association.secrets.retire());
        }
        if let Some(table) = self.table.read(&section) {
            table.for_each(|flow| flow.stop_sending());
        }
        Notice::of(Event::KeysWiped).tell(self, time::now());
    }
}

impl Run for Namespace {
    fn run(&self) {
        let now = time::now();
        let section = rcu::read_lock();
        let idle = self.policy.read(&section).map_or(IDLE_S, |policy| policy.idle);
        let Some(table) = self.table.read(&section) else { return };
        let dropped = table.remove(|flow| flow.is_idle(idle, now));
        table.expire_pending(Some(now));
        self.counters.count(Count::FlowsDropped, dropped);
        let Some(all) = self.associations.read(&section) else { return };
        let since_boot = time::since_boot();
        for association in &all.0 {
            if let Some(secret) = association.secrets.sending() {
                if let Some(event) = secret.notice(now) {
                    let (association, generation) = (Some(association.name), Some(secret.generation));
                    Notice { association, generation, ..Notice::of(event) }.tell(self, now);
                }
            }
            for held in association.secrets.remove(|held| since_boot >= held.secret.ends_at).into_iter().flatten() {
                table.for_each(|flow| flow.forget(&held.secret));
            }
        }
    }
}

impl Hooked for Namespace {
    fn outgoing(&self, packet: Outgoing<'_>) -> Verdict {
        crate::output::outgoing(self, packet)
    }

    fn incoming(&self, packet: Incoming<'_>) -> Verdict {
        crate::input::incoming(self, packet)
    }
}
