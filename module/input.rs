// SPDX-License-Identifier: GPL-2.0-only

//! The way of a packet in: LOCAL_IN, after filtering (docs/protocol.md, section 6).
//!
//! The packet's bytes are only read. Whatever is wrong with an option, the payload is delivered as if the option were
//! unknown, and nothing is answered.

use crate::account::Payer;
use crate::acquire::Questions;
use crate::association::{Association, Scope};
use crate::counters::Count;
use crate::event::{Notice, Notices};
use crate::flow::Flow;
use crate::flow_table::FlowTable;
use crate::key::FlowKey;
use crate::namespace::Namespace;
use crate::option_type;
use crate::output::MIN_MTU;
use crate::policy::Policy;
use crate::protection::{Protection, ASK_AHEAD};
use crate::proto::flow::Received;
use crate::proto::flow_id::{FlowId, TCP};
use crate::proto::headers::{Headers, Place, Upper};
use crate::proto::mss;
use crate::proto::placement::{new_header_len, scan};
use crate::proto::policy::Rule;
use crate::proto::receive::{KeyName, TRIES};
use crate::proto::sequence::Arrival;
use crate::proto::uapi::{Event, Mechanism, OnFailure, Profile, Refusal};
use crate::proto::window::Seen;
use crate::proto::wire::{mechanism_of_len, Body, Echo, Pdm, V2Clear, V2Interior, SEALED_LEN, VERSION};
use crate::proto::wire_kri::{KriBody, KriClear, KriInterior};
use crate::sys::hooks::Verdict;
use crate::sys::log;
use crate::sys::skb::{HeadBuffer, Incoming};
use crate::sys::time;
use crate::sys::trace;
use kernel::prelude::*;
use kernel::sync::{rcu, Arc};

/// A packet for this host.
pub(crate) fn incoming(namespace: &Namespace, mut packet: Incoming<'_>) -> Verdict {
    let section = rcu::read_lock();
    let (Some(policy), Some(table)) = (namespace.policy.read(&section), namespace.table.read(&section)) else {
        return Verdict::Accept;
    };
    let facts = packet.facts();
    let mut buffer = HeadBuffer::empty();
    let head = packet.head(&mut buffer);
    let parsed = Headers::parse(head, packet.len());
    let Ok(headers) = &parsed else { return Verdict::Accept };
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
        payload: headers.has_payload(),
        ifindex: packet.ifindex(),
        vrf: if headers.final_options.is_some() { packet.vrf() } else { 0 },
        len: packet.len(),
    };
    // A header that the kernel will drop the packet for holds no option for us.
    let scanned = |place: Option<Place>| {
        let header = place?.of(head)?;
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
        if let Some((mss_at, announced)) = announced_mss(head, headers.upper_at(), header_len.into()) {
            arrival.lower_mss(&mut packet, headers.upper_at(), mss_at, announced);
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
    /// The VRF, or 0; looked for where there may be an option.
    vrf: u32,
    /// From the IPv6 header to the end, bytes.
    len: usize,
}

/// A received option: what its length says, and its body, whose layout is not known before its profile is.
#[derive(Clone, Copy)]
struct Carried<'a> {
    mechanism: Mechanism,
    body: &'a [u8],
}

/// How a sealed option is tried.
struct Attempt<'a> {
    association: &'a Arc<Association>,
    /// Generations that may be received, newest first.
    generations: &'a [u64],
    /// The flow is known from unauthenticated packets alone.
    stranger: bool,
    /// Who pays for keys.
    payer: Payer<'a>,
}

/// What a sealed option says, once it is open.
struct Opened {
    name: KeyName,
    psn: u16,
    global_ptr: u32,
    echo: Echo,
    /// It was accepted before.
    again: bool,
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
        let read = body.map(|body| mechanism_of_len(body.len()).map(|mechanism| Carried { mechanism, body }));
        let parsed = match read {
            None => Err(Refusal::Header),
            Some(None) => Err(Refusal::Length),
            Some(Some(option)) if translated && option.mechanism == Mechanism::V2Encrypted => Err(Refusal::Translated),
            Some(Some(option)) => Ok(option),
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

    fn scope(&self) -> Scope {
        Scope::of(&self.id, || self.ifindex, || self.vrf)
    }

    /// The packet as tracepoints tell of it.
    fn traced(&self, mechanism: Mechanism) -> trace::Packet<'_> {
        let Self { namespace, id: flow, ifindex, len, .. } = self;
        trace::Packet { net: namespace.net, flow, outgoing: false, ifindex: *ifindex, len: *len, mechanism }
    }

