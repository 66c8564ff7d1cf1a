// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A module in memory that keeps the contract of `docs/netlink/pdmv2.yaml` as far as the daemon depends on it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use pdmv2::keys::schedule::{FlowKey, SecretId};
use pdmv2::netlink::association::{Association, AssociationInfo};
use pdmv2::netlink::flow::Flow;
use pdmv2::netlink::key::KeyName;
use pdmv2::netlink::policy::{Limits, Policy};
use pdmv2::netlink::secret::{HeldSecret, NewSecret};
use pdmv2::netlink::stats::Stats;
use pdmv2::netlink::{Error, Kernel};
use pdmv2::prefix::Prefix;
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;
use rustix::io::Errno;

use super::logs;

/// What was done to the module, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Policy(Policy),
    Associate(String),
    Dissociate(String),
    Add(String, u64),
    Activate(String, u64),
    Delete(String, u64),
    Key(KeyName),
}

#[derive(Default)]
pub struct State {
    pub log: Vec<Done>,
    pub policy: Policy,
    pub associations: Vec<AssociationInfo>,
    pub flows: Vec<Flow>,
    pub keys: Vec<(KeyName, FlowKey)>,
    pub prks: Vec<(u64, Option<Secret>)>,
    pub sent: HashSet<SecretId>,
    /// Of each secret added.
    pub suites: Vec<Suite>,
    ids: Vec<(String, u64, SecretId)>,
    /// association-set of this name fails.
    pub refuse: Option<String>,
    /// After so many changes one is refused, for want of memory.
    pub refuse_after: Option<usize>,
    /// And so are all that follow.
    pub refuse_on: bool,
    /// Two associations had an address in common.
    pub overlapped: bool,
    /// The module is not loaded.
    pub gone: bool,
    /// It was loaded anew, and nobody has noticed.
    pub new: bool,
}

/// A handle; clones share the state.
#[derive(Clone, Default)]
pub struct MemoryKernel(Arc<Mutex<State>>);

impl MemoryKernel {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The module is unloaded, and forgets everything; what was done to it stays in the log.
    pub fn unload(&self) {
        let mut state = self.state();
        *state = State { log: std::mem::take(&mut state.log), gone: true, ..State::default() };
    }

    /// It is loaded again.
    pub fn load(&self) {
        let mut state = self.state();
        (state.gone, state.new) = (false, true);
    }

    /// Generation and state of each secret of an association.
    pub fn secrets(&self, name: &str) -> Vec<(u64, String)> {
        let state = self.state();
        let found = state.associations.iter().find(|known| known.name == name);
        found.map_or(vec![], |known| known.secrets.iter().map(|s| (s.generation, s.state.clone())).collect())
    }

    /// Associations with their secrets, by name, and the policy.
    pub fn in_force(&self) -> (Vec<AssociationInfo>, Policy) {
        let state = self.state();
        let mut associations = state.associations.clone();
        associations.sort_by(|one, other| one.name.cmp(&other.name));
        (associations, state.policy.clone())
    }

    /// The generation that is sent under.
    pub fn sending(&self, name: &str) -> Option<u64> {
        self.secrets(name).into_iter().find(|(_, state)| state == "send").map(|(generation, _)| generation)
    }
}

impl MemoryKernel {
    /// Where a request goes: to the module that was found last, if it is still that.
    fn there(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state();
        match (state.gone, state.new) {
            (true, _) => Err(Error::NotLoaded),
            (false, true) => Err(refused(Errno::NOENT)),
            (false, false) => Ok(state),
        }
    }

    /// [`Self::there`], of a request that changes something.
    fn change(&self) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.there()?;
        let refuse_on = state.refuse_on;
        match &mut state.refuse_after {
            Some(0) => {
                if !refuse_on {
                    state.refuse_after = None;
                }
                Err(refused(Errno::NOMEM))
            }
            Some(more) => {
                *more -= 1;
                Ok(state)
            }
            None => Ok(state),
        }
    }
}

fn refused(errno: Errno) -> Error {
    Error::Refused { request: "test", errno: errno.raw_os_error(), message: None, attribute: None }
}

impl State {
    /// What is absent stays.
    fn limit(&mut self, limits: Limits) {
        let now = &mut self.policy.limits;
        *now = Limits {
            flows_max: limits.flows_max.or(now.flows_max),
            idle: limits.idle.or(now.idle),
            rest: limits.rest.or(now.rest),
            memory: limits.memory.or(now.memory),
            associations_max: limits.associations_max.or(now.associations_max),
            pending_max: limits.pending_max.or(now.pending_max),
            acquire_rate: limits.acquire_rate.or(now.acquire_rate),
            event_rate: limits.event_rate.or(now.event_rate),
            stranger_rate: limits.stranger_rate.or(now.stranger_rate),
        };
    }

    fn note_overlaps(&mut self) {
        for (index, one) in self.associations.iter().enumerate() {
            for other in &self.associations[index + 1..] {
                let meet = |p: &Prefix| other.remote.iter().any(|q| p.overlaps(q));
                let same = (one.ifindex, one.vrf) == (other.ifindex, other.vrf);
                let parked: Prefix = "::/128".parse().unwrap();
                self.overlapped |= same && one.remote.iter().any(|p| *p != parked && meet(p));
            }
        }
    }

    fn secrets(&mut self, name: &str) -> Result<&mut Vec<HeldSecret>, Error> {
        let found = self.associations.iter_mut().find(|known| known.name == name);
        found.map(|known| &mut known.secrets).ok_or_else(|| refused(Errno::NOENT))
    }
}

impl Kernel for MemoryKernel {
    fn is_new(&mut self) -> Result<bool, Error> {
        let mut state = self.state();
        match state.gone {
            true => Err(Error::NotLoaded),
            false => Ok(std::mem::take(&mut state.new)),
        }
    }

