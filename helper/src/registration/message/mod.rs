// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The messages of registration, in CBOR as those of the negotiation: `[version, number, body]`, the body a map with small
//! integer keys, unknown ones ignored. Their numbers begin behind the negotiation's, so that one session carries both.
//! docs/protocol.md, section 15, has their CDDL.
//!
//! Encoding is deterministic: shortest forms, definite lengths, keys in order.

pub mod member;
pub mod peer;
mod wire;

pub use wire::SECRET_MAX;

use minicbor::{Decoder, Encoder};
use zeroize::Zeroize;

use super::error::Failure;
use crate::envelope;
use crate::negotiate::frame::MESSAGE_MAX;
use crate::prefix::Prefix;
use crate::secret::Secret;

/// Longest public parameters of a key generator, bytes.
pub const PARAMETERS_MAX: usize = 256;

/// Prefixes in one part of a list, so that it fits a message however long they are.
pub const PART_MAX: usize = 512;

macro_rules! messages {
    ($($number:literal $name:ident($body:ty) $doc:literal,)*) => {
        /// Any message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message {
            $(#[doc = $doc] $name($body),)*
        }

        impl Message {
            /// The message's number on the wire.
            pub fn number(&self) -> u8 {
                match self {
                    $(Self::$name(_) => $number,)*
                }
            }

            fn encode_body(&self, encoder: &mut Encoder<&mut Vec<u8>>) {
                // Writing to a vector cannot fail.
                let _ = match self {
                    $(Self::$name(body) => encoder.encode(body).map(|_| ()),)*
                };
            }

            fn decode_body(number: u8, decoder: &mut Decoder<'_>) -> Result<Self, Failure> {
                match number {
                    $($number => decoder.decode().map(Self::$name).map_err(|_| Failure::Malformed),)*
                    _ => Err(Failure::Malformed),
                }
            }
        }
    };
}

messages! {
    16 Hello(peer::Hello) "Primary to Primary, first.",
    17 GroupIs(peer::GroupIs) "PS to PC: a group.",
    18 GroupGone(peer::GroupGone) "PS to PC: a group is gone.",
    19 List(peer::ListPart) "Primary to Primary: a list of the sender's.",
    20 Told(peer::Told) "Primary to Primary: everything was told.",
    21 Progress(peer::Progress) "Primary to Primary: how far a renewal is.",
    22 Sequence(peer::Sequence) "Primary to Primary: commits so far.",
    23 Generator(peer::Generator) "Primary to Primary: the sender's key generator.",
    32 Welcome(member::Welcome) "Primary to Secondary, first.",
    33 MemberGroup(member::MemberGroup) "Primary to Secondary: a group.",
    34 MemberGone(member::MemberGone) "Primary to Secondary: a group or a pairing is gone.",
    35 MemberList(member::MemberList) "Primary to Secondary: a list.",
    36 Prepare(member::Prepare) "Primary to Secondary: PREPARE.",
    37 Secrets(member::Secrets) "Primary to Secondary: secrets of a group.",
    38 Activate(member::Activate) "Primary to Secondary: ACTIVATE.",
    39 Synced(member::Synced) "Primary to Secondary: everything was told.",
    40 Granted(member::Granted) "Primary to Secondary: epochs.",
    41 Answer(member::Answer) "Primary to Secondary: the answer to a poll.",
    42 Identity(member::Identity) "Primary to Secondary: keys for Identity Based.",
    48 Join(member::Join) "Secondary to Primary, first.",
    49 Acknowledge(member::Acknowledge) "Secondary to Primary: carried out.",
    50 Prepared(member::Prepared) "Secondary to Primary: PREPARED.",
    51 WantEpochs(member::WantEpochs) "Secondary to Primary: a question for epochs.",
    52 Poll(member::Poll) "Secondary to Primary: a question for a pair's secret.",
}

/// Whether a message's bytes are one of registration's, not of the negotiation's, by its number.
pub fn is_registration(bytes: &[u8]) -> bool {
    envelope::open(bytes, MESSAGE_MAX).is_ok_and(|(number, _)| number >= 16)
}

impl Message {
    /// The bytes, without a length before them; they are wiped when dropped, as they may hold secrets.
    pub fn encode(&self) -> Secret {
        // Room for the longest at once, so that no copy of a part stays behind.
        let mut bytes = Vec::with_capacity(MESSAGE_MAX);
        envelope::begin(&mut bytes, self.number());
        self.encode_body(&mut Encoder::new(&mut bytes));
        let message = Secret::new(bytes.as_slice().to_vec());
        bytes.zeroize();
        message
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Failure::Length`], [`Failure::Version`] before anything else is looked at, [`Failure::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        let (number, mut decoder) = envelope::open(bytes, MESSAGE_MAX)?;
        let message = Self::decode_body(number, &mut decoder)?;
        if !envelope::is_read(&decoder) {
            return Err(Failure::Malformed);
        }
        match &message {
            // One of the two.
            Self::Answer(answer) if answer.secret.is_some() == answer.refusal.is_some() => Err(Failure::Malformed),
            _ => Ok(message),
        }
    }
}

/// The parts in which a list, or what changed in it, is told: `None` for `older` tells it anew.
pub fn list_parts(
    group: Option<&super::group::GroupName>,
    older: Option<&super::lists::List>,
    list: &super::lists::List,
) -> Vec<peer::ListPart> {
    let (removed, added) = match older {
        Some(older) => list.changes_since(older),
        None => (Vec::new(), list.iter().copied().collect()),
    };
    let part = |removed: &[Prefix], added: &[Prefix]| peer::ListPart {
        group: group.cloned(),
        anew: false,
        removed: removed.to_vec(),
        added: added.to_vec(),
        digest: None,
        returns: 0,
    };
    let mut parts: Vec<peer::ListPart> = removed.chunks(PART_MAX).map(|removed| part(removed, &[])).collect();
    parts.extend(added.chunks(PART_MAX).map(|added| part(&[], added)));
    if parts.is_empty() {
        parts.push(part(&[], &[]));
    }
    if let Some(first) = parts.first_mut() {
        first.anew = older.is_none();
    }
    if let Some(last) = parts.last_mut() {
        last.digest = Some(list.digest());
    }
    parts
}

#[cfg(test)]
mod tests;