    fn trace_drop(&self, option: Option<Carried<'_>>, reason: Refusal, dropped: bool) {
        let name = option.map_or((0, 0), |option| self.named_in_clear(option));
        let why = if dropped { trace::Why::Dropped(reason) } else { trace::Why::Refused(reason) };
        trace::drop(&self.traced(option.map_or(Mechanism::None, |option| option.mechanism)), why, name);
    }

    /// The epoch and PSN that an option names in clear, read as its profile has them; 0 for what it does not.
    #[cold]
    fn named_in_clear(&self, option: Carried<'_>) -> (u32, u16) {
        match (self.profile_of(option.mechanism), Body::parse(option.body)) {
            (_, None) => (0, 0),
            (_, Some(Body::Pdm(pdm))) => (0, pdm.psntp),
            (Profile::V2, Some(Body::V2(clear, _) | Body::V2Encrypted(clear, _))) => {
                (u32::from(clear.epoch), clear.psntp)
            }
            (Profile::V2Kri, Some(_)) => match KriBody::parse(option.body) {
                Some(KriBody::Plain(_, interior)) => (0, interior.psntp),
                _ => (0, 0),
            },
        }
    }

    /// The profile of what arrives: that of the association, or for plain options that of the rule.
    fn profile_of(&self, mechanism: Mechanism) -> Profile {
        let profile = if mechanism == Mechanism::V2Encrypted {
            let all = self.namespace.associations.read(self.section);
            all.and_then(|all| all.of(&self.id, self.scope())).map(|association| association.profile)
        } else {
            let outbound = self.table.find(self.section, &self.id).is_some_and(|flow| flow.outbound);
            self.policy.decide(&self.id, outbound, self.now).map(|(_, rule)| rule.profile)
        };
        profile.unwrap_or(Profile::V2)
    }

