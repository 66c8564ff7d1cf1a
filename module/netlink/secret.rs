// SPDX-License-Identifier: GPL-2.0-only

//! `secret-add`, `secret-activate` and `secret-del`.

use super::association::named;
use super::attributes::Attributes;
use crate::namespace::Namespace;
use crate::proto::receive::last_epoch;
use crate::proto::schedule::id_info;
use crate::proto::suite::{Aead, Kdf, Suite};
use crate::proto::uapi::{attr, cmd, KeyMode, Profile, Rule, SECRET_ID_LEN};
use crate::remembered::was_sent_under;
use crate::secret::Secret;
use crate::sys::errno;
use crate::sys::genl::{Do, Request};
use crate::sys::hmac::Prk;
use crate::sys::time;
use attr::secret::*;
use kernel::prelude::*;

/// `secret-add`.
pub(super) struct Add;
/// `secret-activate`.
pub(super) struct Activate;
/// `secret-del`.
pub(super) struct Del;
/// `secret-extend`.
pub(super) struct Extend;

/// The first and the last epoch that may be sent in, where the request names any.
fn leased(attributes: &Attributes<'_>, profile: Profile) -> Result<Option<(u32, u32)>> {
    let (first, last) = (attributes.get(EPOCH_FIRST), attributes.get(EPOCH_LAST));
    let Some(named) = last.as_ref().or(first.as_ref()) else { return Ok(None) };
    if profile != Profile::V2 {
        return Err(named.refuse("in profile v2-kri flows start at Kri 0", errno::eopnotsupp()));
    }
    let epochs = (first.as_ref().map_or(0, |a| a.u32()), last.as_ref().map_or(last_epoch(profile), |a| a.u32()));
    if epochs.0 > epochs.1 {
        return Err(named.wrong(format_args!("the last epoch is below the first")));
    }
    Ok(Some(epochs))
}

impl Do for Add {
    const CMD: u8 = cmd::SECRET_ADD;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &RULES)?;
        let association_attribute = attributes.need(ASSOCIATION)?;
        let association = named(namespace, &association_attribute)?;
        let generation = attributes.need(GENERATION)?;
        if generation.u64() == 0 {
            return Err(generation.wrong(format_args!("generations start at 1")));
        }
        // The KEM is the helper's: here it is a number in the key schedule.
        let (kdf_attribute, aead) = (attributes.need(KDF)?, attributes.need(AEAD)?);
        let suite = Suite { kem: attributes.need(KEM)?.u16(), kdf: kdf_attribute.u16(), aead: aead.u16() };
        let kdf = Kdf::of(suite)
            .ok_or_else(|| kdf_attribute.refuse("neither HKDF-SHA256 nor HKDF-SHA512", errno::eopnotsupp()))?;
        if Aead::of(suite).is_none() {
            return Err(aead.refuse("neither AES-GCM nor ChaCha20-Poly1305", errno::eopnotsupp()));
        }
        let prk = match (association.key_mode, attributes.get(PRK)) {
            (KeyMode::Helper, None) => None,
            (KeyMode::Helper, Some(prk)) => {
                return Err(prk.wrong(format_args!("the helper derives the keys of this association")));
            }
            (KeyMode::Kernel, _) => {
                let prk = attributes.need(PRK)?;
                if prk.bytes().len() != kdf.hash_len() {
                    return Err(prk.wrong(format_args!("not as long as the hash of the suite")));
                }
                Some(Prk::new(kdf, prk.bytes())?)
            }
        };
        let id_attribute = attributes.need(ID)?;
        let id: [u8; SECRET_ID_LEN] = id_attribute.array()?;
        if let Some(prk) = &prk {
            let mut derived = [0; SECRET_ID_LEN];
            prk.expand(&id_info(suite), &mut derived)?;
            if derived != id {
                return Err(id_attribute.wrong(format_args!("not the identifier that the prk derives")));
            }
        }
        let lifetime = attributes.need(LIFETIME)?.u32();
        let epochs = leased(&attributes, association.profile)?;
        let first = epochs.map_or(0, |(first, _)| first);
        let now = time::since_boot();
        let secret = Secret::new(generation.u64(), id, suite, association.profile, epochs, lifetime, prk, now)?;
        association.secrets.add(secret).map_err(|error| {
            let why = if error == ENOSPC { "two secrets live already" } else { "not newer than the secrets that live" };
            generation.refuse(why, error)
        })?;
        request.reply(Self::CMD, 0, |m| {
            m.text(ASSOCIATION, association.name.as_str())?;
            m.u64(GENERATION, generation.u64())?;
            m.bytes(ID, &id)?;
            m.flag(MAY_SEND, !was_sent_under(&id, &association.local, first))
        })
    }
}

impl Do for Activate {
    const CMD: u8 = cmd::SECRET_ACTIVATE;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &RULES)?;
        let association = named(namespace, &attributes.need(ASSOCIATION)?)?;
        let generation = attributes.need(GENERATION)?;
        let user = namespace.net.foreign_user();
        association.secrets.activate(generation.u64(), &association.local, user).map_err(|error| {
            let why = match error {
                e if e == errno::ealready() => "sent under before, or retired: this secret is for receiving only",
                e if e == errno::edquot() => "this user sent under as many secrets as a user may, until a reload",
                e if e == ENOSPC => "the module can remember no more secrets: reload it",
                e if e == ENOENT => "no such generation",
                _ => "not activated",
            };
            generation.refuse(why, error)
        })
    }
}

impl Do for Del {
    const CMD: u8 = cmd::SECRET_DEL;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &RULES)?;
        let association = named(namespace, &attributes.need(ASSOCIATION)?)?;
        let generation = attributes.need(GENERATION)?;
        let removed = association.secrets.remove(|held| held.secret.generation == generation.u64());
        if removed.iter().all(Option::is_none) {
            return Err(generation.refuse("no such generation", ENOENT));
        }
        namespace.wipe(removed);
        Ok(())
    }
}

impl Do for Extend {
    const CMD: u8 = cmd::SECRET_EXTEND;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &RULES)?;
        let association = named(namespace, &attributes.need(ASSOCIATION)?)?;
        let (generation, last) = (attributes.need(GENERATION)?, attributes.need(EPOCH_LAST)?);
        if association.profile != Profile::V2 {
            return Err(last.refuse("in profile v2-kri flows start at Kri 0", errno::eopnotsupp()));
        }
        association.secrets.extend(generation.u64(), last.u32(), &association.local).map_err(|error| match error {
            e if e == ENOENT => generation.refuse("no such generation", e),
            e if e == errno::ealready() => {
                generation.refuse("retired, or sent under in further epochs from elsewhere", e)
            }
            e => last.refuse("below the last epoch that it may be sent in already", e),
        })
    }
}
