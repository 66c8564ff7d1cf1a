// SPDX-License-Identifier: GPL-2.0-only

//! One flow: its measurements and its counters. What only a flow in use needs, and what only an encrypted one needs, is
//! in memory of its own, so that a flow that rests is small. Its 5-tuple is its key in the table.

use crate::account::{Account, Payer, Standing};
use crate::event::{Notice, Notices, BURST};
use crate::policy::{Decision, Policy};
use crate::protection::Protection;
use crate::proto::flow::{Flow as Measured, Received};
use crate::proto::flow_id::FlowId;
use crate::proto::kri::KriStamp;
use crate::proto::policy::Rule;
use crate::proto::psn::{SendCounter, Stamp};
use crate::proto::recent::Recent;
use crate::proto::uapi::{Event, Mechanism, Refusal, Skip};
use crate::proto::wire::Echo;
use crate::secret::Secret;
use crate::sys::random;
use crate::sys::table::node_size;
use crate::sys::time::{MILLISECOND, SECOND};
use crate::tally::{Reason, Tallies};
use kernel::prelude::*;
use kernel::sync::Arc;

/// What only a flow in use has.
struct InUse {
    recent: Recent,
    decision: Decision,
}

// "at most 1 KiB more while a flow is in use".
const _: () = assert!(size_of::<InUse>() <= 1024);

/// A flow. Dropping it, in whatever way, closes the epochs it used and gives its memory back.
pub(crate) struct Flow {
    account: Arc<Account>,
    /// What it measures.
    pub(crate) measured: Measured,
    /// Options sent.
    pub(crate) options_out: u64,
    /// Packets received, with an option or without.
    pub(crate) packets_in: u64,
    /// Options accepted.
    pub(crate) accepted: u64,
    in_use: Option<KBox<InUse>>,
    protection: Option<KBox<Protection>>,
    tallies: Tallies,
    /// Monotonic time of the last packet, ms; told right for 24 days.
    last_packet_ms: u32,
    /// The first packet this host saw was its own.
    pub(crate) outbound: bool,
    /// What this host last sent.
    pub(crate) mechanism: Mechanism,
    /// What the peer last sent.
    pub(crate) peer_mechanism: Mechanism,
}

/// Bytes of a flow with the table's links, lock and 5-tuple. A pending entry, which has no links, counts as much.
const SIZE: usize = node_size::<Flow>();

// "at most 256 bytes for an idle flow plain". Kernels that watch over locks keep what they know of each in the lock itself.
const _: () = assert!(SIZE <= 256 || cfg!(CONFIG_DEBUG_SPINLOCK));

impl Flow {
    /// A flow seen for the first time. `outbound` if by a packet of this host. Fails where the account is used up.
    pub(crate) fn new(outbound: bool, now: u64, account: &Arc<Account>) -> Result<Self> {
        account.take(SIZE, Standing::New)?;
        Ok(Self {
            account: account.clone(),
            // "PSNTP starts at a random 16-bit value per flow."
            measured: Measured::new(SendCounter::new(random::u16(), 0)),
            options_out: 0,
            packets_in: 0,
            accepted: 0,
            in_use: None,
            protection: None,
            tallies: Tallies::default(),
            last_packet_ms: (now / MILLISECOND) as u32,
            outbound,
            mechanism: Mechanism::None,
            peer_mechanism: Mechanism::None,
        })
    }

    /// Whether anything shows that the peer exists: it named a PSN of ours, or authenticated.
    fn standing(&self) -> Standing {
        let authenticated = self.protection().is_some_and(|p| p.receive_name().is_some());
        if self.measured.verified || authenticated {
            Standing::Live
        } else {
            Standing::New
        }
    }

