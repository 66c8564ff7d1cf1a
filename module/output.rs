// SPDX-License-Identifier: GPL-2.0-only

//! The way of a packet out: LOCAL_OUT, after every other hook (docs/protocol.md, section 5).
//!
//! Each packet is looked at once, under its flow's lock: is it wanted, may it carry an option, is there room and a key;
//! only then a PSN is taken, and the option written.

use crate::acquire::Questions;
use crate::association::Scope;
use crate::counters::Count;
use crate::flow::Flow;
use crate::flow_table::{FlowTable, LockedFlow, NoRoom};
use crate::namespace::Namespace;
use crate::option_type;
use crate::policy::Policy;
use crate::protection::Protection;
use crate::proto::flow_id::FlowId;
use crate::proto::headers::{Broken, Headers, Upper};
use crate::proto::mss;
use crate::proto::never;
use crate::proto::placement::Placement;
use crate::proto::policy::Rule;
use crate::proto::uapi::{Mechanism, Profile, Skip};
use crate::proto::wire::{Pdm, V2Clear, V2Interior, SEALED_LEN, V2_CLEAR_LEN, VERSION};
use crate::proto::wire_kri::{KriClear, KriInterior};
use crate::sys::hooks::Verdict;
use crate::sys::skb::{HeadBuffer, OutFacts, Outgoing};
use crate::sys::time;
use crate::sys::trace;
use kernel::prelude::*;
use kernel::sync::rcu;

/// Least IPv6 MTU, bytes (RFC 8200 section 5): what fits it is never lost to a probe.
pub(crate) const MIN_MTU: usize = 1280;

/// A packet this host sends.
pub(crate) fn outgoing(namespace: &Namespace, mut packet: Outgoing<'_>) -> Verdict {
    let facts = packet.facts();
    if facts.not_last() {
        return Verdict::Accept;
    }
    let section = rcu::read_lock();
    let (Some(policy), Some(table)) = (namespace.policy.read(&section), namespace.table.read(&section)) else {
        return Verdict::Accept;
    };
    let look = Look { namespace, policy, table, section: &section, now: time::now(), facts };
    if !facts.gso() {
        look.at(&mut packet, 1, Splitting::Whole);
        return Verdict::Accept;
    }
    let segments = packet.segments();
    if look.at(&mut packet, segments, Splitting::Possible) == Outcome::Split {
        // One PSN and nonce per packet on the wire: a super-packet is split before the option goes in.
        let each = |mut segment: Outgoing<'_>| {
            look.at(&mut segment, 1, Splitting::Whole);
        };
        if packet.send_segments(each) {
            return Verdict::Stolen;
        }
        look.at(&mut packet, segments, Splitting::Failed);
    }
    Verdict::Accept
}

/// How a packet stands to segmentation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Splitting {
    /// One packet on the wire.
    Whole,
    /// A super-packet that may be split.
    Possible,
    /// A super-packet that could not be split.
    Failed,
}

/// What is to be done with a packet that was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything was done and counted.
    Done,
    /// Nothing was done nor counted: split it, and look at each segment.
    Split,
}

/// A look at a packet.
struct Look<'a> {
    namespace: &'a Namespace,
    policy: &'a Policy,
    table: &'a FlowTable,
    section: &'a rcu::Guard,
    now: u64,
    facts: OutFacts,
}

