// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A Primary: Primary Server towards some Primaries and Primary Client towards others, and what its Secondaries ask.
//!
//! It holds PairMasterSecrets in memory alone, so that a Primary that was restarted, from a backup of its store or not,
//! negotiates new ones; what was leased under the older ones no longer matters then. One whose memory was put back (a
//! snapshot of a virtual machine) is noticed by any of these, and negotiates new ones likewise:
//!
//! - a Secondary that holds a lease which the store does not know of;
//! - the other Primary, which was told of more commits than there are (it is told of each within a second);
//! - the machine itself ([`Primary::forked`]).

mod change;
mod member;
mod pair;
mod peer;
mod records;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

use super::error::{ChangeError, Failure};
use super::group::{Pairing, Roster, Side};
use super::lease::Leases;
use super::message::Message;
use super::store::{Ledger, Store, StoreError};
use super::ADDRESSES_MAX;
use crate::identity::PublicKey;
use crate::negotiate::{Entropy, Negotiated};
use crate::secret::Secret;
use member::Member;
use pair::Pair;

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message in the session with this host.
    Send {
        /// The peer Primary or the Secondary.
        to: PublicKey,
        /// The message, without a length before it.
        message: Secret,
    },
    /// Negotiate a PairMasterSecret with this Primary, in a new session or the one there is.
    Negotiate(PublicKey),
    /// Tell the operator.
    Alert(Alert),
}

/// What an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// This Primary is not what it was: it was restored from a backup.
    Restored {
        /// Who noticed.
        by: PublicKey,
    },
    /// A new PairMasterSecret is in force, and these have not prepared for it.
    Stragglers {
        /// The other Primary.
        peer: PublicKey,
        /// The generation.
        generation: u64,
        /// Their addresses, some of them.
        addresses: Vec<Ipv6Addr>,
    },
    /// Epochs run out for an address.
    EpochsLow {
        /// The address.
        address: Ipv6Addr,
    },
    /// The store failed; what was asked for was not given.
    Store(StoreError),
}

/// A PairMasterSecret as `pdmv2 show` tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterState {
    /// Its generation.
    pub generation: u64,
    /// It is sent under; before that it is being prepared.
    pub active: bool,
    /// It is received under for a little longer.
    pub retired: bool,
    /// When it ends.
    pub expires: Duration,
}

/// The key generator of Identity Based, which a Primary runs for its Secondaries. Its master key never leaves it.
pub trait KeyGenerator: Send {
    /// Its public parameters, at most [`PARAMETERS_MAX`](super::message::PARAMETERS_MAX) bytes.
    fn parameters(&self) -> Vec<u8>;

    /// The private key of an address on a side, in a validity period; `None` where there is none.
    fn extract(&self, side: Side, address: Ipv6Addr, period: u32) -> Option<Secret>;
}

/// A Primary.
pub struct Primary {
    own: PublicKey,
    ledger: Ledger,
    leases: Leases,
    pairs: BTreeMap<PublicKey, Pair>,
    members: BTreeMap<PublicKey, Member>,
    generator: Option<Box<dyn KeyGenerator>>,
    outputs: VecDeque<Output>,
}

