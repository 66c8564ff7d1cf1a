// SPDX-License-Identifier: GPL-2.0-only

//! `flow-get` and `flow-flush`.

use super::write;
use crate::flow::Flow;
use crate::namespace::Namespace;
use crate::proto::uapi::{attr, cmd, Rule};
use crate::sys::genl::{Do, Dump, Records, Request, Writer};
use crate::sys::time::{self, MILLISECOND};
use attr::flow::*;
use kernel::prelude::*;
use kernel::sync::rcu;

/// `flow-get`.
pub(super) struct Get;
/// `flow-flush`.
pub(super) struct Flush;

fn write_flow(m: &mut Writer, flow: &Flow, pending: bool, now: u64) -> Result {
    let measured = &flow.measured;
    write::flow_id(m, ID, &flow.id)?;
    m.u8(MECHANISM, flow.mechanism as u8)?;
    m.u8(RECEIVED_MECHANISM, flow.peer_mechanism as u8)?;
    if let Some(association) = flow.last_association() {
        m.text(ASSOCIATION, association.name.as_str())?;
    }
    if let Some(name) = flow.send_name() {
        m.u64(GENERATION, name.generation)?;
        m.u16(SEND_EPOCH, name.epoch)?;
    }
    if let Some(name) = flow.receive_name() {
        m.u16(RECEIVE_EPOCH, name.epoch)?;
    }
    m.flag(VERIFIED, measured.verified)?;
    m.flag(PENDING, pending)?;
    m.uint(PACKETS_OUT, flow.packets_out)?;
    m.uint(PACKETS_IN, flow.packets_in)?;
    m.uint(OPTIONS_OUT, flow.options_out)?;
    m.uint(OPTIONS_IN, flow.options_in)?;
    m.uint(ACCEPTED, flow.accepted)?;
    m.uint(LOST, measured.sequence.lost)?;
    m.uint(REORDERED, measured.sequence.reordered)?;
    m.uint(DUPLICATED, measured.sequence.duplicated)?;
    write::delay(m, RTT, &measured.rtt)?;
    write::delay(m, SERVER_DELAY, &measured.server_delay)?;
    write::refused(m, REFUSED, flow.refused.iter().map(|n| u64::from(*n)))?;
    write::skipped(m, SKIPPED, flow.skipped.iter().map(|n| u64::from(*n)))?;
    m.uint(IDLE, now.saturating_sub(flow.last_packet_at) / MILLISECOND)?;
    m.flag(OUTBOUND, flow.outbound)
}

impl Dump for Get {
    const CMD: u8 = cmd::FLOW_GET;

    fn fill(namespace: &Namespace, records: &mut Records<'_>) -> Result {
        let now = time::now();
        let section = rcu::read_lock();
        let Some(table) = namespace.table.read(&section) else { return Ok(()) };
        // The cursor: a bucket and the flows of it that are written; then, beyond the buckets, a pending slot.
        loop {
            let [bucket, done, ..] = *records.cursor();
            if bucket as usize >= table.buckets() {
                break;
            }
            let Some(flows) = table.bucket_at(bucket as usize) else { break };
            for (index, flow) in flows.iter().enumerate().skip(done as usize) {
                if !records.record(|m| write_flow(m, flow, false, now)) {
                    records.cursor()[1] = index as isize;
                    return Ok(());
                }
            }
            drop(flows);
            *records.cursor() = [bucket.saturating_add(1), 0, 0, 0, 0, 0];
        }
        loop {
            let slot = records.cursor()[2];
            let Some(pending) = table.pending_at(slot as usize) else { return Ok(()) };
            if let Some(flow) = pending.as_ref() {
                if !records.record(|m| write_flow(m, flow, true, now)) {
                    return Ok(());
                }
            }
            drop(pending);
            records.cursor()[2] = slot.saturating_add(1);
        }
    }
}

impl Do for Flush {
    const CMD: u8 = cmd::FLOW_FLUSH;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, _: &Request<'_>) -> Result {
        namespace.flush();
        Ok(())
    }
}
