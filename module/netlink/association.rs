// SPDX-License-Identifier: GPL-2.0-only

//! `association-set`, `association-del` and `association-get`.

use super::attributes::{prefix, profile, Attribute, Attributes};
use super::write;
use crate::association::{Association, Associations, EpochEnd, Name};
use crate::limits::Limit;
use crate::namespace::Namespace;
use crate::proto::prefix::Prefix;
use crate::proto::uapi::{attr, cmd, KeyMode, OnFailure, Rule, PREFIXES_MAX};
use crate::remembered::was_sent_under;
use crate::secret::{Held, Secrets};
use crate::sys::genl::{Do, Dump, Records, Request, Writer};
use crate::sys::time::{self, SECOND};
use attr::association::*;
use kernel::prelude::*;
use kernel::sync::{rcu, Arc};

/// `association-set`.
pub(super) struct Set;
/// `association-del`.
pub(super) struct Del;
/// `association-get`.
pub(super) struct Get;

/// The name an attribute holds.
pub(super) fn name(attribute: &Attribute<'_>) -> Result<Name> {
    Name::new(attribute.bytes()).ok_or_else(|| attribute.wrong(format_args!("not a name of UTF-8 text")))
}

/// The association an attribute names.
pub(super) fn named(namespace: &Namespace, attribute: &Attribute<'_>) -> Result<Arc<Association>> {
    let name = name(attribute)?;
    let section = rcu::read_lock();
    namespace.associations.read(&section).and_then(|all| all.named(&name)).cloned().ok_or_else(|| {
        attribute.wrong(format_args!("no association has this name"));
        ENOENT
    })
}

fn prefixes(attributes: &Attributes<'_>, number: u16) -> Result<KVec<Prefix>> {
    let mut out = KVec::new();
    for attribute in attributes.all(number) {
        if out.len() == PREFIXES_MAX {
            return Err(attribute.wrong(format_args!("an association has at most {PREFIXES_MAX} on each side")));
        }
        out.push(prefix(&attribute)?, GFP_KERNEL_ACCOUNT)?;
    }
    attributes.need(number)?;
    Ok(out)
}

/// Every association but the one of this name.
fn others(namespace: &Namespace, name: &Name) -> Result<KVec<Arc<Association>>> {
    let mut out = KVec::new();
    let count = {
        let section = rcu::read_lock();
        namespace.associations.read(&section).map_or(0, |all| all.0.len())
    };
    out.reserve(count + 1, GFP_KERNEL_ACCOUNT)?;
    let section = rcu::read_lock();
    if let Some(all) = namespace.associations.read(&section) {
        for association in all.0.iter().filter(|a| a.name != *name) {
            // Only netlink requests change the associations, and they come one at a time.
            out.push_within_capacity(association.clone()).map_err(|_| ENOMEM)?;
        }
    }
    Ok(out)
}

impl Do for Set {
    const CMD: u8 = cmd::ASSOCIATION_SET;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &RULES)?;
        let name_attribute = attributes.need(NAME)?;
        let name = name(&name_attribute)?;
        let profile = profile(attributes.get(PROFILE));
        let local = prefixes(&attributes, LOCAL)?;
        let remote = prefixes(&attributes, REMOTE)?;
        let old = {
            let section = rcu::read_lock();
            namespace.associations.read(&section).and_then(|all| all.named(&name)).cloned()
        };
        let mut all = others(namespace, &name)?;
        let most = namespace.limits.get(Limit::AssociationsMax);
        if all.len() >= most as usize {
            name_attribute.wrong(format_args!("this namespace has at most {most} associations"));
            return Err(ENOSPC);
        }
        let key_mode = attributes.get(KEY_MODE).and_then(|a| KeyMode::from_u8(a.u8())).unwrap_or(KeyMode::Helper);
        let secrets = match &old {
            // What was sent under is remembered with the addresses it was sent from: others need another secret.
            Some(old) if old.key_mode == key_mode && old.profile == profile && *old.local == *local => {
                old.secrets.clone()
            }
            _ => Arc::new(Secrets::new()?, GFP_KERNEL_ACCOUNT)?,
        };
        let association = Association {
            name,
            profile,
            key_mode,
            on_failure: attributes
                .get(ON_FAILURE)
                .and_then(|a| OnFailure::from_u8(a.u8()))
                .unwrap_or(OnFailure::Deliver),
            ifindex: attributes.get(IFINDEX).map_or(0, |a| a.u32()),
            vrf: attributes.get(VRF).map_or(0, |a| a.u32()),
            local,
            remote,
            peer_idle: attributes.get(PEER_IDLE).map_or(0, |a| a.u32()),
            epochs: EpochEnd {
                packets: attributes.get(EPOCH_PACKETS).map_or(0, |a| a.u16()),
                seconds: attributes.get(EPOCH_SECONDS).map_or(0, |a| a.u32()),
            },
            renew_packets: attributes.get(RENEW_PACKETS).map_or(0, |a| a.u64()),
            secrets: secrets.clone(),
        };
        all.push(Arc::new(association, GFP_KERNEL_ACCOUNT)?, GFP_KERNEL_ACCOUNT)?;
        namespace.replace_associations(Some(KBox::new(Associations(all), GFP_KERNEL_ACCOUNT)?));
        if let Some(old) = old.filter(|old| !Arc::ptr_eq(&old.secrets, &secrets)) {
            namespace.wipe(old.secrets.remove(|_| true));
        }
        Ok(())
    }
}

