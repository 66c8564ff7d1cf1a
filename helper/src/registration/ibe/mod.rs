// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Identity Based (docs/protocol.md, "Identity Based"), without I/O and without a clock: a Secondary Client and a
//! Secondary Server agree on a SharedSecret by their addresses alone, with private keys that their Primaries extracted
//! for them.
//!
//! ```text
//!       initiator                                        responder
//!   m1  init, encapsulated      ---------------------->
//!                               <----------------------  m2  cookie
//!   m1  init, with the cookie   ---------------------->  opens; encapsulates in turn
//!                               <----------------------  m3  answer, confirmation
//!       opens, verifies: install
//!   m4  confirmation            ---------------------->      verifies: install, activate
//!                               <----------------------  m5  installed, confirmation
//!       verifies: activate
//! ```
//!
//! Either Secondary may be the initiator. Nothing is installed before m3 or m4 verifies.
//!
//! # What ties it to the world
//!
//! One [`Exchanges`] for each UDP socket, [`Generator`]s on Primaries, [`Keys`] and [`Members`] on Secondaries. `now`
//! is the time since boot that counts suspend ([`crate::clock::since_boot`]).
//!
//! | when | call |
//! |---|---|
//! | a pair is to have its first secret, or a new one | [`Exchanges::start`] |
//! | a datagram came | [`Exchanges::receive`], and do what the [`Step`] says |
//! | a secret was installed, or could not be | [`Exchanges::installed`], [`Exchanges::abandon`] |
//! | an option authenticated under it | [`Exchanges::authenticated`]: whether to send under it now |
//! | the time that [`Exchanges::next`] tells has come | [`Exchanges::poll`], and carry the [`Event`]s out |
//! | a Primary sent a private key | [`Keys::add`] |
//! | a new validity period began | [`Keys::advance`] |

pub mod bf;
pub mod cookie;
pub mod error;
pub mod exchange;
pub mod generator;
pub mod hash;
pub mod identity;
pub mod initiator;
pub mod limits;
pub mod message;
pub mod responder;
pub mod schedule;

use std::net::{Ipv6Addr, SocketAddrV6};

use pdmv2_proto::suite::{Suite, KEM_IDENTITY_BASED};
use sha2::{Digest, Sha256};

pub use bf::Parameters;
pub use error::Refusal;
pub use exchange::{Event, Exchanges, Step};
pub use generator::{Generator, Keys};
pub use identity::{Identity, Role};
pub use message::{Generators, Session};

use crate::secret::Secret;

/// UDP port unless configured otherwise.
pub const PORT: u16 = 4480;

/// Where a datagram goes, or came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// This host's address.
    pub local: Ipv6Addr,
    /// The peer's, with its port.
    pub remote: SocketAddrV6,
}

impl Path {
    /// The path between two ends. The flow label is not part of it.
    pub fn new(local: Ipv6Addr, remote: SocketAddrV6) -> Self {
        Self { local, remote: SocketAddrV6::new(*remote.ip(), remote.port(), 0, remote.scope_id()) }
    }
}

/// A pair of Secondaries, seen from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// This host's address.
    pub local: Ipv6Addr,
    /// The peer's.
    pub remote: Ipv6Addr,
    /// The interface of link-local addresses, 0 for others.
    pub scope: u32,
    /// The generators that extracted the private keys.
    pub generators: Generators,
}

/// What this host knows of a pair, from its Primary.
pub struct Member<'a> {
    /// What this host is to the peer.
    pub role: Role,
    /// Public parameters of the generator of this host's private keys.
    pub parameters: &'a Parameters,
    /// This host's private keys.
    pub keys: &'a Keys,
    /// Public parameters of the generator of the peer's.
    pub peer_parameters: &'a Parameters,
    /// The present validity period.
    pub period: u32,
    /// The suite of the PairMasterSecret. Its KDF and AEAD are used.
    pub suite: Suite,
    /// The greatest generation of this pair's secrets that this host knows of; 0 for none.
    pub last_generation: u64,
}

/// The lists.
pub trait Members {
    /// What there is to know of a pair; `None` for one that is not on the lists, or not in mode Identity Based.
    fn member(&self, pair: &Pair) -> Option<Member<'_>>;
}

/// One exchange of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The pair.
    pub pair: Pair,
    /// The exchange.
    pub session: Session,
}

/// What both ends hold once an exchange succeeded. The salt of the key schedule is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// The exchange.
    pub handle: Handle,
    /// What this host is to the peer.
    pub role: Role,
    /// Whether this host opened the exchange: it sends under the generation once it is told to, the other end from
    /// installation on.
    pub is_initiator: bool,
    /// Suite.
    pub suite: Suite,
    /// The validity period of the private keys that were used.
    pub period: u32,
    /// Generation, at least 1.
    pub generation: u64,
    /// The pair's secret, Nh bytes.
    pub shared_secret: Secret,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// UDP payload.
    pub datagram: Vec<u8>,
}

/// The suite of a pair's secret: no KEM is negotiated for it, KDF and AEAD are those of the PairMasterSecret.
pub fn suite(of: Suite) -> Suite {
    Suite { kem: KEM_IDENTITY_BASED, ..of }
}

/// The name of a Primary Client's generator together with a Primary Server's: the first 16 bytes of
/// `SHA-256(SHA-256(parameters of the Primary Client's) || SHA-256(parameters of the Primary Server's))`.
pub fn generators(client: &Parameters, server: &Parameters) -> Generators {
    let digest = Sha256::new().chain_update(client.digest()).chain_update(server.digest()).finalize();
    let mut name = Generators::default();
    for (to, from) in name.iter_mut().zip(digest) {
        *to = from;
    }
    name
}
