// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Flows and what was measured on them.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::histogram::lower_bound;
use pdmv2_proto::uapi::attr::{delay, flow as attr, refusal_count, skip_count};
use pdmv2_proto::uapi::{Mechanism, Skip, HISTOGRAM_BUCKETS};
use serde::Serialize;

use super::association::named;
use super::attribute::{Attribute, Attributes};
use super::error::Malformed;
use super::flow_id::get_flow_id;
use super::notice::refusal_name;

/// A measured delay, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Delay {
    /// How many samples.
    pub samples: u64,
    /// The last one.
    pub last: u64,
    /// The least.
    pub min: u64,
    /// The smoothed value.
    pub smoothed: u64,
    /// The greatest.
    pub max: u64,
}

impl Delay {
    fn decode(attributes: Attributes<'_>) -> Result<Self, Malformed> {
        let mut value = Self::default();
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                delay::SAMPLES => value.samples = attribute.uint()?,
                delay::LAST => value.last = attribute.uint()?,
                delay::MIN => value.min = attribute.uint()?,
                delay::SMOOTHED => value.smoothed = attribute.uint()?,
                delay::MAX => value.max = attribute.uint()?,
                _ => {}
            }
        }
        Ok(value)
    }
}

/// Samples of about one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bucket {
    /// The least that counts, nanoseconds.
    pub from: u64,
    /// The least that counts no more; absent where there is no such bound.
    pub below: Option<u64>,
    /// How many samples.
    pub samples: u32,
}

/// The buckets that have samples, in order.
pub type Histogram = Vec<Bucket>;

/// Reads the samples of each bucket, from the first on.
fn histogram(attribute: &Attribute<'_>) -> Result<Histogram, Malformed> {
    let counts = attribute.value.chunks(size_of::<u32>());
    if counts.len() > HISTOGRAM_BUCKETS {
        return Err(Malformed);
    }
    let mut buckets = Histogram::new();
    for (number, count) in counts.enumerate() {
        let samples = u32::from_ne_bytes(count.try_into().map_err(|_| Malformed)?);
        if samples > 0 {
            let below = (number + 1 < HISTOGRAM_BUCKETS).then(|| lower_bound(number + 1));
            buckets.push(Bucket { from: lower_bound(number), below, samples });
        }
    }
    Ok(buckets)
}

/// Counts by reason; reasons that never came are absent.
pub type Counts = BTreeMap<String, u64>;

/// Reads one `skip-count`.
///
/// # Errors
/// An attribute of a wrong length.
pub fn add_skip(counts: &mut Counts, attributes: Attributes<'_>) -> Result<(), Malformed> {
    add_count(counts, attributes, skip_count::REASON, skip_count::PACKETS, |value| {
        Skip::ALL.into_iter().find(|skip| *skip as u32 == value).map(Skip::name)
    })
}

/// Reads one `refusal-count`.
///
/// # Errors
/// An attribute of a wrong length.
pub fn add_refusal(counts: &mut Counts, attributes: Attributes<'_>) -> Result<(), Malformed> {
    add_count(counts, attributes, refusal_count::REASON, refusal_count::OPTIONS, refusal_name)
}

fn add_count(
    counts: &mut Counts,
    attributes: Attributes<'_>,
    reason_kind: u16,
    count_kind: u16,
    name: impl FnOnce(u32) -> Option<&'static str>,
) -> Result<(), Malformed> {
    let (mut reason, mut count) = (None, 0);
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == reason_kind {
            reason = Some(attribute.u32()?);
        } else if attribute.kind == count_kind {
            count = attribute.uint()?;
        }
    }
    counts.insert(named(reason.ok_or(Malformed)?, name), count);
    Ok(())
}

