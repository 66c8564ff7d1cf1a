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
///
/// # Errors
/// The first thing that is wrong.
pub fn policy(source: &Source<'_>, raw: raw::Policy, rules: Vec<raw::Rule>) -> Result<Policy, ConfigError> {
    let mut policy = Policy {
        forbid_plain: raw.forbid_plain,
        rules: Vec::new(),
        limits: Limits {
            flows_max: limit(source, attr::FLOWS_MAX, raw.flows_max)?,
            // Peers are told the host's idle lifetime: rules alone do not change it.
            idle: None,
            rest: limit(source, attr::REST, raw.rest)?,
            memory: raw.memory,
            associations_max: limit(source, attr::ASSOCIATIONS_MAX, raw.associations_max)?,
            pending_max: limit(source, attr::PENDING_MAX, raw.pending_max)?,
            acquire_rate: limit(source, attr::ACQUIRE_RATE, raw.acquire_rate)?,
            event_rate: limit(source, attr::EVENT_RATE, raw.event_rate)?,
            stranger_rate: limit(source, attr::STRANGER_RATE, raw.stranger_rate)?,
        },
    };
    for raw in rules {
        let span = raw.send.span();
        let plain = matches!(raw.send.get_ref().as_str(), "pdm" | "v2");
        policy.rules.extend(rule(source, raw)?);
        if policy.forbid_plain && plain {
            return Err(source.wrong(span, "`policy.forbid-plain` forbids what this rule sends"));
        }
        if policy.rules.len() > RULES_MAX {
            return Err(source.wrong(span, format!("more than {RULES_MAX} rules")));
        }
    }
    Ok(policy)
}

/// A limit within the bounds of its attribute.
fn limit(source: &Source<'_>, attribute: u16, value: Option<Spanned<u32>>) -> Result<Option<u32>, ConfigError> {
    let bounds = attr::RULES.get(usize::from(attribute)).map_or((0, 0), |rule| (rule.least as u32, rule.most as u32));
    within(source, value, bounds.0, bounds.1)
}

fn rule(source: &Source<'_>, raw: raw::Rule) -> Result<Vec<Rule>, ConfigError> {
    let send = one_of(source, &raw.send, &Mechanism::ALL, Mechanism::name)?;
    let protocols = match &raw.protocol {
        Some(value) => protocols(source, value)?.into_iter().map(Some).collect(),
        None => vec![None],
    };
    let local_ports = ports(source, raw.local_ports.as_ref(), &protocols)?;
    let remote_ports = ports(source, raw.remote_ports.as_ref(), &protocols)?;
    let rule = Rule {
        local: raw.local.as_ref().map(|text| prefix(source, text)).transpose()?,
        remote: raw.remote.as_ref().map(|text| prefix(source, text)).transpose()?,
        local_ports,
        remote_ports,
        direction: raw.direction.as_ref().map(|value| direction(source, value)).transpose()?,
        profile: match &raw.profile {
            Some(value) => Some(one_of(source, value, &Profile::ALL, Profile::name)?),
            None => None,
        },
        accept: raw.accept.as_ref().map(|value| accept(source, value)).transpose()?,
        sample: within(source, raw.sample, 1, u32::MAX)?,
        mirror: raw.mirror,
        expiry: raw.expiry,
        ..Rule::sending(send)
    };
    Ok(protocols.into_iter().map(|protocol| Rule { protocol, ..rule.clone() }).collect())
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
