// SPDX-License-Identifier: GPL-2.0-only

//! Attribute sets that several messages hold.

use crate::proto::delay::Delay;
use crate::proto::flow_id::FlowId;
use crate::proto::prefix::Prefix;
use crate::proto::uapi::attr;
use crate::sys::genl::Writer;
use kernel::prelude::*;

/// A 5-tuple.
pub(crate) fn flow_id(m: &mut Writer, attribute: u16, id: &FlowId) -> Result {
    use attr::flow_id::*;
    m.nest(attribute, |m| {
        m.bytes(LOCAL_ADDRESS, &id.local)?;
        m.u16(LOCAL_PORT, id.local_port)?;
        m.bytes(REMOTE_ADDRESS, &id.remote)?;
        m.u16(REMOTE_PORT, id.remote_port)?;
        m.u8(PROTOCOL, id.protocol)
    })
}

/// A prefix.
pub(crate) fn prefix(m: &mut Writer, attribute: u16, prefix: &Prefix) -> Result {
    m.nest(attribute, |m| {
        m.bytes(attr::prefix::ADDRESS, prefix.address())?;
        m.u8(attr::prefix::LENGTH, prefix.len())
    })
}

/// A delay that was measured; nothing before its first sample.
pub(crate) fn delay(m: &mut Writer, attribute: u16, delay: &Delay) -> Result {
    use attr::delay::*;
    if delay.samples == 0 {
        return Ok(());
    }
    m.nest(attribute, |m| {
        m.uint(SAMPLES, delay.samples)?;
        m.uint(LAST, delay.last)?;
        m.uint(MIN, delay.min)?;
        m.uint(SMOOTHED, delay.smoothed)?;
        m.uint(MAX, delay.max)
    })
}

/// Packets left without an option, by reason; reasons that never applied are left out.
pub(crate) fn skipped(m: &mut Writer, attribute: u16, counts: impl Iterator<Item = u64>) -> Result {
    reasons(m, attribute, (attr::skip_count::REASON, attr::skip_count::PACKETS), counts)
}

/// Options refused, by reason; likewise.
pub(crate) fn refused(m: &mut Writer, attribute: u16, counts: impl Iterator<Item = u64>) -> Result {
    reasons(m, attribute, (attr::refusal_count::REASON, attr::refusal_count::OPTIONS), counts)
}

fn reasons(m: &mut Writer, attribute: u16, names: (u16, u16), counts: impl Iterator<Item = u64>) -> Result {
    for (reason, count) in counts.enumerate().filter(|(_, count)| *count > 0) {
        m.nest(attribute, |m| {
            m.u32(names.0, reason as u32)?;
            m.uint(names.1, count)
        })?;
    }
    Ok(())
}
