// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What one Primary told of one pairing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

use super::super::group::{Group, GroupName, Mode, Roster, Side};
use super::super::lists::ListDigest;
use super::super::message::member::{Prepare, Secrets};
use super::super::schedule::{ClientSecret, OwnSecret, ServerSecret};
use super::super::{error::Failure, ADDRESSES_MAX, OVERLAP};
use super::epochs::Lease;
use crate::keys::schedule::SecretId;
use crate::secret::Secret;

/// PairMasterSecrets of a pairing at once.
const MASTERS_MAX: usize = 2;

/// Most groups that are remembered of one PairMasterSecret, those that are gone included.
const FLOORS_MAX: usize = 1024;

/// What this host holds of a group under a PairMasterSecret.
pub(super) enum Holding {
    /// A server's in TrustedServers.
    Servers(ServerSecret),
    /// A client's in TrustedServers, of each of its addresses.
    Client(BTreeMap<Ipv6Addr, ClientSecret>),
    /// In AsymmetricPoll, of each address of the side that does not poll.
    Own(BTreeMap<Ipv6Addr, OwnSecret>),
}

/// What this host knows of a PairMasterSecret. The secret itself it never knows.
pub(super) struct Master {
    pub(super) generation: u64,
    pub(super) id: SecretId,
    pub(super) suite: Suite,
    pub(super) profile: Profile,
    pub(super) expires: Duration,
    pub(super) active: bool,
    pub(super) retires: Option<Duration>,
    /// `Synced` came behind it: all secrets that belong to it are there.
    pub(super) complete: bool,
    pub(super) said_prepared: bool,
    holdings: BTreeMap<GroupName, (u32, Holding)>,
    /// The greatest group_gen of each group while this was held: lower ones are refused.
    floors: BTreeMap<GroupName, u32>,
    pub(super) leases: BTreeMap<Ipv6Addr, Lease>,
    /// Of identity-based groups: local, remote, group_gen.
    pub(super) agreed: BTreeMap<(Ipv6Addr, Ipv6Addr, u32), (Suite, Secret)>,
    /// Those of them that are being agreed on.
    pub(super) agreeing: BTreeSet<(Ipv6Addr, Ipv6Addr, u32)>,
}

impl Master {
    /// What is held of a group, if it is of its generation now.
    pub(super) fn holding(&self, name: &GroupName, group_gen: u32) -> Option<&Holding> {
        self.holdings.get(name).filter(|(held, _)| *held == group_gen).map(|(_, holding)| holding)
    }

    /// "Each member refuses the old generation the moment it learns, without overlap": also when it is told so later.
    pub(super) fn refuses(&self, name: &GroupName, group_gen: u32) -> bool {
        self.floors.get(name).is_some_and(|floor| group_gen < *floor)
    }

    fn saw(&mut self, name: &GroupName, group_gen: u32) -> Result<(), Failure> {
        if self.floors.len() >= FLOORS_MAX && !self.floors.contains_key(name) {
            return Err(Failure::TooMany("groups"));
        }
        let floor = self.floors.entry(name.clone()).or_default();
        *floor = group_gen.max(*floor);
        // Wiped at once.
        let floor = *floor;
        if self.holdings.get(name).is_some_and(|(held, _)| *held < floor) {
            self.holdings.remove(name);
        }
        Ok(())
    }
}

/// A pairing.
pub(super) struct Scope {
    pub(super) side: Side,
    pub(super) roster: Roster,
    /// At most two, oldest first.
    pub(super) masters: Vec<Master>,
}

impl Scope {
    pub(super) fn new(side: Side) -> Self {
        Self { side, roster: Roster::default(), masters: Vec::new() }
    }

    pub(super) fn master_mut(&mut self, id: &SecretId) -> Option<&mut Master> {
        self.masters.iter_mut().find(|master| master.id == *id)
    }

    /// How many prefixes its lists have.
    pub(super) fn prefixes(&self) -> usize {
        let servers = self.roster.groups.values().map(|group| group.servers.len());
        servers.fold(self.roster.clients.len(), usize::saturating_add)
    }