impl<'a> Look<'a> {
    /// Looks at a packet that is `packets` on the wire.
    fn at(&self, packet: &mut Outgoing<'_>, packets: u32, splitting: Splitting) -> Outcome {
        let mut buffer = HeadBuffer::empty();
        let head = packet.head(&mut buffer);
        let parsed = Headers::parse(head, packet.len());
        let headers = match &parsed {
            Ok(headers) => headers,
            Err(broken) => {
                let address =
                    |at: usize| head.get(at..at.saturating_add(16)).and_then(|s| s.try_into().ok()).unwrap_or([0; 16]);
                let id = FlowId { local: address(8), remote: address(24), local_port: 0, remote_port: 0, protocol: 0 };
                self.count(&id.local, packets);
                let reason = if *broken == Broken::LaterFragment { Skip::Fragment } else { Skip::Malformed };
                self.skip(packet, &id, Mechanism::None, reason, packets);
                return Outcome::Done;
            }
        };
        let id = headers.flow_sent();
        if !self.policy.speaks_of(id.protocol) {
            self.count(&id.local, packets);
            return Outcome::Done;
        }
        let mut flow = self.table.find(self.section, &id);
        let (decided, peer_mechanism) = match &mut flow {
            Some(flow) => (flow.decide(self.policy, &id, self.now), flow.peer_mechanism),
            None => self.decide_without_flow(&id),
        };
        let Some((index, rule)) = decided else {
            self.count(&id.local, packets);
            return Outcome::Done;
        };
        let mechanism = rule.mechanism(peer_mechanism);
        if mechanism == Mechanism::None {
            self.policy.hit(index, packets);
            self.count(&id.local, packets);
            return Outcome::Done;
        }

        let mut questions = Questions::default();
        let mut allowed = self.allowed(headers, self.never_facts(head, headers), rule, mechanism, &id, splitting);
        if allowed.is_ok() && flow.is_none() {
            match self.begin(&id, mechanism) {
                Ok(begun) => flow = Some(begun),
                Err(reason) => allowed = Err(reason),
            }
        }
        if let (Ok(()), Mechanism::V2Encrypted, Some(flow)) = (allowed, mechanism, &mut flow) {
            allowed = flow.protect().map_err(|_| Skip::NoMemory).and_then(|(protection, counter, payer)| {
                let scope = Scope::of(&id, || packet.ifindex(), || packet.vrf());
                protection.prepare_sending(
                    &id,
                    counter,
                    scope,
                    self.namespace,
                    self.section,
                    self.now,
                    payer,
                    &mut questions,
                )
            });
        }
        let planned = allowed.and_then(|()| {
            let existing = headers.final_options.and_then(|place| place.of(head));
            let placement =
                Placement::plan(existing, headers.protocol, option_type(), mechanism).ok_or(Skip::Headers)?;
            if splitting == Splitting::Possible {
                self.worth_splitting(packet, &placement)?;
            }
            Ok(placement)
        });
        if planned.is_ok() && splitting == Splitting::Possible {
            drop(flow);
            questions.ask(self.namespace, self.now);
            return Outcome::Split;
        }
        self.policy.hit(index, packets);
        let number = self.count(&id.local, packets);
        let result = match &mut flow {
            Some(flow) => {
                planned.and_then(|placement| self.send(packet, headers, &id, placement, flow, rule, mechanism, number))
            }
            // Only what is not allowed has no flow.
            None => Err(planned.err().unwrap_or(Skip::NoMemory)),
        };
        match result {
            Ok(()) => self.namespace.counters.count(Count::OptionsOut, 1),
            Err(reason) => self.skip(packet, &id, mechanism, reason, packets),
        }
        if let Some(flow) = &mut flow {
            flow.touch(self.now);
            match result {
                Ok(()) => {
                    flow.options_out = flow.options_out.saturating_add(1);
                    flow.mechanism = mechanism;
                }
                Err(reason) => flow.skip(reason, packets),
            }
        }
        drop(flow);
        questions.ask(self.namespace, self.now);
        Outcome::Done
    }

    /// Counts packets on the wire that go without an option.
    fn skip(&self, packet: &Outgoing<'_>, id: &FlowId, mechanism: Mechanism, reason: Skip, packets: u32) {
        self.namespace.counters.skip(reason, u64::from(packets));
        if trace::drop_is_on() {
            trace::drop(&self.traced(packet, id, mechanism), trace::Why::Skipped(reason, packets), (0, 0));
        }
    }

    /// A packet as tracepoints tell of it.
    fn traced<'b>(&self, packet: &Outgoing<'_>, flow: &'b FlowId, mechanism: Mechanism) -> trace::Packet<'b> {
        let (net, ifindex, len) = (self.namespace.net, packet.ifindex(), packet.len());
        trace::Packet { net, flow, outgoing: true, ifindex, len, mechanism }
    }

