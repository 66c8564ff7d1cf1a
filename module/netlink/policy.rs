// SPDX-License-Identifier: GPL-2.0-only

//! `policy-set` and `policy-get`.

use super::attributes::{prefix, profile, Attribute, Attributes};
use super::{limits, write};
use crate::limits::Limit;
use crate::namespace::Namespace;
use crate::policy::Policy;
use crate::proto::policy::{mechanism_bit, Rule, DEFAULT_EXPIRY_S};
use crate::proto::uapi::{attr, cmd, mechanisms, rule_direction, Mechanism, Rule as Bounds, RULES_MAX};
use crate::sys::genl::{Do, Request, Writer};
use crate::sys::time::{self, SECOND};
use kernel::prelude::*;
use kernel::sync::rcu;

/// `policy-set`.
pub(super) struct Set;
/// `policy-get`.
pub(super) struct Get;

fn ports(rule: &Attributes<'_>, first: u16, last: u16) -> Result<(u16, u16)> {
    let from = rule.get(first).map_or(0, |a| a.u16());
    match (rule.get(first), rule.get(last)) {
        (_, Some(a)) if a.u16() < from => Err(a.wrong(format_args!("the last port comes before the first"))),
        (_, Some(a)) => Ok((from, a.u16())),
        (Some(_), None) => Ok((from, from)),
        (None, None) => Ok((0, u16::MAX)),
    }
}

fn rule(attribute: &Attribute<'_>, now: u64) -> Result<Rule> {
    use attr::rule::*;
    let inside = attribute.nest(&RULES)?;
    let send = inside.need(SEND)?;
    let send = Mechanism::from_u8(send.u8()).ok_or_else(|| send.wrong(format_args!("no such mechanism")))?;
    let own = if send == Mechanism::None { 0 } else { mechanism_bit(send) };
    let expiry = inside.get(EXPIRY).map_or(DEFAULT_EXPIRY_S, |a| a.u32());
    Ok(Rule {
        local: inside.get(LOCAL).map(|a| prefix(&a)).transpose()?,
        remote: inside.get(REMOTE).map(|a| prefix(&a)).transpose()?,
        protocol: inside.get(PROTOCOL).map(|a| a.u8()),
        local_ports: ports(&inside, LOCAL_PORT_FIRST, LOCAL_PORT_LAST)?,
        remote_ports: ports(&inside, REMOTE_PORT_FIRST, REMOTE_PORT_LAST)?,
        direction: inside.get(DIRECTION).map_or(rule_direction::OUTBOUND | rule_direction::INBOUND, |a| a.u8()),
        send,
        profile: profile(inside.get(PROFILE)),
        accept: inside.get(ACCEPT).map_or(own, |a| a.u8() & !mechanisms::NONE),
        sample: inside.get(SAMPLE).map_or(1, |a| a.u32()),
        mirror: inside.flag(MIRROR),
        expires_at: (expiry != 0).then(|| now.saturating_add(u64::from(expiry).saturating_mul(SECOND))),
    })
}

impl Do for Set {
    const CMD: u8 = cmd::POLICY_SET;
    const RULES: &'static [Bounds] = &attr::policy::RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        use attr::policy::{FORBID_PLAIN, RULE, RULES};
        let attributes = Attributes::of(request, &RULES)?;
        let now = time::now();
        let mut rules = KVec::new();
        for attribute in attributes.all(RULE) {
            if rules.len() == RULES_MAX {
                return Err(attribute.wrong(format_args!("a policy has at most {RULES_MAX} rules")));
            }
            rules.push(rule(&attribute, now)?, GFP_KERNEL_ACCOUNT)?;
        }
        let policy = match rules.is_empty() {
            true => None,
            false => Some(KBox::new(Policy::new(rules, attributes.flag(FORBID_PLAIN))?, GFP_KERNEL_ACCOUNT)?),
        };
        limits::set(namespace, &attributes)?;
        namespace.replace_policy(policy)
    }
}

/// Bytes that are enough for the attributes of a rule.
const RULE_ROOM: usize = 192;

fn write_rule(m: &mut Writer, rule: &Rule, hits: u64, now: u64) -> Result {
    use attr::rule::*;
    if let Some(local) = &rule.local {
        write::prefix(m, LOCAL, local)?;
    }
    if let Some(remote) = &rule.remote {
        write::prefix(m, REMOTE, remote)?;
    }
    if let Some(protocol) = rule.protocol {
        m.u8(PROTOCOL, protocol)?;
    }
    for (ports, first, last) in [
        (rule.local_ports, LOCAL_PORT_FIRST, LOCAL_PORT_LAST),
        (rule.remote_ports, REMOTE_PORT_FIRST, REMOTE_PORT_LAST),
    ] {
        if ports != (0, u16::MAX) {
            m.u16(first, ports.0)?;
            m.u16(last, ports.1)?;
        }
    }
    m.u8(DIRECTION, rule.direction)?;
    m.u8(SEND, rule.send as u8)?;
    m.u8(PROFILE, rule.profile as u8)?;
    m.u8(ACCEPT, rule.accept)?;
    m.u32(SAMPLE, rule.sample)?;
    m.flag(MIRROR, rule.mirror)?;
    if let Some(at) = rule.expires_at {
        m.u32(EXPIRY, u32::try_from(at.saturating_sub(now).div_ceil(SECOND)).unwrap_or(u32::MAX))?;
    }
    m.uint(HITS, hits)
}

impl Do for Get {
    const CMD: u8 = cmd::POLICY_GET;
    const RULES: &'static [Bounds] = &attr::policy::RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let now = time::now();
        let rules = namespace.policy.read(&rcu::read_lock()).map_or(0, |policy| policy.rules.len());
        // Only netlink requests change the policy, and they come one at a time: the message still has room for it below.
        request.reply(Self::CMD, rules.saturating_mul(RULE_ROOM), |m| {
            for (limit, attribute, _) in Limit::ALL {
                m.u32(attribute, namespace.limits.get(limit))?;
            }
            m.u64(attr::policy::MEMORY, namespace.account.most())?;
            let section = rcu::read_lock();
            let Some(policy) = namespace.policy.read(&section) else { return Ok(()) };
            m.flag(attr::policy::FORBID_PLAIN, policy.forbid_plain)?;
            for (index, rule) in policy.rules.iter().enumerate() {
                m.nest(attr::policy::RULE, |m| write_rule(m, rule, policy.hits(index), now))?;
            }
            Ok(())
        })
    }
}
