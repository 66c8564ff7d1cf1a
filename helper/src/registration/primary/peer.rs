// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What two Primaries tell each other. Each list has one owner: the clients' PC, the servers' and the groups PS.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::error::{ChangeError, Failure};
use super::super::group::{Group, GroupName, Mode, Side, GROUPS_MAX};
use super::super::lists::List;
use super::super::message::peer::{
    Generator, GroupGone, GroupIs, Hello, ListPart, Progress, Sequence, Told, STRAGGLERS_MAX,
};
use super::super::message::{list_parts, Message, PARAMETERS_MAX};
use super::super::transfer::Transfer;
use super::pair::Master;
use super::records::{self, PairRecord};
use super::{Alert, Output, Primary};
use crate::identity::PublicKey;

/// A session with another Primary.
#[derive(Default)]
pub(super) struct PeerSession {
    /// What was told: lists, groups, commits.
    lists: BTreeMap<Option<GroupName>, Arc<List>>,
    groups: BTreeMap<GroupName, (Mode, u32)>,
    generator: Option<(Vec<u8>, u32)>,
    returns: u32,
    sequence: u64,
    /// What came: hello, parts of lists, groups that were named.
    greeted: bool,
    transfer: Option<(Option<GroupName>, Transfer)>,
    named: BTreeSet<GroupName>,
}

impl PeerSession {
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }
}

impl Primary {
    pub(super) fn begin_peer_session(&mut self, peer: &PublicKey) {
        let sequence = self.ledger.sequence();
        let Some(pair) = self.pairs.get_mut(peer) else { return };
        pair.session = Some(PeerSession { sequence, ..PeerSession::default() });
        let hello = Hello { side: pair.side, sequence, seen: pair.seen, group_gen: pair.group_gen };
        self.send(peer, &Message::Hello(hello));
    }

    /// Tells the other Primary what changed in this one's lists and groups.
    pub(super) fn push_peer(&mut self, peer: &PublicKey) {
        let Some(pair) = self.pairs.get_mut(peer) else { return };
        // Not before its hello: it may know of greater group_gens than this Primary does.
        let Some(session) = pair.session.as_mut().filter(|session| session.greeted) else { return };
        let mut said = Vec::new();
        let mut lists: Vec<(Option<GroupName>, Arc<List>)> = Vec::new();
        if pair.side == Side::Client {
            lists.push((None, Arc::clone(&pair.roster.clients)));
        } else {
            let gone: Vec<_> =
                session.groups.keys().filter(|name| !pair.roster.groups.contains_key(name)).cloned().collect();
            for name in gone {
                session.groups.remove(&name);
                session.lists.remove(&Some(name.clone()));
                said.push(Message::GroupGone(GroupGone { name }));
            }
            for (name, group) in &pair.roster.groups {
                let state = (group.mode, group.group_gen);
                if session.groups.insert(name.clone(), state) != Some(state) {
                    said.push(Message::GroupIs(GroupIs::of(name, group)));
                }
                lists.push((Some(name.clone()), Arc::clone(&group.servers)));
            }
        }
        let own = pair.generator.clone().map(|parameters| (parameters, pair.period));
        if let Some((parameters, period)) = own.clone().filter(|_| own != session.generator) {
            session.generator = own;
            said.push(Message::Generator(Generator { parameters, period }));
        }
        let returned = std::mem::replace(&mut session.returns, pair.returns) != pair.returns;
        for (name, list) in lists {
            let older = session.lists.insert(name.clone(), Arc::clone(&list));
            if older.as_ref().is_some_and(|older| **older == *list) && !returned {
                continue;
            }
            let parts = list_parts(name.as_ref(), older.as_deref(), &list);
            said.extend(parts.into_iter().map(|part| Message::List(ListPart { returns: pair.returns, ..part })));
        }
        for message in &said {
            self.send(peer, message);
        }
    }