    /// Finds or makes the state of an option's flow, and tries the option on it.
    fn take(
        &self,
        parsed: Result<Carried<'_>, Refusal>,
        on_failure: &mut OnFailure,
        questions: &mut Questions,
        notices: &mut Notices,
    ) -> Result<(), Refusal> {
        if let Some(mut flow) = self.table.find(self.section, &self.id) {
            return self.try_on(&mut flow, false, parsed, on_failure, questions, notices).map(|_| ());
        }
        // "What an unauthenticated packet may create is an entry in a separate pending table."
        let option = parsed?;
        self.accepted_by(self.policy.decide(&self.id, false, self.now), option.mechanism)?;
        let pending = self.table.pending(self.section).ok_or(Refusal::NoMemory)?;
        let mut slot = pending.slot(&self.id).ok_or(Refusal::NoMemory)?;
        if let Some(mut flow) = self.table.find(self.section, &self.id) {
            // It became a flow between the two looks.
            drop(slot);
            return self.try_on(&mut flow, false, Ok(option), on_failure, questions, notices).map(|_| ());
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
        let accepted = self.try_on(flow, true, Ok(option), on_failure, questions, notices)?;
        if accepted.authenticated {
            if let Some(flow) = slot.take() {
                // Where there is no room, it has to begin anew with its next option.
                let _ = self.table.insert(self.section, &self.id, flow, self.namespace, self.now);
            }
        }
        Ok(())
    }

    /// Whether a rule accepts the mechanism, and the profile that it gives plain options.
    fn accepted_by(&self, decided: Option<(usize, &Rule)>, mechanism: Mechanism) -> Result<Profile, Refusal> {
        let (_, rule) = decided.ok_or(Refusal::Policy)?;
        if self.policy.forbids(mechanism) || !rule.accepts(mechanism) {
            return Err(Refusal::Policy);
        }
        Ok(rule.profile)
    }

    /// Tries an option on a flow, and counts there what came of it.
    fn try_on(
        &self,
        flow: &mut Flow,
        stranger: bool,
        parsed: Result<Carried<'_>, Refusal>,
        on_failure: &mut OnFailure,
        questions: &mut Questions,
        notices: &mut Notices,
    ) -> Result<Accepted, Refusal> {
        flow.arrives(self.now);
        let result = parsed.and_then(|Carried { mechanism, body }| {
            let profile = self.accepted_by(flow.decide(self.policy, &self.id, self.now), mechanism)?;
            // The version stands at the same place in either profile.
            match (profile, Body::parse(body).ok_or(Refusal::Length)?) {
                (_, Body::Pdm(Pdm { psntp, echo })) => {
                    let said = trace::Said { psntp, echo, ..trace::Said::default() };
                    self.measure(flow, &said, mechanism, notices)
                }
                (_, Body::V2(clear, _) | Body::V2Encrypted(clear, _)) if clear.version != VERSION => {
                    Err(Refusal::Version)
                }
                (Profile::V2, Body::V2(V2Clear { epoch, psntp, .. }, V2Interior { global_ptr, echo })) => {
                    let said = trace::Said { epoch: u32::from(epoch), psntp, global_ptr, echo, sealed: None };
                    self.measure(flow, &said, mechanism, notices)
                }
                (Profile::V2Kri, Body::V2(..)) => match KriBody::parse(body) {
                    Some(KriBody::Plain(_, KriInterior { global_ptr, psntp, echo })) => {
                        let said = trace::Said { epoch: 0, psntp, global_ptr, echo, sealed: None };
                        self.measure(flow, &said, mechanism, notices)
                    }
                    _ => Err(Refusal::Length),
                },
                (_, Body::V2Encrypted(clear, sealed)) => {
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
            .association(self.scope(), &self.id, counter, self.namespace, self.section)
            .cloned()
            .ok_or(Refusal::NoAssociation)?;
        *on_failure = association.on_failure;
        let accepted = association.secrets.accepted_generations();
        let generations = accepted.split(|g| *g == 0).next().unwrap_or(&[]);
        let attempt = Attempt { association: &association, generations, stranger, payer };
        let Opened { name, psn, global_ptr, echo, again } = match association.profile {
            Profile::V2 => self.open_v2(protection, &attempt, clear, sealed, questions)?,
            Profile::V2Kri => {
                self.open_kri(protection, &attempt, &KriClear::parse(&clear.emit()), sealed, questions)?
            }
        };
        if again {
            // The peer's own option, a second time: accepted no more, but the network made a duplicate of it.
            flow.measured.sequence.duplicate();
            return Err(Refusal::Replay);
        }
        let mut keys = protection.receive_keys();
        keys.authenticated(name, psn);
        // The peer's next epoch may begin soon: its key is there before it is needed. No option tells its Kri.
        let soon = association.profile == Profile::V2Kri || psn > u16::MAX - ASK_AHEAD;
        if soon || association.epochs.is_early() || keys.has_stepped() {
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
        // Told by tracepoints alone.
        let sealed = trace::option_rx_is_on().then(|| (association.name.as_str(), name.generation));
        let said = trace::Said { epoch: name.epoch, psntp: psn, global_ptr, echo, sealed };
        // The window has refused replays; a PSN seen before under another key is measured as the duplicate it looks like.
        let _ = self.measure(flow, &said, Mechanism::V2Encrypted, notices);
        Ok(Accepted { authenticated: true })
    }

    /// Whether a key that is not held may be tried, or asked for and waited for. Strangers share a budget of their own, so
    /// that a flood of them takes nothing from live flows.
    fn may_attempt(&self, protection: &mut Protection, attempt: &Attempt<'_>, name: KeyName) -> bool {
        protection.waits_for(name, self.now)
            || protection.may_attempt(self.now) && (!attempt.stranger || self.namespace.may_serve_stranger(self.now))
    }

    /// Opens an option of profile `v2`, which names its epoch.
    fn open_v2(
        &self,
        protection: &mut Protection,
        attempt: &Attempt<'_>,
        clear: &V2Clear,
        sealed: &[u8; SEALED_LEN],
        questions: &mut Questions,
    ) -> Result<Opened, Refusal> {
        let (epoch, psn, accepted) = (u32::from(clear.epoch), clear.psntp, attempt.generations);
        let aad = clear.aad(option_type());
        let open = |key: &mut FlowKey| Some(V2Interior::parse(&key.open(psn, &aad, sealed)?));
        let mut keys = protection.receive_keys();
        let plan = keys.plan(accepted, epoch, psn);
        let mut opened = plan.tries.into_iter().flatten().find_map(|name| Some((name, open(keys.key(name)?)?)));
        let mut checks = plan.checks();
        if opened.is_none() {
            if let Some(name) = plan.seen.filter(|_| checks < TRIES) {
                checks = checks.saturating_add(1);
                if let Some(V2Interior { global_ptr, echo }) = keys.key(name).and_then(open) {
                    return Ok(Opened { name, psn, global_ptr, echo, again: true });
                }
            }
        }
        // A key that was held has seen it, or a window beyond it. But PSNs go on from one secret to the next, and start anew
        // when they wrap: the same epoch of another secret may be meant. If not, a replay is what it was.
        let replayed = plan.replayed && plan.checks() == 0;
        let refused = |reason| if replayed { Refusal::Replay } else { reason };
        // A peer may still send under the older of two generations: where keys are derived here, either is tried.
        while opened.is_none() {
            let name = match protection.receive_keys().missing(accepted, epoch) {
                Ok(name) if checks < TRIES => name,
                Err(reason) if checks == 0 => return Err(refused(reason)),
                _ => return Err(refused(Refusal::Authentication)),
            };
            if !self.may_attempt(protection, attempt, name) {
                return Err(refused(Refusal::Rate));
            }
            let Attempt { association, stranger, payer, .. } = *attempt;
            if !protection.want_receive(association, name, &self.id, self.now, stranger, payer, questions) {
                return Err(refused(Refusal::NoKey));
            }
            opened = protection.receive_keys().key(name).and_then(open).map(|interior| (name, interior));
            checks = checks.saturating_add(1);
        }
        let attempted = plan.tries.iter().flatten().all(|name| Some(*name) != opened.as_ref().map(|(name, _)| *name));
        let (name, interior): (KeyName, V2Interior) = opened.ok_or(Refusal::Authentication)?;
        if attempted {
            protection.refund_attempt();
        }
        let V2Interior { global_ptr, echo } = interior;
        Ok(Opened { name, psn, global_ptr, echo, again: false })
    }

    /// Opens an option of profile `v2-kri`: which Kri it has is found by trying, and its PSN is told once it is open.
    fn open_kri(
        &self,
        protection: &mut Protection,
        attempt: &Attempt<'_>,
        clear: &KriClear,
        sealed: &[u8; SEALED_LEN],
        questions: &mut Questions,
    ) -> Result<Opened, Refusal> {
        let aad = clear.aad(option_type());
        let open = |key: &mut FlowKey| Some(KriInterior::parse(&key.open(clear.random, &aad, sealed)?));
        let standing = protection.receive_keys().standing();
        let plan = protection.search().plan(standing, attempt.generations, clear.flag);
        let (mut refusal, mut waits) = (Refusal::NoKey, false);
        for name in plan.into_iter().flatten() {
            let mut keys = protection.receive_keys();
            if let Some(key) = keys.key(name) {
                let Some(interior) = open(key) else {
                    refusal = if waits { refusal } else { Refusal::Authentication };
                    continue;
                };
                let again = match keys.seen(name, interior.psntp) {
                    Some(Seen::New) => false,
                    Some(Seen::Duplicate) => true,
                    _ => return Err(Refusal::Replay),
                };
                protection.search().authenticated();
                let KriInterior { global_ptr, psntp: psn, echo } = interior;
                return Ok(Opened { name, psn, global_ptr, echo, again });
            }
            if keys.is_stale(name) {
                refusal = if refusal == Refusal::NoKey && !waits { Refusal::StaleEpoch } else { refusal };
                continue;
            }
            // One question at a time.
            if waits {
                continue;
            }
            if !self.may_attempt(protection, attempt, name) {
                // A flood of forgeries has the flow look far ahead: it failed under the key that was tried.
                let far = protection.search().looks_ahead()
                    && standing.current.is_some_and(|current| current.generation == name.generation);
                let failed = refusal == Refusal::Authentication && far;
                (refusal, waits) = (if failed { refusal } else { Refusal::Rate }, true);
                continue;
            }
            let Attempt { association, stranger, payer, .. } = *attempt;
            let Some(mut key) = protection.probe(association, name, &self.id, self.now, stranger, payer, questions)
            else {
                (refusal, waits) = (Refusal::NoKey, true);
                continue;
            };
            let Some(interior) = open(&mut key) else {
                refusal = Refusal::Authentication;
                continue;
            };
            protection.refund_attempt();
            protection.install_receiving(name, key, payer).map_err(|_| Refusal::NoMemory)?;
            protection.search().authenticated();
            let KriInterior { global_ptr, psntp: psn, echo } = interior;
            return Ok(Opened { name, psn, global_ptr, echo, again: false });
        }
        // While a key is waited for, the search stays where it is: that key is tried before it goes on.
        if !waits {
            protection.search().failed();
        }
        Err(refusal)
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
