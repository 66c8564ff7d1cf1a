// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A Secondary as its Primary sees it: what it was told, and what it asks.
//!
//! What it is told follows from the state of things alone: [`Primary::push`] compares that with what was told in its session
//! and tells the difference. So it does not matter what changed, nor how often, nor when the Secondary joined.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use super::super::error::Failure;
use super::super::group::{Group, GroupName, Mode, Pairing, Side};
use super::super::jitter::Bucket;
use super::super::lease::LOW;
use super::super::lists::{List, ListDigest};
use super::super::message::member::{
    Acknowledge, Activate, AddressSecret, Answer, Grant, Granted, Identity, IdentityKey, Join, MemberGone, MemberGroup,
    MemberList, Poll, Prepare, Prepared, Refusal, Secrets, Synced, WantEpochs, Welcome,
};
use super::super::message::peer::GroupIs;
use super::super::message::{list_parts, Message};
use super::super::schedule::{Binding, PairSecret};
use super::super::store::StoreError;
use super::super::ADDRESSES_MAX;
use super::pair::{Master, Pair, Phase};
use super::{Alert, KeyGenerator, Output, Primary};
use crate::identity::PublicKey;
use crate::keys::schedule::{SecretId, UnknownSuite};

/// Polls at once, and how soon one more.
const POLLS: (u32, Duration) = (256, Duration::from_millis(50));

/// Leases of an address under a PairMasterSecret at once, and how soon one more: a host that reboots over and over does not
/// use up everybody's epochs.
const EPOCHS: (u32, Duration) = (8, Duration::from_secs(10));

/// What keys of Identity Based were told for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ToldIdentity {
    /// Of PC, then of PS.
    parameters: [Vec<u8>; 2],
    period: u32,
    addresses: Vec<Ipv6Addr>,
}

/// What a session was told of a pairing.
#[derive(Debug, Default)]
struct ToldPair {
    lists: BTreeMap<Option<GroupName>, Arc<List>>,
    groups: BTreeMap<GroupName, (Mode, u32)>,
    /// PairMasterSecrets, and whether they are active.
    masters: BTreeMap<SecretId, bool>,
    identity: Option<ToldIdentity>,
    /// group_gen and addresses for which secrets were told.
    secrets: BTreeMap<(SecretId, GroupName), (u32, Vec<Ipv6Addr>)>,
}

/// A session of a Secondary that joined.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) addresses: BTreeSet<Ipv6Addr>,
    /// Ends of leases that it said it holds.
    leases: BTreeMap<(SecretId, Ipv6Addr), u32>,
    /// Digests of lists that it said it holds.
    lists: BTreeMap<(Pairing, Option<GroupName>), ListDigest>,
    told: BTreeMap<PublicKey, ToldPair>,
    revision: u64,
    /// The first revision that told of a group_gen, and that group_gen, of each pairing.
    gens: BTreeMap<PublicKey, (u64, u32)>,
    /// The store failed while it was told.
    owed: bool,
    /// Pairings of which it was told that they are told later.
    later: Vec<Pairing>,
}

/// A Secondary.
pub(super) struct Member {
    pub(super) key: PublicKey,
    /// The Primary's record.
    pub(super) addresses: BTreeSet<Ipv6Addr>,
    pub(super) session: Option<Session>,
    /// Pairings and PairMasterSecrets of which it was given secrets.
    given: BTreeSet<(PublicKey, SecretId)>,
    acknowledged: BTreeMap<PublicKey, u32>,
    polls: Bucket,
    epochs: BTreeMap<(SecretId, Ipv6Addr), Bucket>,
}

impl Member {
    pub(super) fn new(key: PublicKey, now: Duration) -> Self {
        Self {
            key,
            addresses: BTreeSet::new(),
            session: None,
            given: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            polls: Bucket::new(POLLS.0, POLLS.1, now),
            epochs: BTreeMap::new(),
        }
    }