/// A flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flow {
    /// The 5-tuple.
    #[serde(flatten, with = "FlowIdText")]
    pub id: FlowId,
    /// What this host sends on it.
    pub mechanism: String,
    /// What the peer last sent.
    pub received_mechanism: Option<String>,
    /// Name of its association.
    pub association: Option<String>,
    /// Generation this host sends under.
    pub generation: Option<u64>,
    /// Epoch this host sends under.
    pub send_epoch: Option<u32>,
    /// Highest epoch authenticated.
    pub receive_epoch: Option<u32>,
    /// The peer named a PSN of ours.
    pub verified: bool,
    /// Known from unauthenticated packets alone.
    pub pending: bool,
    /// The first packet this host saw was its own.
    pub outbound: bool,
    /// Packets sent.
    pub packets_out: u64,
    /// Packets received.
    pub packets_in: u64,
    /// Options sent.
    pub options_out: u64,
    /// Options received, accepted or not.
    pub options_in: u64,
    /// Options accepted.
    pub accepted: u64,
    /// Options the peer sent that did not arrive.
    pub lost: u64,
    /// Options that arrived late.
    pub reordered: u64,
    /// Options that arrived more than once.
    pub duplicated: u64,
    /// Round-trip time of the network, nanoseconds; absent without a sample.
    pub rtt: Option<Delay>,
    /// Time the peer took to answer, nanoseconds; absent without a sample.
    pub server_delay: Option<Delay>,
    /// Options refused, by reason.
    pub refused: Counts,
    /// Packets sent without an option, by reason.
    pub skipped: Counts,
    /// Packets that came without the option that the peer put into those before.
    pub missing: u64,
    /// Milliseconds since the last packet.
    pub idle: u64,
    /// Round-trip times by their length since the flow last rested.
    pub rtt_histogram: Histogram,
    /// Server delays by their length, likewise.
    pub server_delay_histogram: Histogram,
}

/// How a 5-tuple is written in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", remote = "FlowId")]
pub struct FlowIdText {
    #[serde(rename = "local-address", serialize_with = "address")]
    local: [u8; 16],
    local_port: u16,
    #[serde(rename = "remote-address", serialize_with = "address")]
    remote: [u8; 16],
    remote_port: u16,
    protocol: u8,
}

fn address<S: serde::Serializer>(octets: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Ipv6Addr::from(*octets))
}

impl Flow {
    /// Reads an answer.
    ///
    /// # Errors
    /// An attribute of a wrong length, or no 5-tuple.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut flow = Self::default();
        let mut id = None;
        for attribute in Attributes(bytes) {
            let attribute = attribute?;
            match attribute.kind {
                attr::ID => id = Some(get_flow_id(attribute.nest())?),
                attr::MECHANISM => flow.mechanism = named(attribute.u8()?, mechanism_name),
                attr::RECEIVED_MECHANISM => {
                    flow.received_mechanism = Some(named(attribute.u8()?, mechanism_name));
                }
                attr::ASSOCIATION => flow.association = Some(attribute.text()?),
                attr::GENERATION => flow.generation = Some(attribute.uint()?),
                attr::SEND_EPOCH => flow.send_epoch = Some(attribute.u32()?),
                attr::RECEIVE_EPOCH => flow.receive_epoch = Some(attribute.u32()?),
                attr::VERIFIED => flow.verified = true,
                attr::PENDING => flow.pending = true,
                attr::OUTBOUND => flow.outbound = true,
                attr::PACKETS_OUT => flow.packets_out = attribute.uint()?,
                attr::PACKETS_IN => flow.packets_in = attribute.uint()?,
                attr::OPTIONS_OUT => flow.options_out = attribute.uint()?,
                attr::OPTIONS_IN => flow.options_in = attribute.uint()?,
                attr::ACCEPTED => flow.accepted = attribute.uint()?,
                attr::LOST => flow.lost = attribute.uint()?,
                attr::REORDERED => flow.reordered = attribute.uint()?,
                attr::DUPLICATED => flow.duplicated = attribute.uint()?,
                attr::RTT => flow.rtt = Some(Delay::decode(attribute.nest())?).filter(|delay| delay.samples > 0),
                attr::SERVER_DELAY => {
                    flow.server_delay = Some(Delay::decode(attribute.nest())?).filter(|delay| delay.samples > 0);
                }
                attr::REFUSED => add_refusal(&mut flow.refused, attribute.nest())?,
                attr::SKIPPED => add_skip(&mut flow.skipped, attribute.nest())?,
                attr::IDLE => flow.idle = attribute.uint()?,
                attr::MISSING => flow.missing = attribute.uint()?,
                attr::RTT_HISTOGRAM => flow.rtt_histogram = histogram(&attribute)?,
                attr::SERVER_DELAY_HISTOGRAM => flow.server_delay_histogram = histogram(&attribute)?,
                _ => {}
            }
        }
        flow.id = id.ok_or(Malformed)?;
        Ok(flow)
    }

    /// Options refused, for any reason.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

