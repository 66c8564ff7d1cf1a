// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What a Primary tells.

use std::time::Duration;

use super::super::error::Failure;
use super::super::group::{Mode, Pairing, GROUPS_MAX};
use super::super::message::member::{
    Acknowledge, Identity, MemberGone, MemberGroup, MemberList, Prepare, Prepared, Synced, Welcome,
};
use super::super::message::{Message, PARAMETERS_MAX};
use super::super::transfer::Transfer;
use super::super::ADDRESSES_MAX;
use super::scope::Scope;
use super::{Action, Registration, Secondary, PAIRINGS_MAX, PREFIXES_MAX};
use crate::identity::PublicKey;
use crate::negotiate::Entropy;

impl Registration {
    /// The pairing, of which this Primary must be one; made where it is new.
    fn scope(&mut self, primary: &PublicKey, pairing: Pairing) -> Result<&mut Scope, Failure> {
        let side = pairing.side_of(primary).ok_or(Failure::Bounds("pairing"))?;
        if self.scopes.len() >= PAIRINGS_MAX && !self.scopes.contains_key(&pairing) {
            return Err(Failure::TooMany("pairings"));
        }
        Ok(self.scopes.entry(pairing).or_insert_with(|| Scope::new(side)))
    }
}

impl Secondary {
    pub(super) fn told(
        &mut self,
        from: &PublicKey,
        message: Message,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        let number = message.number();
        let registration = self.registrations.get_mut(from).filter(|registration| registration.connected);
        let registration = registration.ok_or(Failure::Unexpected(number))?;
        match message {
            Message::Welcome(welcome) => self.welcome(from, &welcome, now, entropy),
            Message::MemberGroup(told) => self.group(from, &told, now, entropy),
            Message::MemberGone(gone) => self.gone(from, &gone, now, entropy),
            Message::MemberList(told) => self.list(from, &told, now, entropy),
            Message::Prepare(prepare) => self.prepare(from, &prepare, now),
            Message::Secrets(secrets) => registration.scope(from, secrets.pairing)?.secrets(secrets),
            Message::Activate(activate) => {
                registration.scope(from, activate.pairing)?.activate(activate.pms, now);
                if registration.synced {
                    self.settle_all(now, entropy);
                }
                Ok(())
            }
            Message::Identity(identity) => self.identity(from, identity),
            Message::Synced(synced) => self.synced(from, &synced, now, entropy),
            Message::Granted(granted) => self.granted(from, &granted, now, entropy),
            Message::Answer(answer) => self.answered(from, answer, now, entropy),
            _ => Err(Failure::Unexpected(number)),
        }
    }

    fn welcome(
        &mut self,
        from: &PublicKey,
        welcome: &Welcome,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        if welcome.addresses.len() > ADDRESSES_MAX {
            return Err(Failure::TooMany("addresses"));
        }
        if let Some(registration) = self.registrations.get_mut(from) {
            registration.addresses = welcome.addresses.iter().copied().collect();
        }
        self.settle_all(now, entropy);
        Ok(())
    }

    fn group(
        &mut self,
        from: &PublicKey,
        told: &MemberGroup,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        let Some(registration) = self.registrations.get_mut(from) else { return Ok(()) };
        let (name, pairing) = (&told.group.name, told.pairing);
        let mode = Mode::from_numbers(told.group.mode, told.group.poller).ok_or(Failure::Malformed)?;
        let scope = registration.scope(from, pairing)?;
        if scope.roster.groups.len() >= GROUPS_MAX && !scope.roster.groups.contains_key(name) {
            return Err(Failure::TooMany("groups"));
        }
        scope.group(name, mode, told.group.group_gen)?;
        if registration.later.contains(&pairing) {
            registration.named.extend([(pairing, None), (pairing, Some(name.clone()))]);
        }
        // "Each member refuses the old generation the moment it learns."
        self.settle_all(now, entropy);
        Ok(())
    }

    fn gone(
        &mut self,
        from: &PublicKey,
        gone: &MemberGone,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        let Some(registration) = self.registrations.get_mut(from) else { return Ok(()) };
        match &gone.group {
            None => {
                registration.scopes.remove(&gone.pairing);
            }
            Some(name) => {
                if let Some(scope) = registration.scopes.get_mut(&gone.pairing) {
                    scope.roster.groups.remove(name);
                }
            }
        }
        self.settle_all(now, entropy);
        Ok(())
    }

