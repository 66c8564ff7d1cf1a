// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A Secondary of any number of Primaries: client in some lists, server in others.
//!
//! It keeps what its Primaries told it, and for each pair of addresses that is wanted it works out which secrets that pair
//! has (`settle.rs`). What changed of that is put in the queue. A secret is installed for one pair of addresses at a time,
//! as its keys are for one such pair; secrets that are the same for several remote addresses may share an association.
//!
//! A Secondary that is cut off from its Primaries goes on with what it holds until that expires, then stops protecting. It
//! never falls back to plain: [`Action::Access`] names only addresses whose group is without protection.

mod epochs;
mod polls;
mod scope;
mod settle;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

use super::error::Failure;
use super::group::{GroupName, Pairing, Side};
use super::lease::Range;
use super::message::member::{HeldLease, HeldList, Identity, Join};
use super::message::Message;
use super::transfer::Transfer;
use super::ADDRESSES_MAX;
use crate::identity::PublicKey;
use crate::keys::schedule::{Prk, SecretId};
use crate::negotiate::Entropy;
use crate::prefix::Prefix;
use crate::secret::Secret;
use scope::Scope;

/// Most pairs of addresses that are wanted at once.
pub const WANTED_MAX: usize = 4096;

/// Most pairings that one Primary may tell of.
pub const PAIRINGS_MAX: usize = 64;

/// Most lists whose digests a join names; others are told anew.
const HELD_LISTS_MAX: usize = 32;

/// Most leases that a join names; for others there are new ones.
const HELD_LEASES_MAX: usize = 256;

/// Most prefixes of all lists that one Primary tells of.
const PREFIXES_MAX: usize = 1 << 16;

/// How long lists without secrets are believed of a Primary that is out of reach.
const CUT_OFF_MAX: Duration = Duration::from_secs(86_400);

/// Which secret: everything that tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName {
    /// This host's address.
    pub local: Ipv6Addr,
    /// The other's.
    pub remote: Ipv6Addr,
    /// The two Primaries.
    pub pairing: Pairing,
    /// The group.
    pub group: GroupName,
    /// The generation of the PairMasterSecret. Where a Primary lost its store, one may come again.
    pub generation: u64,
    /// Its public identifier.
    pub pms: SecretId,
    /// group_gen.
    pub group_gen: u32,
}

/// A secret to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// Its name.
    pub name: SecretName,
    /// Suite.
    pub suite: Suite,
    /// Wire profile.
    pub profile: Profile,
    /// The pseudo-random key of its flows.
    pub prk: Prk,
    /// The SharedSecret that follows from, with an empty salt, for the key log.
    pub shared_secret: Secret,
    /// When it ends.
    pub expires: Duration,
    /// The epochs that it may be sent in, should it be; `None`: it is for receiving only, until it is installed anew.
    pub range: Option<Range>,
}

/// A secret that two Secondaries agree on by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agree {
    /// Its name.
    pub name: SecretName,
    /// This host's side.
    pub side: Side,
    /// The suite of the PairMasterSecret: KDF and AEAD are taken over.
    pub suite: Suite,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message in the session with this Primary.
    Message {
        /// The Primary.
        to: PublicKey,
        /// The message, without a length before it.
        message: Secret,
    },
    /// Receive under a secret, with the receive keys of the pair's live flows, as section 9 does.
    Install(Box<Install>),
    /// Send under it, within these epochs alone: they begin where those of its installation do, and end there or later. It
    /// may be sent under already; then it gets more epochs.
    Send {
        /// Which.
        name: SecretName,
        /// The epochs.
        range: Range,
    },
    /// Send under it no more; it is still received under.
    StopSending(SecretName),
    /// Wipe it, here and in the module; nothing is accepted under it from now on.
    Remove(SecretName),
    /// Keys of Identity Based came: for this pairing they replace those before, but for periods that are still good.
    Identity(Box<Identity>),
    /// This host has no part in the pairing any more: its keys of Identity Based are to be wiped.
    ForgetIdentity(Pairing),
    /// Agree on a secret with that host by identity-based encryption, and call `agreed`.
    Agree(Box<Agree>),
    /// Plain `pdm` is permitted between each of these and nothing else.
    Access(Vec<(Ipv6Addr, Prefix)>),
}

/// What came of asking for a pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Its secrets are installed, or asked for.
    Listed,
    /// No list has these addresses, or their group is without protection.
    NotListed,
    /// There are [`WANTED_MAX`] already.
    Full,
}