impl Primary {
    /// Reads lists, groups and leases from the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(own: PublicKey, store: Box<dyn Store>) -> Result<Self, StoreError> {
        let ledger = Ledger::open(store)?;
        let leases = Leases::load(&ledger)?;
        let (pairs, members, outputs) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Ok(Self { own, ledger, leases, pairs, members, generator: None, outputs })
    }

    /// Another Primary, towards which this one has this side.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_pairing(&mut self, peer: PublicKey, side: Side) -> Result<(), StoreError> {
        let pairing = match side {
            Side::Client => Pairing { client: self.own, server: peer },
            Side::Server => Pairing { client: peer, server: self.own },
        };
        let mut pair = Pair::load(&self.ledger, peer, side, pairing)?;
        pair.generator = self.generator.as_ref().map(|generator| generator.parameters());
        self.pairs.insert(peer, pair);
        Ok(())
    }

    /// The key generator for groups in Identity Based; without one they have no keys.
    pub fn set_generator(&mut self, generator: Box<dyn KeyGenerator>, now: Duration) {
        let peers: Vec<_> = self.pairs.keys().copied().collect();
        for pair in self.pairs.values_mut() {
            pair.generator = Some(generator.parameters());
        }
        self.generator = Some(generator);
        peers.iter().for_each(|peer| self.push_peer(peer));
        self.push_all(now);
    }

    /// PS: the next validity period of Identity Based begins.
    ///
    /// # Errors
    /// [`ChangeError::NotOurs`] for a PC, which follows; [`ChangeError::Store`], and nothing was changed.
    pub fn advance_period(&mut self, peer: &PublicKey, now: Duration) -> Result<(), ChangeError> {
        let pair = self.pairs.get_mut(peer).ok_or(ChangeError::NoPairing)?;
        if pair.side != Side::Server {
            return Err(ChangeError::NotOurs);
        }
        let period = pair.period.saturating_add(1);
        let record = records::PairRecord { period, ..pair.record() };
        self.ledger.commit(vec![records::put_pair(peer, record)])?;
        pair.period = period;
        self.push_peer(peer);
        self.push_all(now);
        Ok(())
    }

    /// A pairing ends: its Secondaries are told, and its PairMasterSecrets are wiped.
    pub fn remove_pairing(&mut self, peer: &PublicKey, now: Duration) {
        self.pairs.remove(peer);
        self.push_all(now);
    }

    /// A Secondary, and the record of its addresses: "the addresses that enter a derivation come from the Primary's record for
    /// the authenticated key, never from the request".
    ///
    /// # Errors
    /// [`ChangeError::Address`] for none, too many, or one that another member has.
    pub fn add_member(&mut self, key: PublicKey, addresses: &[Ipv6Addr], now: Duration) -> Result<(), ChangeError> {
        let others = self.members.iter().filter(|(other, _)| **other != key);
        let taken = others.flat_map(|(_, member)| &member.addresses).any(|address| addresses.contains(address));
        if taken || addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
            return Err(ChangeError::Address);
        }
        let member = self.members.entry(key).or_insert_with(|| Member::new(key, now));
        member.addresses = addresses.iter().copied().collect();
        if let Some(session) = &mut member.session {
            session.addresses.retain(|address| addresses.contains(address));
        }
        self.push(&key, now);
        Ok(())
    }

    /// A Secondary is none any more; its session is to be closed. To keep it from what it knows, remove its addresses from the
    /// lists.
    pub fn remove_member(&mut self, key: &PublicKey) {
        self.members.remove(key);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A session with another Primary is established, after an older one's end.
    pub fn peer_connected(&mut self, peer: &PublicKey) {
        self.begin_peer_session(peer);
    }

    /// A session with a Primary or a Secondary ended.
    pub fn disconnected(&mut self, key: &PublicKey) {
        if let Some(pair) = self.pairs.get_mut(key) {
            pair.session = None;
        }
        if let Some(member) = self.members.get_mut(key) {
            member.session = None;
        }
    }

    /// A message came in the session with this host, which TLS authenticated.
    ///
    /// # Errors
    /// Whatever it sent that it should not have: its session is to be closed.
    pub fn receive(&mut self, from: &PublicKey, message: &[u8], now: Duration) -> Result<(), Failure> {
        match Message::decode(message)? {
            Message::Hello(hello) => self.hello(from, &hello, now),
            Message::GroupIs(group) => self.peer_group(from, group, now),
            Message::GroupGone(gone) => self.peer_group_gone(from, &gone, now),
            Message::List(part) => self.peer_list(from, &part, now),
            Message::Told(_) => self.peer_told(from, now),
            Message::Generator(generator) => self.peer_generator(from, generator, now),
            Message::Progress(progress) => self.peer_progress(from, &progress, now),
            Message::Sequence(sequence) => self.peer_sequence(from, &sequence),
            Message::Join(join) => self.join(from, join, now),
            Message::Acknowledge(acknowledge) => self.acknowledged(from, &acknowledge),
            Message::Prepared(prepared) => self.prepared(from, &prepared, now),
            Message::WantEpochs(want) => self.want_epochs(from, &want, now),
            Message::Poll(poll) => self.answer(from, poll, now),
            other => Err(Failure::Unexpected(other.number())),
        }
    }

    /// A PairMasterSecret was negotiated with this Primary. Its Secondaries are to prepare for it.
    ///
    /// # Errors
    /// [`ChangeError::Master`], [`ChangeError::NoPairing`], [`ChangeError::Store`]: it is not used.
    pub fn negotiated(
        &mut self,
        peer: &PublicKey,
        negotiated: &Negotiated,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), ChangeError> {
        let pair = self.pairs.get_mut(peer).ok_or(ChangeError::NoPairing)?;
        let outcome = pair.negotiated(&mut self.ledger, negotiated, now, entropy);
        if matches!(outcome, Err(ChangeError::Store(_))) {
            // The peer may hold it: another is needed.
            pair.due = true;
        }
        outcome?;
        self.forget_leases();
        self.push_all(now);
        self.evaluate(peer, now);
        Ok(())
    }

    /// The greatest generation of a PairMasterSecret known with this Primary, which the next negotiation begins from.
    pub fn last_generation(&self, peer: &PublicKey) -> u64 {
        self.pairs.get(peer).map_or(0, |pair| pair.last_generation)
    }

    /// This machine may be one of two now, or was put back to an earlier state: nothing more is leased under the
    /// PairMasterSecrets that are held.
    pub fn forked(&mut self, now: Duration) {
        let peers: Vec<_> = self.pairs.keys().copied().collect();
        for peer in peers {
            self.spoil(&peer, now);
        }
    }

    fn restored(&mut self, by: PublicKey, now: Duration) {
        self.outputs.push_back(Output::Alert(Alert::Restored { by }));
        self.forked(now);
    }

    /// Nothing is leased any more under what is held with this Primary; something new is negotiated.
    fn spoil(&mut self, peer: &PublicKey, now: Duration) {
        let Some(pair) = self.pairs.get_mut(peer) else { return };
        pair.masters.iter_mut().for_each(|master| master.spoiled = true);
        self.want_master(peer, now);
    }

    fn want_master(&mut self, peer: &PublicKey, now: Duration) {
        let Some(pair) = self.pairs.get_mut(peer) else { return };
        if pair.may_ask(now) {
            self.outputs.push_back(Output::Negotiate(*peer));
        }
    }

    /// Carries out what is due. To be called once a second.
    pub fn tick(&mut self, now: Duration) {
        let peers: Vec<_> = self.pairs.keys().copied().collect();
        for peer in peers {
            let Some(pair) = self.pairs.get_mut(&peer) else { continue };
            let (ended, due) = (pair.drop_ended(now), pair.is_due(now));
            if ended {
                self.forget_leases();
            }
            if due {
                self.want_master(&peer, now);
            }
            self.tell_sequence(&peer);
            self.evaluate(&peer, now);
        }
        // Whom the store had nothing for.
        let waiting: Vec<_> = self.members.iter().filter(|(_, m)| m.is_owed()).map(|(key, _)| *key).collect();
        for key in waiting {
            self.push(&key, now);
        }
    }

    /// The lists of a pairing.
    pub fn roster(&self, peer: &PublicKey) -> Option<&Roster> {
        self.pairs.get(peer).map(|pair| &pair.roster)
    }

    /// The PairMasterSecrets of a pairing, oldest first.
    pub fn masters(&self, peer: &PublicKey) -> Vec<MasterState> {
        self.pairs.get(peer).map_or_else(Vec::new, |pair| pair.masters.iter().map(pair::Master::state).collect())
    }

    /// Members that hold secrets of a pairing and have not acknowledged its newest group_gen: until they do, they may still
    /// take what was revoked.
    pub fn unacknowledged(&self, peer: &PublicKey) -> Vec<(PublicKey, Vec<Ipv6Addr>)> {
        let Some(pair) = self.pairs.get(peer) else { return Vec::new() };
        let behind = |member: &&Member| member.holds(peer) && member.acknowledged(peer) < pair.raised;
        let behind = self.members.iter().filter(|(_, member)| behind(member));
        behind.map(|(key, member)| (*key, member.addresses.iter().copied().collect())).collect()
    }

    /// Members that have not prepared for the newest PairMasterSecret of a pairing.
    pub fn stragglers(&self, peer: &PublicKey) -> Vec<(PublicKey, Vec<Ipv6Addr>)> {
        let Some(pair) = self.pairs.get(peer) else { return Vec::new() };
        let Some(master) = pair.masters.last() else { return Vec::new() };
        let waiting = self.members.iter().filter(|(_, member)| pair.expects(member, master));
        waiting.map(|(key, member)| (*key, member.addresses.iter().copied().collect())).collect()
    }

    fn send(&mut self, to: &PublicKey, message: &Message) {
        self.outputs.push_back(Output::Send { to: *to, message: message.encode() });
    }

    /// Forgets leases under secrets that are gone; a store that fails keeps them, which does no harm.
    fn forget_leases(&mut self) {
        let held: Vec<_> = self.pairs.values().flat_map(|pair| pair.masters.iter().map(|master| master.id)).collect();
        if let Err(error) = self.leases.keep_only(&mut self.ledger, &held) {
            self.outputs.push_back(Output::Alert(Alert::Store(error)));
        }
    }
}