    fn payer(&self) -> Payer<'_> {
        Payer { account: &self.account, standing: self.standing() }
    }

    /// The rule that decides about the flow, and its index. A flow in use remembers it.
    pub(crate) fn decide<'a>(&mut self, policy: &'a Policy, id: &FlowId, now: u64) -> Option<(usize, &'a Rule)> {
        match &mut self.in_use {
            Some(in_use) => policy.decide_again(&mut in_use.decision, id, self.outbound, now),
            None => policy.decide(id, self.outbound, now),
        }
    }

    /// A packet of the flow passes.
    pub(crate) fn touch(&mut self, now: u64) {
        self.last_packet_ms = (now / MILLISECOND) as u32;
    }

    /// Since the last packet, ns; 0 if that came after `now`, as it may while somebody looks through all flows.
    pub(crate) fn idle_for(&self, now: u64) -> u64 {
        let ms = ((now / MILLISECOND) as u32).wrapping_sub(self.last_packet_ms) as i32;
        u64::from(ms.max(0).unsigned_abs()).saturating_mul(MILLISECOND)
    }

    /// The measurements, and what a flow in use remembers; without memory for that it goes on without samples.
    fn measure(&mut self) -> (&mut Measured, Option<&mut Recent>) {
        if self.in_use.is_none() {
            let in_use = InUse { recent: self.measured.recent(), decision: Decision::NOTHING };
            self.in_use = self.payer().boxed(in_use).ok();
        }
        (&mut self.measured, self.in_use.as_deref_mut().map(|in_use| &mut in_use.recent))
    }

    /// Hands out the pair for a packet that is certain to be sent.
    pub(crate) fn sent(&mut self, now: u64, payload: bool) -> Stamp {
        let (measured, recent) = self.measure();
        measured.sent(now, payload, recent)
    }

    /// Hands out the Kri and the 15-bit field for a packet that is certain to be sent.
    pub(crate) fn take_kri(&mut self) -> Option<KriStamp> {
        self.protection.as_deref_mut()?.take_kri()
    }

    /// Takes in what an accepted option says.
    pub(crate) fn received(&mut self, psn: u16, echo: &Echo, now: u64, payload: bool) -> Received {
        let (measured, recent) = self.measure();
        measured.received(psn, echo, now, payload, recent)
    }

    /// What a flow in use remembers.
    pub(crate) fn recent(&self) -> Option<&Recent> {
        self.in_use.as_deref().map(|in_use| &in_use.recent)
    }

    /// What encrypted options need, the counter they take from, and who pays for keys.
    pub(crate) fn protect(&mut self) -> Result<(&mut Protection, &mut SendCounter, Payer<'_>)> {
        if self.protection.is_none() {
            self.protection = Some(self.payer().boxed(Protection::default())?);
        }
        let standing = self.standing();
        let protection = self.protection.as_deref_mut().ok_or(ENOMEM)?;
        Ok((protection, &mut self.measured.counter, Payer { account: &self.account, standing }))
    }

    /// What encrypted options need, if any were sent or received.
    pub(crate) fn protection(&self) -> Option<&Protection> {
        self.protection.as_deref()
    }

    /// Wipes what is held under a generation.
    pub(crate) fn forget(&mut self, secret: &Arc<Secret>) {
        if let Some(protection) = self.protection.as_deref_mut() {
            protection.forget(secret, &self.measured.counter);
        }
    }

    /// Wipes every sending key.
    pub(crate) fn stop_sending(&mut self) {
        if let Some(protection) = self.protection.as_deref_mut() {
            protection.close_sending(&self.measured.counter);
        }
    }

    /// Counts a refusal; a burst of one reason is told.
    pub(crate) fn refuse(&mut self, id: &FlowId, reason: Refusal, notices: &mut Notices) {
        let payer = Payer { account: &self.account, standing: self.standing() };
        let count = self.tallies.count(Reason::Refused(reason), 1, payer);
        if count > 0 && count % BURST == 0 {
            let (flow, reason, count) = (Some(*id), Some(reason), Some(count));
            notices.add(Notice { flow, reason, count, ..Notice::of(Event::Refused) });
        }
    }

    /// A packet arrived, with an option or without.
    pub(crate) fn arrives(&mut self, now: u64) {
        self.packets_in = self.packets_in.saturating_add(1);
        self.touch(now);
    }

    /// The packet had an option; asked once that was measured, as what is remembered of it is made then.
    pub(crate) fn had_option(&mut self) {
        if let Some(in_use) = self.in_use.as_deref_mut() {
            in_use.recent.missing.with();
        }
    }

    /// A packet arrived that has no option, though one of its kind may have one if `possible`. Where options stay away that
    /// came before, that is counted, and told.
    pub(crate) fn arrives_without(&mut self, id: &FlowId, possible: bool, now: u64, notices: &mut Notices) {
        self.arrives(now);
        let Some(in_use) = self.in_use.as_deref_mut().filter(|_| possible) else { return };
        let Some(gap) = in_use.recent.missing.without() else { return };
        let payer = Payer { account: &self.account, standing: self.standing() };
        self.tallies.count(Reason::Missing, gap.packets, payer);
        if gap.tell.is_some() {
            notices.add(Notice { flow: Some(*id), count: gap.tell, ..Notice::of(Event::Missing) });
        }
    }

    /// Counts packets sent without an option.
    pub(crate) fn skip(&mut self, reason: Skip, packets: u32) {
        let payer = Payer { account: &self.account, standing: self.standing() };
        self.tallies.count(Reason::Skipped(reason), packets, payer);
    }

    /// Packets sent, with an option or without.
    pub(crate) fn packets_out(&self) -> u64 {
        self.options_out.saturating_add(self.tallies.skipped())
    }

    /// Options received, accepted or not.
    pub(crate) fn options_in(&self) -> u64 {
        self.accepted.saturating_add(self.tallies.refused())
    }

    /// Packets sent without an option and options ignored, by reason.
    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Whether the flow may be dropped: idle for the namespace's time, for twice the peer's, and for the least age of
    /// its secret.
    pub(crate) fn is_idle(&self, idle: u32, now: u64) -> bool {
        let association = self.protection().and_then(|p| p.last_association());
        let peer = association.map_or(0, |a| a.peer_idle.saturating_mul(2));
        self.idle_for(now) > u64::from(idle.max(peer)).saturating_mul(SECOND).max(self.least_age())
    }

    fn least_age(&self) -> u64 {
        self.protection().map_or(0, Protection::least_age)
    }

    /// Whether a new flow may take this one's place when there is room for no more: nothing shows that the peer exists,
    /// and no packet came for a while. What floods the table is of this kind; what it would push out is not.
    pub(crate) fn may_yield(&self, now: u64) -> bool {
        /// Since the last packet, ns.
        const LEAST: u64 = SECOND;
        self.standing() == Standing::New && self.idle_for(now) > self.least_age().max(LEAST)
    }

    /// Gives up what only a flow in use needs.
    pub(crate) fn rest(&mut self) {
        if self.in_use.take().is_some() {
            self.account.give_back(size_of::<InUse>());
        }
        if let Some(protection) = self.protection.as_deref_mut() {
            protection.rest();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop_sending();
        let in_use = self.in_use.as_ref().map_or(0, |_| size_of::<InUse>());
        let protection = self.protection.as_ref().map_or(0, |_| size_of::<Protection>());
        self.account.give_back(SIZE + in_use + protection + self.tallies.bytes());
    }
}