    /// "Sequence": each commit is told within a second, so that the peer knows of it should this Primary be put back.
    pub(super) fn tell_sequence(&mut self, peer: &PublicKey) {
        let sequence = self.ledger.sequence();
        let Some(session) = self.pairs.get_mut(peer).and_then(|pair| pair.session.as_mut()) else { return };
        if std::mem::replace(&mut session.sequence, sequence) != sequence {
            self.send(peer, &Message::Sequence(Sequence { sequence }));
        }
    }

    pub(super) fn hello(&mut self, from: &PublicKey, hello: &Hello, now: Duration) -> Result<(), Failure> {
        let unexpected = Failure::Unexpected(16);
        let own_sequence = self.ledger.sequence();
        let pair = self.pairs.get_mut(from).ok_or(unexpected)?;
        let session = pair.session.as_mut().ok_or(unexpected)?;
        if hello.side == pair.side {
            // Both would be client, or both server: the configurations contradict each other.
            return Err(Failure::Bounds("side"));
        }
        if std::mem::replace(&mut session.greeted, true) {
            return Err(unexpected);
        }
        pair.seen = pair.seen.max(hello.sequence);
        let (known, own, side) = (hello.group_gen, pair.group_gen, pair.side);
        let put_back = hello.seen > own_sequence || (side == Side::Server && known > own);
        if put_back {
            self.restored(*from, now);
        }
        if side == Side::Server && known > own {
            // Generations from before the backup are never used again.
            self.raised(from, known, now)?;
        }
        self.push_peer(from);
        self.send(from, &Message::Told(Told {}));
        // How far this end is with a renewal is told again.
        if let Some(pair) = self.pairs.get_mut(from) {
            pair.masters.iter_mut().for_each(Master::tell_again);
        }
        self.evaluate(from, now);
        Ok(())
    }

    fn raised(&mut self, from: &PublicKey, known: u32, now: Duration) -> Result<(), Failure> {
        match self.raise_all(from, known, now) {
            Ok(()) => Ok(()),
            Err(ChangeError::Store(error)) => {
                self.outputs.push_back(Output::Alert(Alert::Store(error)));
                // The session is tried again, and this with it.
                Err(Failure::Unexpected(16))
            }
            Err(_) => Err(Failure::Bounds("group_gen")),
        }
    }

    /// The pair whose peer this is, if that is on the side that may say this, and said hello.
    fn greeted(&mut self, from: &PublicKey, sender: Option<Side>, number: u8) -> Result<(), Failure> {
        let pair = self.pairs.get(from).ok_or(Failure::Unexpected(number))?;
        let greeted = pair.session.as_ref().is_some_and(|session| session.greeted);
        if !greeted || sender.is_some_and(|sender| sender == pair.side) {
            return Err(Failure::Unexpected(number));
        }
        Ok(())
    }

    pub(super) fn peer_group(&mut self, from: &PublicKey, told: GroupIs, now: Duration) -> Result<(), Failure> {
        self.greeted(from, Some(Side::Server), 17)?;
        let mode = Mode::from_numbers(told.mode, told.poller).ok_or(Failure::Malformed)?;
        let Some(pair) = self.pairs.get_mut(from) else { return Ok(()) };
        let known = pair.roster.groups.get(&told.name);
        if known.is_none() && pair.roster.groups.len() >= GROUPS_MAX {
            return Err(Failure::TooMany("groups"));
        }
        let same = known.is_some_and(|group| (group.mode, group.group_gen) == (mode, told.group_gen));
        if known.is_some_and(|group| told.group_gen <= group.group_gen) && !same {
            // A mode never changes, and a generation never falls.
            return Err(Failure::Bounds("group_gen"));
        }
        if told.group_gen > pair.group_gen {
            let record = records::put_pair(from, PairRecord { group_gen: told.group_gen, ..pair.record() });
            if let Err(error) = self.ledger.commit(vec![record]) {
                // It is only for telling PS after a restart.
                self.outputs.push_back(Output::Alert(Alert::Store(error)));
            }
            (pair.group_gen, pair.raised) = (told.group_gen, told.group_gen);
        }
        let servers = pair.roster.groups.get(&told.name).map(|group| Arc::clone(&group.servers)).unwrap_or_default();
        pair.roster.groups.insert(told.name.clone(), Group { mode, group_gen: told.group_gen, servers });
        if let Some(session) = &mut pair.session {
            session.named.insert(told.name);
        }
        if !same {
            self.push_all(now);
        }
        Ok(())
    }