/// A secret in the module.
#[derive(Debug)]
struct Installed {
    /// The epochs it was installed for.
    range: Option<Range>,
    /// The epochs it is sent in.
    sends: Option<Range>,
    /// It was sent under and is no more.
    stopped: bool,
}

/// One Primary.
#[derive(Default)]
struct Registration {
    /// Which addresses of the Primary's record this host wants to be; empty for all.
    wishes: Vec<Ipv6Addr>,
    connected: bool,
    /// When the session ended.
    cut_off: Option<Duration>,
    /// Whether `Synced` came in this session: what was not named until then is gone.
    synced: bool,
    addresses: BTreeSet<Ipv6Addr>,
    scopes: BTreeMap<Pairing, Scope>,
    /// Pairings that are told later in this session.
    later: BTreeSet<Pairing>,
    /// Pairings and groups that were named in this session, until they are told as a whole.
    named: BTreeSet<(Pairing, Option<GroupName>)>,
    /// The list that is being told; one after the other is.
    transfer: Option<((Pairing, Option<GroupName>), Transfer)>,
}

/// A Secondary.
pub struct Secondary {
    /// Single listed addresses that secrets are installed for without being asked, at most.
    eager: usize,
    registrations: BTreeMap<PublicKey, Registration>,
    /// Pairs of addresses, local first: those that were asked for, and single listed addresses.
    asked: BTreeSet<(Ipv6Addr, Ipv6Addr)>,
    eagerly: BTreeSet<(Ipv6Addr, Ipv6Addr)>,
    installed: BTreeMap<SecretName, Installed>,
    /// Pairs in which an option authenticated, and under which PairMasterSecret last.
    authenticated: BTreeMap<(Ipv6Addr, Ipv6Addr, Pairing), SecretId>,
    polls: polls::Polls,
    access: Vec<(Ipv6Addr, Prefix)>,
    /// Pairings for which there are keys of Identity Based.
    identities: BTreeSet<Pairing>,
    actions: VecDeque<Action>,
}

