// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Why a datagram is refused, or an exchange not begun. Nothing of it is told to the sender.

use super::bf;
use crate::envelope::EnvelopeError;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than a datagram may be, or of no length at all.
    #[error("datagram of {0} bytes")]
    Length(usize),
    /// Not the CBOR that `docs/protocol.md` describes.
    #[error("malformed message")]
    Malformed,
    /// A version other than 1.
    #[error("unknown message version {0}")]
    Version(u8),
    /// The two addresses are not on the lists, or not under these generators.
    #[error("not on the list")]
    Stranger,
    /// Both claim to be Secondary Client, or both Secondary Server.
    #[error("both ends claim the same role")]
    Role,
    /// Another suite than the Primaries told, or one that this implementation does not have.
    #[error("another suite")]
    Suite,
    /// A validity period that is not next to the present one.
    #[error("validity period {0} is not next to the present one")]
    Period(u32),
    /// This host has no private key for the period.
    #[error("no private key for validity period {0}")]
    NoKey(u32),
    /// A generation out of bounds.
    #[error("generation out of bounds")]
    Generation,
    /// What belongs to no exchange, or not to its present state.
    #[error("message m{0} out of turn")]
    Unexpected(u8),
    /// A datagram that opened an exchange before.
    #[error("opened an exchange before")]
    Replayed,
    /// This host opened an exchange with the peer that stands.
    #[error("crosses an exchange that stands")]
    Crossing,
    /// This host is opening an exchange with the peer already.
    #[error("already under way")]
    UnderWay,
    /// Too many exchanges, of this pair or at all.
    #[error("too many exchanges")]
    Busy,
    /// An encapsulation that does not open.
    #[error("{0}")]
    Encapsulation(#[from] bf::Refused),
    /// A confirmation that proves nothing.
    #[error("wrong confirmation")]
    Confirmation,
}

impl From<EnvelopeError> for Refusal {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Length(length) => Self::Length(length),
            EnvelopeError::Version(version) => Self::Version(version),
            EnvelopeError::Malformed => Self::Malformed,
        }
    }
}