impl Do for Del {
    const CMD: u8 = cmd::ASSOCIATION_DEL;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &RULES)?;
        let association = named(namespace, &attributes.need(NAME)?)?;
        let rest = others(namespace, &association.name)?;
        namespace.replace_associations(Some(KBox::new(Associations(rest), GFP_KERNEL_ACCOUNT)?));
        namespace.wipe(association.secrets.remove(|_| true));
        Ok(())
    }
}

fn write_secret(m: &mut Writer, held: &Held, local: &[Prefix], now: u64) -> Result {
    use attr::secret::*;
    let secret = &held.secret;
    m.u64(GENERATION, secret.generation)?;
    m.bytes(ID, &secret.id)?;
    m.u16(KEM, secret.suite.kem)?;
    m.u16(KDF, secret.suite.kdf)?;
    m.u16(AEAD, secret.suite.aead)?;
    m.u32(LIFETIME, u32::try_from(secret.ends_at.saturating_sub(now) / SECOND).unwrap_or(u32::MAX))?;
    m.u8(STATE, held.state as u8)?;
    m.flag(MAY_SEND, !was_sent_under(&secret.id, local, secret.epochs().0))?;
    m.u32(HIGHEST_EPOCH, secret.highest_epoch())?;
    m.u64(OPTIONS_OUT, secret.options_out())?;
    if secret.is_leased() {
        let (first, last) = secret.epochs();
        m.u32(EPOCH_FIRST, first)?;
        m.u32(EPOCH_LAST, last)?;
    }
    Ok(())
}

impl Dump for Get {
    const CMD: u8 = cmd::ASSOCIATION_GET;
    /// The next one's index.
    type Cursor = usize;

    fn begin(_: &Namespace) -> Result<usize> {
        Ok(0)
    }

    fn fill(namespace: &Namespace, index: &mut usize, records: &mut Records<'_>) -> Result {
        let now = time::since_boot();
        loop {
            let association = {
                let section = rcu::read_lock();
                namespace.associations.read(&section).and_then(|all| all.0.get(*index)).cloned()
            };
            let Some(a) = association else { return Ok(()) };
            let written = records.record(|m| {
                m.text(NAME, a.name.as_str())?;
                m.u8(PROFILE, a.profile as u8)?;
                m.u8(KEY_MODE, a.key_mode as u8)?;
                m.u8(ON_FAILURE, a.on_failure as u8)?;
                m.u32(IFINDEX, a.ifindex)?;
                m.u32(VRF, a.vrf)?;
                a.local.iter().try_for_each(|p| write::prefix(m, LOCAL, p))?;
                a.remote.iter().try_for_each(|p| write::prefix(m, REMOTE, p))?;
                m.u32(PEER_IDLE, a.peer_idle)?;
                if a.epochs.packets != 0 {
                    m.u32(EPOCH_PACKETS, u32::from(a.epochs.packets))?;
                }
                if a.epochs.seconds != 0 {
                    m.u32(EPOCH_SECONDS, a.epochs.seconds)?;
                }
                if a.renew_packets != 0 {
                    m.u64(RENEW_PACKETS, a.renew_packets)?;
                }
                a.secrets
                    .all()
                    .iter()
                    .flatten()
                    .try_for_each(|held| m.nest(SECRET, |m| write_secret(m, held, &a.local, now)))
            });
            if !written {
                return Ok(());
            }
            *index = index.saturating_add(1);
        }
    }
}
