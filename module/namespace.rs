// SPDX-License-Identifier: GPL-2.0-only

//! What the module keeps for one network namespace.

use crate::account::Account;
use crate::acquire::{Budget, SharedBudget};
use crate::association::Associations;
use crate::counters::{Count, Counters};
use crate::event::Notice;
use crate::flow::Flow;
use crate::flow_table::{FlowTable, FlowWalk};
use crate::limits::{Limit, Limits};
use crate::policy::Policy;
use crate::proto::prefix::is_link_local;
use crate::proto::uapi::Event;
use crate::secret::Held;
use crate::sys::hooks::{Hooked, Hooks, Verdict};
use crate::sys::lock::{self, Class};
use crate::sys::periodic::{Periodic, Run};
use crate::sys::pernet::{Net, PerNet};
use crate::sys::rcu::RcuCell;
use crate::sys::skb::{Incoming, Outgoing};
use crate::sys::time;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Full, Relaxed};
use kernel::sync::{new_mutex, rcu, Arc, Mutex};

/// How often idle flows, pending entries and ended secrets are looked for.
const SWEEP_MS: u32 = 1000;

/// Flows a sweep visits at least. A larger table is swept in several, of which it takes as many as fit into half the
/// shorter of the times that are watched, within these bounds: sooner would find little more, and a million flows are a
/// million locks.
const SWEEP_LEAST: u32 = 4096;
const SWEEPS: core::ops::RangeInclusive<u32> = 4..=60;
/// Flows visited in one read-side section.
const SWEEP_STEP: u32 = 256;

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
    /// How much is kept here, and how often is asked and told.
    pub(crate) limits: Limits,
    /// What the flows take.
    pub(crate) account: Arc<Account>,
    /// The policy in force; none turns everything off.
    pub(crate) policy: RcuCell<Policy>,
    /// The associations.
    pub(crate) associations: RcuCell<Associations>,
    association_version: Atomic<u32>,
    /// Where the sweep stands; dropped before the table.
    sweep: Pin<KBox<Mutex<Option<FlowWalk>>>>,
    /// The flows; made with the first policy, and kept.
    pub(crate) table: RcuCell<FlowTable>,
    /// What happened here.
    pub(crate) counters: Counters,
    global_pointers: [Atomic<u32>; 2],
    acquires: SharedBudget,
    strangers: SharedBudget,
    events: SharedBudget,
    active: Pin<KBox<Mutex<Active>>>,
}

