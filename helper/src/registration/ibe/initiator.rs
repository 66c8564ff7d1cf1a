// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The end that opens an exchange.

use std::time::Duration;

use subtle::ConstantTimeEq;

use super::error::Refusal;
use super::identity::{Identity, Role};
use super::limits::{ANSWERS_MAX, ATTEMPTS, COOKIES_MAX, RETRANSMIT};
use super::message::{Answer, Confirm, Init, Message, Session, CONFIRM_LEN, COOKIE_LEN};
use super::schedule::{Agreement, Confirmations};
use super::{suite, Established, Handle, Member, Pair, Path, Transmit};
use crate::negotiate::Entropy;
use crate::secret::Secret;

/// An exchange that this host opened: first nothing is agreed and m1 is out; then something is agreed and nothing is
/// out, while the caller installs; then m4 is out.
pub struct Initiator {
    path: Path,
    init: Init,
    /// What is encapsulated to the peer.
    key: Secret,
    cookies: u32,
    answers: u32,
    agreed: Option<Agreed>,
    out: Option<Pending>,
}

/// What an m3 that verified says.
struct Agreed {
    generation: u64,
    confirmations: Confirmations,
}

/// A datagram that is sent until it is answered.
struct Pending {
    datagram: Vec<u8>,
    sent: u32,
    next: Duration,
}

/// What time has brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// To send again.
    Send(Transmit),
    /// Nobody answers.
    Over,
}

impl Pending {
    /// Sent once, at `now`.
    fn new(datagram: Vec<u8>, now: Duration) -> Self {
        Self { datagram, sent: 1, next: now + RETRANSMIT }
    }
}

impl Initiator {
    /// Opens an exchange: m1.
    ///
    /// # Errors
    /// [`Refusal::NoKey`] without a private key of the present period; [`Refusal::Generation`] after the last one.
    pub fn open(
        path: Path,
        pair: &Pair,
        member: &Member<'_>,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(Self, Transmit), Refusal> {
        let period = member.period;
        if member.keys.get(period).is_none() {
            return Err(Refusal::NoKey(period));
        }
        member.last_generation.checked_add(1).ok_or(Refusal::Generation)?;
        let mut session = Session::default();
        entropy.fill_bytes(&mut session);
        let peer = Identity::new(member.peer_parameters, member.role.other(), pair.remote, period);
        let (key, ciphertext) = member.peer_parameters.encapsulate(peer.as_bytes(), entropy)?;
        let init = Init {
            session,
            generators: pair.generators,
            role: member.role as u8,
            suite: suite(member.suite).into(),
            period,
            last_generation: member.last_generation,
            ciphertext,
            cookie: None,
            padding: Vec::new(),
        };
        let datagram = Message::Init(init.clone()).encode();
        let out = Some(Pending::new(datagram.clone(), now));
        Ok((Self { path, init, key, cookies: 0, answers: 0, agreed: None, out }, Transmit { path, datagram }))
    }

    /// Its name.
    pub fn session(&self) -> &Session {
        &self.init.session
    }

    /// Whether a datagram came from where this exchange sends to.
    pub fn is_on(&self, path: &Path) -> bool {
        self.path == *path
    }

    /// The generation that the caller was told to install, if that was so.
    pub fn generation(&self) -> Option<u64> {
        self.agreed.as_ref().map(|agreed| agreed.generation)
    }

    /// When it is due.
    pub fn next(&self) -> Option<Duration> {
        self.out.as_ref().map(|pending| pending.next)
    }

    /// m2: m1 with the cookie.
    ///
    /// # Errors
    /// A cookie out of turn, or one too many.
    pub fn cookie(&mut self, cookie: [u8; COOKIE_LEN], now: Duration) -> Result<Transmit, Refusal> {
        if self.agreed.is_some() || self.cookies >= COOKIES_MAX {
            return Err(Refusal::Unexpected(2));
        }
        self.cookies += 1;
        self.init.cookie = Some(cookie);
        let datagram = Message::Init(self.init.clone()).encode();
        self.out = Some(Pending::new(datagram.clone(), now));
        Ok(Transmit { path: self.path, datagram })
    }

