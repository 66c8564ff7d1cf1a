// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What an operator changes: lists and groups. Every change is in the store before it is told to anybody.

use std::sync::Arc;
use std::time::Duration;

use super::super::error::ChangeError;
use super::super::group::{Group, GroupName, Mode, Side, GROUPS_MAX};
use super::super::lists::{List, ListError};
use super::records::{self, PairRecord};
use super::Primary;
use crate::identity::PublicKey;
use crate::prefix::Prefix;

impl Primary {
    /// PC: changes the list of Secondary Clients. An address that comes back makes PS raise every group_gen.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed.
    pub fn change_clients(
        &mut self,
        peer: &PublicKey,
        removed: &[Prefix],
        added: &[Prefix],
        now: Duration,
    ) -> Result<(), ChangeError> {
        let pair = self.pairs.get_mut(peer).ok_or(ChangeError::NoPairing)?;
        if pair.side != Side::Client {
            return Err(ChangeError::NotOurs);
        }
        let (list, went, came) = changed(&pair.roster.clients, removed, added)?;
        let mut changes: Vec<_> = went.iter().map(|prefix| records::delete_prefix(peer, None, prefix)).collect();
        changes.extend(came.iter().map(|prefix| records::put_prefix(peer, None, prefix)));
        self.ledger.commit(changes)?;
        pair.returns = pair.returns.saturating_add(u32::from(pair.returns(&came)));
        pair.forget(&went);
        pair.roster.clients = Arc::new(list);
        self.push_peer(peer);
        self.push_all(now);
        Ok(())
    }

    /// PS: changes the list of a group's Secondary Servers. Whenever a prefix goes or comes back, group_gen rises.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed.
    pub fn change_servers(
        &mut self,
        peer: &PublicKey,
        name: &GroupName,
        removed: &[Prefix],
        added: &[Prefix],
        now: Duration,
    ) -> Result<(), ChangeError> {
        let pair = self.pairs.get_mut(peer).ok_or(ChangeError::NoPairing)?;
        if pair.side != Side::Server {
            return Err(ChangeError::NotOurs);
        }
        let group = pair.roster.groups.get(name).ok_or(ChangeError::NoGroup)?;
        let (list, went, came) = changed(&group.servers, removed, added)?;
        let others = || pair.roster.groups.iter().filter(|(other, _)| *other != name);
        if let Some(prefix) = came.iter().find(|prefix| others().any(|(_, group)| group.servers.overlaps(prefix))) {
            return Err(ListError::Overlap(*prefix).into());
        }
        let raises = !went.is_empty() || pair.returns(&came);
        let (mode, mut group_gen) = (group.mode, group.group_gen);
        let mut changes: Vec<_> = went.iter().map(|prefix| records::delete_prefix(peer, Some(name), prefix)).collect();
        changes.extend(came.iter().map(|prefix| records::put_prefix(peer, Some(name), prefix)));
        if raises {
            group_gen = pair.group_gen.checked_add(1).ok_or(ChangeError::NoMoreGroups)?;
            changes.push(records::put_group(peer, name, mode, group_gen));
            changes.push(records::put_pair(peer, PairRecord { group_gen, ..pair.record() }));
        }
        self.ledger.commit(changes)?;
        pair.forget(&went);
        pair.roster.groups.insert(name.clone(), Group { mode, group_gen, servers: Arc::new(list) });
        if raises {
            (pair.group_gen, pair.raised) = (group_gen, group_gen);
        }
        self.push_peer(peer);
        self.push_all(now);
        Ok(())
    }

    /// PS: makes a group, or changes its mode, which raises its group_gen.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed.
    pub fn set_group(
        &mut self,
        peer: &PublicKey,
        name: &GroupName,
        mode: Mode,
        now: Duration,
    ) -> Result<(), ChangeError> {
        let pair = self.pairs.get_mut(peer).ok_or(ChangeError::NoPairing)?;
        if pair.side != Side::Server {
            return Err(ChangeError::NotOurs);
        }
        let servers = match pair.roster.groups.get(name) {
            Some(group) if group.mode == mode => return Ok(()),
            Some(group) => Arc::clone(&group.servers),
            None if pair.roster.groups.len() >= GROUPS_MAX => return Err(ChangeError::NoMoreGroups),
            None => Arc::default(),
        };
        let group_gen = pair.group_gen.checked_add(1).ok_or(ChangeError::NoMoreGroups)?;
        self.ledger.commit(vec![
            records::put_group(peer, name, mode, group_gen),
            records::put_pair(peer, PairRecord { group_gen, ..pair.record() }),
        ])?;
        (pair.group_gen, pair.raised) = (group_gen, group_gen);
        pair.roster.groups.insert(name.clone(), Group { mode, group_gen, servers });
        self.push_peer(peer);
        self.push_all(now);
        Ok(())
    }

    /// PS: a group ends, and its secrets with it.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed.
    pub fn remove_group(&mut self, peer: &PublicKey, name: &GroupName, now: Duration) -> Result<(), ChangeError> {
        let pair = self.pairs.get_mut(peer).ok_or(ChangeError::NoPairing)?;
        if pair.side != Side::Server {
            return Err(ChangeError::NotOurs);
        }
        let group = pair.roster.groups.get(name).ok_or(ChangeError::NoGroup)?;
        let went: Vec<Prefix> = group.servers.iter().copied().collect();
        let mut changes: Vec<_> = went.iter().map(|prefix| records::delete_prefix(peer, Some(name), prefix)).collect();
        changes.push(records::delete_group(peer, name));
        // A number of its own, so that it can be acknowledged.
        let group_gen = pair.group_gen.checked_add(1).ok_or(ChangeError::NoMoreGroups)?;
        changes.push(records::put_pair(peer, PairRecord { group_gen, ..pair.record() }));
        self.ledger.commit(changes)?;
        pair.forget(&went);
        (pair.group_gen, pair.raised) = (group_gen, group_gen);
        pair.roster.groups.remove(name);
        self.push_peer(peer);
        self.push_all(now);
        Ok(())
    }

    /// PS: every group's group_gen rises above what is known anywhere.
    pub(super) fn raise_all(&mut self, peer: &PublicKey, known: u32, now: Duration) -> Result<(), ChangeError> {
        let pair = self.pairs.get_mut(peer).ok_or(ChangeError::NoPairing)?;
        let mut group_gen = pair.group_gen.max(known);
        let mut changes = Vec::new();
        let mut groups = pair.roster.groups.clone();
        for (name, group) in &mut groups {
            group_gen = group_gen.checked_add(1).ok_or(ChangeError::NoMoreGroups)?;
            group.group_gen = group_gen;
            changes.push(records::put_group(peer, name, group.mode, group_gen));
        }
        changes.push(records::put_pair(peer, PairRecord { group_gen, ..pair.record() }));
        self.ledger.commit(changes)?;
        pair.roster.groups = groups;
        (pair.group_gen, pair.raised) = (group_gen, group_gen);
        self.push_peer(peer);
        self.push_all(now);
        Ok(())
    }
}

/// A list after a change, and what of the change it did not have before: what went and what came.
fn changed(list: &List, removed: &[Prefix], added: &[Prefix]) -> Result<(List, Vec<Prefix>, Vec<Prefix>), ListError> {
    let mut after = list.clone();
    for prefix in removed {
        after.remove(prefix);
    }
    for prefix in added {
        after.add(*prefix)?;
    }
    let (went, came) = after.changes_since(list);
    Ok((after, went, came))
}
