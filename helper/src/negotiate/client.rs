// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The end that opens a negotiation.

use subtle::ConstantTimeEq;

use super::binding::{info, secret_label, server_confirm, transcript, CLIENT_CONFIRM, PSK_ID};
use super::crypto::{set_up_sender, SenderContext};
use super::error::{Failure, Reason};
use super::message::{Choice, Encap, Installed, Message, Offer, Status, CONFIRM_LEN};
use super::{Entropy, Exporter, Local, Negotiated, Purpose, Role, Step, IDLE_MAX, RANDOM_LEN};
use crate::secret::Secret;
use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

/// A negotiation seen from the client.
pub struct Client {
    local: Local,
    state: State,
}

enum State {
    /// m1 is out.
    Offered { m1: Vec<u8> },
    /// m3 is out.
    Encapsulated { context: SenderContext, m3: Vec<u8>, negotiated: Box<Negotiated> },
    /// m4 verified; the caller installs.
    Installing { m5: Vec<u8> },
    /// m5 is out, until it is acknowledged.
    Confirming { m5: Vec<u8> },
    /// Over, one way or the other.
    Over,
}

impl Client {
    /// Starts: returns m1, to be sent.
    pub fn start(local: Local, entropy: &mut impl Entropy) -> (Self, Vec<u8>) {
        let mut random = [0; RANDOM_LEN];
        entropy.fill_bytes(&mut random);
        let m1 = Message::Offer(Offer {
            random,
            suites: local.suites.iter().map(|suite| (*suite).into()).collect(),
            profiles: local.profiles.iter().map(|profile| *profile as u8).collect(),
            idle: local.idle,
            last_generation: local.last_generation,
            purpose: (local.purpose != Purpose::Pair).then_some(local.purpose as u8),
        })
        .encode();
        (Self { local, state: State::Offered { m1: m1.clone() } }, m1)
    }

    /// Takes a message from the server. After an error the negotiation is over, and the session is to be closed.
    ///
    /// # Errors
    /// Whatever the server sent that it should not have.
    pub fn receive(&mut self, message: &[u8], tls: &dyn Exporter, entropy: &mut impl Entropy) -> Result<Step, Failure> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (state, Message::decode(message)?) {
            (_, Message::Status(Status { reason: Some(reason), .. })) => {
                Err(Reason::from_u8(reason).map_or(Failure::RefusedUnknown(reason), Failure::Refused))
            }
            (State::Offered { m1 }, Message::Choice(choice)) => self.encapsulate(&m1, message, choice, tls, entropy),
            (
                State::Encapsulated { context, m3, negotiated },
                Message::Status(Status { confirm: Some(confirm), .. }),
            ) => {
                let expected = context.export(&server_confirm(&m3), CONFIRM_LEN)?;
                if !bool::from(expected.as_bytes().ct_eq(&confirm)) {
                    return Err(Failure::Confirmation);
                }
                let mut confirm = [0; CONFIRM_LEN];
                confirm.copy_from_slice(context.export(CLIENT_CONFIRM, CONFIRM_LEN)?.as_bytes());
                self.state = State::Installing { m5: Message::Installed(Installed { confirm }).encode() };
                Ok(Step::Install(negotiated))
            }
            (State::Confirming { .. }, Message::Acknowledged(_)) => Ok(Step::Done),
            (_, other) => Err(Failure::Unexpected(other.number())),
        }
    }

    fn encapsulate(
        &mut self,
        m1: &[u8],
        m2: &[u8],
        choice: Choice,
        tls: &dyn Exporter,
        entropy: &mut impl Entropy,
    ) -> Result<Step, Failure> {
        let suite = Suite::from(choice.suite);
        let profile = Profile::from_u8(choice.profile).ok_or(Failure::NotOffered)?;
        if !self.local.suites.contains(&suite) || !self.local.profiles.contains(&profile) {
            return Err(Failure::NotOffered);
        }
        if choice.generation <= self.local.last_generation {
            return Err(Failure::Bounds("generation"));
        }
        if choice.idle == 0 || choice.idle > IDLE_MAX {
            return Err(Failure::Bounds("idle lifetime"));
        }
        let transcript = transcript(m1, m2);
        let psk = tls.export(&transcript)?;
        let info = info(&transcript, &self.local.identity, &self.local.peer);
        let (enc, mut context) = set_up_sender(suite, &choice.pk_r, &info, &psk, PSK_ID, entropy)?;

        let mut plaintext = Secret::zeroed(RANDOM_LEN + 4);
        let salt = match plaintext.as_mut_bytes().split_first_chunk_mut::<RANDOM_LEN>() {
            Some((salt, lifetime)) => {
                entropy.fill_bytes(salt);
                lifetime.copy_from_slice(&self.local.lifetime.to_be_bytes());
                Secret::new(salt.to_vec())
            }
            None => return Err(Failure::Crypto),
        };
        let sealed = context.seal(&transcript, &plaintext)?;
        let m3 = Message::Encap(Encap { enc, sealed }).encode();
        let negotiated = Box::new(Negotiated {
            role: Role::Client,
            purpose: self.local.purpose,
            suite,
            profile,
            generation: choice.generation,
            lifetime: self.local.lifetime,
            peer_idle: choice.idle,
            salt,
            shared_secret: context
                .export(secret_label(self.local.purpose), suite.hash_len().ok_or(Failure::NotOffered)?)?,
        });
        self.state = State::Encapsulated { context, m3: m3.clone(), negotiated };
        Ok(Step::Send(m3))
    }

    /// The secret is installed and sent under: returns m5, to be sent, and again each time nothing came back for a while.
    ///
    /// `None` when there is nothing to confirm.
    pub fn installed(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Installing { m5 } | State::Confirming { m5 } => {
                self.state = State::Confirming { m5: m5.clone() };
                Some(m5)
            }
            other => {
                self.state = other;
                None
            }
        }
    }
}
