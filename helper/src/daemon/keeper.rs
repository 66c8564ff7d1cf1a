// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The keeper of pair secrets: what the module is told, and which keys it is given.
//!
//! Peers come and go while it runs ([`apply`]); everything else names them by their [`PeerId`].

pub mod apply;
mod pair;
mod steps;

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::receive::last_epoch;
use pdmv2_proto::uapi::{Event, KeyDirection, KeyMode, Profile, SecretState};
use rustix::io::Errno;
use tracing::{debug, error, info, warn};

use super::backoff::fraction;
use super::id::PeerId;
use crate::config::{Config, Peer};
use crate::identity::{Authenticated, PublicKey};
use crate::keys::keylog::{Entry, KeyLog};
use crate::keys::schedule::{Prk, UnknownSuite};
use crate::negotiate::{Local, Negotiated, Role};
use crate::netlink::key::KeyName;
use crate::netlink::notice::Notice;
use crate::netlink::policy::Policy;
use crate::netlink::secret::NewSecret;
use crate::netlink::{Error, Kernel};
use crate::output::protocol;
use pair::{Held, Pair};

/// How long the older generation is still accepted once the newer is sent under.
pub const OVERLAP: Duration = Duration::from_secs(60);

/// Generations of one association the module holds at once.
const GENERATIONS_MAX: usize = 2;

