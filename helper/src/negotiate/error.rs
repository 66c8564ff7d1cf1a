// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Why a negotiation fails.

use crate::envelope::EnvelopeError;

/// A reason that m4 tells the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Reason {
    /// A version other than 1.
    #[error("unknown message version")]
    Version = 1,
    /// Neither suite nor profile in common.
    #[error("no suite and profile in common")]
    NoCommonSuite = 2,
    /// A message that cannot be read, or that does not belong here.
    #[error("malformed or unexpected message")]
    Malformed = 3,
    /// m3 did not open: what the two ends saw of the negotiation differs.
    #[error("the encapsulation did not open")]
    NotOpened = 4,
    /// A lifetime, idle lifetime or generation out of bounds.
    #[error("a value out of bounds")]
    Bounds = 5,
    /// The secret could not be installed on that host.
    #[error("the peer could not install the secret")]
    Install = 6,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Version, Self::NoCommonSuite, Self::Malformed, Self::NotOpened, Self::Bounds, Self::Install];

    /// The reason of a number on the wire.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == value)
    }
}

/// Why this end gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Longer than a message may be, or of no length at all.
    #[error("message of {0} bytes")]
    Length(usize),
    /// Not the CBOR that `docs/protocol.md` describes.
    #[error("malformed message")]
    Malformed,
    /// A version other than 1.
    #[error("unknown message version {0}")]
    Version(u8),
    /// A message that does not belong here.
    #[error("message m{0} out of turn")]
    Unexpected(u8),
    /// The peer offered nothing that this host has.
    #[error("no suite and profile in common")]
    NoCommonSuite,
    /// The server chose what was not offered.
    #[error("the server chose a suite or profile that was not offered")]
    NotOffered,
    /// A value out of bounds.
    #[error("{0} out of bounds")]
    Bounds(&'static str),
    /// A public or encapsulated key that is none.
    #[error("invalid key")]
    Key,
    /// m3 does not open.
    #[error("the encapsulation does not open: the two ends saw different negotiations")]
    NotOpened,
    /// m4 or m5 proves nothing.
    #[error("wrong confirmation")]
    Confirmation,
    /// The peer gave up.
    #[error("refused by the peer: {0}")]
    Refused(Reason),
    /// The peer gave up for a reason this version does not know.
    #[error("refused by the peer for unknown reason {0}")]
    RefusedUnknown(u8),
    /// TLS exports nothing.
    #[error("the TLS session exports nothing")]
    Exporter,
    /// The cryptographic library failed.
    #[error("cryptographic failure")]
    Crypto,
}

impl From<EnvelopeError> for Failure {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Length(length) => Self::Length(length),
            EnvelopeError::Version(version) => Self::Version(version),
            EnvelopeError::Malformed => Self::Malformed,
        }
    }
}

impl Failure {
    /// What the server tells the peer in m4; `None` where it says nothing.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Version(_) => Some(Reason::Version),
            Self::NoCommonSuite => Some(Reason::NoCommonSuite),
            Self::Length(_) | Self::Malformed | Self::Unexpected(_) | Self::Key => Some(Reason::Malformed),
            Self::NotOpened => Some(Reason::NotOpened),
            Self::Bounds(_) => Some(Reason::Bounds),
            Self::NotOffered
            | Self::Confirmation
            | Self::Refused(_)
            | Self::RefusedUnknown(_)
            | Self::Exporter
            | Self::Crypto => None,
        }
    }
}