    fn list(
        &mut self,
        from: &PublicKey,
        told: &MemberList,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        let Some(registration) = self.registrations.get_mut(from) else { return Ok(()) };
        let transfer = registration.transfer.take();
        let scope = registration.scope(from, told.pairing)?;
        let list = match &told.part.group {
            None => &mut scope.roster.clients,
            Some(name) => &mut scope.roster.groups.get_mut(name).ok_or(Failure::Unexpected(35))?.servers,
        };
        let which = (told.pairing, told.part.group.clone());
        let mut transfer = match transfer {
            Some((of, transfer)) if of == which => transfer,
            _ => Transfer::default(),
        };
        let Some(whole) = transfer.take(list, &told.part)? else {
            registration.transfer = Some((which, transfer));
            return Ok(());
        };
        *list = whole;
        if registration.scopes.values().map(Scope::prefixes).fold(0, usize::saturating_add) > PREFIXES_MAX {
            return Err(Failure::TooMany("prefixes"));
        }
        if registration.later.contains(&told.pairing) {
            registration.named.insert((told.pairing, None));
        }
        if registration.synced {
            self.settle_all(now, entropy);
        }
        Ok(())
    }

    fn identity(&mut self, from: &PublicKey, told: Identity) -> Result<(), Failure> {
        let Some(registration) = self.registrations.get_mut(from) else { return Ok(()) };
        registration.scope(from, told.pairing)?;
        if told.client_parameters.len().max(told.server_parameters.len()) > PARAMETERS_MAX {
            return Err(Failure::Bounds("parameters"));
        }
        if told.keys.len() > 2 * ADDRESSES_MAX {
            return Err(Failure::TooMany("keys"));
        }
        if told.keys.iter().any(|key| !registration.addresses.contains(&key.address)) {
            return Err(Failure::Bounds("address"));
        }
        self.identities.insert(told.pairing);
        self.actions.push_back(Action::Identity(Box::new(told)));
        Ok(())
    }

    fn prepare(&mut self, from: &PublicKey, prepare: &Prepare, now: Duration) -> Result<(), Failure> {
        let Some(registration) = self.registrations.get_mut(from) else { return Ok(()) };
        let addresses = registration.addresses.clone();
        let master = registration.scope(from, prepare.pairing)?.prepare(prepare, now)?;
        for grant in prepare.grants.iter().filter(|grant| addresses.contains(&grant.address)) {
            if let Some(range) = grant.range {
                master.leases.entry(grant.address).or_default().granted(range)?;
            }
        }
        Ok(())
    }

    /// Everything was told: what was not named since the join is gone, and what was told is carried out and acknowledged.
    fn synced(
        &mut self,
        from: &PublicKey,
        synced: &Synced,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        let Some(registration) = self.registrations.get_mut(from) else { return Ok(()) };
        if synced.later.len() > PAIRINGS_MAX {
            return Err(Failure::TooMany("pairings"));
        }
        // Of those that are told as a whole now: what was not named is gone.
        let whole = std::mem::take(&mut registration.later);
        for pairing in whole {
            if synced.later.contains(&pairing) {
                registration.later.insert(pairing);
            } else if !registration.named.contains(&(pairing, None)) {
                registration.scopes.remove(&pairing);
            } else if let Some(scope) = registration.scopes.get_mut(&pairing) {
                scope.roster.groups.retain(|name, _| registration.named.contains(&(pairing, Some(name.clone()))));
            }
        }
        registration.synced = true;
        if registration.later.is_empty() {
            registration.named.clear();
        }
        for master in registration.scopes.values_mut().flat_map(|scope| scope.masters.iter_mut()) {
            master.complete = true;
        }
        self.settle_all(now, entropy);
        self.retry_epochs(now, entropy);
        self.send_polls(now, entropy);
        if synced.revision > 0 {
            self.send(from, &Message::Acknowledge(Acknowledge { revision: synced.revision }));
        }
        self.say_prepared();
        Ok(())
    }

    /// PREPARED, for each PairMasterSecret that every wanted pair receives under, or will not.
    pub(super) fn say_prepared(&mut self) {
        let mut said = Vec::new();
        for (primary, registration) in self.registrations.iter_mut().filter(|(_, r)| r.connected && r.synced) {
            for (pairing, scope) in &mut registration.scopes {
                for master in scope.masters.iter_mut().filter(|master| master.complete && !master.said_prepared) {
                    let pms = master.id;
                    let of = |poll: &super::super::message::member::Poll| poll.pairing == *pairing && poll.pms == pms;
                    if !self.polls.is_waiting(primary, of) {
                        master.said_prepared = true;
                        said.push((*primary, Prepared { pairing: *pairing, pms }));
                    }
                }
            }
        }
        for (primary, prepared) in said {
            self.send(&primary, &Message::Prepared(prepared));
        }
    }
}
