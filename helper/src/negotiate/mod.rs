// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The negotiation of a SharedSecret (docs/protocol.md, section 9), without I/O and without a clock.
//!
//! It takes whole messages and returns what to do next. Inside a TLS session that authenticated both ends:
//!
//! ```text
//!       client                                             server
//!   m1  offer         ------------------------------------>
//!                     <------------------------------------  m2  choice
//!   m3  encap         ------------------------------------>  opens: install
//!                     <------------------------------------  m4  status
//!       verifies: install, activate
//!   m5  installed     ------------------------------------>  activate
//!                     <------------------------------------      acknowledged
//! ```
//!
//! Nothing is installed before m3 opens or m4 verifies.

pub mod binding;
pub mod client;
pub mod crypto;
pub mod error;
pub mod frame;
pub mod message;
pub mod server;
pub mod suites;

pub use client::Client;
pub use error::{Failure, Reason};
pub use server::Server;

use hpke::rand_core::CryptoRng;
use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

use crate::identity::PublicKey;
use crate::secret::Secret;

/// Bytes of randomness in m1 and m2, and of the salt in m3.
pub const RANDOM_LEN: usize = 32;

/// Longest idle lifetime a host may tell, seconds.
pub const IDLE_MAX: u32 = 86_400;

/// Longest lifetime of a secret, seconds: 30 days.
pub const LIFETIME_MAX: u32 = 30 * 86_400;

/// What a secret is negotiated for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// A SharedSecret of two hosts.
    #[default]
    Pair = 0,
    /// A PairMasterSecret of two Primaries (docs/protocol.md, section 15).
    Master = 1,
}

/// What one end brings to a negotiation.
#[derive(Clone, Debug)]
pub struct Local {
    /// This host's identity.
    pub identity: PublicKey,
    /// The peer's identity, as TLS authenticated it.
    pub peer: PublicKey,
    /// Suites in order of preference.
    pub suites: Vec<Suite>,
    /// Wire profiles in order of preference.
    pub profiles: Vec<Profile>,
    /// Seconds after which this host forgets an idle flow.
    pub idle: u32,
    /// The greatest generation of this pair's secrets that this host knows of; 0 for none.
    pub last_generation: u64,
    /// Seconds a secret shall live; the client's counts.
    pub lifetime: u32,
    /// What it is for; both ends must mean the same.
    pub purpose: Purpose,
}

impl Local {
    /// What every implementation offers, with the given identities.
    pub fn new(identity: PublicKey, peer: PublicKey) -> Self {
        Self {
            identity,
            peer,
            suites: suites::all(),
            profiles: vec![Profile::V2],
            idle: 600,
            last_generation: 0,
            lifetime: 86_400,
            purpose: Purpose::Pair,
        }
    }
}

/// Who opened the negotiation. It says nothing about who opens flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This host did.
    Client,
    /// The peer did.
    Server,
}

/// What both ends hold once a negotiation succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// This end's role.
    pub role: Role,
    /// What it is for.
    pub purpose: Purpose,
    /// Suite.
    pub suite: Suite,
    /// Wire profile.
    pub profile: Profile,
    /// Generation, at least 1.
    pub generation: u64,
    /// Seconds the secret lives.
    pub lifetime: u32,
    /// Seconds after which the peer forgets an idle flow.
    pub peer_idle: u32,
    /// Salt of the key schedule.
    pub salt: Secret,
    /// The pair's secret, Nh bytes.
    pub shared_secret: Secret,
}

/// What to do after a message.
#[derive(Debug)]
pub enum Step {
    /// Send this message.
    Send(Vec<u8>),
    /// Install the secret and the receive keys, then call `installed` for the message to send.
    Install(Box<Negotiated>),
    /// Server: send under the new generation, and this message.
    Activate(Vec<u8>),
    /// Client: the server has what it needs.
    Done,
}

/// The TLS session's exporter.
pub trait Exporter {
    /// `TLS-Exporter("EXPERIMENTAL-pdmv2", context, 32)`.
    ///
    /// # Errors
    /// A session that is not established.
    fn export(&self, context: &[u8]) -> Result<Secret, Failure>;
}

/// A source of randomness that both the messages and the KEM take.
pub trait Entropy: CryptoRng {}

impl<R: CryptoRng> Entropy for R {}

/// The system's randomness.
pub fn system_entropy() -> impl Entropy + Send {
    hpke::rand_core::UnwrapErr(getrandom::SysRng)
}
