// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The datagrams in CBOR (RFC 8949): `[version, number, body]`, the body a map with small integer keys.
//!
//! ```cddl
//! datagram   = [1, 1, init] / [1, 2, cookie] / [1, 3, answer] / [1, 4, confirm] / [1, 5, installed]
//! suite      = [kem: 0xff01, kdf: uint .size 2, aead: uint .size 2]
//! ciphertext = bstr .size 160                  ; U || V || W
//! exchange   = (0: bstr .size 16, 1: bstr .size 16)     ; session, generators
//! init       = { exchange, 2: uint .le 1, 3: suite, 4: uint .size 4, 5: uint .size 8, 6: ciphertext,
//!                ? 7: bstr .size 32, 8: bstr }
//!              ; role of who sends it, suite, validity period, last generation known, ciphertext, cookie, padding
//! cookie     = { exchange, 2: bstr .size 32 }
//! answer     = { exchange, 2: uint .size 8, 3: ciphertext, 4: bstr .size 32 }  ; generation, ciphertext, confirmation
//! confirm    = { exchange, 2: bstr .size 32 }
//! installed  = { exchange, 2: bstr .size 32 }
//! ```
//!
//! Unknown keys of a body are ignored. A datagram has at most 1232 bytes, what IPv6's least MTU leaves to UDP. An init
//! has at least 512, so that no answer is larger than what it answers.

use minicbor::{Decode, Encode};

use super::bf::{Ciphertext, CIPHERTEXT_LEN};
use super::error::Refusal;
use crate::envelope;
use crate::negotiate::message::WireSuite;

/// Longest datagram, bytes: 1280 less the headers of IPv6 and UDP.
pub const DATAGRAM_MAX: usize = 1280 - 40 - 8;

/// Shortest m1, bytes.
pub const INIT_MIN: usize = 512;

/// Bytes of a session's name.
pub const SESSION_LEN: usize = 16;

/// Bytes of the name of a pair of generators.
pub const GENERATORS_LEN: usize = 16;

/// Bytes of a confirmation.
pub const CONFIRM_LEN: usize = 32;

/// Bytes of a cookie.
pub const COOKIE_LEN: usize = 32;

/// What who opens an exchange names it, drawn at random.
pub type Session = [u8; SESSION_LEN];

/// Names a pair of generators.
pub type Generators = [u8; GENERATORS_LEN];

/// Which exchange a datagram belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// The session.
    pub session: Session,
    /// Whose keys are used.
    pub generators: Generators,
}

/// m1.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Init {
    /// The session.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub session: Session,
    /// Whose keys are used.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub generators: Generators,
    /// The role of who sends this.
    #[n(2)]
    pub role: u8,
    /// The suite that the Primaries told.
    #[n(3)]
    pub suite: WireSuite,
    /// The validity period of both identities.
    #[n(4)]
    pub period: u32,
    /// The greatest generation of this pair that the sender knows of; 0 for none.
    #[n(5)]
    pub last_generation: u64,
    /// Encapsulated to the receiver.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub ciphertext: [u8; CIPHERTEXT_LEN],
    /// As the receiver sent it.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub cookie: Option<[u8; COOKIE_LEN]>,
    /// Zeros.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub padding: Vec<u8>,
}

/// m2.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cookie {
    /// The session.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub session: Session,
    /// Whose keys are used.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub generators: Generators,
    /// To be sent back.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub cookie: [u8; COOKIE_LEN],
}

/// m3.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// The session.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub session: Session,
    /// Whose keys are used.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub generators: Generators,
    /// 1 + the greatest generation known to either.
    #[n(2)]
    pub generation: u64,
    /// Encapsulated to who sent m1.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ciphertext: Ciphertext,
    /// Confirmation 3.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub confirm: [u8; CONFIRM_LEN],
}

