// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Rules of a configuration.

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::uapi::attr::policy as attr;
use pdmv2_proto::uapi::{rule_direction, Mechanism, Profile, RULES_MAX};
use toml::Spanned;

use super::error::ConfigError;
use super::locate::Source;
use super::peer::prefix;
use super::raw::{self, NumberOrText, OneOrMany};
use super::{one_of, within};
use crate::netlink::policy::{Limits, Policy, Ports, Rule};
use crate::output::protocol;

/// Reads a policy. A rule of several protocols becomes several rules.
pub fn policy(source: &Source<'_>, raw: raw::Policy, rules: Vec<raw::Rule>) -> Policy {
    let limit = |attribute, value| source.note(limit(source, attribute, value)).flatten();
    let mut policy = Policy {
        forbid_plain: raw.forbid_plain,
        rules: Vec::new(),
        limits: Limits {
            flows_max: limit(attr::FLOWS_MAX, raw.flows_max),
            // Peers are told the host's idle lifetime: rules alone do not change it.
            idle: None,
            rest: limit(attr::REST, raw.rest),
            memory: raw.memory,
            associations_max: limit(attr::ASSOCIATIONS_MAX, raw.associations_max),
            pending_max: limit(attr::PENDING_MAX, raw.pending_max),
            acquire_rate: limit(attr::ACQUIRE_RATE, raw.acquire_rate),
            event_rate: limit(attr::EVENT_RATE, raw.event_rate),
            stranger_rate: limit(attr::STRANGER_RATE, raw.stranger_rate),
        },
    };
    for raw in rules {
        let span = raw.send.span();
        let plain = matches!(raw.send.get_ref().as_str(), "pdm" | "v2");
        let before = policy.rules.len();
        policy.rules.extend(rule(source, raw).unwrap_or_default());
        if policy.forbid_plain && plain {
            let message = "`policy.forbid-plain` forbids what this rule sends";
            source.complain(source.wrong(span.clone(), message));
        }
        if before <= RULES_MAX && policy.rules.len() > RULES_MAX {
            source.complain(source.wrong(span, format!("more than {RULES_MAX} rules")));
        }
    }
    policy
}

/// A limit within the bounds of its attribute.
fn limit(source: &Source<'_>, attribute: u16, value: Option<Spanned<u32>>) -> Result<Option<u32>, ConfigError> {
    let bounds = attr::RULES.get(usize::from(attribute)).map_or((0, 0), |rule| (rule.least as u32, rule.most as u32));
    within(source, value, bounds.0, bounds.1)
}

/// Every key is looked at, whatever is wrong with another.
fn rule(source: &Source<'_>, raw: raw::Rule) -> Option<Vec<Rule>> {
    let send = source.note(one_of(source, &raw.send, &Mechanism::ALL, Mechanism::name));
    let protocols: Option<Vec<Option<u8>>> = match &raw.protocol {
        Some(value) => source.note(protocols(source, value)).map(|all| all.into_iter().map(Some).collect()),
        None => Some(vec![None]),
    };
    let known = protocols.as_deref().unwrap_or_default();
    let local_ports = source.note(ports(source, raw.local_ports.as_ref(), known));
    let remote_ports = source.note(ports(source, raw.remote_ports.as_ref(), known));
    let local = source.note(raw.local.as_ref().map(|text| prefix(source, text)).transpose());
    let remote = source.note(raw.remote.as_ref().map(|text| prefix(source, text)).transpose());
    let direction = source.note(raw.direction.as_ref().map(|value| direction(source, value)).transpose());
    let named = |value| one_of(source, value, &Profile::ALL, Profile::name);
    let profile = source.note(raw.profile.as_ref().map(named).transpose());
    let accept = source.note(raw.accept.as_ref().map(|value| accept(source, value)).transpose());
    let sample = source.note(within(source, raw.sample, 1, u32::MAX));
    let rule = Rule {
        local: local?,
        remote: remote?,
        local_ports: local_ports?,
        remote_ports: remote_ports?,
        direction: direction?,
        profile: profile?,
        accept: accept?,
        sample: sample?,
        mirror: raw.mirror,
        expiry: raw.expiry,
        ..Rule::sending(send?)
    };
    Some(protocols?.into_iter().map(|protocol| Rule { protocol, ..rule.clone() }).collect())
}

fn protocols(source: &Source<'_>, value: &Spanned<OneOrMany<NumberOrText>>) -> Result<Vec<u8>, ConfigError> {
    let list = value.get_ref().as_slice();
    if list.is_empty() {
        return Err(source.wrong(value.span(), "no protocol; leave the key out for TCP, UDP and ICMPv6 echo"));
    }
    list.iter()
        .map(|one| match one {
            NumberOrText::Number(number) => u8::try_from(*number)
                .map_err(|_| source.wrong(value.span(), format!("{number} is no protocol number (0 to 255)"))),
            NumberOrText::Text(name) => protocol::number(name).ok_or_else(|| {
                source.wrong(value.span(), format!("`{name}` is not one of: {}, or a number", protocol::names()))
            }),
        })
        .collect()
}

fn ports(
    source: &Source<'_>,
    value: Option<&Spanned<NumberOrText>>,
    protocols: &[Option<u8>],
) -> Result<Option<Ports>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    if let Some(portless) = protocols.iter().flatten().find(|protocol| !FlowId::has_ports(**protocol)) {
        let message = format!("protocol {} has no ports", protocol::name(*portless));
        return Err(source.wrong(value.span(), message));
    }
    let range = match value.get_ref() {
        NumberOrText::Number(port) => Some(Ports { first: *port, last: *port }),
        NumberOrText::Text(text) => match text.split_once('-') {
            Some((first, last)) => {
                first.trim().parse().ok().zip(last.trim().parse().ok()).map(|(first, last)| Ports { first, last })
            }
            None => text.trim().parse().ok().map(|port| Ports { first: port, last: port }),
        },
    };
    match range {
        Some(range) if range.first <= range.last => Ok(Some(range)),
        _ => Err(source.wrong(value.span(), "not a port or a range of ports such as 443 or \"1000-2000\"")),
    }
}

fn direction(source: &Source<'_>, value: &Spanned<String>) -> Result<u8, ConfigError> {
    const NAMES: [(&str, u8); 3] = [
        ("outbound", rule_direction::OUTBOUND),
        ("inbound", rule_direction::INBOUND),
        ("both", rule_direction::OUTBOUND | rule_direction::INBOUND),
    ];
    one_of(source, value, &NAMES, |(name, _)| name).map(|(_, bits)| bits)
}

fn accept(source: &Source<'_>, value: &Spanned<OneOrMany<String>>) -> Result<u8, ConfigError> {
    value.get_ref().as_slice().iter().try_fold(0, |bits, name| {
        Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
            .map(|mechanism| bits | 1 << mechanism as u8)
            .ok_or_else(|| {
                let names: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
                source.wrong(value.span(), format!("`{name}` is not one of: {}", names.join(", ")))
            })
    })
}