    /// Whether it may be leased another range.
    fn may_lease(&mut self, pms: SecretId, address: Ipv6Addr, now: Duration) -> bool {
        self.epochs.entry((pms, address)).or_insert_with(|| Bucket::new(EPOCHS.0, EPOCHS.1, now)).take(now)
    }

    /// Whether it was given any secret of a pairing that may still be in force.
    pub(super) fn holds(&self, peer: &PublicKey) -> bool {
        self.given.iter().any(|(given, _)| given == peer)
    }

    /// Whether it was given secrets of this PairMasterSecret.
    pub(super) fn was_given(&self, peer: &PublicKey, pms: Option<SecretId>) -> bool {
        pms.is_some_and(|pms| self.given.contains(&(*peer, pms)))
    }

    /// The group_gen of a pairing that it acknowledged last.
    pub(super) fn acknowledged(&self, peer: &PublicKey) -> u32 {
        self.acknowledged.get(peer).copied().unwrap_or(0)
    }

    /// Whether something could not be told for want of the store.
    pub(super) fn is_owed(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.owed)
    }
}

/// The secrets of a group that addresses of one side hold under a PairMasterSecret.
fn secrets(
    pair: &Pair,
    master: &Master,
    name: &GroupName,
    group: &Group,
    addresses: &[Ipv6Addr],
) -> Result<Secrets, UnknownSuite> {
    let mut told = Secrets {
        pairing: pair.pairing,
        pms: master.id,
        group: name.clone(),
        group_gen: group.group_gen,
        shared: None,
        own: Vec::new(),
    };
    let Some(binding) = Binding::new(group.mode, group.group_gen) else { return Ok(told) };
    match (group.mode, pair.side) {
        (Mode::TrustedServers, Side::Server) if !addresses.is_empty() => {
            told.shared = Some(master.secret.server_secret(binding, name)?.to_message());
        }
        (Mode::TrustedServers, Side::Client) => {
            let pss = master.secret.server_secret(binding, name)?;
            for address in addresses {
                let secret = pss.client_secret(*address)?.to_message();
                told.own.push(AddressSecret { address: *address, secret });
            }
        }
        (Mode::AsymmetricPoll { poller }, side) if side != poller => {
            for address in addresses {
                let secret = master.secret.own_secret(binding, side, *address)?.to_message();
                told.own.push(AddressSecret { address: *address, secret });
            }
        }
        _ => {}
    }
    Ok(told)
}

impl Primary {
    /// Tells every Secondary what changed for it.
    pub(super) fn push_all(&mut self, now: Duration) {
        let keys: Vec<_> = self.members.iter().filter(|(_, m)| m.session.is_some()).map(|(key, _)| *key).collect();
        for key in keys {
            self.push(&key, now);
        }
    }

    /// Tells a Secondary what changed for it since it was told last.
    pub(super) fn push(&mut self, key: &PublicKey, now: Duration) {
        let Some(mut member) = self.members.remove(key) else { return };
        if let Some(mut session) = member.session.take() {
            let mut said = Vec::new();
            let outcome = self.tell(&mut member, &mut session, &mut said, now);
            session.owed = outcome.is_err();
            if let Err(error) = outcome {
                self.outputs.push_back(Output::Alert(Alert::Store(error)));
            }
            let later = self.pairs.values().filter(|pair| !pair.complete).map(|pair| pair.pairing).collect();
            if !said.is_empty() || session.later != later {
                session.later = later;
                session.revision = session.revision.saturating_add(1);
                let (revision, later) = (session.revision, session.later.clone());
                said.push(Message::Synced(Synced { revision, later }));
                for (peer, pair) in &self.pairs {
                    if session.gens.get(peer).is_none_or(|(_, gen)| *gen < pair.raised) {
                        session.gens.insert(*peer, (session.revision, pair.raised));
                    }
                }
            }
            for message in &said {
                self.send(key, message);
            }
            member.session = Some(session);
        }
        self.members.insert(*key, member);
    }

