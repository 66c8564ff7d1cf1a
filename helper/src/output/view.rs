// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What is shown, whatever the format.

use serde::Serialize;

use crate::netlink::association::AssociationInfo;
use crate::netlink::flow::Flow;
use crate::netlink::policy::{Limits, Policy, Ports, Rule};
use crate::netlink::stats::Stats;
use crate::prefix::Prefix;

/// All that `pdmv2 show` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overview {
    /// Associations and their secrets, without any key.
    pub associations: Vec<AssociationInfo>,
    /// Flows.
    pub flows: Vec<Flow>,
    /// The namespace's counters.
    pub statistics: Stats,
    /// How many rules the policy has.
    pub rules: usize,
}

/// The policy, in words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyView {
    /// Neither send nor accept plain mechanisms.
    pub forbid_plain: bool,
    /// The namespace's limits.
    #[serde(flatten)]
    pub limits: Limits,
    /// Rules, in order.
    pub rules: Vec<RuleView>,
}

/// A rule, in words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleView {
    /// This host's addresses; `None` for any.
    pub local: Option<Prefix>,
    /// The other's addresses; `None` for any.
    pub remote: Option<Prefix>,
    /// Upper-layer protocol; `None` for TCP, UDP and ICMPv6 echo.
    pub protocol: Option<u8>,
    /// This host's ports; `None` for any.
    pub local_ports: Option<Ports>,
    /// The other's ports; `None` for any.
    pub remote_ports: Option<Ports>,
    /// `outbound`, `inbound` or `both`.
    pub direction: &'static str,
    /// What is sent.
    pub send: &'static str,
    /// What is accepted.
    pub accept: Vec<&'static str>,
    /// The option goes in every Nth packet.
    pub sample: u32,
    /// Answers go by the mechanism the peer used.
    pub mirror: bool,
    /// Seconds until it stops; 0 for never.
    pub expiry: Option<u32>,
    /// Packets it decided.
    pub hits: u64,
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> Self {
        Self {
            forbid_plain: policy.forbid_plain,
            limits: policy.limits,
            rules: policy.rules.iter().map(RuleView::from).collect(),
        }
    }
}

impl From<&Rule> for RuleView {
    fn from(rule: &Rule) -> Self {
        Self {
            local: rule.local,
            remote: rule.remote,
            protocol: rule.protocol,
            local_ports: rule.local_ports,
            remote_ports: rule.remote_ports,
            direction: rule.direction_name(),
            send: rule.send.name(),
            accept: rule.accepted(),
            sample: rule.sample.unwrap_or(1),
            mirror: rule.mirror,
            expiry: rule.expiry,
            hits: rule.hits.unwrap_or(0),
        }
    }
}
