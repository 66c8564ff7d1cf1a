// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Peers and policy change while the daemon runs: all of it, or nothing.
//!
//! Everything that can be is checked first. Then the module is told, in an order in which no address is two peers' at any
//! time and in which each step can be taken back; what cannot comes last:
//!
//! 1. associations that give addresses away, or go, are parked: they keep their secrets, for addresses that nobody has
//! 2. associations that changed, and new ones
//! 3. the policy
//! 4. associations that are replaced: the old one's secrets go
//! 5. from here on nothing is taken back: associations that go are deleted, and again every second until they are
//!
//! | what changed of a peer | what becomes of it |
//! |---|---|
//! | nothing | association, secrets and session stay as they are |
//! | identity, local prefixes, key mode | replaced: another association, another session, secrets from a new negotiation |
//! | suites, profile, lifetime | a new secret is negotiated under the new settings; the old one is in force until then |
//! | all else | in force at once, secrets and session stay |

use std::net::Ipv6Addr;

use pdmv2_proto::uapi::attr::policy::{ASSOCIATIONS_MAX, RULES};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::pair::{Devices, Pair};
use super::steps::{Refused, Steps};
use super::{Keeper, KeeperError};
use crate::config::{overlap, Config, Peer};
use crate::daemon::id::PeerId;
use crate::identity::Identity;
use crate::keys::keylog::KeyLog;
use crate::netlink::association::Association;
use crate::netlink::policy::{Limits, Policy};
use crate::netlink::Error;
use crate::prefix::Prefix;

/// What takes the place of the addresses of an association that is parked: the unspecified address is no host's.
const PARKED: (Ipv6Addr, u8) = (Ipv6Addr::UNSPECIFIED, 128);

/// Keys of a peer whose change replaces it. The module's secrets are bound to the last two, and to the peer the first two.
const REPLACING: [&str; 4] = ["public-key", "subject", "local", "key-mode"];

/// Keys of a peer that only another negotiation brings into force.
const NEGOTIATED: [&str; 3] = ["suites", "profile", "lifetime"];

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The module refused a part of it.
    #[error("{what}: {source}; everything is as it was")]
    Refused {
        /// What was refused.
        what: String,
        /// What the module said.
        source: Error,
    },
    /// The module refused a part of it, and then to have the rest taken back.
    #[error("{what}: {source}; what was changed before could not be taken back: {second}; that is tried again")]
    Stuck {
        /// What was refused.
        what: String,
        /// What the module said.
        source: Error,
        /// What it said then.
        second: Box<Error>,
    },
    /// An interface is not there.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// More peers than associations.
    #[error("policy.associations-max is {most}, which is too little for {count} peers")]
    Many {
        /// Associations that there may be.
        most: u32,
        /// Peers that there would be.
        count: usize,
    },
    /// A peer that was removed is still in the module.
    #[error("the module still has the association of `{0}`, a peer that was removed; it is asked again every second")]
    Leaving(String),
    /// The name or an address is another peer's.
    #[error("peer `{0}` has this name or an address in common")]
    Taken(String),
}

/// A peer that changed, for messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Its name.
    pub peer: String,
    /// The keys of its table that changed.
    pub keys: Vec<String>,
}

/// What changed, by the names of peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Peers that came.
    pub added: Vec<String>,
    /// Peers that went.
    pub removed: Vec<String>,
    /// Peers that stayed, but not as they were.
    pub changed: Vec<Changed>,
    /// Peers that are as they were.
    pub unchanged: Vec<String>,
}

/// What the rest of the daemon has to see to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Their sessions end.
    pub went: Vec<PeerId>,
    /// They are dialled, or dial.
    pub came: Vec<PeerId>,
    /// They are reached elsewhere from now on.
    pub moved: Vec<PeerId>,
    /// A new secret is due with them.
    pub renew: Vec<PeerId>,
    /// For who asked.
    pub report: Report,
}

/// A peer that stays, but not as it was.
struct Altered {
    id: PeerId,
    peer: Peer,
    devices: Devices,
    keys: Vec<&'static str>,
}

