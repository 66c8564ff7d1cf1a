// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Bodies of the messages between two Primaries.

use std::net::Ipv6Addr;

use minicbor::{Decode, Encode};

use super::super::group::{Group, GroupName, Side};
use super::super::lists::ListDigest;
use crate::keys::schedule::SecretId;
use crate::prefix::Prefix;

/// Stragglers that a message names; there may be more.
pub const STRAGGLERS_MAX: usize = 64;

/// The first message of either, on each session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// The sender's side.
    #[n(0)]
    pub side: Side,
    /// Commits of the sender's store so far.
    #[n(1)]
    pub sequence: u64,
    /// The most commits that the receiver told of so far; 0 for none.
    #[n(2)]
    pub seen: u64,
    /// The greatest group_gen of this pairing that the sender knows of.
    #[n(3)]
    pub group_gen: u32,
}

/// PS tells of a group; a greater group_gen revokes the older.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GroupIs {
    /// Its name.
    #[n(0)]
    pub name: GroupName,
    /// Its mode.
    #[n(1)]
    pub mode: u8,
    /// The side that polls, in AsymmetricPoll.
    #[n(2)]
    pub poller: Option<u8>,
    /// Its generation.
    #[n(3)]
    pub group_gen: u32,
}

impl GroupIs {
    /// What is said of a group.
    pub fn of(name: &GroupName, group: &Group) -> Self {
        let poller = group.mode.poller().map(|side| side as u8);
        Self { name: name.clone(), mode: group.mode.number(), poller, group_gen: group.group_gen }
    }
}

/// PS tells that a group is gone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GroupGone {
    /// Its name.
    #[n(0)]
    pub name: GroupName,
}

/// A list, or a part of what changed in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ListPart {
    /// The group whose servers they are; absent for the clients.
    #[n(0)]
    pub group: Option<GroupName>,
    /// The list begins anew with this part.
    #[n(1)]
    pub anew: bool,
    /// Prefixes that go.
    #[n(2)]
    pub removed: Vec<Prefix>,
    /// Prefixes that come.
    #[n(3)]
    pub added: Vec<Prefix>,
    /// SHA-256 of the whole list, in the last part; until then nothing is changed.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub digest: Option<ListDigest>,
    /// From PC to PS, how often an address came back to the list since PC was started: each time group_gen rises.
    #[n(5)]
    pub returns: u32,
}

/// Everything was told since hello: groups that were not named are gone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Told {}

/// How far the sender's Secondaries are with a PairMasterSecret.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Progress {
    /// Its public identifier.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub pms: SecretId,
    /// None is waited for any more: all have prepared, or time is up.
    #[n(1)]
    pub ready: bool,
    /// How many have not prepared.
    #[n(2)]
    pub waiting: u32,
    /// Addresses of some of them.
    #[n(3)]
    pub stragglers: Vec<Ipv6Addr>,
}

/// The sender's key generator, for Identity Based.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Generator {
    /// Its public parameters.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub parameters: Vec<u8>,
    /// The present validity period; PS's counts.
    #[n(1)]
    pub period: u32,
}

/// Commits of the sender's store so far, so that the receiver can tell the sender if it is ever restored from a backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sequence {
    /// How many.
    #[n(0)]
    pub sequence: u64,
}