fn mechanism_name(value: u8) -> Option<&'static str> {
    Mechanism::from_u8(value).map(Mechanism::name)
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Builder;
    use super::super::flow_id::put_flow_id;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_flow() {
        let id = FlowId { local: [1; 16], remote: [2; 16], local_port: 5, remote_port: 6, protocol: 6 };
        let mut builder = Builder::default();
        put_flow_id(&mut builder, attr::ID, &id);
        builder
            .u8(attr::MECHANISM, 3)
            .u64(attr::PACKETS_OUT, 1 << 40)
            .u32(attr::PACKETS_IN, 7)
            .nest(attr::RTT, |rtt| {
                rtt.u32(delay::SAMPLES, 2).u32(delay::SMOOTHED, 40_000_000);
            })
            .nest(attr::SERVER_DELAY, |delay| {
                delay.u32(delay::SAMPLES, 0);
            })
            .nest(attr::REFUSED, |count| {
                count.u32(refusal_count::REASON, 6).u32(refusal_count::OPTIONS, 3);
            })
            .nest(attr::REFUSED, |count| {
                count.u32(refusal_count::REASON, 99).u32(refusal_count::OPTIONS, 1);
            });
        let flow = Flow::decode(&builder.into_bytes()).unwrap();
        assert_eq!((flow.id, flow.mechanism.as_str()), (id, "v2-encrypted"));
        assert_eq!((flow.packets_out, flow.packets_in), (1 << 40, 7));
        assert_eq!(flow.rtt.unwrap().smoothed, 40_000_000);
        assert_eq!(flow.server_delay, None);
        assert_eq!(flow.refused["authentication"], 3);
        assert_eq!(flow.refused["unknown-99"], 1);
        assert_eq!(flow.refused_total(), 4);
        let json = serde_json::to_value(&flow).unwrap();
        assert_eq!(json["local-address"], "101:101:101:101:101:101:101:101");
        assert_eq!(json["remote-port"], 6);
        assert_eq!(json["rtt"]["smoothed"], 40_000_000);
    }

    #[test]
    fn reads_histograms() {
        let read = |bytes: &[u8]| histogram(&Attribute { kind: attr::RTT_HISTOGRAM, value: bytes });
        let counts = |counts: &[u32]| counts.iter().flat_map(|count| count.to_ne_bytes()).collect::<Vec<_>>();
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(
            read(&counts(&[2, 0, 0, 7])),
            Ok(vec![
                Bucket { from: 0, below: Some(1024), samples: 2 },
                Bucket { from: 2048, below: Some(3072), samples: 7 }
            ])
        );
        let mut all = [0; HISTOGRAM_BUCKETS];
        all[HISTOGRAM_BUCKETS - 1] = 1;
        let last = read(&counts(&all)).unwrap();
        assert_eq!((last.len(), last[0].below, last[0].samples), (1, None, 1));
        assert_eq!(read(&counts(&[0; HISTOGRAM_BUCKETS + 1])), Err(Malformed));
        assert_eq!(read(&[1, 2, 3]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Flow::decode(&bytes);
        }
    }
}