    /// The rule that decides about a flow of which there may be a pending entry, and what the peer sent on it.
    fn decide_without_flow(&self, id: &FlowId) -> (Option<(usize, &'a Rule)>, Mechanism) {
        if let Some(mut slot) = self.table.pending(self.section).and_then(|pending| pending.slot_of_any(id)) {
            if let Some(flow) = slot.entry(id, self.now) {
                return (flow.decide(self.policy, id, self.now), flow.peer_mechanism);
            }
        }
        (self.policy.decide(id, true, self.now), Mechanism::None)
    }

    /// Counts packets on the wire; returns the GLOBALPTR of the first.
    fn count(&self, source: &[u8; 16], packets: u32) -> u32 {
        self.namespace.counters.count(Count::PacketsOut, u64::from(packets));
        self.namespace.global_pointer(source, packets)
    }

    fn never_facts(&self, head: &[u8], headers: &Headers) -> never::Facts {
        let tcp_ao = match headers.upper {
            // Without a full socket only the segment itself tells.
            Upper::Tcp { header_len, .. } if !self.facts.full_socket() => {
                mss::options(head, headers.upper_at(), header_len.into()).is_some_and(mss::is_signed)
            }
            _ => self.facts.tcp_ao(),
        };
        never::Facts {
            ipsec_outer: self.facts.ipsec_outer(),
            tcp_ao,
            device_crypto: self.facts.device_crypto(),
            loopback: self.facts.loopback(),
            translated: self.facts.translated(),
        }
    }

    fn allowed(
        &self,
        headers: &Headers,
        facts: never::Facts,
        rule: &Rule,
        mechanism: Mechanism,
        id: &FlowId,
        splitting: Splitting,
    ) -> Result<(), Skip> {
        if let Some(reason) = never::reason(headers, facts, rule, mechanism, id) {
            return Err(reason);
        }
        if self.policy.forbids(mechanism) {
            return Err(Skip::PlainForbidden);
        }
        if splitting == Splitting::Failed {
            return Err(Skip::Gso);
        }
        Ok(())
    }

    /// A super-packet whose full segments have no room for the option stays whole: splitting it would cost its offload and
    /// gain an option in its last segment at most.
    fn worth_splitting(&self, packet: &Outgoing<'_>, placement: &Placement) -> Result<(), Skip> {
        let fit = |mtu: usize| packet.segments_fit(mtu.saturating_sub(placement.growth()));
        if !fit(packet.mtu()) {
            return Err(Skip::Mtu);
        }
        if self.facts.mtu_probe() && !fit(MIN_MTU) {
            return Err(Skip::MtuProbe);
        }
        Ok(())
    }

    /// Begins a flow. "Packets answered without a full socket use state but never create it"; what arrived before without
    /// authentication is state for plain answers alone.
    fn begin(&self, id: &FlowId, mechanism: Mechanism) -> Result<LockedFlow<'a>, Skip> {
        if !self.facts.full_socket() && mechanism == Mechanism::V2Encrypted {
            return Err(Skip::NoSocket);
        }
        // Held until the flow is in the table, so that nobody makes the entry anew meanwhile.
        let pending = self.table.pending(self.section).ok_or(Skip::NoMemory)?;
        let mut slot = pending.slot(id).ok_or(Skip::NoMemory)?;
        let no_room = |why| match why {
            NoRoom::Full => Skip::TableFull,
            NoRoom::NoMemory => Skip::NoMemory,
        };
        let flow = match slot.entry(id, self.now) {
            Some(_) => slot.take().ok_or(Skip::NoSocket)?,
            None if self.facts.full_socket() => {
                self.table.begin(self.section, self.namespace, self.now).map_err(no_room)?
            }
            None => return Err(Skip::NoSocket),
        };
        self.table.insert(self.section, id, flow, self.namespace, self.now).map_err(no_room)
    }

    /// Sends an option in a packet: room first, then the pair from the flow's counter, then the bytes.
    #[allow(clippy::too_many_arguments)]
    fn send(
        &self,
        packet: &mut Outgoing<'_>,
        headers: &Headers,
        id: &FlowId,
        mut placement: Placement,
        flow: &mut Flow,
        rule: &Rule,
        mechanism: Mechanism,
        global_ptr: u32,
    ) -> Result<(), Skip> {
        // Every Nth packet, counted from the flow's first.
        if rule.sample > 1 && flow.packets_out().checked_rem(u64::from(rule.sample)).is_some_and(|rest| rest != 0) {
            return Err(Skip::Sampled);
        }
        let (len, mtu) = (packet.len(), packet.mtu());
        let grown = len.saturating_add(placement.growth());
        if len > mtu {
            return Err(Skip::Fragment);
        }
        if grown > mtu {
            return Err(Skip::Mtu);
        }
        if self.facts.mtu_probe() && grown > MIN_MTU {
            return Err(Skip::MtuProbe);
        }
        let room = packet.make_room(placement.growth(), headers.upper_at()).map_err(|_| Skip::NoMemory)?;

        let echo = flow.measured.echo(self.now);
        let payload = headers.has_payload();
        let mut said = trace::Said { echo, ..trace::Said::default() };
        match mechanism {
            Mechanism::None => return Err(Skip::Malformed),
            Mechanism::Pdm => {
                let psntp = flow.sent(self.now, payload).psn;
                put(placement.body_mut(), 0, &Pdm { psntp, echo }.emit());
                said.psntp = psntp;
            }
            Mechanism::V2 => {
                let psntp = flow.sent(self.now, payload).psn;
                let (clear, interior) = match rule.profile {
                    Profile::V2 => {
                        (V2Clear { version: VERSION, epoch: 0, psntp }.emit(), V2Interior { global_ptr, echo }.emit())
                    }
                    Profile::V2Kri => (
                        KriClear { version: VERSION, reserved: 0, random: 0, flag: false }.emit(),
                        KriInterior { global_ptr, psntp, echo }.emit(),
                    ),
                };
                let body = placement.body_mut();
                put(body, 0, &clear);
                put(body, V2_CLEAR_LEN, &interior);
                (said.psntp, said.global_ptr) = (psntp, global_ptr);
            }
            Mechanism::V2Encrypted => {
                let (clear, sealed) = match flow.protection().and_then(Protection::send_profile) {
                    Some(Profile::V2) => self.sealed(flow, payload, global_ptr, &mut said)?,
                    Some(Profile::V2Kri) => self.sealed_kri(flow, payload, global_ptr, &mut said)?,
                    None => return Err(Skip::NoKey),
                };
                let body = placement.body_mut();
                put(body, 0, &clear);
                put(body, V2_CLEAR_LEN, &sealed);
            }
        }
        let (at, named_at) = match headers.final_options {
            Some(place) => (place.at(), headers.options_named_at()),
            None => (headers.upper_at(), headers.next_header_at()),
        };
        packet.insert(room, &placement, at, named_at);
        if trace::option_tx_is_on() {
            if let (Mechanism::V2Encrypted, Some(protection)) = (mechanism, flow.protection()) {
                let association = protection.last_association().map_or("", |association| association.name.as_str());
                said.sealed = Some((association, protection.send_name().map_or(0, |name| name.generation)));
            }
            trace::option_tx(&self.traced(packet, id, mechanism), &said);
        }
        Ok(())
    }