impl PerNet for Namespace {
    fn new(net: Net) -> Result<KBox<Self>> {
        warn_of_dropped_options(net);
        let namespace = Self {
            net,
            limits: Limits::new(),
            account: Account::new(net.is_initial())?,
            policy: RcuCell::empty(),
            associations: RcuCell::empty(),
            association_version: Atomic::new(1),
            sweep: KBox::pin_init(new_mutex!(None), GFP_KERNEL_ACCOUNT)?,
            table: RcuCell::empty(),
            counters: Counters::new()?,
            // "initialised to the value 1"
            global_pointers: [Atomic::new(1), Atomic::new(1)],
            acquires: lock::boxed(Class::Budget, Budget::new())?,
            strangers: lock::boxed(Class::Budget, Budget::new())?,
            events: lock::boxed(Class::Budget, Budget::new())?,
            active: KBox::pin_init(new_mutex!(Active::default()), GFP_KERNEL_ACCOUNT)?,
        };
        Ok(KBox::new(namespace, GFP_KERNEL_ACCOUNT)?)
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
    /// Whether ACQUIRE may be sent now.
    pub(crate) fn may_acquire(&self, now: u64) -> bool {
        self.acquires.lock().take(self.limits.get(Limit::AcquireRate), now)
    }

    /// Whether a key may be derived or asked for now on behalf of an unauthenticated packet, apart from live flows.
    pub(crate) fn may_serve_stranger(&self, now: u64) -> bool {
        self.strangers.lock().take(self.limits.get(Limit::StrangerRate), now)
    }

    /// Whether an event may be sent now.
    pub(crate) fn may_tell(&self, now: u64) -> bool {
        self.events.lock().take(self.limits.get(Limit::EventRate), now)
    }

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

    /// Changes whenever the associations do; no other change gave the same for the last 2^32.
    pub(crate) fn association_version(&self) -> u32 {
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
        if self.table().is_none() {
            let pending = self.limits.get(Limit::PendingMax);
            let table = KBox::new(FlowTable::new(self.account.clone(), pending)?, GFP_KERNEL_ACCOUNT)?;
            // SAFETY: once made, the table is kept until the namespace is dropped, and the walk is dropped before it.
            *self.sweep.lock() = Some(unsafe { table.walk() }?);
            self.table.replace(Some(table));
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

    /// The flows, if a policy was ever in force. They are kept from then on, so that no read-side section is needed.
    pub(crate) fn table(&self) -> Option<&FlowTable> {
        self.table.get_kept()
    }

    /// Drops every flow; the epochs they used stay used.
    pub(crate) fn flush(&self) {
        let Some(table) = self.table() else { return };
        // Without memory for the walk the flows stay, and end when they are idle.
        let _ = self.drop_flows(table, |_| true);
        table.expire_pending(None);
    }

    /// Drops the flows that `which` names.
    fn drop_flows(&self, table: &FlowTable, mut which: impl FnMut(&Flow) -> bool) -> Result {
        // SAFETY: the table is kept longer than this function runs.
        let mut walk = unsafe { table.walk() }?;
        while walk.some(SWEEP_STEP, |flow| {
            if which(&flow) {
                flow.remove();
                self.counters.count(Count::FlowsDropped, 1);
            }
            true
        }) {
            time::yield_now();
        }
        Ok(())
    }

    /// Wipes what flows hold under secrets that were taken out of their association.
    pub(crate) fn wipe(&self, removed: [Option<Held>; 2]) {
        let Some(table) = self.table() else { return };
        for held in removed.into_iter().flatten() {
            // Without memory for the walk the keys stay in their flows, where nothing is sent or accepted under them.
            let _ = table.for_each(|flow| flow.forget(&held.secret));
        }
    }

    /// Wipes every sending key and retires every secret: this machine may be one of two now.
    pub(crate) fn stop_sending(&self) {
        if let Some(all) = self.associations.read(&rcu::read_lock()) {
            all.0.iter().for_each(|association| association.secrets.retire());
        }
        if let Some(table) = self.table() {
            // Without memory for the walk nothing is sent all the same: no secret is for sending any more.
            let _ = table.for_each(|flow| flow.stop_sending());
        }
        Notice::of(Event::KeysWiped).tell(self, time::now());
    }

    /// Drops idle flows, and has others rest, a part of the table at a time.
    fn sweep(&self, table: &FlowTable, now: u64) {
        let idle = self.limits.get(Limit::Idle);
        let rest = self.limits.get(Limit::Rest);
        let sweeps = (idle.min(rest) / 2).clamp(*SWEEPS.start(), *SWEEPS.end());
        let rest = u64::from(rest).saturating_mul(time::SECOND);
        let mut sweep = self.sweep.lock();
        let Some(walk) = &mut *sweep else { return };
        let mut left = (table.len() / sweeps).max(SWEEP_LEAST);
        while left > 0
            && walk.some(left.min(SWEEP_STEP), |mut flow| {
                if flow.is_idle(idle, now) {
                    flow.remove();
                    self.counters.count(Count::FlowsDropped, 1);
                } else if flow.idle_for(now) > rest {
                    flow.rest();
                }
                true
            })
        {
            left = left.saturating_sub(SWEEP_STEP);
            time::yield_now();
        }
        table.expire_pending(Some(now));
    }

    /// Ends the secrets whose time is over, and tells what the helper should know of the others.
    fn look_at_secrets(&self, now: u64) {
        let since_boot = time::since_boot();
        let mut index = 0;
        loop {
            let association = self.associations.read(&rcu::read_lock()).and_then(|all| all.0.get(index)).cloned();
            let Some(association) = association else { return };
            index += 1;
            if let Some(secret) = association.secrets.sending() {
                if let Some(event) = secret.notice(association.renew_packets, now) {
                    let (association, generation) = (Some(association.clone()), Some(secret.generation));
                    Notice { association, generation, ..Notice::of(event) }.tell(self, now);
                }
            }
            if association.secrets.any_ended(since_boot) {
                self.wipe(association.secrets.remove(|held| since_boot >= held.secret.ends_at));
            }
        }
    }
}

impl Run for Namespace {
    fn run(&self) {
        let now = time::now();
        if let Some(table) = self.table() {
            self.sweep(table, now);
        }
        self.look_at_secrets(now);
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
