// SPDX-License-Identifier: GPL-2.0-only

//! `stats-get`.

use super::write;
use crate::counters::Count;
use crate::namespace::Namespace;
use crate::proto::uapi::{attr, cmd, Refusal, Skip};
use crate::sys::genl::{Dump, Records};
use attr::stats::*;
use kernel::prelude::*;

/// `stats-get`.
pub(super) struct Get;

impl Dump for Get {
    const CMD: u8 = cmd::STATS_GET;
    /// Whether the one record is written.
    type Cursor = bool;

    fn begin(_: &Namespace) -> Result<bool> {
        Ok(false)
    }

    fn fill(namespace: &Namespace, done: &mut bool, records: &mut Records<'_>) -> Result {
        if *done {
            return Ok(());
        }
        let counters = &namespace.counters;
        let (flows, pending) = match namespace.table() {
            Some(table) => (u64::from(table.len()), table.pending_len()),
            None => (0, 0),
        };
        *done = records.record(|m| {
            for (attribute, count) in [
                (PACKETS_OUT, Count::PacketsOut),
                (OPTIONS_OUT, Count::OptionsOut),
                (OPTIONS_IN, Count::OptionsIn),
                (ACCEPTED, Count::Accepted),
                (NEGATIVE_DELTAS, Count::NegativeDeltas),
                (FLOWS_DROPPED, Count::FlowsDropped),
                (ACQUIRES, Count::Acquires),
                (MSS_CLAMPED, Count::MssClamped),
                (EVENTS, Count::Events),
                (EVENTS_SUPPRESSED, Count::EventsSuppressed),
                (FLOWS_EVICTED, Count::FlowsEvicted),
            ] {
                m.uint(attribute, counters.get(count as usize))?;
            }
            for reason in Skip::ALL {
                write::skipped(m, SKIPPED, reason, counters.skipped(reason as usize))?;
            }
            for reason in Refusal::ALL {
                write::refused(m, REFUSED, reason, counters.refused(reason as usize))?;
            }
            m.uint(FLOWS, flows)?;
            m.uint(PENDING, pending)?;
            m.u32(GLOBAL_POINTER, namespace.next_global_pointer(false))?;
            m.u32(GLOBAL_POINTER_LINK_LOCAL, namespace.next_global_pointer(true))?;
            m.uint(MEMORY, namespace.account.used())
        });
        Ok(())
    }
}
