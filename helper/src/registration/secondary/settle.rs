// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What follows from everything that was told: which secrets each pair of addresses has, and what changed of that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

use super::super::group::{Mode, Side};
use super::super::lease::Range;
use super::super::message::member::Poll;
use super::super::select::{for_receiving, for_sending, Candidate};
use super::polls::{Known, Polls};
use super::scope::{Holding, Master, Scope};
use super::{Action, Agree, Install, Installed, Secondary, SecretName};
use crate::identity::PublicKey;
use crate::keys::schedule::{Prk, UnknownSuite};
use crate::negotiate::Entropy;
use crate::prefix::Prefix;
use crate::secret::Secret;

/// A pair of addresses, this host's first.
type AddressPair = (Ipv6Addr, Ipv6Addr);

/// A group in which a pair has a relation.
pub(super) struct Found {
    primary: PublicKey,
    candidate: Candidate,
    mode: Mode,
    group_gen: u32,
    side: Side,
}

/// A pair's secret under one PairMasterSecret.
enum Resolved {
    Ready(Prk, Secret),
    /// It is asked for.
    Waiting,
    /// It has none.
    None,
}

/// Finds or asks for a pair's secret.
#[allow(clippy::too_many_arguments)]
fn resolve(
    found: &Found,
    master: &Master,
    (local, remote): AddressPair,
    renewal: bool,
    polls: &mut Polls,
    now: Duration,
    entropy: &mut impl Entropy,
) -> Resolved {
    let group = &found.candidate.group;
    let ready = |shared_secret: &Secret, prk: Result<Prk, UnknownSuite>| {
        prk.map_or(Resolved::None, |prk| Resolved::Ready(prk, shared_secret.clone()))
    };
    if found.mode.poller() == Some(found.side) {
        let poll = Poll {
            pairing: found.candidate.pairing,
            pms: master.id,
            group: group.clone(),
            group_gen: found.group_gen,
            own: local,
            remote,
        };
        return match polls.look(found.primary, poll, renewal, now, entropy) {
            Known::Secret(secret) => ready(secret.shared_secret(), secret.prk()),
            Known::Waiting => Resolved::Waiting,
            Known::Refused => Resolved::None,
        };
    }
    if found.mode == Mode::IdentityBased {
        let agreed = master.agreed.get(&(local, remote, found.group_gen));
        return agreed.map_or(Resolved::Waiting, |(suite, secret)| ready(secret, Prk::extract(*suite, &[], secret)));
    }
    match master.holding(group, found.group_gen) {
        Some(Holding::Servers(pss)) => match pss.client_secret(remote) {
            Ok(pcs) => ready(pcs.shared_secret(), pcs.prk()),
            Err(_) => Resolved::None,
        },
        Some(Holding::Client(own)) => {
            own.get(&local).map_or(Resolved::None, |pcs| ready(pcs.shared_secret(), pcs.prk()))
        }
        Some(Holding::Own(own)) => match own.get(&local).map(|own| own.pair_secret(remote)) {
            Some(Ok(pair)) => ready(pair.shared_secret(), pair.prk()),
            Some(Err(_)) | None => Resolved::None,
        },
        None => Resolved::None,
    }
}

impl Secondary {
    /// The groups in which a pair has a protected relation that this host may take part in.
    pub(super) fn candidates(&self, (local, remote): AddressPair) -> Vec<Found> {
        let mut found = Vec::new();
        let registrations = self.registrations.iter().filter(|(_, r)| r.addresses.contains(&local));
        for (primary, registration) in registrations {
            for (pairing, scope) in &registration.scopes {
                let Some(relation) = scope.roster.relation(local, remote) else { continue };
                let side = if relation.client == local { Side::Client } else { Side::Server };
                if side != scope.side || relation.group.mode == Mode::NoProtection {
                    continue;
                }
                let (client, server) = (relation.client_prefix.length(), relation.server_prefix.length());
                let (local, remote) = if side == Side::Client { (client, server) } else { (server, client) };
                found.push(Found {
                    primary: *primary,
                    candidate: Candidate { pairing: *pairing, group: relation.name.clone(), local, remote },
                    mode: relation.group.mode,
                    group_gen: relation.group.group_gen,
                    side,
                });
            }
        }
        found
    }

