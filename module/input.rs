// SPDX-License-Identifier: GPL-2.0-only

//! The way of a packet in: LOCAL_IN, after filtering (docs/protocol.md, section 6).
//!
//! The packet's bytes are only read. Whatever is wrong with an option, the payload is delivered as if the option were
//! unknown, and nothing is answered.

use crate::acquire::Questions;
use crate::counters::Count;
use crate::event::{Notice, Notices};
use crate::flow::Flow;
use crate::flow_table::FlowTable;
use crate::key::FlowKey;
use crate::limits::Limit;
use crate::namespace::Namespace;
use crate::option_type;
use crate::output::MIN_MTU;
use crate::policy::Policy;
use crate::protection::ASK_AHEAD;
use crate::proto::flow::Received;
use crate::proto::flow_id::{FlowId, TCP};
use crate::proto::headers::{Headers, Upper};
use crate::proto::mss;
use crate::proto::placement::{new_header_len, scan};
use crate::proto::policy::Rule;
use crate::proto::receive::{KeyName, TRIES};
use crate::proto::sequence::Arrival;
use crate::proto::uapi::{Event, Mechanism, OnFailure, Refusal};
use crate::proto::wire::{Body, Pdm, V2Clear, V2Interior, SEALED_LEN, VERSION};
use crate::sys::hooks::Verdict;
use crate::sys::log;
use crate::sys::skb::{HeadBuffer, Incoming};
use crate::sys::time;
use crate::sys::trace;
use kernel::prelude::*;
use kernel::sync::rcu;

/// A packet for this host.
pub(crate) fn incoming(namespace: &Namespace, mut packet: Incoming<'_>) -> Verdict {
    let section = rcu::read_lock();
    let (Some(policy), Some(table)) = (namespace.policy.read(&section), namespace.table.read(&section)) else {
        return Verdict::Accept;
    };
    let facts = packet.facts();
    let mut buffer = HeadBuffer::empty();
    let head = packet.head(&mut buffer);
    let Ok(headers) = Headers::parse(head, packet.len()) else { return Verdict::Accept };
    // An option in front of the upper layer is for the last destination that a Routing header names.
    if facts.decrypted() || headers.under_way {
        return Verdict::Accept;
    }
    let arrival = Arrived {
        namespace,
        policy,
        table,
        section: &section,
        now: time::now(),
        id: headers.flow_received(),
        payload: headers.payload_len > 0,
        ifindex: packet.ifindex(),
        len: packet.len(),
    };
    // A header that the kernel will drop the packet for holds no option for us.
    let scanned = |place: Option<(usize, usize)>| {
        let (at, len) = place?;
        let header = head.get(at..at.checked_add(len)?)?;
        Some((header, scan(header, option_type())?)).filter(|(_, scanned)| scanned.found > 0)
    };
    let verdict = match (scanned(headers.final_options), scanned(headers.earlier_options)) {
        (Some((header, found)), None) if found.found == 1 => {
            arrival.option(found.body.and_then(|(at, len)| header.get(at..at.checked_add(len)?)), facts.translated())
        }
        (None, None) => {
            arrival.without(headers.upper != Upper::OtherIcmpv6 && !facts.reassembled());
            Verdict::Accept
        }
        _ => arrival.option(None, facts.translated()),
    };
    if let (TCP, Upper::Tcp { syn: true, header_len, .. }) = (headers.protocol, headers.upper) {
        if let Some((mss_at, announced)) = announced_mss(head, headers.upper_at, header_len) {
            arrival.lower_mss(&mut packet, headers.upper_at, mss_at, announced);
        }
    }
    verdict
}

/// The MSS option of a SYN: where its value stands in the packet, and the value.
fn announced_mss(head: &[u8], tcp_at: usize, header_len: usize) -> Option<(usize, u16)> {
    let (at, announced) = mss::find(mss::options(head, tcp_at, header_len)?)?;
    Some((tcp_at.checked_add(mss::OPTIONS_AT)?.checked_add(at)?, announced))
}

/// A packet that arrived.
struct Arrived<'a> {
    namespace: &'a Namespace,
    policy: &'a Policy,
    table: &'a FlowTable,
    section: &'a rcu::Guard,
    now: u64,
    id: FlowId,
    payload: bool,
    ifindex: u32,
    /// From the IPv6 header to the end, bytes.
    len: usize,
}

