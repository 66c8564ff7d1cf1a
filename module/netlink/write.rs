// SPDX-License-Identifier: GPL-2.0-only

//! Attribute sets that several messages hold.

use crate::proto::delay::Delay;
use crate::proto::flow_id::FlowId;
use crate::proto::histogram::Histogram;
use crate::proto::prefix::Prefix;
use crate::proto::uapi::{attr, Refusal, Skip, HISTOGRAM_BUCKETS};
use crate::sys::genl::Writer;
use core::mem::size_of;
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

/// A histogram, if it has any sample.
pub(crate) fn histogram(m: &mut Writer, attribute: u16, histogram: &Histogram) -> Result {
    let counts = histogram.counts();
    let mut bytes = [0; HISTOGRAM_BUCKETS * size_of::<u32>()];
    for (to, count) in bytes.chunks_exact_mut(size_of::<u32>()).zip(counts) {
        to.copy_from_slice(&count.to_ne_bytes());
    }
    match bytes.get(..core::mem::size_of_val(counts)) {
        Some(used @ [_, ..]) => m.bytes(attribute, used),
        _ => Ok(()),
    }
}

/// A delay that was measured; nothing before its first sample.
pub(crate) fn delay(m: &mut Writer, attribute: u16, delay: &Delay) -> Result {
    use attr::delay::*;
    if delay.samples == 0 {
        return Ok(());
    }
    m.nest(attribute, |m| {
        m.uint(SAMPLES, u64::from(delay.samples))?;
        m.uint(LAST, delay.last)?;
        m.uint(MIN, delay.min)?;
        m.uint(SMOOTHED, delay.smoothed)?;
        m.uint(MAX, delay.max)
    })
}

/// Packets left without an option for a reason; nothing where it never applied.
pub(crate) fn skipped(m: &mut Writer, attribute: u16, reason: Skip, packets: u64) -> Result {
    use attr::skip_count::*;
    count(m, attribute, (REASON, reason as u8), (PACKETS, packets))
}

/// Options refused for a reason; likewise.
pub(crate) fn refused(m: &mut Writer, attribute: u16, reason: Refusal, options: u64) -> Result {
    use attr::refusal_count::*;
    count(m, attribute, (REASON, reason as u8), (OPTIONS, options))
}

fn count(m: &mut Writer, attribute: u16, reason: (u16, u8), count: (u16, u64)) -> Result {
    if count.1 == 0 {
        return Ok(());
    }
    m.nest(attribute, |m| {
        m.u32(reason.0, u32::from(reason.1))?;
        m.uint(count.0, count.1)
    })
}