    fn tell(
        &mut self,
        member: &mut Member,
        session: &mut Session,
        said: &mut Vec<Message>,
        now: Duration,
    ) -> Result<(), StoreError> {
        let gone: Vec<_> = session.told.keys().filter(|peer| !self.pairs.contains_key(peer)).copied().collect();
        for peer in gone {
            let pairings = [Pairing { client: self.own, server: peer }, Pairing { client: peer, server: self.own }];
            said.extend(pairings.map(|pairing| Message::MemberGone(MemberGone { pairing, group: None })));
            session.told.remove(&peer);
        }
        let pairs = &self.pairs;
        member.given.retain(|(peer, pms)| {
            pairs.get(peer).is_some_and(|pair| pair.masters.iter().any(|master| master.id == *pms))
        });
        let in_force = |pms: &SecretId| pairs.values().any(|pair| pair.masters.iter().any(|master| master.id == *pms));
        member.epochs.retain(|(pms, _), _| in_force(pms));
        let peers: Vec<_> = self.pairs.keys().copied().collect();
        for peer in peers {
            let Some(pair) = self.pairs.get(&peer).filter(|pair| pair.complete) else { continue };
            let addresses = pair.involved(&session.addresses);
            if addresses.is_empty() {
                if session.told.remove(&peer).is_some() {
                    said.push(Message::MemberGone(MemberGone { pairing: pair.pairing, group: None }));
                }
                continue;
            }
            let held = |group: &Option<GroupName>| session.lists.get(&(pair.pairing, group.clone())).copied();
            let told = session.told.entry(peer).or_default();
            tell_lists(pair, told, held, said);
            // Those it holds enough of already, and those that need epochs first.
            let fresh: Vec<_> = pair
                .masters
                .iter()
                .filter(|master| {
                    let unknown = !told.masters.contains_key(&master.id);
                    unknown && !matches!(master.phase, Phase::Retired(_))
                })
                .map(|master| (master.id, master.spoiled))
                .collect();
            for (id, spoiled) in fresh {
                let needs = |address: &Ipv6Addr| {
                    let next = self.leases.next(id, *address);
                    session.leases.get(&(id, *address)).is_none_or(|end| *end != next)
                };
                let mut needing: Vec<Ipv6Addr> = addresses.iter().copied().filter(needs).collect();
                needing.retain(|address| !spoiled && member.may_lease(id, *address, now));
                let taken = self.leases.take(&mut self.ledger, id, &needing)?;
                let low = taken.iter().find(|(address, _)| self.leases.next(id, *address) >= LOW);
                if let Some((address, _)) = low {
                    self.outputs.push_back(Output::Alert(Alert::EpochsLow { address: *address }));
                    self.want_master(&peer, now);
                }
                let Some(pair) = self.pairs.get(&peer) else { continue };
                let Some(master) = pair.masters.iter().find(|master| master.id == id) else { continue };
                let lifetime = master.expires.saturating_sub(now).as_secs();
                said.push(Message::Prepare(Prepare {
                    pairing: pair.pairing,
                    generation: master.generation,
                    pms: id,
                    suite: master.suite.into(),
                    profile: master.profile as u8,
                    lifetime: u32::try_from(lifetime).unwrap_or(u32::MAX),
                    grants: taken.into_iter().map(|(address, range)| Grant { address, range }).collect(),
                }));
                let told = session.told.entry(peer).or_default();
                told.masters.insert(id, false);
            }
            let Some(pair) = self.pairs.get(&peer) else { continue };
            let told = session.told.entry(peer).or_default();
            tell_secrets(pair, told, &addresses, said);
            tell_identity(pair, self.generator.as_deref(), told, &addresses, said);
            member.given.extend(told.masters.keys().map(|id| (peer, *id)));
            for master in pair.masters.iter().filter(|master| master.is_active()) {
                if let Some(active) = told.masters.get_mut(&master.id).filter(|active| !**active) {
                    *active = true;
                    said.push(Message::Activate(Activate { pairing: pair.pairing, pms: master.id }));
                }
            }
            told.masters.retain(|id, _| pair.masters.iter().any(|master| master.id == *id));
            told.secrets.retain(|(id, _), _| told.masters.contains_key(id));
        }
        Ok(())
    }

