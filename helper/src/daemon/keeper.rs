// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The keeper of pair secrets: what the module is told, and which keys it is given.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::receive::last_epoch;
use pdmv2_proto::uapi::{Event, KeyDirection, KeyMode, Profile, SecretState};
use rustix::io::Errno;
use tracing::{debug, error, info, warn};

use super::backoff::fraction;
use crate::config::{Config, Peer};
use crate::identity::PublicKey;
use crate::keys::keylog::{Entry, KeyLog};
use crate::keys::schedule::{Prk, UnknownSuite};
use crate::negotiate::{Local, Negotiated, Role};
use crate::netlink::association::Association;
use crate::netlink::key::KeyName;
use crate::netlink::notice::Notice;
use crate::netlink::policy::Policy;
use crate::netlink::secret::NewSecret;
use crate::netlink::{Error, Kernel};
use crate::output::protocol;

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

/// A generation of a pair's secret. Its key is wiped when it is dropped.
struct Held {
    generation: u64,
    profile: Profile,
    prk: Prk,
    state: SecretState,
    expires: Duration,
    renew: Option<Duration>,
    retires: Option<Duration>,
}

/// What is held for one peer.
struct Pair {
    peer: Peer,
    /// Wire profile of the secrets that are held, or of those that are to come.
    profile: Profile,
    ifindex: u32,
    vrf: u32,
    last_generation: u64,
    peer_idle: Option<u32>,
    held: Vec<Held>,
    /// Generations that the module holds from an earlier daemon; nobody has their keys any more.
    inherited: Vec<u64>,
    /// When they are deleted, once a newer one is sent under.
    inherited_until: Option<Duration>,
}

impl Pair {
    fn association(&self) -> Association {
        Association {
            name: self.peer.name.clone(),
            profile: self.profile,
            key_mode: self.peer.key_mode,
            on_failure: self.peer.on_failure,
            ifindex: self.ifindex,
            vrf: self.vrf,
            local: self.peer.local.clone(),
            remote: self.peer.remote.clone(),
            peer_idle: self.peer_idle,
            epoch_packets: self.peer.epoch_packets,
            epoch_seconds: self.peer.epoch_seconds,
            renew_packets: self.peer.renew_packets,
        }
    }

    fn covers(&self, flow: &FlowId) -> bool {
        let within = |prefixes: &[crate::prefix::Prefix], address: [u8; 16]| {
            prefixes.iter().any(|prefix| prefix.contains(Ipv6Addr::from(address)))
        };
        within(&self.peer.local, flow.local) && within(&self.peer.remote, flow.remote)
    }

    fn newest(&self) -> Option<u64> {
        self.held.iter().map(|held| held.generation).max()
    }
}

/// Associations, secrets and keys.
pub struct Keeper {
    kernel: Box<dyn Kernel>,
    own: PublicKey,
    idle: u32,
    policy: Policy,
    pairs: Vec<Pair>,
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
        let pairs = config.peers.iter().map(pair).collect::<Result<_, _>>()?;
        let mut keeper = Self {
            kernel,
            own,
            idle: config.host.idle,
            policy: config.policy.clone(),
            pairs,
            key_log,
            forgotten: false,
        };
        let before = keeper.kernel.associations()?;
        for pair in &mut keeper.pairs {
            let Some(known) = before.iter().find(|known| known.name == pair.peer.name) else { continue };
            pair.inherited = known.secrets.iter().map(|secret| secret.generation).collect();
            // What earlier secrets seal goes on until there is a new one.
            let profile = Profile::ALL.into_iter().find(|profile| profile.name() == known.profile);
            pair.profile = profile.filter(|_| !pair.inherited.is_empty()).unwrap_or(pair.profile);
            pair.last_generation = pair.inherited.iter().copied().max().unwrap_or(0);
        }
        // Those that go make room first: their prefixes may be another's now.
        for gone in before.iter().filter(|known| keeper.pairs.iter().all(|pair| pair.peer.name != known.name)) {
            info!(association = gone.name, "removed: it is not in the configuration");
            keeper.kernel.association_del(&gone.name)?;
        }
        let mut made: Vec<&str> = Vec::new();
        let mut outcome = Ok(());
        for pair in &keeper.pairs {
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
    pub fn look_again(&mut self) -> Vec<usize> {
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
            for pair in &mut self.pairs {
                pair.held.clear();
                pair.inherited.clear();
                pair.inherited_until = None;
            }
        }
        if !there {
            return Vec::new();
        }
        match self.tell_all() {
            Ok(()) => {
                info!("the module is back: associations and policy are in place; negotiating anew");
                self.forgotten = false;
                (0..self.pairs.len()).collect()
            }
            Err(error) => {
                warn!("the module is back, but not as it was: {error}");
                Vec::new()
            }
        }
    }

