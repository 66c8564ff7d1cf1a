// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The policy: ordered rules that say what is measured, and how.

use pdmv2_proto::uapi::attr::{policy as attr, rule};
use pdmv2_proto::uapi::{rule_direction, Mechanism, Profile};
use serde::Serialize;

use super::attribute::{Attributes, Builder};
use super::error::Malformed;
use super::flow_id::{get_prefix, put_prefix};
use crate::prefix::Prefix;

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
}

/// A rule. What is absent is the module's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// This host's addresses; absent means any.
    pub local: Option<Prefix>,
    /// The other's; absent means any.
    pub remote: Option<Prefix>,
    /// Upper-layer protocol; absent means TCP, UDP and ICMPv6 echo.
    pub protocol: Option<u8>,
    /// This host's ports; absent means any.
    pub local_ports: Option<Ports>,
    /// The other's ports; absent means any.
    pub remote_ports: Option<Ports>,
    /// Bits of `uapi::rule_direction`; absent means both.
    pub direction: Option<u8>,
    /// What is sent.
    pub send: Mechanism,
    /// Wire profile of plain `v2` options; absent means `v2`.
    pub profile: Option<Profile>,
    /// Bits of `uapi::mechanisms`; absent means what is sent.
    pub accept: Option<u8>,
    /// The option goes in every Nth packet; absent means every one.
    pub sample: Option<u32>,
    /// Answer with the mechanism the peer used.
    pub mirror: bool,
    /// Seconds until the rule stops, 0 for never; absent means 3600. In answers, the seconds left.
    pub expiry: Option<u32>,
    /// Packets it decided (answers only).
    pub hits: Option<u64>,
}

impl Rule {
    /// A rule that sends this mechanism and leaves all else to the defaults.
    pub fn sending(send: Mechanism) -> Self {
        Self {
            local: None,
            remote: None,
            protocol: None,
            local_ports: None,
            remote_ports: None,
            direction: None,
            send,
            profile: None,
            accept: None,
            sample: None,
            mirror: false,
            expiry: None,
            hits: None,
        }
    }

    fn encode(&self, builder: &mut Builder) {
        if let Some(prefix) = &self.local {
            put_prefix(builder, rule::LOCAL, prefix);
        }
        if let Some(prefix) = &self.remote {
            put_prefix(builder, rule::REMOTE, prefix);
        }
        if let Some(protocol) = self.protocol {
            builder.u8(rule::PROTOCOL, protocol);
        }
        if let Some(ports) = self.local_ports {
            builder.u16(rule::LOCAL_PORT_FIRST, ports.first).u16(rule::LOCAL_PORT_LAST, ports.last);
        }
        if let Some(ports) = self.remote_ports {
            builder.u16(rule::REMOTE_PORT_FIRST, ports.first).u16(rule::REMOTE_PORT_LAST, ports.last);
        }
        if let Some(direction) = self.direction {
            builder.u8(rule::DIRECTION, direction);
        }
        builder.u8(rule::SEND, self.send as u8);
        if let Some(profile) = self.profile {
            builder.u8(rule::PROFILE, profile as u8);
        }
        if let Some(accept) = self.accept {
            builder.u8(rule::ACCEPT, accept);
        }
        if let Some(sample) = self.sample {
            builder.u32(rule::SAMPLE, sample);
        }
        builder.flag(rule::MIRROR, self.mirror);
        if let Some(expiry) = self.expiry {
            builder.u32(rule::EXPIRY, expiry);
        }
    }

    fn decode(attributes: Attributes<'_>) -> Result<Self, Malformed> {
        let mut value = Self::sending(Mechanism::None);
        let mut ports = [None; 4];
        let [local_first, local_last, remote_first, remote_last] = &mut ports;
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                rule::LOCAL => value.local = Some(get_prefix(attribute.nest())?),
                rule::REMOTE => value.remote = Some(get_prefix(attribute.nest())?),
                rule::PROTOCOL => value.protocol = Some(attribute.u8()?),
                rule::LOCAL_PORT_FIRST => *local_first = Some(attribute.u16()?),
                rule::LOCAL_PORT_LAST => *local_last = Some(attribute.u16()?),
                rule::REMOTE_PORT_FIRST => *remote_first = Some(attribute.u16()?),
                rule::REMOTE_PORT_LAST => *remote_last = Some(attribute.u16()?),
                rule::DIRECTION => value.direction = Some(attribute.u8()?),
                rule::SEND => value.send = Mechanism::from_u8(attribute.u8()?).ok_or(Malformed)?,
                rule::PROFILE => value.profile = Some(Profile::from_u8(attribute.u8()?).ok_or(Malformed)?),
                rule::ACCEPT => value.accept = Some(attribute.u8()?),
                rule::SAMPLE => value.sample = Some(attribute.u32()?),
                rule::MIRROR => value.mirror = true,
                rule::EXPIRY => value.expiry = Some(attribute.u32()?),
                rule::HITS => value.hits = Some(attribute.uint()?),
                _ => {}
            }
        }
        let range = |first: Option<u16>, last: Option<u16>| {
            let range = Ports { first: first.unwrap_or(0), last: last.unwrap_or(u16::MAX) };
            (first.is_some() || last.is_some()).then_some(range)
        };
        value.local_ports = range(*local_first, *local_last);
        value.remote_ports = range(*remote_first, *remote_last);
        Ok(value)
    }

    /// The names of the mechanisms that are accepted.
    pub fn accepted(&self) -> Vec<&'static str> {
        let bits = self.accept.unwrap_or(1 << self.send as u8);
        Mechanism::ALL
            .into_iter()
            .filter(|mechanism| bits & (1 << *mechanism as u8) != 0)
            .map(Mechanism::name)
            .collect()
    }

    /// The direction's name.
    pub fn direction_name(&self) -> &'static str {
        match self.direction {
            Some(rule_direction::OUTBOUND) => "outbound",
            Some(rule_direction::INBOUND) => "inbound",
            _ => "both",
        }
    }
}