    /// Digests of the lists it has.
    pub(super) fn digests(&self) -> impl Iterator<Item = (Option<GroupName>, ListDigest)> + '_ {
        let groups = self.roster.groups.iter().map(|(name, group)| (Some(name.clone()), group.servers.digest()));
        std::iter::once((None, self.roster.clients.digest())).chain(groups)
    }

    /// Ends of the leases it has.
    pub(super) fn held_leases(&self) -> impl Iterator<Item = (SecretId, Ipv6Addr, u32)> + '_ {
        self.masters.iter().flat_map(|master| {
            let held = master.leases.iter().filter_map(|(address, lease)| Some((*address, lease.range()?.end)));
            held.map(|(address, end)| (master.id, address, end))
        })
    }

    /// Nothing may be sent any more under what was leased.
    pub(super) fn forget_leases(&mut self) {
        for master in &mut self.masters {
            master.leases.values_mut().for_each(Lease::lose);
            master.agreed.clear();
            master.agreeing.clear();
        }
    }

    /// What was asked in an earlier session is not answered in this.
    pub(super) fn begin_session(&mut self) {
        for master in &mut self.masters {
            master.said_prepared = false;
            master.leases.values_mut().for_each(Lease::ask_again);
        }
    }

    /// A group is as it is told.
    pub(super) fn group(&mut self, name: &GroupName, mode: Mode, group_gen: u32) -> Result<(), Failure> {
        for master in &mut self.masters {
            master.saw(name, group_gen)?;
        }
        let servers = self.roster.groups.get(name).map(|group| group.servers.clone()).unwrap_or_default();
        self.roster.groups.insert(name.clone(), Group { mode, group_gen, servers });
        Ok(())
    }

    /// Wipes what is held of groups that are gone.
    pub(super) fn wipe_gone(&mut self) {
        for master in &mut self.masters {
            master.holdings.retain(|name, _| self.roster.groups.contains_key(name));
        }
    }

    /// PREPARE.
    pub(super) fn prepare(&mut self, prepare: &Prepare, now: Duration) -> Result<&mut Master, Failure> {
        let profile = Profile::from_u8(prepare.profile).ok_or(Failure::Bounds("profile"))?;
        let suite = Suite::from(prepare.suite);
        suite.hash_len().ok_or(Failure::Bounds("suite"))?;
        if prepare.grants.len() > ADDRESSES_MAX {
            return Err(Failure::TooMany("grants"));
        }
        let known = |master: &Master| master.id == prepare.pms;
        if !self.masters.iter().any(known) {
            // One that was never sent under gives way to a newer; of the others the newest stays.
            self.masters.retain(|master| master.active);
            let more = (self.masters.len() + 1).saturating_sub(MASTERS_MAX);
            self.masters.drain(..more.min(self.masters.len()));
            let mut floors = BTreeMap::new();
            for (name, group) in &self.roster.groups {
                floors.insert(name.clone(), group.group_gen);
            }
            self.masters.push(Master {
                generation: prepare.generation,
                id: prepare.pms,
                suite,
                profile,
                expires: now + Duration::from_secs(u64::from(prepare.lifetime)),
                active: false,
                retires: None,
                complete: false,
                said_prepared: false,
                holdings: BTreeMap::new(),
                floors,
                leases: BTreeMap::new(),
                agreed: BTreeMap::new(),
                agreeing: BTreeSet::new(),
            });
        }
        self.masters.iter_mut().find(|master| known(master)).ok_or(Failure::Malformed)
    }

    /// Secrets of a group.
    pub(super) fn secrets(&mut self, told: Secrets) -> Result<(), Failure> {
        let unexpected = Failure::Unexpected(37);
        let group = self.roster.groups.get(&told.group).ok_or(unexpected)?;
        let master = self.masters.iter_mut().find(|master| master.id == told.pms).ok_or(unexpected)?;
        if told.own.len() > ADDRESSES_MAX {
            return Err(Failure::TooMany("addresses"));
        }
        if told.group_gen != group.group_gen || master.refuses(&told.group, told.group_gen) {
            // Overtaken by a revocation.
            return Ok(());
        }
        let suite = master.suite;
        let holding = match (group.mode, self.side, told.shared) {
            (Mode::TrustedServers, Side::Server, Some(shared)) => {
                Holding::Servers(ServerSecret::from_message(suite, shared)?)
            }
            (Mode::TrustedServers, Side::Client, None) => {
                let own = told.own.into_iter();
                let own = own.map(|one| Ok((one.address, ClientSecret::from_message(suite, one.secret)?)));
                Holding::Client(own.collect::<Result<_, Failure>>()?)
            }
            (Mode::AsymmetricPoll { poller }, side, None) if side != poller => {
                let own = told.own.into_iter();
                let own = own.map(|one| Ok((one.address, OwnSecret::from_message(suite, one.secret)?)));
                Holding::Own(own.collect::<Result<_, Failure>>()?)
            }
            _ => return Err(unexpected),
        };
        master.holdings.insert(told.group, (told.group_gen, holding));
        Ok(())
    }

    /// ACTIVATE: it is sent under; older ones are received under for a while.
    pub(super) fn activate(&mut self, pms: SecretId, now: Duration) {
        let Some(place) = self.masters.iter().position(|master| master.id == pms) else { return };
        for (at, master) in self.masters.iter_mut().enumerate() {
            match at.cmp(&place) {
                Ordering::Less => {
                    master.retires.get_or_insert(now + OVERLAP);
                }
                Ordering::Equal => master.active = true,
                Ordering::Greater => {}
            }
        }
    }

    /// Wipes what has had its time; whether there was any.
    pub(super) fn drop_ended(&mut self, now: Duration) -> bool {
        let before = self.masters.len();
        self.masters.retain(|master| now < master.expires && master.retires.is_none_or(|at| now < at));
        self.masters.len() != before
    }
}
