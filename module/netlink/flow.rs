// SPDX-License-Identifier: GPL-2.0-only

//! `flow-get` and `flow-flush`.

use super::write;
use crate::flow::Flow;
use crate::flow_table::FlowWalk;
use crate::namespace::Namespace;
use crate::proto::flow_id::FlowId;
use crate::proto::uapi::{attr, cmd, Rule};
use crate::sys::genl::{Do, Dump, Records, Request, Writer};
use crate::sys::time::{self, MILLISECOND};
use crate::tally::Reason;
use attr::flow::*;
use kernel::prelude::*;
use kernel::sync::rcu;

/// `flow-get`.
pub(super) struct Get;
/// `flow-flush`.
pub(super) struct Flush;

fn write_flow(m: &mut Writer, id: &FlowId, flow: &Flow, pending: bool, now: u64) -> Result {
    let measured = &flow.measured;
    write::flow_id(m, ID, id)?;
    m.u8(MECHANISM, flow.mechanism as u8)?;
    m.u8(RECEIVED_MECHANISM, flow.peer_mechanism as u8)?;
    if let Some(protection) = flow.protection() {
        if let Some(association) = protection.last_association() {
            m.text(ASSOCIATION, association.name.as_str())?;
        }
        if let Some(name) = protection.send_name() {
            m.u64(GENERATION, name.generation)?;
            m.u32(SEND_EPOCH, name.epoch)?;
        }
        if let Some(name) = protection.receive_name() {
            m.u32(RECEIVE_EPOCH, name.epoch)?;
        }
    }
    m.flag(VERIFIED, measured.verified)?;
    m.flag(PENDING, pending)?;
    m.uint(PACKETS_OUT, flow.packets_out())?;
    m.uint(PACKETS_IN, flow.packets_in)?;
    m.uint(OPTIONS_OUT, flow.options_out)?;
    m.uint(OPTIONS_IN, flow.options_in())?;
    m.uint(ACCEPTED, flow.accepted)?;
    m.uint(LOST, u64::from(measured.sequence.lost))?;
    m.uint(REORDERED, u64::from(measured.sequence.reordered))?;
    m.uint(DUPLICATED, u64::from(measured.sequence.duplicated))?;
    write::delay(m, RTT, &measured.rtt)?;
    write::delay(m, SERVER_DELAY, &measured.server_delay)?;
    for (reason, count) in flow.tallies().iter() {
        match reason {
            Reason::Skipped(reason) => write::skipped(m, SKIPPED, reason, u64::from(count))?,
            Reason::Refused(reason) => write::refused(m, REFUSED, reason, u64::from(count))?,
            Reason::Missing => m.uint(MISSING, u64::from(count))?,
        }
    }
    m.uint(IDLE, flow.idle_for(now) / MILLISECOND)?;
    m.flag(OUTBOUND, flow.outbound)?;
    if let Some(recent) = flow.recent() {
        write::histogram(m, RTT_HISTOGRAM, &recent.rtt)?;
        write::histogram(m, SERVER_DELAY_HISTOGRAM, &recent.server_delay)?;
    }
    Ok(())
}

/// Where a dump stands: in the table, then, once that is done, at a pending slot.
pub(super) struct Cursor {
    walk: Option<FlowWalk>,
    slot: usize,
}

impl Dump for Get {
    const CMD: u8 = cmd::FLOW_GET;
    type Cursor = Cursor;

    fn begin(namespace: &Namespace) -> Result<Cursor> {
        // SAFETY: the table is kept until the namespace goes, and the socket that dumps holds the namespace.
        let walk = namespace.table().map(|table| unsafe { table.walk() }).transpose()?;
        Ok(Cursor { walk, slot: 0 })
    }

    fn fill(namespace: &Namespace, cursor: &mut Cursor, records: &mut Records<'_>) -> Result {
        let now = time::now();
        let Some(table) = namespace.table() else { return Ok(()) };
        if let Some(walk) = &mut cursor.walk {
            let mut full = false;
            while walk.some(u32::MAX, |flow| {
                full = !records.record(|m| write_flow(m, &FlowId::from_words(&flow.key()), &flow, false, now));
                !full
            }) {
                if full {
                    return Ok(());
                }
            }
            cursor.walk = None;
        }
        let section = rcu::read_lock();
        let Some(pending) = table.pending(&section) else { return Ok(()) };
        while let Some(mut slot) = pending.slot_at(cursor.slot) {
            if let Some((id, flow)) = slot.any() {
                if !records.record(|m| write_flow(m, id, flow, true, now)) {
                    return Ok(());
                }
            }
            cursor.slot = cursor.slot.saturating_add(1);
        }
        Ok(())
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
