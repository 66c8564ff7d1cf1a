// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The namespace's counters.

use pdmv2_proto::uapi::attr::stats as attr;
use serde::Serialize;

use super::attribute::Attributes;
use super::error::Malformed;
use super::flow::{add_refusal, add_skip, Counts};

/// The namespace's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// IPv6 packets sent since the first policy.
    pub packets_out: u64,
    /// Options sent.
    pub options_out: u64,
    /// Options received.
    pub options_in: u64,
    /// Options accepted.
    pub accepted: u64,
    /// Deltas that were negative and stored as 0.
    pub negative_deltas: u64,
    /// Packets sent without an option, by reason.
    pub skipped: Counts,
    /// Options refused, by reason.
    pub refused: Counts,
    /// Flows held now.
    pub flows: u64,
    /// Pending entries held now.
    pub pending: u64,
    /// Flows dropped so far, for whatever reason.
    pub flows_dropped: u64,
    /// Keys asked for.
    pub acquires: u64,
    /// SYN and SYN-ACK whose MSS was lowered.
    pub mss_clamped: u64,
    /// The next GLOBALPTR for global sources.
    pub global_pointer: u32,
    /// The next GLOBALPTR for link-local sources.
    pub global_pointer_link_local: u32,
    /// Events told.
    pub events: u64,
    /// Events not told, as there were too many.
    pub events_suppressed: u64,
    /// Bytes the flows take now.
    pub memory: u64,
    /// Flows dropped to make room for others, among those dropped.
    pub flows_evicted: u64,
}

impl Stats {
    /// Reads an answer.
    ///
    /// # Errors
    /// An attribute of a wrong length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut stats = Self::default();
        for attribute in Attributes(bytes) {
            let attribute = attribute?;
            match attribute.kind {
                attr::PACKETS_OUT => stats.packets_out = attribute.uint()?,
                attr::OPTIONS_OUT => stats.options_out = attribute.uint()?,
                attr::OPTIONS_IN => stats.options_in = attribute.uint()?,
                attr::ACCEPTED => stats.accepted = attribute.uint()?,
                attr::NEGATIVE_DELTAS => stats.negative_deltas = attribute.uint()?,
                attr::SKIPPED => add_skip(&mut stats.skipped, attribute.nest())?,
                attr::REFUSED => add_refusal(&mut stats.refused, attribute.nest())?,
                attr::FLOWS => stats.flows = attribute.uint()?,
                attr::PENDING => stats.pending = attribute.uint()?,
                attr::FLOWS_DROPPED => stats.flows_dropped = attribute.uint()?,
                attr::ACQUIRES => stats.acquires = attribute.uint()?,
                attr::MSS_CLAMPED => stats.mss_clamped = attribute.uint()?,
                attr::GLOBAL_POINTER => stats.global_pointer = attribute.u32()?,
                attr::GLOBAL_POINTER_LINK_LOCAL => stats.global_pointer_link_local = attribute.u32()?,
                attr::EVENTS => stats.events = attribute.uint()?,
                attr::EVENTS_SUPPRESSED => stats.events_suppressed = attribute.uint()?,
                attr::MEMORY => stats.memory = attribute.uint()?,
                attr::FLOWS_EVICTED => stats.flows_evicted = attribute.uint()?,
                _ => {}
            }
        }
        Ok(stats)
    }
}