/// What is to be done.
#[derive(Default)]
struct Plan {
    new: Vec<Pair>,
    gone: Vec<PeerId>,
    replaced: Vec<(PeerId, Pair, Vec<&'static str>)>,
    altered: Vec<Altered>,
    unchanged: Vec<String>,
}

impl Keeper {
    /// Brings another configuration into force. Peers that came by [`Keeper::add`] stay.
    ///
    /// # Errors
    /// Then nothing has changed, but what [`ApplyError::Stuck`] says.
    pub fn apply(&mut self, config: &Config, key_log: Option<KeyLog>) -> Result<Changes, ApplyError> {
        self.leave();
        let plan = self.plan(&config.peers)?;
        let mut changes = self.carry_out(plan, Some(&config.policy))?;
        self.policy = config.policy.clone();
        self.key_log = key_log;
        if std::mem::replace(&mut self.idle, config.host.idle) != config.host.idle {
            // Peers are told in a negotiation.
            changes.renew = self.peers();
        }
        Ok(changes)
    }

    /// Adds a peer that is not of the configuration.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub fn add(&mut self, peer: &Peer) -> Result<PeerId, ApplyError> {
        self.leave();
        self.check_name(&peer.name)?;
        let clash = |other: &&Pair| other.peer.name == peer.name || overlap(&other.peer, peer).is_some();
        if let Some(other) = self.pairs.values().find(clash) {
            return Err(ApplyError::Taken(other.peer.name.clone()));
        }
        let plan = Plan { new: vec![Pair::new(peer, false)?], ..Plan::default() };
        let changes = self.carry_out(plan, None)?;
        changes.came.first().copied().ok_or(ApplyError::Keeper(KeeperError::NoPeer))
    }

    /// Removes a peer, with its secrets here and in the module.
    ///
    /// # Errors
    /// No such peer; what the module refuses. Then nothing has changed.
    pub fn remove(&mut self, id: PeerId) -> Result<(), ApplyError> {
        if !self.pairs.contains_key(&id) {
            return Err(KeeperError::NoPeer.into());
        }
        self.carry_out(Plan { gone: vec![id], ..Plan::default() }, None).map(drop)
    }

    /// Deletes the associations of peers that went, and gives the room back that they took. What is refused is tried again.
    pub(super) fn leave(&mut self) {
        let kernel = &mut self.kernel;
        self.leaving.retain(|name| match kernel.association_del(name) {
            Ok(()) => false,
            Err(error) if error.is_errno(Errno::NOENT) => false,
            Err(error) => {
                warn!(peer = name, "removed, but not from the module: {error}");
                true
            }
        });
        if let Some(most) = self.room.filter(|_| self.leaving.is_empty()) {
            match self.kernel.limits_set(Limits { associations_max: Some(most), ..Limits::default() }) {
                Ok(()) => self.room = None,
                Err(error) => warn!("associations-max is not yet {most} again: {error}"),
            }
        }
    }

    fn check_name(&self, name: &str) -> Result<(), ApplyError> {
        // An association of this name would have the secrets of the peer that went.
        match self.leaving.iter().find(|leaving| *leaving == name) {
            Some(leaving) => Err(ApplyError::Leaving(leaving.clone())),
            None => Ok(()),
        }
    }

    fn plan(&self, peers: &[Peer]) -> Result<Plan, ApplyError> {
        let mut plan = Plan::default();
        for (id, pair) in self.pairs.iter().filter(|(_, pair)| pair.configured) {
            if peers.iter().all(|peer| peer.name != pair.peer.name) {
                plan.gone.push(*id);
            }
        }
        for peer in peers {
            self.check_name(&peer.name)?;
            let Some((id, pair)) = self.pairs.iter().find(|(_, pair)| pair.peer.name == peer.name) else {
                plan.new.push(Pair::new(peer, true)?);
                continue;
            };
            let devices = Devices::of(peer)?;
            let mut keys = differences(&pair.peer, peer);
            if devices != pair.devices && !keys.contains(&"interface") && !keys.contains(&"vrf") {
                // The name is another device's now.
                keys.push(if devices.vrf == pair.devices.vrf { "interface" } else { "vrf" });
            }
            if keys.is_empty() {
                plan.unchanged.push(peer.name.clone());
            } else if keys.iter().any(|key| REPLACING.contains(key)) {
                plan.replaced.push((*id, Pair::new(peer, true)?, keys));
            } else {
                plan.altered.push(Altered { id: *id, peer: peer.clone(), devices, keys });
            }
        }
        let added = |pair: &&Pair| !pair.configured;
        for other in self.pairs.values().filter(added) {
            let clash = |peer: &&Peer| peer.name == other.peer.name || overlap(&other.peer, peer).is_some();
            if peers.iter().any(|peer| clash(&peer)) {
                return Err(ApplyError::Taken(other.peer.name.clone()));
            }
        }
        Ok(plan)
    }

