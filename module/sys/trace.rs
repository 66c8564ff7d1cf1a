// SPDX-License-Identifier: GPL-2.0-only

//! The tracepoints `pdmv2:option_tx`, `pdmv2:option_rx` and `pdmv2:drop` (module/trace.h).
//!
//! Each is asked first whether anybody listens, and what it is told is put together only then.

use super::pernet::Net;
use crate::bindings;
use crate::proto::flow_id::FlowId;
use crate::proto::uapi::{Arrival, DropKind, Mechanism, Refusal, Skip};
use crate::proto::wire::Echo;

/// A packet.
pub(crate) struct Packet<'a> {
    /// Where it was seen.
    pub(crate) net: Net,
    /// Its 5-tuple, seen from this host.
    pub(crate) flow: &'a FlowId,
    /// Sent by this host.
    pub(crate) outgoing: bool,
    /// The interface it leaves or arrived by.
    pub(crate) ifindex: u32,
    /// From the IPv6 header to the end, bytes.
    pub(crate) len: usize,
    /// What it carries, or was to carry.
    pub(crate) mechanism: Mechanism,
}

impl Packet<'_> {
    fn raw(&self) -> bindings::pdmv2_trace_packet {
        let flow = self.flow;
        let (local, remote) = ((&flow.local, flow.local_port), (&flow.remote, flow.remote_port));
        let ((saddr, sport), (daddr, dport)) = if self.outgoing { (local, remote) } else { (remote, local) };
        bindings::pdmv2_trace_packet {
            net: self.net.as_raw(),
            saddr: saddr.as_ptr(),
            daddr: daddr.as_ptr(),
            ifindex: self.ifindex,
            len: self.len as u32,
            sport,
            dport,
            protocol: flow.protocol,
            mechanism: self.mechanism as u8,
        }
    }
}

/// What an option says; what its mechanism lacks is 0.
#[derive(Clone, Copy, Default)]
pub(crate) struct Said<'a> {
    /// Epoch, or Kri, it is sealed under.
    pub(crate) epoch: u32,
    /// PSN of its packet.
    pub(crate) psntp: u16,
    /// Packets its host sent.
    pub(crate) global_ptr: u32,
    /// What it tells of the last packet received.
    pub(crate) echo: Echo,
    /// Name of the association, and generation of the secret, it is sealed under.
    pub(crate) sealed: Option<(&'a str, u64)>,
}

impl Said<'_> {
    fn raw(&self) -> bindings::pdmv2_trace_option {
        let (association, generation) = self.sealed.unwrap_or(("", 0));
        let Echo { psnlr, dtlr, dtls } = self.echo;
        bindings::pdmv2_trace_option {
            dtlr_ns: dtlr.to_ns(),
            dtls_ns: dtls.to_ns(),
            generation,
            association: association.as_ptr(),
            association_len: association.len() as u32,
            globalptr: self.global_ptr,
            epoch: self.epoch,
            psntp: self.psntp,
            psnlr,
            dtlr: dtlr.value,
            dtls: dtls.value,
            scale_dtlr: dtlr.scale,
            scale_dtls: dtls.scale,
        }
    }
}

/// What an accepted option turned out to be.
pub(crate) struct Found {
    /// Its place among the PSNs of the flow.
    pub(crate) arrival: Arrival,
    /// The round-trip time it gave, ns.
    pub(crate) rtt: Option<u64>,
    /// The server delay it gave, ns.
    pub(crate) server_delay: Option<u64>,
}

/// Why there is no option, or why it was ignored.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    /// So many packets were sent without.
    Skipped(Skip, u32),
    /// Ignored.
    Refused(Refusal),
    /// Its packet was dropped.
    Dropped(Refusal),
}

/// Whether anybody listens to `option_tx`.
#[inline]
pub(crate) fn option_tx_is_on() -> bool {
    // SAFETY: reads a static key.
    unsafe { bindings::pdmv2_trace_option_tx_on() }
}

/// Whether anybody listens to `option_rx`.
#[inline]
pub(crate) fn option_rx_is_on() -> bool {
    // SAFETY: reads a static key.
    unsafe { bindings::pdmv2_trace_option_rx_on() }
}

/// Whether anybody listens to `drop`.
#[inline]
pub(crate) fn drop_is_on() -> bool {
    // SAFETY: reads a static key.
    unsafe { bindings::pdmv2_trace_drop_on() }
}

/// An option was sent.
#[cold]
pub(crate) fn option_tx(packet: &Packet<'_>, said: &Said<'_>) {
    // SAFETY: what both point to outlives the call, and the association's length is its own.
    unsafe { bindings::pdmv2_trace_option_tx(&packet.raw(), &said.raw()) };
}

/// An option was accepted.
#[cold]
pub(crate) fn option_rx(packet: &Packet<'_>, said: &Said<'_>, found: &Found) {
    let sample = |ns: Option<u64>| ns.map_or(-1, |ns| i64::try_from(ns).unwrap_or(i64::MAX));
    let arrival = bindings::pdmv2_trace_arrival {
        rtt_ns: sample(found.rtt),
        server_delay_ns: sample(found.server_delay),
        arrival: found.arrival as u8,
    };
    // SAFETY: as in `option_tx`.
    unsafe { bindings::pdmv2_trace_option_rx(&packet.raw(), &said.raw(), &arrival) };
}

/// A packet went without an option, or its option was ignored, which named this epoch and PSN.
#[cold]
pub(crate) fn drop(packet: &Packet<'_>, why: Why, (epoch, psntp): (u32, u16)) {
    let (kind, reason, packets) = match why {
        Why::Skipped(reason, packets) => (DropKind::Skipped, reason as u8, packets),
        Why::Refused(reason) => (DropKind::Refused, reason as u8, 1),
        Why::Dropped(reason) => (DropKind::Dropped, reason as u8, 1),
    };
    let drop = bindings::pdmv2_trace_drop { packets, epoch, psntp, kind: kind as u8, reason };
    // SAFETY: as in `option_tx`.
    unsafe { bindings::pdmv2_trace_drop(&packet.raw(), &drop) };
}
