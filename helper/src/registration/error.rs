// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Why a message, a change or a request is not taken.

use super::lists::ListError;
use super::store::StoreError;
use crate::envelope::EnvelopeError;
use crate::keys::schedule::UnknownSuite;

/// What was wrong with a message: its session is to be closed.
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
    /// A message that this peer has no say in, or that does not belong here.
    #[error("message {0} out of turn")]
    Unexpected(u8),
    /// More than there may be of something.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A list that is not what its digest says.
    #[error("a list differs from its digest")]
    Digest,
    /// A value out of bounds.
    #[error("{0} out of bounds")]
    Bounds(&'static str),
    /// The key schedule does not know the suite, or a secret is not of its length.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
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

/// Why an operator's change was not carried out; nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The list did not.
    #[error(transparent)]
    List(#[from] ListError),
    /// No pairing with this Primary.
    #[error("no such Primary")]
    NoPairing,
    /// No such group.
    #[error("no such group")]
    NoGroup,
    /// That list is the other Primary's to change.
    #[error("the list is the other Primary's")]
    NotOurs,
    /// More groups, or generations of them, than there may be.
    #[error("no more groups")]
    NoMoreGroups,
    /// Another member has the address.
    #[error("the address belongs to another member, or there are too many")]
    Address,
    /// The key schedule does not know the suite.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
    /// The PairMasterSecret is not newer than the last, or of a profile whose epochs cannot be leased.
    #[error("the PairMasterSecret cannot be used: {0}")]
    Master(&'static str),
}