    fn carry_out(&mut self, plan: Plan, policy: Option<&Policy>) -> Result<Changes, ApplyError> {
        let requests = self.requests(&plan, policy);
        let mut steps = Steps::new(&mut *self.kernel);
        let (what, source) = match take(&mut steps, requests) {
            Ok(room) => {
                self.room = room;
                return Ok(self.keep(plan));
            }
            Err(Failure::Many { most, count }) => return Err(ApplyError::Many { most, count }),
            Err(Failure::Refused(Refused { what, source })) => (what, source),
        };
        let (deleted, second) = steps.put_back();
        for (id, pair) in self.pairs.iter_mut().filter(|(_, pair)| deleted.contains(&pair.peer.name)) {
            pair.forget();
            self.due.push(*id);
        }
        match second {
            None => Err(ApplyError::Refused { what, source }),
            Some(second) => {
                self.forgotten = true;
                Err(ApplyError::Stuck { what, source, second: second.into() })
            }
        }
    }

    fn requests(&self, plan: &Plan, policy: Option<&Policy>) -> Requests {
        let mut requests = Requests {
            policy: policy.cloned(),
            count: self.pairs.len() + plan.new.len() - plan.gone.len(),
            ..Requests::default()
        };
        let going = plan.gone.iter().chain(plan.replaced.iter().map(|(id, ..)| id));
        for pair in going.filter_map(|id| self.pairs.get(id)) {
            requests.parked.push(parked(pair, None));
        }
        for altered in &plan.altered {
            let Some(pair) = self.pairs.get(&altered.id) else { continue };
            let mut others =
                (plan.new.iter().chain(plan.replaced.iter().map(|(_, pair, _)| pair)).map(|pair| &pair.peer))
                    .chain(plan.altered.iter().map(|other| &other.peer));
            let mut before = pair.association();
            if others.any(|other| other.name != pair.peer.name && overlap(&pair.peer, other).is_some()) {
                let (parked, was) = parked(pair, Some(&altered.peer));
                // Taken back, it is parked again until all others are.
                before = parked.clone();
                requests.parked.push((parked, was));
            }
            let mut association = pair.association_as(&altered.peer, altered.devices);
            if !pair.has_secrets() {
                association.profile = altered.peer.profile;
            }
            requests.changed.push((association, before));
        }
        requests.made = plan.new.iter().map(Pair::association).collect();
        requests.replaced = plan.replaced.iter().map(|(_, pair, _)| pair.association()).collect();
        requests
    }

    /// The module has taken it all: so does the keeper.
    fn keep(&mut self, plan: Plan) -> Changes {
        let mut changes = Changes::default();
        for id in plan.gone {
            // With it, its secrets are wiped here.
            let Some(pair) = self.pairs.remove(&id) else { continue };
            info!(peer = pair.peer.name, "removed");
            self.leaving.push(pair.peer.name.clone());
            changes.went.push(id);
            changes.report.removed.push(pair.peer.name);
        }
        self.leave();
        for (id, mut pair, keys) in plan.replaced {
            let Some(old) = self.pairs.remove(&id) else { continue };
            if old.peer.identity == pair.peer.identity {
                pair.last_generation = old.last_generation;
            }
            info!(peer = pair.peer.name, ?keys, "replaced");
            changes.report.changed.push(changed(&pair.peer, &keys));
            changes.went.push(id);
            let id = self.next_id.take();
            self.pairs.insert(id, pair);
            changes.came.push(id);
        }
        for Altered { id, peer, devices, keys } in plan.altered {
            let Some(pair) = self.pairs.get_mut(&id) else { continue };
            info!(peer = peer.name, ?keys, "changed");
            if keys.iter().any(|key| NEGOTIATED.contains(key)) {
                changes.renew.push(id);
            }
            if keys.iter().any(|key| ["endpoint", "interface", "vrf"].contains(key)) {
                changes.moved.push(id);
            }
            changes.report.changed.push(changed(&peer, &keys));
            if !pair.has_secrets() {
                pair.profile = peer.profile;
            }
            (pair.peer, pair.devices) = (peer, devices);
        }
        for pair in plan.new {
            info!(peer = pair.peer.name, "added");
            changes.report.added.push(pair.peer.name.clone());
            let id = self.next_id.take();
            self.pairs.insert(id, pair);
            changes.came.push(id);
        }
        changes.report.unchanged = plan.unchanged;
        changes
    }
}

