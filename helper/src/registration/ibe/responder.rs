// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The end that answers an exchange.

use std::time::Duration;

use subtle::ConstantTimeEq;

use super::error::Refusal;
use super::generator::is_near;
use super::identity::{Identity, Role};
use super::limits::RESPONDER_LIFE;
use super::message::{Answer, Confirm, Init, Message, Session, CONFIRM_LEN};
use super::schedule::{Agreement, Confirmations};
use super::{suite, Established, Handle, Member, Pair, Path, Transmit};
use crate::negotiate::Entropy;

/// An exchange that the peer opened.
pub struct Responder {
    path: Path,
    /// As it came, without cookie and padding.
    init: Init,
    confirmations: Confirmations,
    expires: Duration,
    state: State,
}

enum State {
    /// m3 is out.
    Answered { m3: Vec<u8>, established: Box<Established> },
    /// m4 verified; the caller installs.
    Installing,
    /// m5 is out.
    Installed { m5: Vec<u8> },
}

/// What m4 leads to.
#[derive(Debug)]
pub enum Confirmed {
    /// Install.
    Install(Box<Established>),
    /// m5 again.
    Send(Transmit),
    /// The caller is installing.
    Wait,
}

/// What can be refused of an m1 without a pairing operation.
///
/// # Errors
/// A role, suite, period or generation that cannot be.
pub fn check(init: &Init, member: &Member<'_>) -> Result<(), Refusal> {
    if Role::from_u8(init.role) != Some(member.role.other()) {
        return Err(Refusal::Role);
    }
    if suite(member.suite) != init.suite.into() {
        return Err(Refusal::Suite);
    }
    if !is_near(init.period, member.period) {
        return Err(Refusal::Period(init.period));
    }
    if member.keys.get(init.period).is_none() {
        return Err(Refusal::NoKey(init.period));
    }
    generation(init, member).map(|_| ())
}

/// "generation = 1 + max(last known to each)"
fn generation(init: &Init, member: &Member<'_>) -> Result<u64, Refusal> {
    init.last_generation.max(member.last_generation).checked_add(1).ok_or(Refusal::Generation)
}

/// An m1 as it was, whatever cookie came with it.
fn bare(init: &Init) -> Init {
    Init { cookie: None, padding: Vec::new(), ..init.clone() }
}

impl Responder {
    /// Opens m1 and answers it: m3.
    ///
    /// # Errors
    /// What [`check`] refuses; an encapsulation that does not open.
    pub fn accept(
        path: Path,
        pair: &Pair,
        init: &Init,
        member: &Member<'_>,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(Self, Transmit), Refusal> {
        check(init, member)?;
        let (period, generation) = (init.period, generation(init, member)?);
        let opened = member.keys.get(period).ok_or(Refusal::NoKey(period))?.decapsulate(&init.ciphertext)?;
        let ours = Identity::new(member.parameters, member.role, pair.local, period);
        let theirs = Identity::new(member.peer_parameters, member.role.other(), pair.remote, period);
        let (key, ciphertext) = member.peer_parameters.encapsulate(theirs.as_bytes(), entropy)?;
        let (ids, ciphertexts, [k_c, k_s]) = match member.role {
            Role::Client => ([&ours, &theirs], [&init.ciphertext, &ciphertext], [&opened, &key]),
            Role::Server => ([&theirs, &ours], [&ciphertext, &init.ciphertext], [&key, &opened]),
        };
        let agreement = Agreement {
            suite: suite(member.suite),
            initiator: member.role.other(),
            session: &init.session,
            last_generation: init.last_generation,
            generation,
            ids,
            ciphertexts,
        };
        let (shared_secret, confirmations) = agreement.derive(k_c, k_s)?;
        let m3 = Message::Answer(Answer {
            session: init.session,
            generators: init.generators,
            generation,
            ciphertext,
            confirm: confirmations.answer,
        })
        .encode();
        let established = Box::new(Established {
            handle: Handle { pair: *pair, session: init.session },
            role: member.role,
            is_initiator: false,
            suite: suite(member.suite),
            period,
            generation,
            shared_secret,
        });
        let transmit = Transmit { path, datagram: m3.clone() };
        let state = State::Answered { m3, established };
        Ok((Self { path, init: bare(init), confirmations, expires: now + RESPONDER_LIFE, state }, transmit))
    }

    /// Its name.
    pub fn session(&self) -> &Session {
        &self.init.session
    }

    /// Whether a datagram came from where this exchange sends to.
    pub fn is_on(&self, path: &Path) -> bool {
        self.path == *path
    }

    /// Whether it waits for m4.
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::Answered { .. })
    }

    /// Whether the caller installs.
    pub fn is_installing(&self) -> bool {
        matches!(self.state, State::Installing)
    }

    /// When it may be forgotten; never while the caller installs.
    pub fn expires(&self) -> Option<Duration> {
        Some(self.expires).filter(|_| !self.is_installing())
    }

    /// m1 came again: m3 again, as long as m4 did not come.
    ///
    /// # Errors
    /// [`Refusal::Replayed`] for another m1, or after m4.
    pub fn again(&self, path: &Path, init: &Init) -> Result<Transmit, Refusal> {
        match &self.state {
            State::Answered { m3, .. } if self.is_on(path) && bare(init) == self.init => {
                Ok(Transmit { path: self.path, datagram: m3.clone() })
            }
            _ => Err(Refusal::Replayed),
        }
    }

    /// m4.
    ///
    /// # Errors
    /// A wrong confirmation.
    pub fn confirm(&mut self, confirm: &[u8; CONFIRM_LEN]) -> Result<Confirmed, Refusal> {
        if !bool::from(self.confirmations.confirm.ct_eq(confirm)) {
            return Err(Refusal::Confirmation);
        }
        match std::mem::replace(&mut self.state, State::Installing) {
            State::Answered { established, .. } => Ok(Confirmed::Install(established)),
            State::Installing => Ok(Confirmed::Wait),
            State::Installed { m5 } => {
                let transmit = Transmit { path: self.path, datagram: m5.clone() };
                self.state = State::Installed { m5 };
                Ok(Confirmed::Send(transmit))
            }
        }
    }

    /// The caller installed: m5. `None` when it was not asked to.
    pub fn installed(&mut self, now: Duration) -> Option<Transmit> {
        if !self.is_installing() {
            return None;
        }
        let (session, generators) = (self.init.session, self.init.generators);
        let confirm = Confirm { session, generators, confirm: self.confirmations.installed };
        let m5 = Message::Installed(confirm).encode();
        self.state = State::Installed { m5: m5.clone() };
        self.expires = now + RESPONDER_LIFE;
        Some(Transmit { path: self.path, datagram: m5 })
    }
}