    /// "Join": a Secondary says which of its addresses it wants to be and what it still holds.
    pub(super) fn join(&mut self, from: &PublicKey, join: Join, now: Duration) -> Result<(), Failure> {
        let member = self.members.get_mut(from).ok_or(Failure::Unexpected(48))?;
        if join.addresses.len() > ADDRESSES_MAX {
            return Err(Failure::TooMany("addresses"));
        }
        let wanted = |address: &&Ipv6Addr| join.addresses.is_empty() || join.addresses.contains(address);
        let addresses: BTreeSet<Ipv6Addr> = member.addresses.iter().filter(wanted).copied().collect();
        let leases: BTreeMap<_, _> = join.leases.iter().map(|held| ((held.pms, held.address), held.end)).collect();
        let lists = join.lists.into_iter().map(|held| ((held.pairing, held.group), held.digest)).collect();
        // What was prepared in an earlier session may be lost.
        self.pairs.values_mut().for_each(|pair| {
            pair.masters.iter_mut().for_each(|master| {
                master.prepared.remove(from);
            });
        });
        // A lease of an address that is its own, under a secret that is held here, beyond what the store knows: the store was
        // put back.
        let held: Vec<SecretId> = self.pairs.values().flat_map(|p| p.masters.iter().map(|master| master.id)).collect();
        let beyond = leases.iter().any(|((id, address), end)| {
            held.contains(id) && addresses.contains(address) && *end > self.leases.next(*id, *address)
        });
        if let Some(member) = self.members.get_mut(from) {
            member.session = Some(Session { addresses: addresses.clone(), leases, lists, ..Session::default() });
        }
        if beyond {
            self.restored(*from, now);
        }
        self.send(from, &Message::Welcome(Welcome { addresses: addresses.into_iter().collect() }));
        let before = self.outputs.len();
        self.push(from, now);
        if self.outputs.len() == before {
            // There is nothing for it, which it should know too.
            self.send(from, &Message::Synced(Synced { revision: 0, later: Vec::new() }));
        }
        Ok(())
    }

    /// A Secondary carried out what it was told.
    pub(super) fn acknowledged(&mut self, from: &PublicKey, acknowledge: &Acknowledge) -> Result<(), Failure> {
        let unexpected = Failure::Unexpected(49);
        let member = self.members.get_mut(from).ok_or(unexpected)?;
        let session = member.session.as_ref().ok_or(unexpected)?;
        if acknowledge.revision > session.revision {
            return Err(Failure::Bounds("revision"));
        }
        for (peer, (revision, gen)) in &session.gens {
            if acknowledge.revision >= *revision {
                let acknowledged = member.acknowledged.entry(*peer).or_default();
                *acknowledged = (*gen).max(*acknowledged);
            }
        }
        Ok(())
    }

    /// PREPARED.
    pub(super) fn prepared(&mut self, from: &PublicKey, prepared: &Prepared, now: Duration) -> Result<(), Failure> {
        let unexpected = Failure::Unexpected(50);
        self.members.get(from).and_then(|member| member.session.as_ref()).ok_or(unexpected)?;
        let pair = self.pairs.values_mut().find(|pair| pair.pairing == prepared.pairing);
        // Pairing and PairMasterSecret may have gone while it was on its way.
        let Some(pair) = pair else { return Ok(()) };
        let peer = pair.peer;
        if let Some(master) = pair.masters.iter_mut().find(|master| master.id == prepared.pms) {
            master.prepared.insert(*from);
            // With thousands of members, all of them are looked at only when the last one of those waited for has come.
            master.waiting.remove(from);
            if !master.waiting.is_empty() {
                return Ok(());
            }
        }
        self.evaluate(&peer, now);
        Ok(())
    }