/// An option that was accepted.
struct Accepted {
    /// It authenticated, so that the flow is real.
    authenticated: bool,
}

impl Arrived<'_> {
    /// A packet without an option. `possible` if it is of a kind that has one; where it might not have fitted, its sender
    /// had to leave it without, too.
    fn without(&self, possible: bool) {
        let mut notices = Notices::default();
        if let Some(mut flow) = self.table.find(self.section, &self.id) {
            let fits = self.len.saturating_add(new_header_len(flow.peer_mechanism)) <= MIN_MTU;
            flow.arrives_without(&self.id, possible && fits, self.now, &mut notices);
        }
        notices.tell(self.namespace, self.now);
    }

    /// A packet with an option; `None` if it has more than one, or one where none belongs.
    fn option(&self, body: Option<&[u8]>, translated: bool) -> Verdict {
        let counters = &self.namespace.counters;
        counters.count(Count::OptionsIn, 1);
        let (mut questions, mut notices) = (Questions::default(), Notices::default());
        let mut on_failure = OnFailure::Deliver;
        let read = body.map(Body::parse);
        let parsed = match read {
            None => Err(Refusal::Header),
            Some(None) => Err(Refusal::Length),
            Some(Some(Body::V2Encrypted(..))) if translated => Err(Refusal::Translated),
            Some(Some(body)) => Ok(body),
        };
        let result = self.take(parsed, &mut on_failure, &mut questions, &mut notices);
        match result {
            Ok(()) => counters.count(Count::Accepted, 1),
            Err(reason) => {
                counters.refuse(reason);
                // "SHOULD log such occurrences but MUST apply rate limiting"
                if reason == Refusal::Policy && log::allowed() {
                    pr_info!("a received option was ignored: no rule accepts its mechanism\n");
                }
            }
        }
        questions.ask(self.namespace, self.now);
        notices.tell(self.namespace, self.now);
        // Never for mechanisms that policy refuses, nor where a key was merely missing.
        let dropped = result == Err(Refusal::Authentication) && on_failure == OnFailure::Drop;
        if let Err(reason) = result {
            if trace::drop_is_on() {
                self.trace_drop(read.flatten(), reason, dropped);
            }
        }
        if dropped {
            Verdict::Drop
        } else {
            Verdict::Accept
        }
    }

    /// The packet as tracepoints tell of it.
    fn traced(&self, mechanism: Mechanism) -> trace::Packet<'_> {
        let Self { namespace, id: flow, ifindex, len, .. } = self;
        trace::Packet { net: namespace.net, flow, outgoing: false, ifindex: *ifindex, len: *len, mechanism }
    }

    fn trace_drop(&self, body: Option<Body<'_>>, reason: Refusal, dropped: bool) {
        let name = match body {
            Some(Body::Pdm(pdm)) => (0, pdm.psntp),
            Some(Body::V2(clear, _) | Body::V2Encrypted(clear, _)) => (clear.epoch, clear.psntp),
            None => (0, 0),
        };
        let why = if dropped { trace::Why::Dropped(reason) } else { trace::Why::Refused(reason) };
        trace::drop(&self.traced(body.map_or(Mechanism::None, |body| body.mechanism())), why, name);
    }

    /// Finds or makes the state of an option's flow, and tries the option on it.
    fn take(
        &self,
        parsed: Result<Body<'_>, Refusal>,
        on_failure: &mut OnFailure,
        questions: &mut Questions,
        notices: &mut Notices,
    ) -> Result<(), Refusal> {
        if let Some(mut flow) = self.table.find(self.section, &self.id) {
            return self.try_on(&mut flow, false, parsed, on_failure, questions, notices).map(|_| ());
        }
        // "What an unauthenticated packet may create is an entry in a separate pending table."
        let body = parsed?;
        self.accepted_by(self.policy.decide(&self.id, false, self.now), body.mechanism())?;
        let pending = self.table.pending(self.section).ok_or(Refusal::NoMemory)?;
        let mut slot = pending.slot(&self.id).ok_or(Refusal::NoMemory)?;
        if let Some(mut flow) = self.table.find(self.section, &self.id) {
            // It became a flow between the two looks.
            drop(slot);
            return self.try_on(&mut flow, false, Ok(body), on_failure, questions, notices).map(|_| ());
        }
        if slot.entry(&self.id, self.now).is_none() {
            // Where memory is used up, whatever is in the slot gives up its own.
            let flow = self.table.stranger(self.now).or_else(|_| {
                slot.take();
                self.table.stranger(self.now)
            });
            let flow = flow.map_err(|_| Refusal::NoMemory)?;
            slot.put(&self.id, flow).map_err(|_| Refusal::NoMemory)?;
        }
        let flow = slot.entry(&self.id, self.now).ok_or(Refusal::NoMemory)?;
        let accepted = self.try_on(flow, true, Ok(body), on_failure, questions, notices)?;
        if accepted.authenticated {
            if let Some(flow) = slot.take() {
                // Where there is no room, it has to begin anew with its next option.
                let most = self.namespace.limits.get(Limit::FlowsMax);
                let _ = self.table.insert(self.section, &self.id, flow, most, self.now);
            }
        }
        Ok(())
    }

    fn accepted_by(&self, decided: Option<(usize, &Rule)>, mechanism: Mechanism) -> Result<(), Refusal> {
        let (_, rule) = decided.ok_or(Refusal::Policy)?;
        if self.policy.forbids(mechanism) || !rule.accepts(mechanism) {
            return Err(Refusal::Policy);
        }
        Ok(())
    }

    /// Tries an option on a flow, and counts there what came of it.
    fn try_on(
        &self,
        flow: &mut Flow,
        stranger: bool,
        parsed: Result<Body<'_>, Refusal>,
        on_failure: &mut OnFailure,
        questions: &mut Questions,
        notices: &mut Notices,
    ) -> Result<Accepted, Refusal> {
        flow.arrives(self.now);
        let result = parsed.and_then(|body| {
            self.accepted_by(flow.decide(self.policy, &self.id, self.now), body.mechanism())?;
            match body {
                Body::Pdm(Pdm { psntp, echo }) => {
                    let said = trace::Said { psntp, echo, ..trace::Said::default() };
                    self.measure(flow, &said, Mechanism::Pdm, notices)
                }
                Body::V2(clear, _) | Body::V2Encrypted(clear, _) if clear.version != VERSION => Err(Refusal::Version),
                Body::V2(V2Clear { epoch, psntp, .. }, V2Interior { global_ptr, echo }) => {
                    let said = trace::Said { epoch, psntp, global_ptr, echo, sealed: None };
                    self.measure(flow, &said, Mechanism::V2, notices)
                }
                Body::V2Encrypted(clear, sealed) => {
                    self.open(flow, stranger, &clear, sealed, on_failure, questions, notices)
                }
            }
        });
        flow.had_option();
        match &result {
            Ok(_) => flow.accepted = flow.accepted.saturating_add(1),
            Err(reason) => flow.refuse(&self.id, *reason, notices),
        }
        result
    }

    /// Opens a sealed option: "two tag checks a packet at most, and a failure is counted once, when all failed".
    #[allow(clippy::too_many_arguments)]
    fn open(
        &self,
        flow: &mut Flow,
        stranger: bool,
        clear: &V2Clear,
        sealed: &[u8; SEALED_LEN],
        on_failure: &mut OnFailure,
        questions: &mut Questions,
        notices: &mut Notices,
    ) -> Result<Accepted, Refusal> {
        let (protection, counter, payer) = flow.protect().map_err(|_| Refusal::NoMemory)?;
        let association = protection
            .association_on(self.ifindex, &self.id, counter, self.namespace, self.section)
            .ok_or(Refusal::NoAssociation)?;
        *on_failure = association.on_failure;
        let generations = association.secrets.accepted_generations();
        let accepted = generations.split(|g| *g == 0).next().unwrap_or(&[]);
        let aad = clear.aad(option_type());
        let open = |key: &mut FlowKey| Some(V2Interior::parse(&key.open(clear.psntp, &aad, sealed)?));
        let mut keys = protection.receive_keys();
        let plan = keys.plan(accepted, clear.epoch, clear.psntp);
        let mut opened = plan.tries.into_iter().flatten().find_map(|name| Some((name, open(keys.key(name)?)?)));
        let mut checks = plan.checks();
        if opened.is_none() {
            if let Some(name) = plan.seen.filter(|_| checks < TRIES) {
                checks = checks.saturating_add(1);
                if keys.key(name).and_then(open).is_some() {
                    // The peer's own option, a second time: accepted no more, but the network made a duplicate of it.
                    flow.measured.sequence.duplicate();
                    return Err(Refusal::Replay);
                }
            }
            if plan.replayed && plan.checks() == 0 {
                return Err(Refusal::Replay);
            }
        }
        // A peer may still send under the older of two generations: where keys are derived here, either is tried.
        while opened.is_none() {
            let name = match protection.receive_keys().missing(accepted, clear.epoch) {
                Ok(name) if checks < TRIES => name,
                Err(reason) if checks == 0 => return Err(reason),
                _ => return Err(Refusal::Authentication),
            };
            // Strangers share a budget of their own, so that a flood of them takes nothing from live flows.
            if !protection.may_attempt(self.now) || (stranger && !self.namespace.may_serve_stranger(self.now)) {
                return Err(Refusal::Rate);
            }
            if !protection.want_receive(&association, name, &self.id, self.now, stranger, payer, questions) {
                return Err(Refusal::NoKey);
            }
            opened = protection.receive_keys().key(name).and_then(open).map(|interior| (name, interior));
            checks = checks.saturating_add(1);
        }
        let attempted = plan.tries.iter().flatten().all(|name| Some(*name) != opened.as_ref().map(|(name, _)| *name));
        let (name, interior): (KeyName, V2Interior) = opened.ok_or(Refusal::Authentication)?;
        if attempted {
            protection.refund_attempt();
        }
        let mut keys = protection.receive_keys();
        keys.authenticated(name, clear.psntp);
        // The peer's next epoch begins soon: its key is there before it is needed.
        if clear.psntp > u16::MAX - ASK_AHEAD || association.epochs.is_early() || keys.has_stepped() {
            if let Some(next) = keys.next_name().filter(|next| !keys.holds(*next)) {
                protection.want_receive(&association, next, &self.id, self.now, false, payer, questions);
            }
        }
        if association.secrets.first_authenticated(name.generation) {
            notices.add(Notice {
                association: Some(association.clone()),
                generation: Some(name.generation),
                ..Notice::of(Event::Authenticated)
            });
        }
        let V2Interior { global_ptr, echo } = interior;
        let sealed = Some((association.name.as_str(), name.generation));
        let said = trace::Said { epoch: clear.epoch, psntp: clear.psntp, global_ptr, echo, sealed };
        // The window has refused replays; a PSN seen before under another key is measured as the duplicate it looks like.
        let _ = self.measure(flow, &said, Mechanism::V2Encrypted, notices);
        Ok(Accepted { authenticated: true })
    }

    /// Measures what an option says.
    fn measure(
        &self,
        flow: &mut Flow,
        said: &trace::Said<'_>,
        mechanism: Mechanism,
        notices: &mut Notices,
    ) -> Result<Accepted, Refusal> {
        let received = flow.received(said.psntp, &said.echo, self.now, self.payload);
        if received.negative > 0 {
            self.namespace.counters.count(Count::NegativeDeltas, u64::from(received.negative));
        }
        let accepted = match received.arrival {
            Arrival::Duplicate => Err(Refusal::Duplicate),
            Arrival::Jump => {
                notices.add(Notice { flow: Some(self.id), ..Notice::of(Event::Jump) });
                Ok(Accepted { authenticated: false })
            }
            Arrival::Forward | Arrival::Reordered => Ok(Accepted { authenticated: false }),
        };
        if accepted.is_ok() {
            flow.peer_mechanism = mechanism;
        }
        if trace::option_rx_is_on() && (accepted.is_ok() || mechanism == Mechanism::V2Encrypted) {
            let Received { arrival, rtt, server_delay, .. } = received;
            trace::option_rx(&self.traced(mechanism), said, &trace::Found { arrival, rtt, server_delay });
        }
        accepted
    }

    /// Makes room for the option in what this host will send: the peer's SYN or SYN-ACK announces less to TCP.
    fn lower_mss(&self, packet: &mut Incoming<'_>, tcp_at: usize, mss_at: usize, announced: u16) {
        let decided = match self.table.find(self.section, &self.id) {
            Some(mut flow) => flow.decide(self.policy, &self.id, self.now),
            None => self.policy.decide(&self.id, false, self.now),
        };
        let Some((_, rule)) = decided else { return };
        if rule.send == Mechanism::None || self.policy.forbids(rule.send) {
            return;
        }
        let lowered = mss::lowered(announced, packet.path_mtu(tcp_at), rule.send);
        if lowered < announced && packet.set_mss(tcp_at, mss_at, lowered).is_ok() {
            self.namespace.counters.count(Count::MssClamped, 1);
        }
    }
}