impl Secondary {
    /// Of no Primary yet. For up to `eager` remote hosts that lists name by single addresses secrets are installed without
    /// waiting for packets; for others when [`Secondary::want`] asks for them.
    pub fn new(eager: usize, now: Duration) -> Self {
        Self {
            eager: eager.min(WANTED_MAX),
            registrations: BTreeMap::new(),
            asked: BTreeSet::new(),
            eagerly: BTreeSet::new(),
            installed: BTreeMap::new(),
            authenticated: BTreeMap::new(),
            polls: polls::Polls::new(now),
            access: Vec::new(),
            identities: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// A Primary, and which of the addresses in its record this host wants to be; all, if none is named.
    pub fn add_primary(&mut self, primary: PublicKey, addresses: &[Ipv6Addr]) {
        let registration = self.registrations.entry(primary).or_default();
        registration.wishes = addresses.iter().take(ADDRESSES_MAX).copied().collect();
    }

    /// A Primary is one no more: what it gave is removed.
    pub fn remove_primary(&mut self, primary: &PublicKey, now: Duration, entropy: &mut impl Entropy) {
        self.registrations.remove(primary);
        self.settle_all(now, entropy);
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A session with a Primary is established: joins.
    pub fn connected(&mut self, primary: &PublicKey) {
        let Some(registration) = self.registrations.get_mut(primary) else { return };
        registration.connected = true;
        registration.cut_off = None;
        registration.synced = false;
        registration.named.clear();
        registration.transfer = None;
        registration.later = registration.scopes.keys().copied().collect();
        let mut join = Join { addresses: registration.wishes.clone(), leases: Vec::new(), lists: Vec::new() };
        for (pairing, scope) in &mut registration.scopes {
            scope.begin_session();
            join.leases.extend(scope.held_leases().map(|(pms, address, end)| HeldLease { pms, address, end }));
            let held = scope.digests().map(|(group, digest)| HeldList { pairing: *pairing, group, digest });
            join.lists.extend(held);
        }
        join.lists.truncate(HELD_LISTS_MAX);
        join.leases.truncate(HELD_LEASES_MAX);
        self.polls.begin_session(primary);
        self.send(primary, &Message::Join(join));
    }

    /// A session with a Primary ended. What it gave stays until it expires.
    pub fn disconnected(&mut self, primary: &PublicKey, now: Duration) {
        if let Some(registration) = self.registrations.get_mut(primary) {
            registration.connected = false;
            registration.cut_off.get_or_insert(now);
        }
    }

    /// A message came in the session with this Primary, which TLS authenticated.
    ///
    /// # Errors
    /// Whatever it sent that it should not have: its session is to be closed.
    pub fn receive(
        &mut self,
        from: &PublicKey,
        message: &[u8],
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        let message = Message::decode(message)?;
        self.told(from, message, now, entropy)
    }

    /// Packets go to an address, or came from it, and there is no secret.
    pub fn want(&mut self, local: Ipv6Addr, remote: Ipv6Addr, now: Duration, entropy: &mut impl Entropy) -> Wanted {
        let pair = (local, remote);
        if self.candidates(pair).is_empty() {
            return Wanted::NotListed;
        }
        let known = self.asked.contains(&pair) || self.eagerly.contains(&pair);
        if !known && self.asked.len() + self.eagerly.len() >= WANTED_MAX {
            return Wanted::Full;
        }
        self.asked.insert(pair);
        self.settle(pair, now, entropy);
        self.send_polls(now, entropy);
        Wanted::Listed
    }

    /// No more packets go there or come from there.
    pub fn unwant(&mut self, local: Ipv6Addr, remote: Ipv6Addr, now: Duration, entropy: &mut impl Entropy) {
        if self.asked.remove(&(local, remote)) {
            self.settle((local, remote), now, entropy);
        }
    }

    /// An option authenticated under a secret: "a Secondary sends under n+1 after ACTIVATE, or after it authenticated n+1 from
    /// that peer".
    pub fn authenticated(&mut self, name: &SecretName, now: Duration, entropy: &mut impl Entropy) {
        if self.installed.contains_key(name) {
            self.authenticated.insert((name.local, name.remote, name.pairing), name.pms);
            self.settle((name.local, name.remote), now, entropy);
        }
    }

    /// A SharedSecret was agreed on by identity-based encryption, of this suite.
    pub fn agreed(
        &mut self,
        name: &SecretName,
        suite: Suite,
        shared_secret: Secret,
        now: Duration,
        entropy: &mut impl Entropy,
    ) {
        let place = self.registrations.values_mut().find_map(|registration| {
            let scope = registration.scopes.get_mut(&name.pairing)?;
            scope.master_mut(&name.pms)
        });
        if let Some(master) = place {
            if self.asked.contains(&(name.local, name.remote)) || self.eagerly.contains(&(name.local, name.remote)) {
                master.agreed.insert((name.local, name.remote, name.group_gen), (suite, shared_secret));
            }
        }
        self.settle((name.local, name.remote), now, entropy);
    }

    /// Sending keys were wiped, as this machine may be one of two now, or slept: nothing is sent under any secret until its
    /// Primary leased epochs anew.
    pub fn wiped(&mut self, now: Duration, entropy: &mut impl Entropy) {
        for name in std::mem::take(&mut self.installed).into_keys() {
            self.actions.push_back(Action::Remove(name));
        }
        for registration in self.registrations.values_mut() {
            registration.scopes.values_mut().for_each(Scope::forget_leases);
        }
        self.settle_all(now, entropy);
    }

    /// Carries out what is due. To be called once a second.
    pub fn tick(&mut self, now: Duration, entropy: &mut impl Entropy) {
        let mut changed = false;
        for registration in self.registrations.values_mut() {
            let over = registration.cut_off.is_some_and(|at| now >= at + CUT_OFF_MAX);
            for scope in registration.scopes.values_mut() {
                changed |= scope.drop_ended(now);
            }
            let before = registration.scopes.len();
            registration.scopes.retain(|_, scope| !(over && scope.masters.is_empty()));
            changed |= registration.scopes.len() != before;
        }
        if changed {
            self.settle_all(now, entropy);
        }
        self.retry_epochs(now, entropy);
        self.send_polls(now, entropy);
        self.say_prepared();
    }

    /// Secrets in the module, and the epochs they are sent in.
    pub fn installed(&self) -> impl Iterator<Item = (&SecretName, Option<Range>)> {
        self.installed.iter().map(|(name, installed)| (name, installed.sends))
    }

    fn send(&mut self, to: &PublicKey, message: &Message) {
        self.actions.push_back(Action::Message { to: *to, message: message.encode() });
    }
}