/// Why a secret or a key was not installed.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The module refused.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// The key schedule does not know the suite.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
    /// The secret was sent under before: it must not be again.
    #[error("the secret of generation {0} was sent under before; another is needed")]
    SentBefore(u64),
    /// No such peer.
    #[error("no such peer")]
    NoPeer,
    /// No such generation here.
    #[error("generation {0} is not held")]
    NoGeneration(u64),
    /// The module asks for addresses that are not this association's.
    #[error("the flow's addresses are outside the association's prefixes")]
    Outside,
    /// The module asks for an epoch that there is not.
    #[error("epoch {0} is out of bounds")]
    Epoch(u32),
    /// An interface's number cannot be told.
    #[error("peer `{peer}`: interface `{interface}`: {source}")]
    Interface {
        /// The peer.
        peer: String,
        /// The interface.
        interface: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Associations, secrets and keys.
pub struct Keeper {
    kernel: Box<dyn Kernel>,
    own: PublicKey,
    idle: u32,
    policy: Policy,
    pairs: BTreeMap<PeerId, Pair>,
    /// The next peer's.
    next_id: PeerId,
    /// Associations of peers that went, which the module would not delete so far.
    leaving: Vec<String>,
    /// What `associations-max` is to be once they are gone.
    room: Option<u32>,
    /// A new secret is due with them.
    due: Vec<PeerId>,
    key_log: Option<KeyLog>,
    /// The module went away, or came back and has not been told everything yet.
    forgotten: bool,
}

impl Keeper {
    /// Puts associations and policy in place; associations of other names are removed, as policy and associations of the
    /// namespace are this daemon's. Generations that the module holds from before are left until a new one replaces them.
    ///
    /// # Errors
    /// What the module refuses; associations that were made for it are removed again, and the policy is as it was.
    pub fn start(
        kernel: Box<dyn Kernel>,
        config: &Config,
        own: PublicKey,
        key_log: Option<KeyLog>,
    ) -> Result<Self, KeeperError> {
        let mut next_id = PeerId::default();
        let mut pairs = BTreeMap::new();
        for peer in &config.peers {
            pairs.insert(next_id.take(), Pair::new(peer, true)?);
        }
        let mut keeper = Self {
            kernel,
            own,
            idle: config.host.idle,
            policy: config.policy.clone(),
            pairs,
            next_id,
            leaving: Vec::new(),
            room: None,
            due: Vec::new(),
            key_log,
            forgotten: false,
        };
        let before = keeper.kernel.associations()?;
        for pair in keeper.pairs.values_mut() {
            let Some(known) = before.iter().find(|known| known.name == pair.peer.name) else { continue };
            pair.inherited = known.secrets.iter().map(|secret| secret.generation).collect();
            // What earlier secrets seal goes on until there is a new one.
            let profile = Profile::ALL.into_iter().find(|profile| profile.name() == known.profile);
            pair.profile = profile.filter(|_| !pair.inherited.is_empty()).unwrap_or(pair.profile);
            pair.last_generation = pair.inherited.iter().copied().max().unwrap_or(0);
        }
        // Those that go make room first: their prefixes may be another's now.
        for gone in before.iter().filter(|known| keeper.pairs.values().all(|pair| pair.peer.name != known.name)) {
            info!(association = gone.name, "removed: it is not in the configuration");
            keeper.kernel.association_del(&gone.name)?;
        }
        let mut made: Vec<&str> = Vec::new();
        let mut outcome = Ok(());
        for pair in keeper.pairs.values() {
            outcome = keeper.kernel.association_set(&pair.association());
            if outcome.is_err() {
                break;
            }
            if before.iter().all(|known| known.name != pair.peer.name) {
                made.push(&pair.peer.name);
            }
        }
        if outcome.is_ok() {
            outcome = keeper.kernel.policy_set(&keeper.policy);
        }
        if let Err(error) = outcome {
            for name in made {
                // The first error is the one to tell.
                let _ = keeper.kernel.association_del(name);
            }
            return Err(error.into());
        }
        Ok(keeper)
    }

    /// Notices when the module was unloaded, and when it is back: then it is told associations and policy again, and a new
    /// secret is due with the peers that are returned. What it remembers of secrets that were sent under went with it, so that
    /// none from before is ever given to it again.
    pub fn look_again(&mut self) -> Vec<PeerId> {
        let there = match self.kernel.is_new() {
            Ok(false) if !self.forgotten => return Vec::new(),
            Ok(_) => true,
            Err(Error::NotLoaded) => false,
            Err(error) => {
                debug!("{error}");
                return Vec::new();
            }
        };
        if !std::mem::replace(&mut self.forgotten, true) {
            warn!("the module was unloaded, and has no secret any more");
            self.pairs.values_mut().for_each(Pair::forget);
            self.leaving.clear();
            self.room = None;
        }
        if !there {
            return Vec::new();
        }
        match self.tell_all() {
            Ok(()) => {
                info!("the module is back: associations and policy are in place; negotiating anew");
                self.forgotten = false;
                self.pairs.keys().copied().collect()
            }
            Err(error) => {
                warn!("the module is back, but not as it was: {error}");
                Vec::new()
            }
        }
    }

    fn tell_all(&mut self) -> Result<(), Error> {
        for pair in self.pairs.values() {
            self.kernel.association_set(&pair.association())?;
        }
        self.kernel.policy_set(&self.policy)
    }

    /// Every peer.
    pub fn peers(&self) -> Vec<PeerId> {
        self.pairs.keys().copied().collect()
    }

    /// The peer of a name.
    pub fn named(&self, name: &str) -> Option<PeerId> {
        self.pairs.iter().find(|(_, pair)| pair.peer.name == name).map(|(id, _)| *id)
    }

    /// The peer that TLS authenticated. A certificate with the names of several peers is no peer's.
    pub fn peer_of(&self, found: &Authenticated) -> Option<PeerId> {
        let mut peers = self.pairs.iter().filter(|(_, pair)| pair.peer.identity.is(found));
        let (id, _) = peers.next()?;
        peers.next().is_none().then_some(*id)
    }

    /// A peer's definition.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.pairs.get(&id).map(|pair| &pair.peer)
    }

    /// The generation that is sent under, of those that are held here.
    pub fn sending(&self, id: PeerId) -> Option<u64> {
        self.pairs.get(&id)?.sending().map(|held| held.generation)
    }

    /// When the secret that is held is to be replaced, on the clock that lifetimes run on.
    pub fn renews_at(&self, id: PeerId) -> Option<Duration> {
        self.pairs.get(&id)?.held.iter().filter_map(|held| held.renew).min()
    }

    /// What this host brings to a negotiation with a peer that TLS authenticated by this key.
    ///
    /// # Errors
    /// No such peer.
    pub fn local(&self, id: PeerId, peer: PublicKey) -> Result<Local, KeeperError> {
        let pair = self.pairs.get(&id).ok_or(KeeperError::NoPeer)?;
        Ok(Local {
            idle: self.idle,
            last_generation: pair.last_generation,
            lifetime: pair.peer.lifetime,
            suites: pair.peer.suites.clone(),
            profiles: preferred(pair.peer.profile),
            ..Local::new(self.own, peer)
        })
    }

    /// An endpoint with the number of the interface its link-local address is on.
    pub fn scoped(&self, id: PeerId, endpoint: SocketAddr) -> SocketAddr {
        match (endpoint, self.pairs.get(&id)) {
            (SocketAddr::V6(mut v6), Some(pair)) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
                v6.set_scope_id(pair.devices.ifindex);
                SocketAddr::V6(v6)
            }
            _ => endpoint,
        }
    }

    /// The VRF that a peer is reached in.
    pub fn vrf(&self, id: PeerId) -> Option<String> {
        self.pairs.get(&id)?.peer.vrf.clone()
    }

    /// Installs a negotiated secret for receiving, with the keys of all live flows for its epoch 0, so that a switch to it
    /// loses nothing (docs/protocol.md, section 9).
    ///
    /// # Errors
    /// What the module refuses; [`KeeperError::SentBefore`], and the secret is not kept.
    pub fn install(&mut self, id: PeerId, negotiated: &Negotiated, now: Duration) -> Result<(), KeeperError> {
        self.make_room(id)?;
        let pair = self.pairs.get_mut(&id).ok_or(KeeperError::NoPeer)?;
        let prk = Prk::extract(negotiated.suite, negotiated.salt.as_bytes(), &negotiated.shared_secret)?;
        pair.peer_idle = Some(negotiated.peer_idle);
        if std::mem::replace(&mut pair.profile, negotiated.profile) != negotiated.profile {
            // The module drops the secrets of an association whose profile changes.
            pair.held.clear();
            pair.inherited.clear();
        }
        self.kernel.association_set(&pair.association())?;
        // Known from now on, whatever comes of it: no later negotiation may use it again.
        pair.last_generation = pair.last_generation.max(negotiated.generation);
        let name = pair.peer.name.clone();
        let may_send = self.kernel.secret_add(&NewSecret {
            association: name.clone(),
            generation: negotiated.generation,
            id: prk.secret_id()?,
            suite: negotiated.suite,
            epochs: None,
            lifetime: negotiated.lifetime,
            prk: (pair.peer.key_mode == KeyMode::Kernel).then(|| prk.secret().clone()),
        })?;
        if !may_send {
            self.kernel.secret_del(&name, negotiated.generation)?;
            return Err(KeeperError::SentBefore(negotiated.generation));
        }
        if let Some(key_log) = &mut self.key_log {
            let written = key_log.write(&Entry {
                association: &name,
                suite: negotiated.suite,
                profile: negotiated.profile,
                salt: &negotiated.salt,
                shared_secret: &negotiated.shared_secret,
                generation: negotiated.generation,
                local: &pair.peer.local,
                remote: &pair.peer.remote,
            });
            if let Err(error) = written {
                error!("key log: {error}");
            }
        }
        let lifetime = Duration::from_secs(u64::from(negotiated.lifetime));
        // The client negotiates anew first; the server's turn comes later, should the client be gone.
        let share = match negotiated.role {
            Role::Client => 0.75 + 0.1 * fraction(),
            Role::Server => 0.9,
        };
        pair.held.push(Held {
            generation: negotiated.generation,
            profile: negotiated.profile,
            prk,
            state: SecretState::Receive,
            expires: now + lifetime,
            renew: Some(now + lifetime.mul_f64(share)),
            retires: None,
        });
        if pair.peer.key_mode == KeyMode::Helper {
            self.install_live(id, negotiated.generation)?;
        }
        Ok(())
    }

    /// Leaves at most one generation in the module: the one that is sent under, or else the newest.
    fn make_room(&mut self, id: PeerId) -> Result<(), KeeperError> {
        let pair = self.pairs.get_mut(&id).ok_or(KeeperError::NoPeer)?;
        let known = self.kernel.associations()?.into_iter().find(|known| known.name == pair.peer.name);
        let Some(known) = known else {
            warn!(peer = pair.peer.name, "the module lost the association; it is made again, with the policy");
            pair.held.clear();
            pair.inherited.clear();
            self.kernel.association_set(&pair.association())?;
            self.kernel.policy_set(&self.policy)?;
            return Ok(());
        };
        let sending = known.secrets.iter().find(|secret| secret.state == SecretState::Send.name());
        let newest = known.secrets.iter().max_by_key(|secret| secret.generation);
        let keep = sending.or(newest).map(|secret| secret.generation);
        if known.secrets.len() >= GENERATIONS_MAX {
            for secret in known.secrets.iter().filter(|secret| Some(secret.generation) != keep) {
                self.kernel.secret_del(&pair.peer.name, secret.generation)?;
            }
        }
        pair.last_generation = pair.last_generation.max(newest.map_or(0, |secret| secret.generation));
        pair.held.retain(|held| Some(held.generation) == keep);
        pair.inherited.retain(|generation| Some(*generation) == keep);
        Ok(())
    }

    /// For receiving, as the peer may send under it at any time; and what each flow sends under first, so that no packet
    /// waits for it.
    fn install_live(&mut self, id: PeerId, generation: u64) -> Result<(), KeeperError> {
        let flows = self.kernel.flows()?;
        let pair = self.pairs.get(&id).ok_or(KeeperError::NoPeer)?;
        let mut names = Vec::new();
        for flow in flows.iter().map(|flow| flow.id).filter(|flow| pair.covers(flow)) {
            for direction in [KeyDirection::Receive, KeyDirection::Send] {
                names.push(KeyName { association: pair.peer.name.clone(), generation, direction, flow, epoch: 0 });
            }
        }
        for name in names {
            if let Err(error) = self.acquire(&name) {
                // The flow may be gone by now; if not, the module asks for its key.
                debug!(association = name.association, generation, "live flow's key: {error}");
            }
        }
        Ok(())
    }

    /// Sends under a generation from now on; the others are accepted for [`OVERLAP`] more. Nothing happens when that is so
    /// already.
    ///
    /// # Errors
    /// [`KeeperError::SentBefore`]; [`KeeperError::NoGeneration`]; what else the module refuses.
    pub fn activate(&mut self, id: PeerId, generation: u64, now: Duration) -> Result<(), KeeperError> {
        let pair = self.pairs.get_mut(&id).ok_or(KeeperError::NoPeer)?;
        let held = pair.held.iter_mut().find(|held| held.generation == generation);
        let held = held.ok_or(KeeperError::NoGeneration(generation))?;
        if held.state == SecretState::Send {
            return Ok(());
        }
        match self.kernel.secret_activate(&pair.peer.name, generation) {
            Err(error) if error.is_errno(Errno::ALREADY) => return Err(KeeperError::SentBefore(generation)),
            other => other?,
        }
        held.state = SecretState::Send;
        for older in pair.held.iter_mut().filter(|held| held.generation != generation) {
            older.state = SecretState::Retired;
            older.retires.get_or_insert(now + OVERLAP);
            older.renew = None;
        }
        pair.inherited_until = Some(now + OVERLAP);
        Ok(())
    }

    /// Gives the module a key it asks for.
    ///
    /// # Errors
    /// A generation that is not held, addresses outside the association's prefixes, an epoch out of bounds; what the
    /// module refuses.
    pub fn acquire(&mut self, name: &KeyName) -> Result<(), KeeperError> {
        let pair = self.pairs.values().find(|pair| pair.peer.name == name.association).ok_or(KeeperError::NoPeer)?;
        let held = pair.held.iter().find(|held| held.generation == name.generation);
        let held = held.ok_or(KeeperError::NoGeneration(name.generation))?;
        if !pair.covers(&name.flow) || name.flow.is_own_mirror() {
            return Err(KeeperError::Outside);
        }
        if name.epoch > last_epoch(held.profile) {
            return Err(KeeperError::Epoch(name.epoch));
        }
        let key = held.prk.flow_key(held.profile as u8, name.epoch, &name.sender())?;
        Ok(self.kernel.key_add(name, &key)?)
    }

    /// Takes an event; returns the peers that a new secret is due with.
    pub fn event(&mut self, notice: &Notice, now: Duration) -> Vec<PeerId> {
        let association = notice.association.as_deref();
        let concerns = |pair: &Pair| association.is_none_or(|name| name == pair.peer.name);
        let concerned: Vec<_> = self.pairs.iter().filter(|(_, pair)| concerns(pair)).map(|(id, _)| *id).collect();
        match notice.event {
            Some(Event::Authenticated) => {
                for id in concerned {
                    self.authenticated(id, notice.generation, now);
                }
                Vec::new()
            }
            Some(event @ (Event::EpochsLow | Event::Exhausted | Event::PacketsReached | Event::KeysWiped)) => {
                warn!(association, generation = notice.generation, "{}: negotiating anew", event.name());
                concerned.into_iter().filter(|id| self.due(*id, notice.generation)).collect()
            }
            Some(event) => {
                let (reason, count) = (notice.reason.as_deref(), notice.count);
                let flow = notice.flow.as_ref().map(flow_text);
                warn!(association, flow, reason, count, "{}", event.name());
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The peer sent under a generation of which m5 has not come: it is in force.
    fn authenticated(&mut self, id: PeerId, generation: Option<u64>, now: Duration) {
        let Some(pair) = self.pairs.get(&id) else { return };
        let Some(generation) = generation.filter(|generation| pair.newest() == Some(*generation)) else { return };
        let waiting = pair.held.iter().any(|held| held.generation == generation && held.state == SecretState::Receive);
        if waiting {
            let peer = pair.peer.name.clone();
            match self.activate(id, generation, now) {
                Ok(()) => info!(peer, generation, "the peer sends under it; sending under it"),
                Err(error) => warn!(peer, generation, "{error}"),
            }
        }
    }

    /// Whether a new secret is due, asked once a generation.
    fn due(&mut self, id: PeerId, generation: Option<u64>) -> bool {
        let Some(pair) = self.pairs.get_mut(&id) else { return false };
        let newest = pair.newest();
        let Some(held) = pair.held.iter_mut().find(|held| Some(held.generation) == newest) else { return true };
        // What an older generation tells is being seen to already.
        generation.is_none_or(|generation| Some(generation) == newest) && held.renew.take().is_some()
    }

    /// Deletes what has had its time; returns the peers that a new secret is due with.
    pub fn tick(&mut self, now: Duration) -> Vec<PeerId> {
        self.leave();
        let mut due = std::mem::take(&mut self.due);
        for (id, pair) in &mut self.pairs {
            let over = |held: &Held| held.expires <= now || held.retires.is_some_and(|at| at <= now);
            for held in pair.held.iter().filter(|held| over(held)) {
                debug!(peer = pair.peer.name, generation = held.generation, "wiped");
                if let Err(error) = self.kernel.secret_del(&pair.peer.name, held.generation) {
                    // The module ends it by itself when its lifetime is over.
                    debug!(peer = pair.peer.name, generation = held.generation, "{error}");
                }
            }
            if pair.inherited_until.take_if(|at| *at <= now).is_some() {
                for generation in pair.inherited.drain(..) {
                    if let Err(error) = self.kernel.secret_del(&pair.peer.name, generation) {
                        debug!(peer = pair.peer.name, generation, "{error}");
                    }
                }
            }
            let expired = pair.held.iter().any(|held| held.expires <= now && held.state == SecretState::Send);
            pair.held.retain(|held| !over(held));
            let newest = pair.newest();
            let held = pair.held.iter_mut().find(|held| Some(held.generation) == newest);
            let renew = held.is_some_and(|held| held.renew.take_if(|at| *at <= now).is_some());
            if renew || (expired && newest.is_none()) {
                due.push(*id);
            }
        }
        due
    }

    /// Deletes the secrets from the module and wipes them here.
    pub fn stop(&mut self) {
        self.leave();
        for pair in self.pairs.values_mut() {
            let held = pair.held.drain(..).map(|held| held.generation);
            for generation in held.chain(pair.inherited.drain(..)) {
                if let Err(error) = self.kernel.secret_del(&pair.peer.name, generation) {
                    // The module ended it already.
                    debug!(peer = pair.peer.name, generation, "{error}");
                }
            }
        }
    }
}

/// Every profile, the preferred one first.
fn preferred(first: Profile) -> Vec<Profile> {
    let others = Profile::ALL.into_iter().filter(|profile| *profile != first);
    std::iter::once(first).chain(others).collect()
}

/// A flow, for messages.
fn flow_text(flow: &FlowId) -> String {
    let side = |address: [u8; 16], port: u16| SocketAddr::new(Ipv6Addr::from(address).into(), port);
    let (local, remote) = (side(flow.local, flow.local_port), side(flow.remote, flow.remote_port));
    format!("{} {local} {remote}", protocol::name(flow.protocol))
}