    /// m3: what to install.
    ///
    /// # Errors
    /// An answer out of turn or out of bounds, that does not open, or whose confirmation is wrong. The exchange goes
    /// on: it may be that somebody else sent it.
    pub fn answer(&mut self, pair: &Pair, answer: &Answer, member: &Member<'_>) -> Result<Box<Established>, Refusal> {
        if self.agreed.is_some() || self.answers >= ANSWERS_MAX {
            return Err(Refusal::Unexpected(3));
        }
        // What the Primary says may have changed since.
        if member.role as u8 != self.init.role || suite(member.suite) != self.init.suite.into() {
            return Err(Refusal::Unexpected(3));
        }
        if answer.generation <= self.init.last_generation.max(member.last_generation) {
            return Err(Refusal::Generation);
        }
        let period = self.init.period;
        let private = member.keys.get(period).ok_or(Refusal::NoKey(period))?;
        self.answers += 1;
        let key = private.decapsulate(&answer.ciphertext)?;
        let ours = Identity::new(member.parameters, member.role, pair.local, period);
        let theirs = Identity::new(member.peer_parameters, member.role.other(), pair.remote, period);
        let (ids, ciphertexts, [k_c, k_s]) = match member.role {
            Role::Client => ([&ours, &theirs], [&answer.ciphertext, &self.init.ciphertext], [&key, &self.key]),
            Role::Server => ([&theirs, &ours], [&self.init.ciphertext, &answer.ciphertext], [&self.key, &key]),
        };
        let agreement = Agreement {
            suite: suite(member.suite),
            initiator: member.role,
            session: &self.init.session,
            last_generation: self.init.last_generation,
            generation: answer.generation,
            ids,
            ciphertexts,
        };
        let (shared_secret, confirmations) = agreement.derive(k_c, k_s)?;
        if !bool::from(confirmations.answer.ct_eq(&answer.confirm)) {
            return Err(Refusal::Confirmation);
        }
        self.agreed = Some(Agreed { generation: answer.generation, confirmations });
        self.out = None;
        Ok(Box::new(Established {
            handle: Handle { pair: *pair, session: self.init.session },
            role: member.role,
            is_initiator: true,
            suite: suite(member.suite),
            period,
            generation: answer.generation,
            shared_secret,
        }))
    }

    /// The caller installed: m4. `None` when it was not asked to.
    pub fn installed(&mut self, now: Duration) -> Option<Transmit> {
        let agreed = self.agreed.as_ref().filter(|_| self.out.is_none())?;
        let (session, generators) = (self.init.session, self.init.generators);
        let confirm = Confirm { session, generators, confirm: agreed.confirmations.confirm };
        let datagram = Message::Confirm(confirm).encode();
        self.out = Some(Pending::new(datagram.clone(), now));
        Some(Transmit { path: self.path, datagram })
    }

    /// m5: the generation to send under.
    ///
    /// # Errors
    /// One out of turn, or whose confirmation is wrong.
    pub fn confirmed(&self, confirm: &[u8; CONFIRM_LEN]) -> Result<u64, Refusal> {
        let agreed = self.agreed.as_ref().filter(|_| self.out.is_some()).ok_or(Refusal::Unexpected(5))?;
        if !bool::from(agreed.confirmations.installed.ct_eq(confirm)) {
            return Err(Refusal::Confirmation);
        }
        Ok(agreed.generation)
    }

    /// Whether m4 is out for this generation.
    pub fn is_confirming(&self, generation: u64) -> bool {
        self.generation() == Some(generation) && self.out.is_some()
    }

    /// What is due at `now`.
    pub fn due(&mut self, now: Duration) -> Due {
        let Some(pending) = self.out.as_mut().filter(|pending| pending.next <= now) else { return Due::Nothing };
        if pending.sent >= ATTEMPTS {
            return Due::Over;
        }
        pending.next = now + RETRANSMIT * 2u32.saturating_pow(pending.sent);
        pending.sent += 1;
        Due::Send(Transmit { path: self.path, datagram: pending.datagram.clone() })
    }
}
