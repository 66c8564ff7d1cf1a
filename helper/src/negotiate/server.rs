// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The end that answers a negotiation.

use subtle::ConstantTimeEq;

use super::binding::{info, secret_label, server_confirm, transcript, Transcript, CLIENT_CONFIRM, PSK_ID};
use super::crypto::Recipient;
use super::error::{Failure, Reason};
use super::message::{Acknowledged, Choice, Encap, Message, Offer, Status, WireSuite, CONFIRM_LEN};
use super::{Entropy, Exporter, Local, Negotiated, Purpose, Role, Step, IDLE_MAX, LIFETIME_MAX, RANDOM_LEN};
use crate::secret::Secret;
use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

/// A negotiation seen from the server.
pub struct Server {
    local: Local,
    state: State,
}

enum State {
    /// Nothing came yet.
    Waiting,
    /// m2 is out.
    Chosen(Box<Chosen>),
    /// m3 opened; the caller installs.
    Installing { m4: Vec<u8>, client_confirm: Secret },
    /// m4 is out.
    Confirming { client_confirm: Secret },
    /// Over.
    Over,
}

struct Chosen {
    recipient: Recipient,
    transcript: Transcript,
    suite: Suite,
    profile: Profile,
    generation: u64,
    peer_idle: u32,
}

impl Server {
    /// Waits for m1.
    pub fn new(local: Local) -> Self {
        Self { local, state: State::Waiting }
    }

    /// Takes a message from the client. After an error the negotiation is over: [`Server::refusal`] is sent where there is
    /// one, and the session closed.
    ///
    /// # Errors
    /// Whatever the client sent that it should not have.
    pub fn receive(&mut self, message: &[u8], tls: &dyn Exporter, entropy: &mut impl Entropy) -> Result<Step, Failure> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (state, Message::decode(message)?) {
            (State::Waiting, Message::Offer(offer)) => self.choose(message, &offer, entropy),
            (State::Chosen(chosen), Message::Encap(encap)) => self.open(message, &encap, &chosen, tls),
            (State::Confirming { client_confirm }, Message::Installed(installed)) => {
                if !bool::from(client_confirm.as_bytes().ct_eq(&installed.confirm)) {
                    return Err(Failure::Confirmation);
                }
                // m5 may come again, until its acknowledgement arrived.
                self.state = State::Confirming { client_confirm };
                Ok(Step::Activate(Message::Acknowledged(Acknowledged {}).encode()))
            }
            (_, other) => Err(Failure::Unexpected(other.number())),
        }
    }

    /// The message that tells the peer of an error, if it is told.
    pub fn refusal(failure: Failure) -> Option<Vec<u8>> {
        failure.reason().map(Self::refuse)
    }

    /// m4 with a reason.
    pub fn refuse(reason: Reason) -> Vec<u8> {
        Message::Status(Status { confirm: None, reason: Some(reason as u8) }).encode()
    }

    fn choose(&mut self, m1: &[u8], offer: &Offer, entropy: &mut impl Entropy) -> Result<Step, Failure> {
        // What is unknown here is skipped. Of suites this end's own order decides, so that X-Wing is chosen where both have it,
        // however the client orders them; of profiles the client's.
        let suite = (self.local.suites.iter().copied())
            .find(|suite| offer.suites.contains(&WireSuite::from(*suite)))
            .ok_or(Failure::NoCommonSuite)?;
        let profile = offer
            .profiles
            .iter()
            .filter_map(|profile| Profile::from_u8(*profile))
            .find(|profile| self.local.profiles.contains(profile))
            .ok_or(Failure::NoCommonSuite)?;
        if offer.idle == 0 || offer.idle > IDLE_MAX {
            return Err(Failure::Bounds("idle lifetime"));
        }
        if offer.purpose.unwrap_or(Purpose::Pair as u8) != self.local.purpose as u8 {
            return Err(Failure::Bounds("purpose"));
        }
        let generation = offer.last_generation.max(self.local.last_generation);
        let generation = generation.checked_add(1).ok_or(Failure::Bounds("generation"))?;
        let mut random = [0; RANDOM_LEN];
        entropy.fill_bytes(&mut random);
        let (recipient, pk_r) = Recipient::generate(suite, entropy)?;
        let m2 = Message::Choice(Choice {
            random,
            suite: suite.into(),
            profile: profile as u8,
            pk_r,
            idle: self.local.idle,
            generation,
        })
        .encode();
        let transcript = transcript(m1, &m2);
        let peer_idle = offer.idle;
        self.state = State::Chosen(Box::new(Chosen { recipient, transcript, suite, profile, generation, peer_idle }));
        Ok(Step::Send(m2))
    }

    fn open(&mut self, m3: &[u8], encap: &Encap, chosen: &Chosen, tls: &dyn Exporter) -> Result<Step, Failure> {
        let psk = tls.export(&chosen.transcript)?;
        let info = info(&chosen.transcript, &self.local.peer, &self.local.identity);
        let mut context = chosen.recipient.set_up(&encap.enc, &info, &psk, PSK_ID)?;
        let plaintext = context.open(&chosen.transcript, &encap.sealed)?;
        let (salt, lifetime) = plaintext.as_bytes().split_first_chunk::<RANDOM_LEN>().ok_or(Failure::Malformed)?;
        let lifetime = u32::from_be_bytes(lifetime.try_into().map_err(|_| Failure::Malformed)?);
        if lifetime == 0 || lifetime > LIFETIME_MAX {
            return Err(Failure::Bounds("lifetime"));
        }
        let mut confirm = [0; CONFIRM_LEN];
        confirm.copy_from_slice(context.export(&server_confirm(m3), CONFIRM_LEN)?.as_bytes());
        self.state = State::Installing {
            m4: Message::Status(Status { confirm: Some(confirm), reason: None }).encode(),
            client_confirm: context.export(CLIENT_CONFIRM, CONFIRM_LEN)?,
        };
        Ok(Step::Install(Box::new(Negotiated {
            role: Role::Server,
            purpose: self.local.purpose,
            suite: chosen.suite,
            profile: chosen.profile,
            generation: chosen.generation,
            lifetime,
            peer_idle: chosen.peer_idle,
            salt: Secret::new(salt.to_vec()),
            shared_secret: context
                .export(secret_label(self.local.purpose), chosen.suite.hash_len().ok_or(Failure::NoCommonSuite)?)?,
        })))
    }

    /// The secret is installed for receiving: returns m4, to be sent. `None` when there is nothing to tell.
    pub fn installed(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Installing { m4, client_confirm } => {
                self.state = State::Confirming { client_confirm };
                Some(m4)
            }
            other => {
                self.state = other;
                None
            }
        }
    }
}