    /// The clear and the sealed bytes of an option of profile `v2`.
    fn sealed(
        &self,
        flow: &mut Flow,
        payload: bool,
        global_ptr: u32,
        said: &mut trace::Said<'_>,
    ) -> Result<([u8; V2_CLEAR_LEN], [u8; SEALED_LEN]), Skip> {
        let epoch = flow.measured.counter.peek().epoch.ok_or(Skip::Exhausted)?;
        flow.protection().filter(|p| p.may_seal(u32::from(epoch))).ok_or(Skip::NoKey)?;
        // From here on the pair is used up, whatever happens: it is never sealed under again.
        let stamp = flow.sent(self.now, payload);
        let epoch = stamp.epoch.ok_or(Skip::Exhausted)?;
        let clear = V2Clear { version: VERSION, epoch, psntp: stamp.psn };
        (said.epoch, said.psntp, said.global_ptr) = (u32::from(epoch), stamp.psn, global_ptr);
        let interior = V2Interior { global_ptr, echo: said.echo }.emit();
        let protection = flow.protection().ok_or(Skip::NoKey)?;
        let sealed = protection.seal(u32::from(epoch), stamp.psn, &clear.aad(option_type()), &interior)?;
        Ok((clear.emit(), sealed))
    }

    /// Likewise of profile `v2-kri`, where the 15-bit field is the nonce.
    fn sealed_kri(
        &self,
        flow: &mut Flow,
        payload: bool,
        global_ptr: u32,
        said: &mut trace::Said<'_>,
    ) -> Result<([u8; V2_CLEAR_LEN], [u8; SEALED_LEN]), Skip> {
        let kri = flow.protection().and_then(Protection::next_kri).ok_or(Skip::Exhausted)?;
        flow.protection().filter(|p| p.may_seal(kri)).ok_or(Skip::NoKey)?;
        // From here on they are used up, whatever happens.
        let psntp = flow.sent(self.now, payload).psn;
        let stamp = flow.take_kri().ok_or(Skip::NoKey)?;
        let kri = stamp.kri.ok_or(Skip::Exhausted)?;
        let clear = KriClear { version: VERSION, reserved: 0, random: stamp.random, flag: stamp.flag };
        (said.epoch, said.psntp, said.global_ptr) = (kri, psntp, global_ptr);
        let interior = KriInterior { global_ptr, psntp, echo: said.echo }.emit();
        let protection = flow.protection().ok_or(Skip::NoKey)?;
        let sealed = protection.seal(kri, stamp.random, &clear.aad(option_type()), &interior)?;
        Ok((clear.emit(), sealed))
    }
}

/// Writes bytes at an offset, where there is room for them.
fn put<const N: usize>(to: &mut [u8], at: usize, bytes: &[u8; N]) {
    if let Some(place) = to.get_mut(at..).and_then(|to| to.first_chunk_mut::<N>()) {
        *place = *bytes;
    }
}