    /// A Secondary asks for epochs: it gets the next range that was never leased, or none for now.
    pub(super) fn want_epochs(&mut self, from: &PublicKey, want: &WantEpochs, now: Duration) -> Result<(), Failure> {
        let unexpected = Failure::Unexpected(51);
        let member = self.members.get_mut(from).ok_or(unexpected)?;
        let session = member.session.as_ref().ok_or(unexpected)?;
        if !session.addresses.contains(&want.address) {
            return Err(Failure::Bounds("address"));
        }
        let held = |pair: &&Pair| pair.masters.iter().any(|master| master.id == want.pms);
        let pair = self.pairs.values().find(held);
        let peer = pair.map(|pair| pair.peer);
        let master = pair.and_then(|pair| pair.masters.iter().find(|master| master.id == want.pms));
        let listed = pair.is_some_and(|pair| !pair.involved([&want.address]).is_empty());
        let mut range = None;
        if let (Some(peer), Some(master), true) = (peer, master, listed) {
            let spoiled = master.spoiled;
            if want.end > self.leases.next(want.pms, want.address) {
                self.restored(*from, now);
            } else if !spoiled && self.members.get_mut(from).is_some_and(|m| m.may_lease(want.pms, want.address, now)) {
                match self.leases.take(&mut self.ledger, want.pms, &[want.address]) {
                    Ok(taken) => range = taken.first().and_then(|(_, range)| *range),
                    Err(error) => self.outputs.push_back(Output::Alert(Alert::Store(error))),
                }
                if self.leases.next(want.pms, want.address) >= LOW {
                    self.outputs.push_back(Output::Alert(Alert::EpochsLow { address: want.address }));
                    self.want_master(&peer, now);
                }
            }
        }
        let grant = Grant { address: want.address, range };
        self.send(from, &Message::Granted(Granted { pms: want.pms, grant }));
        Ok(())
    }

    /// A Secondary of the polling side asks for a pair's secret.
    pub(super) fn answer(&mut self, from: &PublicKey, poll: Poll, now: Duration) -> Result<(), Failure> {
        let unexpected = Failure::Unexpected(52);
        let member = self.members.get_mut(from).ok_or(unexpected)?;
        let session = member.session.as_ref().ok_or(unexpected)?;
        if !session.addresses.contains(&poll.own) {
            return Err(Failure::Bounds("address"));
        }
        let outcome = if member.polls.take(now) { self.pair_secret(&poll) } else { Ok(Err(Refusal::Busy)) }?;
        let answer = match outcome {
            Ok(secret) => Answer { poll, secret: Some(secret.to_message()), refusal: None },
            Err(refusal) => Answer { poll, secret: None, refusal: Some(refusal as u8) },
        };
        self.send(from, &Message::Answer(answer));
        Ok(())
    }

    fn pair_secret(&self, poll: &Poll) -> Result<Result<PairSecret, Refusal>, Failure> {
        let Some(pair) = self.pairs.values().find(|pair| pair.pairing == poll.pairing) else {
            return Ok(Err(Refusal::NotListed));
        };
        let Some(relation) = pair.roster.relation(poll.own, poll.remote) else { return Ok(Err(Refusal::NotListed)) };
        let own_side = if relation.client == poll.own { Side::Client } else { Side::Server };
        let polls = relation.group.mode.poller() == Some(pair.side) && own_side == pair.side;
        if *relation.name != poll.group || !polls {
            return Ok(Err(Refusal::NotListed));
        }
        let master = pair.masters.iter().find(|master| master.id == poll.pms);
        let (Some(master), true) = (master, relation.group.group_gen == poll.group_gen) else {
            return Ok(Err(Refusal::Stale));
        };
        let Some(binding) = Binding::new(relation.group.mode, relation.group.group_gen) else {
            return Ok(Err(Refusal::NotListed));
        };
        let own = master.secret.own_secret(binding, own_side.other(), poll.remote)?;
        Ok(Ok(own.pair_secret(poll.own)?))
    }
}