/// What the module is asked.
#[derive(Default)]
struct Requests {
    /// As they are to be meanwhile, and as they were.
    parked: Vec<(Association, Association)>,
    /// As they are to be, and as they were.
    changed: Vec<(Association, Association)>,
    made: Vec<Association>,
    replaced: Vec<Association>,
    policy: Option<Policy>,
    /// Peers that there will be.
    count: usize,
}

enum Failure {
    Refused(Refused),
    Many { most: u32, count: usize },
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Asks it, step by step. What `associations-max` is to be once associations that go are gone, if that is less than it is.
fn take(steps: &mut Steps<'_>, requests: Requests) -> Result<Option<u32>, Failure> {
    let Requests { parked, changed, made, replaced, policy, count } = requests;
    let known = steps.associations()?;
    let (mut policy, mut room) = (policy, None);
    let before = steps.policy()?;
    if let Some(policy) = &mut policy {
        let most = policy.limits.associations_max.or(before.limits.associations_max);
        if let Some(most) = most.filter(|most| count > *most as usize) {
            return Err(Failure::Many { most, count });
        }
        // What goes and what comes are there at once for a while.
        let bound = RULES.get(usize::from(ASSOCIATIONS_MAX)).map_or(u32::MAX, |rule| rule.most as u32);
        let peak = u32::try_from(known.len() + made.len()).unwrap_or(bound).min(bound);
        room = most.filter(|most| *most < peak);
        if room.is_some() {
            policy.limits.associations_max = Some(peak);
            let raised = Limits { associations_max: Some(peak), ..Limits::default() };
            steps.set_limits(raised, before.limits)?;
        }
    }
    for (association, before) in parked.into_iter().chain(changed) {
        if association != before {
            steps.change(&association, before)?;
        }
    }
    for association in &made {
        if known.contains(&association.name) {
            // Somebody else's: the namespace's associations are this daemon's.
            steps.delete(&association.name)?;
        }
        steps.make(association)?;
    }
    if let Some(policy) = &policy {
        steps.set_policy(policy, before)?;
    }
    for association in &replaced {
        steps.delete(&association.name)?;
        steps.make(association)?;
    }
    Ok(room)
}

/// An association that gives its addresses away, but for those that stay its own; and as it was.
fn parked(pair: &Pair, stays: Option<&Peer>) -> (Association, Association) {
    let before = pair.association();
    let mut remote = before.remote.clone();
    remote.retain(|prefix| stays.is_some_and(|peer| peer.remote.contains(prefix)));
    if remote.is_empty() {
        remote.extend(Prefix::new(PARKED.0, PARKED.1));
    }
    (Association { remote, ..before.clone() }, before)
}

fn changed(peer: &Peer, keys: &[&'static str]) -> Changed {
    Changed { peer: peer.name.clone(), keys: keys.iter().map(|key| (*key).to_owned()).collect() }
}

fn certified(identity: &Identity) -> bool {
    matches!(identity, Identity::Subject(_))
}

/// The keys of a peer's table that differ.
fn differences(old: &Peer, new: &Peer) -> Vec<&'static str> {
    // Named one by one, so that a key that comes to be is not forgotten here.
    let Peer {
        name: _,
        identity,
        endpoint,
        interface,
        vrf,
        local,
        remote,
        profile,
        key_mode,
        on_failure,
        lifetime,
        epoch_packets,
        epoch_seconds,
        renew_packets,
        suites,
    } = new;
    let keys = [
        ("public-key", *identity != old.identity && !(certified(identity) && certified(&old.identity))),
        ("subject", *identity != old.identity && (certified(identity) || certified(&old.identity))),
        ("endpoint", *endpoint != old.endpoint),
        ("interface", *interface != old.interface),
        ("vrf", *vrf != old.vrf),
        ("local", *local != old.local),
        ("remote", *remote != old.remote),
        ("profile", *profile != old.profile),
        ("key-mode", *key_mode != old.key_mode),
        ("on-failure", *on_failure != old.on_failure),
        ("lifetime", *lifetime != old.lifetime),
        ("epoch-packets", *epoch_packets != old.epoch_packets),
        ("epoch-seconds", *epoch_seconds != old.epoch_seconds),
        ("renew-packets", *renew_packets != old.renew_packets),
        ("suites", *suites != old.suites),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