    /// Works out everything anew.
    pub(super) fn settle_all(&mut self, now: Duration, entropy: &mut impl Entropy) {
        for registration in self.registrations.values_mut() {
            registration.scopes.values_mut().for_each(Scope::wipe_gone);
        }
        self.choose_eagerly();
        let mut pairs: BTreeSet<AddressPair> = self.asked.union(&self.eagerly).copied().collect();
        pairs.extend(self.installed.keys().map(|name| (name.local, name.remote)));
        for pair in pairs {
            self.settle(pair, now, entropy);
        }
        // What is no longer listed is no longer wanted.
        let asked = std::mem::take(&mut self.asked);
        self.asked = asked.into_iter().filter(|pair| !self.candidates(*pair).is_empty()).collect();
        let wanted = |pair: &AddressPair| self.asked.contains(pair) || self.eagerly.contains(pair);
        self.authenticated.retain(|(local, remote, _), _| wanted(&(*local, *remote)));
        let registrations = &self.registrations;
        self.polls.retain(|primary, poll| {
            let scope = registrations.get(primary).and_then(|registration| registration.scopes.get(&poll.pairing));
            let in_force = scope.is_some_and(|scope| {
                let group = scope.roster.groups.get(&poll.group);
                group.is_some_and(|group| group.group_gen == poll.group_gen)
                    && scope.masters.iter().any(|master| master.id == poll.pms)
            });
            in_force
                && (self.asked.contains(&(poll.own, poll.remote)) || self.eagerly.contains(&(poll.own, poll.remote)))
        });
        let scopes = || self.registrations.values().flat_map(|registration| registration.scopes.keys());
        let gone: Vec<_> =
            self.identities.iter().filter(|of| !scopes().any(|pairing| pairing == *of)).copied().collect();
        for pairing in gone {
            self.identities.remove(&pairing);
            self.actions.push_back(Action::ForgetIdentity(pairing));
        }
        self.permit_plain();
    }

    /// Single listed addresses for which secrets are installed without being asked for.
    fn choose_eagerly(&mut self) {
        let mut chosen = BTreeSet::new();
        for registration in self.registrations.values() {
            for scope in registration.scopes.values() {
                let protected = scope.roster.groups.values().filter(|group| group.mode != Mode::NoProtection);
                let remotes: Vec<Ipv6Addr> = match scope.side {
                    Side::Server => single(scope.roster.clients.iter()),
                    Side::Client => single(protected.flat_map(|group| group.servers.iter())),
                };
                let has_part = |local: &&Ipv6Addr| match scope.side {
                    Side::Client => scope.roster.clients.longest(**local).is_some(),
                    Side::Server => {
                        let group = scope.roster.group_of(**local);
                        group.is_some_and(|(_, group, _)| group.mode != Mode::NoProtection)
                    }
                };
                for local in registration.addresses.iter().filter(has_part) {
                    for remote in &remotes {
                        if chosen.len() >= self.eager {
                            break;
                        }
                        if !self.candidates((*local, *remote)).is_empty() {
                            chosen.insert((*local, *remote));
                        }
                    }
                }
            }
        }
        self.eagerly = chosen;
    }

    /// Works out which secrets a pair has, and puts what changed in the queue.
    pub(super) fn settle(&mut self, pair: AddressPair, now: Duration, entropy: &mut impl Entropy) {
        let (local, remote) = pair;
        let wanted = self.asked.contains(&pair) || self.eagerly.contains(&pair);
        let found = if wanted { self.candidates(pair) } else { Vec::new() };
        let candidates: Vec<Candidate> = found.iter().map(|found| found.candidate.clone()).collect();
        let sending = for_sending(&candidates);
        let receiving = for_receiving(&candidates);
        let mut kept: BTreeMap<SecretName, Option<Install>> = BTreeMap::new();
        let mut sends: Option<(SecretName, Range)> = None;
        for found in &found {
            let is_sending = sending == Some(&found.candidate);
            if !is_sending && !receiving.contains(&&found.candidate) {
                continue;
            }
            let pairing = found.candidate.pairing;
            let scope = self.registrations.get_mut(&found.primary).and_then(|r| r.scopes.get_mut(&pairing));
            let Some(scope) = scope else { continue };
            let authenticated = self.authenticated.get(&(local, remote, pairing)).copied();
            let renewal = scope.masters.iter().any(|master| master.active);
            // Newest first: the first that can be sent under is.
            for master in scope.masters.iter_mut().rev() {
                if master.refuses(&found.candidate.group, found.group_gen) {
                    continue;
                }
                let name = SecretName {
                    local,
                    remote,
                    pairing,
                    group: found.candidate.group.clone(),
                    generation: master.generation,
                    pms: master.id,
                    group_gen: found.group_gen,
                };
                let installed = self.installed.get(&name);
                let may_send = is_sending && (master.active || authenticated == Some(master.id));
                // Of one source the newest that may be.
                let may_send = may_send && sends.is_none();
                let stopped = installed.is_some_and(|installed| installed.stopped);
                // An older one that is sent under no more needs no epochs.
                let prepares = is_sending && !master.active;
                let range = match (may_send || prepares, found.mode) {
                    (false, _) => None,
                    // What was agreed on never comes again.
                    (true, Mode::IdentityBased) => Some(Range::ALL),
                    (true, _) => {
                        let continues = installed.is_some_and(|installed| installed.sends.is_some());
                        master.leases.entry(local).or_default().range_for(&name, continues)
                    }
                };
                let start = |range: Option<Range>| range.map(|range| range.start);
                let fits = installed.is_some_and(|installed| !stopped && start(installed.range) == start(range));
                let mut install = None;
                if installed.is_none() || (may_send && range.is_some() && !fits) {
                    let polls = &mut self.polls;
                    match resolve(found, master, pair, renewal && !master.active, polls, now, entropy) {
                        Resolved::Ready(prk, shared_secret) => {
                            install = Some(Install {
                                name: name.clone(),
                                suite: prk.suite(),
                                profile: master.profile,
                                prk,
                                shared_secret,
                                expires: master.expires,
                                range,
                            });
                        }
                        Resolved::Waiting if found.mode == Mode::IdentityBased => {
                            if master.agreeing.insert((local, remote, found.group_gen)) {
                                let agree = Agree { name: name.clone(), side: found.side, suite: master.suite };
                                self.actions.push_back(Action::Agree(Box::new(agree)));
                            }
                        }
                        Resolved::Waiting | Resolved::None => {}
                    }
                }
                if installed.is_none() && install.is_none() {
                    continue;
                }
                if let Some(range) = range.filter(|_| may_send && (fits || install.is_some())) {
                    sends = Some((name.clone(), range));
                }
                kept.insert(name, install);
            }
        }
        self.change(pair, kept, sends);
    }