/// Limits of a namespace. What is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::Args)]
#[serde(rename_all = "kebab-case")]
#[group(required = true, multiple = true)]
pub struct Limits {
    /// Most flows held.
    #[arg(long, value_name = "NUMBER")]
    pub flows_max: Option<u32>,
    /// Seconds after which an idle flow may be dropped; the daemon sets the one that it tells its peers.
    #[arg(long, value_name = "SECONDS")]
    pub idle: Option<u32>,
    /// Seconds without a packet after which a flow gives up what only a flow in use needs.
    #[arg(long, value_name = "SECONDS")]
    pub rest: Option<u32>,
    /// Bytes the flows may take.
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<u64>,
    /// Most associations.
    #[arg(long, value_name = "NUMBER")]
    pub associations_max: Option<u32>,
    /// Most flows known from unauthenticated packets alone.
    #[arg(long, value_name = "NUMBER")]
    pub pending_max: Option<u32>,
    /// ACQUIRE messages a second.
    #[arg(long, value_name = "NUMBER")]
    pub acquire_rate: Option<u32>,
    /// Events a second.
    #[arg(long, value_name = "NUMBER")]
    pub event_rate: Option<u32>,
    /// Keys a second on behalf of unauthenticated packets.
    #[arg(long, value_name = "NUMBER")]
    pub stranger_rate: Option<u32>,
}

impl Limits {
    /// Those of 32 bits, by attribute.
    fn numbers(&mut self) -> [(u16, &mut Option<u32>); 8] {
        [
            (attr::FLOWS_MAX, &mut self.flows_max),
            (attr::IDLE, &mut self.idle),
            (attr::REST, &mut self.rest),
            (attr::ASSOCIATIONS_MAX, &mut self.associations_max),
            (attr::PENDING_MAX, &mut self.pending_max),
            (attr::ACQUIRE_RATE, &mut self.acquire_rate),
            (attr::EVENT_RATE, &mut self.event_rate),
            (attr::STRANGER_RATE, &mut self.stranger_rate),
        ]
    }

    /// The attributes of limits-set.
    pub fn encode(mut self) -> Builder {
        let mut builder = Builder::default();
        self.put(&mut builder);
        builder
    }

    fn put(&mut self, builder: &mut Builder) {
        for (attribute, value) in self.numbers() {
            if let Some(value) = value {
                builder.u32(attribute, *value);
            }
        }
        if let Some(memory) = self.memory {
            builder.u64(attr::MEMORY, memory);
        }
    }
}

/// The policy of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Neither send nor accept plain mechanisms.
    pub forbid_plain: bool,
    /// Rules; the first that matches decides.
    pub rules: Vec<Rule>,
    /// Limits of the namespace.
    pub limits: Limits,
}

impl Policy {
    /// The attributes of policy-set.
    pub fn encode(&self) -> Builder {
        let mut builder = Builder::default();
        builder.flag(attr::FORBID_PLAIN, self.forbid_plain);
        for rule in &self.rules {
            builder.nest(attr::RULE, |nest| rule.encode(nest));
        }
        let mut limits = self.limits;
        limits.put(&mut builder);
        builder
    }

    /// Reads policy-get's answer.
    ///
    /// # Errors
    /// An attribute of a wrong length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut policy = Self::default();
        for attribute in Attributes(bytes) {
            let attribute = attribute?;
            match attribute.kind {
                attr::FORBID_PLAIN => policy.forbid_plain = true,
                attr::RULE => policy.rules.push(Rule::decode(attribute.nest())?),
                attr::MEMORY => policy.limits.memory = Some(attribute.uint()?),
                kind => {
                    for (_, value) in policy.limits.numbers().into_iter().filter(|(number, _)| *number == kind) {
                        *value = Some(attribute.u32()?);
                    }
                }
            }
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn round_trip() {
        let policy = Policy {
            forbid_plain: true,
            rules: vec![
                Rule {
                    local: Some("fd00::/64".parse().unwrap()),
                    remote: Some("::/0".parse().unwrap()),
                    protocol: Some(6),
                    local_ports: Some(Ports { first: 1, last: 9 }),
                    remote_ports: Some(Ports { first: 443, last: 443 }),
                    direction: Some(1),
                    accept: Some(12),
                    sample: Some(10),
                    mirror: true,
                    expiry: Some(0),
                    ..Rule::sending(Mechanism::V2Encrypted)
                },
                Rule::sending(Mechanism::Pdm),
            ],
            limits: Limits {
                flows_max: Some(100),
                idle: Some(60),
                rest: Some(10),
                memory: Some(1 << 40),
                associations_max: Some(5),
                pending_max: Some(6),
                acquire_rate: Some(7),
                event_rate: Some(8),
                stranger_rate: Some(9),
            },
        };
        assert_eq!(Policy::decode(&policy.encode().into_bytes()), Ok(policy.clone()));
        let limits = Policy { limits: policy.limits, ..Policy::default() };
        assert_eq!(Policy::decode(&policy.limits.encode().into_bytes()), Ok(limits));
        assert_eq!(policy.rules[0].accepted(), ["v2", "v2-encrypted"]);
        assert_eq!(policy.rules[1].accepted(), ["pdm"]);
        assert_eq!(policy.rules[0].direction_name(), "outbound");
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Policy::decode(&bytes);
        }
    }
}