    fn policy_set(&mut self, policy: &Policy) -> Result<(), Error> {
        let mut state = self.change()?;
        state.log.push(Done::Policy(policy.clone()));
        state.limit(policy.limits);
        state.policy.forbid_plain = policy.forbid_plain;
        state.policy.rules = policy.rules.clone();
        for rule in &mut state.policy.rules {
            rule.expiry.get_or_insert(3600);
        }
        Ok(())
    }

    fn limits_set(&mut self, limits: Limits) -> Result<(), Error> {
        self.change()?.limit(limits);
        Ok(())
    }

    fn policy_get(&mut self) -> Result<Policy, Error> {
        let mut policy = self.there()?.policy.clone();
        for rule in &mut policy.rules {
            // A rule that never stops has no seconds left to tell.
            rule.expiry.take_if(|seconds| *seconds == 0);
        }
        Ok(policy)
    }

    fn association_set(&mut self, association: &Association) -> Result<(), Error> {
        let mut state = self.change()?;
        if state.refuse.as_ref() == Some(&association.name) {
            return Err(refused(Errno::INVAL));
        }
        let info = AssociationInfo::decode(&association.encode().into_bytes()).unwrap();
        let most = state.policy.limits.associations_max.unwrap_or(u32::MAX) as usize;
        let others = state.associations.iter().filter(|known| known.name != association.name).count();
        if others >= most {
            return Err(refused(Errno::NOSPC));
        }
        state.log.push(Done::Associate(association.name.clone()));
        match state.associations.iter_mut().find(|known| known.name == association.name) {
            Some(known) => {
                let mut secrets = std::mem::take(&mut known.secrets);
                // "Its secrets stay, unless its local prefixes or its key mode change", or its profile.
                let stay = |one: &AssociationInfo| (one.local.clone(), one.key_mode.clone(), one.profile.clone());
                if stay(known) != stay(&info) {
                    secrets.clear();
                }
                *known = AssociationInfo { secrets, ..info };
            }
            None => state.associations.push(info),
        }
        state.note_overlaps();
        Ok(())
    }

    fn association_del(&mut self, name: &str) -> Result<(), Error> {
        let mut state = self.change()?;
        let before = state.associations.len();
        state.associations.retain(|known| known.name != name);
        if state.associations.len() == before {
            return Err(refused(Errno::NOENT));
        }
        state.log.push(Done::Dissociate(name.into()));
        Ok(())
    }

    fn associations(&mut self) -> Result<Vec<AssociationInfo>, Error> {
        Ok(self.there()?.associations.clone())
    }

    fn secret_add(&mut self, secret: &NewSecret) -> Result<bool, Error> {
        if let Some(prk) = &secret.prk {
            logs::secret(prk.as_bytes());
        }
        let mut state = self.change()?;
        let may_send = !state.sent.contains(&secret.id);
        let held = state.secrets(&secret.association)?;
        if held.len() >= 2 || held.iter().any(|held| held.generation >= secret.generation) {
            return Err(refused(Errno::INVAL));
        }
        held.push(HeldSecret {
            generation: secret.generation,
            state: "receive".into(),
            may_send,
            epoch_first: secret.epochs.map(|(first, _)| first),
            epoch_last: secret.epochs.map(|(_, last)| last),
            ..HeldSecret::default()
        });
        state.suites.push(secret.suite);
        state.ids.push((secret.association.clone(), secret.generation, secret.id));
        state.prks.push((secret.generation, secret.prk.clone()));
        state.log.push(Done::Add(secret.association.clone(), secret.generation));
        Ok(may_send)
    }

    fn secret_activate(&mut self, association: &str, generation: u64) -> Result<(), Error> {
        let mut state = self.there()?;
        let known = state.ids.iter().rev().find(|(name, known, _)| name == association && *known == generation);
        let id = known.map(|(.., id)| *id);
        let id = id.ok_or_else(|| refused(Errno::NOENT))?;
        if !state.sent.insert(id) {
            return Err(refused(Errno::ALREADY));
        }
        for held in state.secrets(association)? {
            held.state = if held.generation == generation { "send" } else { "retired" }.into();
        }
        state.log.push(Done::Activate(association.into(), generation));
        Ok(())
    }

    fn secret_extend(&mut self, association: &str, generation: u64, last_epoch: u32) -> Result<(), Error> {
        let mut state = self.there()?;
        let held = state.secrets(association)?.iter_mut().find(|held| held.generation == generation);
        held.ok_or_else(|| refused(Errno::NOENT))?.epoch_last = Some(last_epoch);
        Ok(())
    }

    fn secret_del(&mut self, association: &str, generation: u64) -> Result<(), Error> {
        let mut state = self.there()?;
        state.secrets(association)?.retain(|held| held.generation != generation);
        state.log.push(Done::Delete(association.into(), generation));
        Ok(())
    }

    fn key_add(&mut self, name: &KeyName, key: &FlowKey) -> Result<(), Error> {
        logs::secret(key.key.as_bytes());
        logs::secret(&key.base_nonce);
        let mut state = self.there()?;
        if state.secrets(&name.association)?.iter().all(|held| held.generation != name.generation) {
            return Err(refused(Errno::NOENT));
        }
        state.log.push(Done::Key(name.clone()));
        state.keys.push((name.clone(), key.clone()));
        Ok(())
    }

    fn flows(&mut self) -> Result<Vec<Flow>, Error> {
        Ok(self.there()?.flows.clone())
    }

    fn flow_flush(&mut self) -> Result<(), Error> {
        self.there()?.flows.clear();
        Ok(())
    }

    fn stats(&mut self) -> Result<Stats, Error> {
        Ok(Stats::default())
    }
}