    pub(super) fn peer_group_gone(&mut self, from: &PublicKey, gone: &GroupGone, now: Duration) -> Result<(), Failure> {
        self.greeted(from, Some(Side::Server), 18)?;
        if let Some(pair) = self.pairs.get_mut(from) {
            pair.roster.groups.remove(&gone.name);
        }
        self.push_all(now);
        Ok(())
    }

    pub(super) fn peer_list(&mut self, from: &PublicKey, part: &ListPart, now: Duration) -> Result<(), Failure> {
        let sender = if part.group.is_some() { Side::Server } else { Side::Client };
        self.greeted(from, Some(sender), 19)?;
        let Some(pair) = self.pairs.get_mut(from) else { return Ok(()) };
        let Some(session) = &mut pair.session else { return Ok(()) };
        let list = match &part.group {
            None => &mut pair.roster.clients,
            Some(name) => &mut pair.roster.groups.get_mut(name).ok_or(Failure::Unexpected(19))?.servers,
        };
        // One list is told after the other.
        let mut transfer = match session.transfer.take() {
            Some((of, transfer)) if of == part.group => transfer,
            _ => Transfer::default(),
        };
        let Some(whole) = transfer.take(list, part)? else {
            session.transfer = Some((part.group.clone(), transfer));
            return Ok(());
        };
        let changed = whole != *list;
        *list = whole;
        let before = pair.peer_returns;
        if part.group.is_none() {
            pair.peer_returns = Some(part.returns);
        }
        // "Adding an address back raises group_gen". A PC that was restarted counts from 0, and has no older secret.
        let returned = part.group.is_none() && before.is_some_and(|before| part.returns > before);
        if returned {
            self.raised(from, 0, now)?;
        } else if changed {
            self.push_all(now);
        }
        Ok(())
    }

    pub(super) fn peer_generator(&mut self, from: &PublicKey, told: Generator, now: Duration) -> Result<(), Failure> {
        self.greeted(from, None, 23)?;
        if told.parameters.is_empty() || told.parameters.len() > PARAMETERS_MAX {
            return Err(Failure::Bounds("parameters"));
        }
        let Some(pair) = self.pairs.get_mut(from) else { return Ok(()) };
        if pair.side == Side::Client {
            pair.period = told.period;
        }
        pair.peer_generator = Some(told.parameters);
        self.push_peer(from);
        self.push_all(now);
        Ok(())
    }

    pub(super) fn peer_told(&mut self, from: &PublicKey, now: Duration) -> Result<(), Failure> {
        self.greeted(from, None, 20)?;
        let Some(pair) = self.pairs.get_mut(from) else { return Ok(()) };
        if let (Side::Client, Some(session)) = (pair.side, &pair.session) {
            pair.roster.groups.retain(|name, _| session.named.contains(name));
        }
        pair.complete = true;
        self.push_all(now);
        Ok(())
    }

    pub(super) fn peer_progress(&mut self, from: &PublicKey, told: &Progress, now: Duration) -> Result<(), Failure> {
        self.greeted(from, None, 21)?;
        if told.stragglers.len() > STRAGGLERS_MAX {
            return Err(Failure::TooMany("stragglers"));
        }
        if let Some(pair) = self.pairs.get_mut(from) {
            pair.peer_progress = Some(told.clone());
        }
        self.evaluate(from, now);
        Ok(())
    }

    pub(super) fn peer_sequence(&mut self, from: &PublicKey, told: &Sequence) -> Result<(), Failure> {
        self.greeted(from, None, 22)?;
        if let Some(pair) = self.pairs.get_mut(from) {
            pair.seen = pair.seen.max(told.sequence);
        }
        Ok(())
    }
}
