// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The messages in CBOR (RFC 8949): `[version, type, body]`, the body a map with small integer keys.
//!
//! ```cddl
//! message      = [1, 1, offer] / [1, 2, choice] / [1, 3, encap] / [1, 4, status] / [1, 5, installed] / [1, 6, acknowledged]
//! suite        = [kem: uint .size 2, kdf: uint .size 2, aead: uint .size 2]
//! offer        = { 0: bstr .size 32, 1: [1*64 suite], 2: [1*64 uint .size 1], 3: uint .size 4, 4: uint .size 8, ? 5: 1 }
//!                ; random, suites, profiles, idle lifetime in seconds, last generation known; 1 for a PairMasterSecret
//! choice       = { 0: bstr .size 32, 1: suite, 2: uint .size 1, 3: bstr, 4: uint .size 4, 5: uint .size 8 }
//!                ; random, suite, profile, pkR, idle lifetime in seconds, generation
//! encap        = { 0: bstr, 1: bstr }          ; enc, Seal(aad = T, salt || lifetime)
//! status       = { 0: bstr .size 32 } / { 1: uint .size 1 }    ; confirmation, or a reason
//! installed    = { 0: bstr .size 32 }          ; confirmation
//! acknowledged = {}
//! ```
//!
//! Unknown keys of a body are ignored, so that later versions of a body can say more; all of m1 and m2 is in T.

use minicbor::{Decode, Encode};
use pdmv2_proto::suite::Suite;

use super::error::Failure;
use super::frame::MESSAGE_MAX;
use super::RANDOM_LEN;
use crate::envelope;

/// Bytes of a confirmation.
pub const CONFIRM_LEN: usize = 32;

/// Most suites, and most profiles, in an offer: those of this version, and room for more.
pub const OFFER_MAX: usize = 64;

/// A suite on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct WireSuite {
    /// KEM.
    #[n(0)]
    pub kem: u16,
    /// KDF.
    #[n(1)]
    pub kdf: u16,
    /// AEAD.
    #[n(2)]
    pub aead: u16,
}

impl From<Suite> for WireSuite {
    fn from(suite: Suite) -> Self {
        Self { kem: suite.kem, kdf: suite.kdf, aead: suite.aead }
    }
}

impl From<WireSuite> for Suite {
    fn from(suite: WireSuite) -> Self {
        Self { kem: suite.kem, kdf: suite.kdf, aead: suite.aead }
    }
}

/// m1.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// The client's randomness.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub random: [u8; RANDOM_LEN],
    /// Suites in order of preference.
    #[n(1)]
    pub suites: Vec<WireSuite>,
    /// Wire profiles in order of preference.
    #[n(2)]
    pub profiles: Vec<u8>,
    /// Seconds after which the client forgets an idle flow.
    #[n(3)]
    pub idle: u32,
    /// The greatest generation the client knows of.
    #[n(4)]
    pub last_generation: u64,
    /// What the secret is for; absent for a SharedSecret.
    #[n(5)]
    pub purpose: Option<u8>,
}

/// m2.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Choice {
    /// The server's randomness.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub random: [u8; RANDOM_LEN],
    /// The suite.
    #[n(1)]
    pub suite: WireSuite,
    /// The wire profile.
    #[n(2)]
    pub profile: u8,
    /// The KEM's public key, made for this negotiation alone.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub pk_r: Vec<u8>,
    /// Seconds after which the server forgets an idle flow.
    #[n(4)]
    pub idle: u32,
    /// 1 + the greatest generation known to either.
    #[n(5)]
    pub generation: u64,
}

/// m3.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Encap {
    /// The KEM's encapsulated key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub enc: Vec<u8>,
    /// Seal(aad = T, salt (32 bytes) || lifetime (u32, seconds)).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

/// m4: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Status {
    /// Export("pdmv2 server confirm" || SHA-256(m3), 32).
    #[cbor(n(0), with = "minicbor::bytes")]
    pub confirm: Option<[u8; CONFIRM_LEN]>,
    /// Why the server gave up.
    #[n(1)]
    pub reason: Option<u8>,
}

/// m5.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Installed {
    /// Export("pdmv2 client confirm", 32).
    #[cbor(n(0), with = "minicbor::bytes")]
    pub confirm: [u8; CONFIRM_LEN],
}

/// The answer to m5.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Acknowledged {}

/// Any message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// m1.
    Offer(Offer),
    /// m2.
    Choice(Choice),
    /// m3.
    Encap(Encap),
    /// m4.
    Status(Status),
    /// m5.
    Installed(Installed),
    /// The answer to m5.
    Acknowledged(Acknowledged),
}