/// m4 and m5.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Confirm {
    /// The session.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub session: Session,
    /// Whose keys are used.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub generators: Generators,
    /// Confirmation 4 or 5.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub confirm: [u8; CONFIRM_LEN],
}

/// Any datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// m1.
    Init(Init),
    /// m2.
    Cookie(Cookie),
    /// m3.
    Answer(Answer),
    /// m4.
    Confirm(Confirm),
    /// m5.
    Installed(Confirm),
}

impl Message {
    /// The message's number on the wire.
    pub fn number(&self) -> u8 {
        match self {
            Self::Init(_) => 1,
            Self::Cookie(_) => 2,
            Self::Answer(_) => 3,
            Self::Confirm(_) => 4,
            Self::Installed(_) => 5,
        }
    }

    /// The exchange it belongs to.
    pub fn name(&self) -> Name {
        let (session, generators) = match self {
            Self::Init(body) => (body.session, body.generators),
            Self::Cookie(body) => (body.session, body.generators),
            Self::Answer(body) => (body.session, body.generators),
            Self::Confirm(body) | Self::Installed(body) => (body.session, body.generators),
        };
        Name { session, generators }
    }

    /// The datagram. An init is padded.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = self.encode_as_is();
        match self {
            Self::Init(init) if bytes.len() < INIT_MIN => {
                let padding = vec![0; init.padding.len() + (INIT_MIN - bytes.len())];
                Self::Init(Init { padding, ..init.clone() }).encode_as_is()
            }
            _ => bytes,
        }
    }

    fn encode_as_is(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        envelope::begin(&mut bytes, self.number());
        let body = match self {
            Self::Init(body) => minicbor::to_vec(body),
            Self::Cookie(body) => minicbor::to_vec(body),
            Self::Answer(body) => minicbor::to_vec(body),
            Self::Confirm(body) | Self::Installed(body) => minicbor::to_vec(body),
        };
        // Writing to a vector cannot fail.
        bytes.extend(body.unwrap_or_default());
        bytes
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// [`Refusal::Length`], [`Refusal::Version`] before anything else is looked at, [`Refusal::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let (number, mut decoder) = envelope::open(bytes, DATAGRAM_MAX)?;
        let malformed = |_| Refusal::Malformed;
        let message = match number {
            1 => Self::Init(decoder.decode().map_err(malformed)?),
            2 => Self::Cookie(decoder.decode().map_err(malformed)?),
            3 => Self::Answer(decoder.decode().map_err(malformed)?),
            4 => Self::Confirm(decoder.decode().map_err(malformed)?),
            5 => Self::Installed(decoder.decode().map_err(malformed)?),
            _ => return Err(Refusal::Malformed),
        };
        let short = matches!(message, Self::Init(_)) && bytes.len() < INIT_MIN;
        if short || !envelope::is_read(&decoder) {
            return Err(Refusal::Malformed);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn init() -> Init {
        Init {
            session: [1; 16],
            generators: [2; 16],
            role: 1,
            suite: WireSuite { kem: 0xff01, kdf: 3, aead: 3 },
            period: u32::MAX,
            last_generation: u64::MAX,
            ciphertext: [3; 160],
            cookie: Some([4; 32]),
            padding: Vec::new(),
        }
    }

    /// The largest of each; the init without a cookie too.
    fn samples() -> Vec<Message> {
        let confirm = Confirm { session: [1; 16], generators: [2; 16], confirm: [5; 32] };
        let padded = |init: Init| Message::decode(&Message::Init(init).encode()).unwrap();
        vec![
            padded(init()),
            padded(Init { cookie: None, role: 0, period: 0, last_generation: 0, ..init() }),
            Message::Cookie(Cookie { session: [1; 16], generators: [2; 16], cookie: [4; 32] }),
            Message::Answer(Answer {
                session: [1; 16],
                generators: [2; 16],
                generation: u64::MAX,
                ciphertext: [3; 160],
                confirm: [5; 32],
            }),
            Message::Confirm(confirm.clone()),
            Message::Installed(confirm),
        ]
    }

    #[test]
    fn round_trip() {
        for message in samples() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    /// "an answer never larger than the request: no amplification"
    #[test]
    fn no_answer_is_larger_than_what_it_answers() {
        let lens: Vec<_> = samples().iter().map(|message| message.encode().len()).collect();
        let [init, bare, cookie, answer, confirm, installed] = lens[..] else { panic!() };
        assert!(init >= INIT_MIN && bare >= INIT_MIN);
        assert!(init.max(bare) < INIT_MIN + 3, "{init} {bare}");
        assert!(cookie.max(answer) <= INIT_MIN);
        assert!(installed <= confirm);
        assert!(lens.iter().all(|len| *len <= DATAGRAM_MAX));
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        for message in samples() {
            let bytes = message.encode();
            for len in 0..bytes.len() {
                assert!(Message::decode(&bytes[..len]).is_err(), "{message:?} cut to {len}");
            }
            assert_eq!(Message::decode(&[bytes.as_slice(), &[0]].concat()), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn refusals() {
        let short = Message::Init(init()).encode_as_is();
        let long = Message::Init(Init { padding: vec![0; 1000], ..init() }).encode_as_is();
        let mut longest = Message::Init(Init { padding: vec![0; 1000 - (long.len() - DATAGRAM_MAX)], ..init() });
        assert_eq!(longest.encode().len(), DATAGRAM_MAX);
        assert_eq!(Message::decode(&longest.encode()), Ok(longest.clone()));
        let Message::Init(body) = &mut longest else { panic!() };
        body.padding.push(0);
        let table = [
            (vec![], Refusal::Length(0)),
            (vec![0; DATAGRAM_MAX + 1], Refusal::Length(DATAGRAM_MAX + 1)),
            (longest.encode(), Refusal::Length(DATAGRAM_MAX + 1)),
            (vec![0x83, 2, 4, 0xa0], Refusal::Version(2)),
            (vec![0x83, 0, 99], Refusal::Version(0)),
            (vec![0x83, 1, 0, 0xa0], Refusal::Malformed),
            (vec![0x83, 1, 6, 0xa0], Refusal::Malformed),
            (vec![0x83, 1, 4, 0xa0], Refusal::Malformed),
            (vec![0x82, 1, 4], Refusal::Malformed),
            (short, Refusal::Malformed),
        ];
        for (bytes, refusal) in table {
            assert_eq!(Message::decode(&bytes), Err(refusal), "{bytes:02x?}");
        }
    }

    #[test]
    fn byte_strings_of_another_length_are_refused() {
        for message in samples() {
            let bytes = message.encode();
            // Each fixed byte string is a key and a head; one that says another length does not decode.
            let heads: Vec<_> = (4..bytes.len() - 1)
                .filter(|at| matches!(bytes[at - 1..=*at], [0 | 1, 0x50]) || bytes[*at - 1..=*at] == [0x58, 160])
                .collect();
            assert!(heads.len() >= 2, "{message:?}");
            for at in heads {
                let mut other = bytes.clone();
                other[at] -= 1;
                assert_eq!(Message::decode(&other), Err(Refusal::Malformed), "{at}");
            }
        }
    }

    #[test]
    fn a_huge_claimed_length_costs_nothing() {
        let mut bytes = vec![0x83, 1, 1, 0xa1, 8, 0x5b];
        bytes.extend([0xff; 8]);
        bytes.resize(INIT_MIN, 0);
        assert_eq!(Message::decode(&bytes), Err(Refusal::Malformed));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn no_body_panics(number in 0u8..7, body in prop::collection::vec(any::<u8>(), 0..1300)) {
            let _ = Message::decode(&[&[0x83, envelope::VERSION, number], body.as_slice()].concat());
        }

        #[test]
        fn no_damage_panics(which in 0usize..6, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = samples()[which].encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // What is still read is written as it was understood, and read as the same.
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
        }
    }
}