/// Groups and lists that are not as they were told.
fn tell_lists(
    pair: &Pair,
    told: &mut ToldPair,
    held: impl Fn(&Option<GroupName>) -> Option<ListDigest>,
    said: &mut Vec<Message>,
) {
    let pairing = pair.pairing;
    let gone: Vec<_> = told.groups.keys().filter(|name| !pair.roster.groups.contains_key(name)).cloned().collect();
    for name in gone {
        told.groups.remove(&name);
        told.lists.remove(&Some(name.clone()));
        told.secrets.retain(|(_, group), _| *group != name);
        said.push(Message::MemberGone(MemberGone { pairing, group: Some(name) }));
    }
    for (name, group) in &pair.roster.groups {
        if told.groups.get(name) != Some(&(group.mode, group.group_gen)) {
            told.groups.insert(name.clone(), (group.mode, group.group_gen));
            said.push(Message::MemberGroup(MemberGroup { pairing, group: GroupIs::of(name, group) }));
        }
    }
    let groups = pair.roster.groups.iter().map(|(name, group)| (Some(name.clone()), &group.servers));
    for (name, list) in std::iter::once((None, &pair.roster.clients)).chain(groups) {
        let older = told.lists.insert(name.clone(), Arc::clone(list));
        if older.as_ref().is_some_and(|older| Arc::ptr_eq(older, list) || older == list) {
            continue;
        }
        let mut parts = list_parts(name.as_ref(), older.as_deref(), list);
        if older.is_none() && held(&name) == Some(list.digest()) {
            // It holds the list: nothing changes but that this is said.
            parts = list_parts(name.as_ref(), Some(list), list);
        }
        said.extend(parts.into_iter().map(|part| Message::MemberList(MemberList { pairing, part })));
    }
}

/// Keys of Identity Based that were not told, where any group of the pairing is in that mode.
fn tell_identity(
    pair: &Pair,
    generator: Option<&dyn KeyGenerator>,
    told: &mut ToldPair,
    addresses: &[Ipv6Addr],
    said: &mut Vec<Message>,
) {
    let concerned = pair.roster.groups.values().any(|group| group.mode == Mode::IdentityBased);
    let (Some(generator), Some(own), Some(peer), true) = (generator, &pair.generator, &pair.peer_generator, concerned)
    else {
        return;
    };
    let (client, server) = if pair.side == Side::Client { (own, peer) } else { (peer, own) };
    let parameters = [client.clone(), server.clone()];
    let state = ToldIdentity { parameters, period: pair.period, addresses: addresses.to_vec() };
    if told.identity.as_ref() == Some(&state) {
        return;
    }
    let periods = [pair.period, pair.period.saturating_add(1)];
    let names = addresses.iter().flat_map(|address| periods.map(|period| (*address, period)));
    let keys = names.filter_map(|(address, period)| {
        Some(IdentityKey { address, period, key: generator.extract(pair.side, address, period)? })
    });
    said.push(Message::Identity(Identity {
        pairing: pair.pairing,
        client_parameters: client.clone(),
        server_parameters: server.clone(),
        period: pair.period,
        keys: keys.collect(),
    }));
    told.identity = Some(state);
}

/// Secrets that were not told, or of another generation or for other addresses.
fn tell_secrets(pair: &Pair, told: &mut ToldPair, addresses: &[Ipv6Addr], said: &mut Vec<Message>) {
    for master in pair.masters.iter().filter(|master| told.masters.contains_key(&master.id)) {
        for (name, group) in &pair.roster.groups {
            let holders: Vec<Ipv6Addr> = match pair.side {
                Side::Client => addresses.to_vec(),
                Side::Server => {
                    let of_group =
                        |address: &Ipv6Addr| pair.roster.group_of(*address).is_some_and(|(of, ..)| of == name);
                    addresses.iter().copied().filter(of_group).collect()
                }
            };
            let place = (master.id, name.clone());
            let state = (group.group_gen, holders.clone());
            if group.mode == Mode::NoProtection || told.secrets.get(&place) == Some(&state) {
                continue;
            }
            // A suite that is not known here was never taken.
            if let Ok(secrets) = secrets(pair, master, name, group, &holders) {
                told.secrets.insert(place, state);
                if secrets.shared.is_some() || !secrets.own.is_empty() {
                    said.push(Message::Secrets(secrets));
                }
            }
        }
    }
}
