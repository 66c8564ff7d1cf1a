// SPDX-License-Identifier: GPL-2.0-only

//! `stats-get`.

use super::write;
use crate::counters::Count;
use crate::namespace::Namespace;
use crate::proto::uapi::{attr, cmd, Refusal, Skip};
use crate::sys::genl::{Dump, Records};
use attr::stats::*;
use kernel::prelude::*;
use kernel::sync::rcu;

/// `stats-get`.
pub(super) struct Get;

impl Dump for Get {
    const CMD: u8 = cmd::STATS_GET;

    fn fill(namespace: &Namespace, records: &mut Records<'_>) -> Result {
        if records.cursor()[0] != 0 {
            return Ok(());
        }
        let counters = &namespace.counters;
        let section = rcu::read_lock();
        let (flows, pending) = match namespace.table.read(&section) {
            Some(table) => (u64::from(table.len()), table.pending_len()),
            None => (0, 0),
        };
        let written = records.record(|m| {
            for (attribute, count) in [
                (PACKETS_OUT, Count::PacketsOut),
                (OPTIONS_OUT, Count::OptionsOut),
                (OPTIONS_IN, Count::OptionsIn),
                (ACCEPTED, Count::Accepted),
                (NEGATIVE_DELTAS, Count::NegativeDeltas),
                (FLOWS_DROPPED, Count::FlowsDropped),
                (ACQUIRES, Count::Acquires),
                (MSS_CLAMPED, Count::MssClamped),
            ] {
                m.uint(attribute, counters.get(count as usize))?;
            }
            write::skipped(m, SKIPPED, (0..Skip::ALL.len()).map(|index| counters.skipped(index)))?;
            write::refused(m, REFUSED, (0..Refusal::ALL.len()).map(|index| counters.refused(index)))?;
            m.uint(FLOWS, flows)?;
            m.uint(PENDING, pending)?;
            m.u32(GLOBAL_POINTER, namespace.next_global_pointer(false))?;
            m.u32(GLOBAL_POINTER_LINK_LOCAL, namespace.next_global_pointer(true))
        });
        if written {
            records.cursor()[0] = 1;
        }
        Ok(())
    }
}