impl Message {
    /// The message's number on the wire.
    pub fn number(&self) -> u8 {
        match self {
            Self::Offer(_) => 1,
            Self::Choice(_) => 2,
            Self::Encap(_) => 3,
            Self::Status(_) => 4,
            Self::Installed(_) => 5,
            Self::Acknowledged(_) => 6,
        }
    }

    /// The bytes, without a length before them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        envelope::begin(&mut bytes, self.number());
        let body = match self {
            Self::Offer(body) => minicbor::to_vec(body),
            Self::Choice(body) => minicbor::to_vec(body),
            Self::Encap(body) => minicbor::to_vec(body),
            Self::Status(body) => minicbor::to_vec(body),
            Self::Installed(body) => minicbor::to_vec(body),
            Self::Acknowledged(body) => minicbor::to_vec(body),
        };
        // Writing to a vector cannot fail.
        bytes.extend(body.unwrap_or_default());
        bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Failure::Length`], [`Failure::Version`] before anything else is looked at, [`Failure::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        let (number, mut decoder) = envelope::open(bytes, MESSAGE_MAX)?;
        let malformed = |_| Failure::Malformed;
        let message = match number {
            1 => Self::Offer(decoder.decode().map_err(malformed)?),
            2 => Self::Choice(decoder.decode().map_err(malformed)?),
            3 => Self::Encap(decoder.decode().map_err(malformed)?),
            4 => Self::Status(decoder.decode().map_err(malformed)?),
            5 => Self::Installed(decoder.decode().map_err(malformed)?),
            6 => Self::Acknowledged(decoder.decode().map_err(malformed)?),
            _ => return Err(Failure::Malformed),
        };
        if !envelope::is_read(&decoder) {
            return Err(Failure::Malformed);
        }
        match &message {
            Self::Offer(offer)
                if offer.suites.is_empty()
                    || offer.suites.len() > OFFER_MAX
                    || offer.profiles.is_empty()
                    || offer.profiles.len() > OFFER_MAX =>
            {
                Err(Failure::Malformed)
            }
            Self::Status(status) if status.confirm.is_some() == status.reason.is_some() => Err(Failure::Malformed),
            _ => Ok(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples() -> Vec<Message> {
        let suite = WireSuite::from(Suite::DEFAULT);
        vec![
            Message::Offer(Offer {
                random: [1; 32],
                suites: vec![suite, WireSuite { kem: 0x647a, ..suite }],
                profiles: vec![2],
                idle: 600,
                last_generation: 3,
                purpose: None,
            }),
            Message::Choice(Choice {
                random: [2; 32],
                suite,
                profile: 2,
                pk_r: vec![3; 32],
                idle: 600,
                generation: u64::MAX,
            }),
            Message::Encap(Encap { enc: vec![4; 32], sealed: vec![5; 52] }),
            Message::Status(Status { confirm: Some([6; 32]), reason: None }),
            Message::Status(Status { confirm: None, reason: Some(2) }),
            Message::Installed(Installed { confirm: [7; 32] }),
            Message::Acknowledged(Acknowledged {}),
        ]
    }

    #[test]
    fn round_trip() {
        for message in samples() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        for message in samples() {
            let bytes = message.encode();
            for len in 0..bytes.len() {
                assert!(Message::decode(&bytes[..len]).is_err(), "{message:?} cut to {len}");
            }
            assert_eq!(Message::decode(&[bytes.as_slice(), &[0]].concat()), Err(Failure::Malformed));
        }
    }

    #[test]
    fn bytes_of_an_acknowledgement() {
        assert_eq!(Message::Acknowledged(Acknowledged {}).encode(), [0x83, 1, 6, 0xa0]);
    }

    #[test]
    fn refusals() {
        let table: [(&[u8], Failure); 7] = [
            (&[], Failure::Length(0)),
            (&[0; MESSAGE_MAX + 1], Failure::Length(MESSAGE_MAX + 1)),
            (&[0x83, 2, 6, 0xa0], Failure::Version(2)),
            (&[0x83, 2, 99], Failure::Version(2)),
            (&[0x83, 1, 7, 0xa0], Failure::Malformed),
            (&[0x82, 1, 6], Failure::Malformed),
            (&[0x83, 1, 4, 0xa0], Failure::Malformed),
        ];
        for (bytes, failure) in table {
            assert_eq!(Message::decode(bytes), Err(failure), "{bytes:02x?}");
        }
        let both = Message::Status(Status { confirm: Some([0; 32]), reason: Some(1) });
        assert_eq!(Message::decode(&both.encode()), Err(Failure::Malformed));
    }

    #[test]
    fn a_huge_claimed_count_costs_nothing() {
        // An offer whose list of suites claims 2^64 - 1 entries.
        let bytes = [0x83, 1, 1, 0xa1, 1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Message::decode(&bytes), Err(Failure::Malformed));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn no_damage_panics(which in 0usize..7, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = samples()[which].encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Message::decode(&bytes);
        }
    }
}