    /// Puts the difference between what is installed and what is to be in the queue.
    fn change(
        &mut self,
        (local, remote): AddressPair,
        kept: BTreeMap<SecretName, Option<Install>>,
        sends: Option<(SecretName, Range)>,
    ) {
        let of_pair = |name: &&SecretName| (name.local, name.remote) == (local, remote);
        let before: Vec<SecretName> = self.installed.keys().filter(of_pair).cloned().collect();
        for name in before {
            match kept.get(&name) {
                Some(None) => continue,
                // In the module anew, so that it can be sent under again.
                Some(Some(_)) | None => {
                    let sent = self.installed.remove(&name).is_some_and(|installed| installed.sends.is_some());
                    self.spend(&name, sent);
                    self.actions.push_back(Action::Remove(name));
                }
            }
        }
        for (name, install) in kept {
            if let Some(install) = install {
                self.installed.insert(name, Installed { range: install.range, sends: None, stopped: false });
                self.actions.push_back(Action::Install(Box::new(install)));
            }
        }
        let others: Vec<SecretName> = self.installed.keys().filter(of_pair).cloned().collect();
        for name in others {
            let range = sends.as_ref().filter(|(sending, _)| *sending == name).map(|(_, range)| *range);
            let Some(installed) = self.installed.get_mut(&name) else { continue };
            let was = std::mem::replace(&mut installed.sends, range);
            match range {
                Some(range) if was != Some(range) => self.actions.push_back(Action::Send { name, range }),
                None if was.is_some() => {
                    installed.stopped = true;
                    self.spend(&name, true);
                    self.actions.push_back(Action::StopSending(name));
                }
                _ => {}
            }
        }
    }

    /// A secret is no more, or no more sent under: what was agreed on is wiped, and what was sent under is not again in the
    /// same lease.
    fn spend(&mut self, name: &SecretName, sent: bool) {
        for registration in self.registrations.values_mut() {
            let scope = registration.scopes.get_mut(&name.pairing);
            let Some(master) = scope.and_then(|scope| scope.master_mut(&name.pms)) else { continue };
            let place = (name.local, name.remote, name.group_gen);
            master.agreed.remove(&place);
            master.agreeing.remove(&place);
            if let Some(lease) = master.leases.get_mut(&name.local).filter(|_| sent) {
                lease.spend(name);
            }
        }
    }

    /// Puts the access list of groups without protection in the queue, if it changed.
    fn permit_plain(&mut self) {
        let mut access = BTreeSet::new();
        for registration in self.registrations.values() {
            for (pairing, scope) in &registration.scopes {
                for own in &registration.addresses {
                    for prefix in scope.roster.plain_prefixes(*own, scope.side) {
                        // "It never falls back to plain": what another pairing protects is not plain here.
                        if !self.protects_elsewhere(*own, &prefix, pairing) {
                            access.insert((*own, prefix));
                        }
                    }
                }
            }
        }
        let access: Vec<_> = access.into_iter().collect();
        if access != self.access {
            self.access.clone_from(&access);
            self.actions.push_back(Action::Access(access));
        }
    }

    fn protects_elsewhere(&self, own: Ipv6Addr, prefix: &Prefix, but: &super::super::group::Pairing) -> bool {
        let registrations = self.registrations.values().filter(|registration| registration.addresses.contains(&own));
        let mut scopes =
            registrations.flat_map(|registration| &registration.scopes).filter(|(pairing, _)| *pairing != but);
        scopes.any(|(_, scope)| {
            let protected = || scope.roster.groups.values().filter(|group| group.mode != Mode::NoProtection);
            match scope.side {
                Side::Client => {
                    scope.roster.clients.longest(own).is_some()
                        && protected().any(|group| group.servers.overlaps(prefix))
                }
                Side::Server => {
                    protected().any(|group| group.servers.longest(own).is_some())
                        && scope.roster.clients.overlaps(prefix)
                }
            }
        })
    }
}

/// Those of some prefixes that are single addresses.
fn single<'a>(prefixes: impl Iterator<Item = &'a Prefix>) -> Vec<Ipv6Addr> {
    prefixes.filter(|prefix| prefix.length() == 128).map(Prefix::address).collect()
}
