// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Bodies of the messages between a Primary and its Secondaries.

use std::net::Ipv6Addr;

use minicbor::{Decode, Encode};

use super::super::group::{GroupName, Pairing};
use super::super::lease::Range;
use super::super::lists::ListDigest;
use super::peer::{GroupIs, ListPart};
use crate::keys::schedule::SecretId;
use crate::negotiate::message::WireSuite;
use crate::secret::Secret;

/// What a Secondary still holds of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct HeldLease {
    /// The PairMasterSecret's public identifier.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub pms: SecretId,
    /// The address.
    #[n(1)]
    pub address: Ipv6Addr,
    /// The end of the range it holds.
    #[n(2)]
    pub end: u32,
}

/// What a Secondary still holds of a list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct HeldList {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The group, `None` for the clients.
    #[n(1)]
    pub group: Option<GroupName>,
    /// The list's digest.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub digest: ListDigest,
}

/// A Secondary joins, or comes back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Join {
    /// Which of the addresses in the Primary's record it wants to be; all, if it names none.
    #[n(0)]
    pub addresses: Vec<Ipv6Addr>,
    /// Leases it still holds; a host that was restarted holds none.
    #[n(1)]
    pub leases: Vec<HeldLease>,
    /// Lists it still holds.
    #[n(2)]
    pub lists: Vec<HeldList>,
}

/// The answer to a join, before everything else.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The addresses it is.
    #[n(0)]
    pub addresses: Vec<Ipv6Addr>,
}

/// A group of a pairing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberGroup {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The group.
    #[n(1)]
    pub group: GroupIs,
}

/// A group, or a whole pairing, is gone for this Secondary.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberGone {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The group; absent where it is the pairing.
    #[n(1)]
    pub group: Option<GroupName>,
}

/// A list of a pairing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MemberList {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The list.
    #[n(1)]
    pub part: ListPart,
}

/// A range of epochs for an address.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Grant {
    /// The address.
    #[n(0)]
    pub address: Ipv6Addr,
    /// The range; `None` where none is left for now.
    #[n(1)]
    pub range: Option<Range>,
}

/// PREPARE: a PairMasterSecret that is to be received under.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Prepare {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// Its generation.
    #[n(1)]
    pub generation: u64,
    /// Its public identifier.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub pms: SecretId,
    /// The suite.
    #[n(3)]
    pub suite: WireSuite,
    /// The wire profile.
    #[n(4)]
    pub profile: u8,
    /// Seconds it still lives.
    #[n(5)]
    pub lifetime: u32,
    /// Ranges of epochs to send within.
    #[n(6)]
    pub grants: Vec<Grant>,
}

/// ACTIVATE: it is sent under from now on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Activate {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The PairMasterSecret's identifier.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub pms: SecretId,
}

/// What an address holds in a group.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct AddressSecret {
    /// The address.
    #[n(0)]
    pub address: Ipv6Addr,
    /// PCS in TrustedServers, S in AsymmetricPoll.
    #[n(1)]
    pub secret: Secret,
}

/// The secrets of a group that a Secondary holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Secrets {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The PairMasterSecret's identifier.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub pms: SecretId,
    /// The group.
    #[n(2)]
    pub group: GroupName,
    /// The group's generation.
    #[n(3)]
    pub group_gen: u32,
    /// PSS, for a server in TrustedServers.
    #[n(4)]
    pub shared: Option<Secret>,
    /// What each of its addresses holds.
    #[n(5)]
    pub own: Vec<AddressSecret>,
}

/// Everything was told as it is now; the Secondary acknowledges when it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Synced {
    /// Counts what was told in this session; 0 where there was nothing to tell.
    #[n(0)]
    pub revision: u64,
    /// Pairings of which the Primary, started a moment ago, knows only its own part yet: they are as they were.
    #[n(1)]
    pub later: Vec<Pairing>,
}

/// A range of epochs that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Granted {
    /// The PairMasterSecret's identifier.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub pms: SecretId,
    /// The range.
    #[n(1)]
    pub grant: Grant,
}

/// The answer to a poll.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// What was asked.
    #[n(0)]
    pub poll: Poll,
    /// The pair's secret, ...
    #[n(1)]
    pub secret: Option<Secret>,
    /// ... or why there is none.
    #[n(2)]
    pub refusal: Option<u8>,
}

/// Why a poll gives no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The two addresses are not a client and a server of this group, or this side does not poll.
    NotListed = 1,
    /// Another generation is in force, of the group or of the PairMasterSecret.
    Stale = 2,
    /// Too many polls: later.
    Busy = 3,
}

impl Refusal {
    /// The refusal of a number on the wire.
    pub fn from_u8(value: u8) -> Option<Self> {
        [Self::NotListed, Self::Stale, Self::Busy].into_iter().find(|refusal| *refusal as u8 == value)
    }
}

/// A private key of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct IdentityKey {
    /// The address.
    #[n(0)]
    pub address: Ipv6Addr,
    /// The validity period.
    #[n(1)]
    pub period: u32,
    /// What the Primary's generator extracted.
    #[n(2)]
    pub key: Secret,
}

/// What a Secondary needs for Identity Based.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Identity {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// Public parameters of PC's generator.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub client_parameters: Vec<u8>,
    /// And of PS's.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub server_parameters: Vec<u8>,
    /// The present validity period.
    #[n(3)]
    pub period: u32,
    /// Keys of its addresses, for this period and the next.
    #[n(4)]
    pub keys: Vec<IdentityKey>,
}

/// A Secondary has carried out what was told up to a revision: what was revoked is refused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Acknowledge {
    /// The revision.
    #[n(0)]
    pub revision: u64,
}

/// PREPARED: a Secondary receives under it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Prepared {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The PairMasterSecret's identifier.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub pms: SecretId,
}

/// A Secondary asks for epochs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WantEpochs {
    /// The PairMasterSecret's identifier.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub pms: SecretId,
    /// For which of its addresses.
    #[n(1)]
    pub address: Ipv6Addr,
    /// The end of the range it holds; 0 for none.
    #[n(2)]
    pub end: u32,
}

/// A Secondary asks for a pair's secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Poll {
    /// The pairing.
    #[n(0)]
    pub pairing: Pairing,
    /// The PairMasterSecret's identifier.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub pms: SecretId,
    /// The group.
    #[n(2)]
    pub group: GroupName,
    /// The group's generation.
    #[n(3)]
    pub group_gen: u32,
    /// Which of its addresses it asks for.
    #[n(4)]
    pub own: Ipv6Addr,
    /// The other address.
    #[n(5)]
    pub remote: Ipv6Addr,
}