    fn tell_all(&mut self) -> Result<(), Error> {
        for pair in &self.pairs {
            self.kernel.association_set(&pair.association())?;
        }
        self.kernel.policy_set(&self.policy)
    }

    /// Whether anything is sent under a secret that is held here.
    pub fn sends(&self, index: usize) -> bool {
        self.pairs.get(index).is_some_and(|pair| pair.held.iter().any(|held| held.state == SecretState::Send))
    }

    /// What this host brings to a negotiation with a peer.
    ///
    /// # Errors
    /// No such peer.
    pub fn local(&self, index: usize) -> Result<Local, KeeperError> {
        let pair = self.pairs.get(index).ok_or(KeeperError::NoPeer)?;
        Ok(Local {
            idle: self.idle,
            last_generation: pair.last_generation,
            lifetime: pair.peer.lifetime,
            suites: pair.peer.suites.clone(),
            profiles: preferred(pair.peer.profile),
            ..Local::new(self.own, pair.peer.public_key)
        })
    }

    /// An endpoint with the number of the interface its link-local address is on.
    pub fn scoped(&self, index: usize, endpoint: SocketAddr) -> SocketAddr {
        match (endpoint, self.pairs.get(index)) {
            (SocketAddr::V6(mut v6), Some(pair)) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
                v6.set_scope_id(pair.ifindex);
                SocketAddr::V6(v6)
            }
            _ => endpoint,
        }
    }

    /// The VRF that a peer is reached in.
    pub fn vrf(&self, index: usize) -> Option<String> {
        self.pairs.get(index)?.peer.vrf.clone()
    }

    /// Installs a negotiated secret for receiving, with the receive keys of all live flows for its epoch 0, so that a switch
    /// to it loses nothing (docs/protocol.md, section 9).
    ///
    /// # Errors
    /// What the module refuses; [`KeeperError::SentBefore`], and the secret is not kept.
    pub fn install(&mut self, index: usize, negotiated: &Negotiated, now: Duration) -> Result<(), KeeperError> {
        self.make_room(index)?;
        let pair = self.pairs.get_mut(index).ok_or(KeeperError::NoPeer)?;
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
            self.install_live(index, negotiated.generation)?;
        }
        Ok(())
    }

    /// Leaves at most one generation in the module: the one that is sent under, or else the newest.
    fn make_room(&mut self, index: usize) -> Result<(), KeeperError> {
        let pair = self.pairs.get_mut(index).ok_or(KeeperError::NoPeer)?;
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

    /// Receive keys only: sending keys are asked for once the generation is sent under.
    fn install_live(&mut self, index: usize, generation: u64) -> Result<(), KeeperError> {
        let flows = self.kernel.flows()?;
        let pair = self.pairs.get(index).ok_or(KeeperError::NoPeer)?;
        let mut names = Vec::new();
        for flow in flows.iter().map(|flow| flow.id).filter(|flow| pair.covers(flow)) {
            let association = pair.peer.name.clone();
            names.push(KeyName { association, generation, direction: KeyDirection::Receive, flow, epoch: 0 });
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
    pub fn activate(&mut self, index: usize, generation: u64, now: Duration) -> Result<(), KeeperError> {
        let pair = self.pairs.get_mut(index).ok_or(KeeperError::NoPeer)?;
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
        let pair = self.pairs.iter().find(|pair| pair.peer.name == name.association).ok_or(KeeperError::NoPeer)?;
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
    pub fn event(&mut self, notice: &Notice, now: Duration) -> Vec<usize> {
        let association = notice.association.as_deref();
        let concerned: Vec<usize> = (0..self.pairs.len())
            .filter(|index| {
                let name = self.pairs.get(*index).map(|pair| pair.peer.name.as_str());
                association.is_none() || association == name
            })
            .collect();
        match notice.event {
            Some(Event::Authenticated) => {
                for index in concerned {
                    self.authenticated(index, notice.generation, now);
                }
                Vec::new()
            }
            Some(event @ (Event::EpochsLow | Event::Exhausted | Event::PacketsReached | Event::KeysWiped)) => {
                warn!(association, generation = notice.generation, "{}: negotiating anew", event.name());
                concerned.into_iter().filter(|index| self.due(*index, notice.generation)).collect()
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
    fn authenticated(&mut self, index: usize, generation: Option<u64>, now: Duration) {
        let Some(pair) = self.pairs.get(index) else { return };
        let Some(generation) = generation.filter(|generation| pair.newest() == Some(*generation)) else { return };
        let waiting = pair.held.iter().any(|held| held.generation == generation && held.state == SecretState::Receive);
        if waiting {
            let peer = pair.peer.name.clone();
            match self.activate(index, generation, now) {
                Ok(()) => info!(peer, generation, "the peer sends under it; sending under it"),
                Err(error) => warn!(peer, generation, "{error}"),
            }
        }
    }

    /// Whether a new secret is due, asked once a generation.
    fn due(&mut self, index: usize, generation: Option<u64>) -> bool {
        let Some(pair) = self.pairs.get_mut(index) else { return false };
        let newest = pair.newest();
        let Some(held) = pair.held.iter_mut().find(|held| Some(held.generation) == newest) else { return true };
        // What an older generation tells is being seen to already.
        generation.is_none_or(|generation| Some(generation) == newest) && held.renew.take().is_some()
    }

    /// Deletes what has had its time; returns the peers that a new secret is due with.
    pub fn tick(&mut self, now: Duration) -> Vec<usize> {
        let mut due = Vec::new();
        for (index, pair) in self.pairs.iter_mut().enumerate() {
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
                due.push(index);
            }
        }
        due
    }

    /// Deletes the secrets from the module and wipes them here.
    pub fn stop(&mut self) {
        for pair in &mut self.pairs {
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

fn pair(peer: &Peer) -> Result<Pair, KeeperError> {
    let number = |device: &Option<String>| {
        device.as_ref().map_or(Ok(0), |interface| {
            let (peer, interface) = (peer.name.clone(), interface.clone());
            number_of(&interface).map_err(|source| KeeperError::Interface { peer, interface, source })
        })
    };
    Ok(Pair {
        peer: peer.clone(),
        profile: peer.profile,
        ifindex: number(&peer.interface)?,
        vrf: number(&peer.vrf)?,
        last_generation: 0,
        peer_idle: None,
        held: Vec::new(),
        inherited: Vec::new(),
        inherited_until: None,
    })
}

/// A flow, for messages.
fn flow_text(flow: &FlowId) -> String {
    let side = |address: [u8; 16], port: u16| SocketAddr::new(Ipv6Addr::from(address).into(), port);
    let (local, remote) = (side(flow.local, flow.local_port), side(flow.remote, flow.remote_port));
    format!("{} {local} {remote}", protocol::name(flow.protocol))
}

/// An interface's number.
fn number_of(interface: &str) -> std::io::Result<u32> {
    use rustix::net::{netdevice, socket, AddressFamily, SocketType};
    let any = socket(AddressFamily::INET6, SocketType::DGRAM, None)?;
    Ok(netdevice::name_to_index(any, interface)?)
}
