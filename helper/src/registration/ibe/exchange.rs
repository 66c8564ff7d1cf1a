// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! All exchanges of a host: who may have one, how many there are, which one of two that cross stands.
//!
//! It takes datagrams and the time, and returns what to do. An error says why a datagram was refused; nothing is sent
//! then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::cookie::{bucket, Bucket, Cookies};
use super::error::Refusal;
use super::identity::Role;
use super::initiator::{Due, Initiator};
use super::limits::{Budget, ACCEPTS_A_SECOND, RECENT_MAX};
use super::message::{Answer, Confirm, Cookie, Generators, Init, Message, Session};
use super::responder::{check, Confirmed, Responder};
use super::{Established, Handle, Member, Members, Pair, Path, Transmit};
use crate::negotiate::Entropy;

/// What to do after a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Send(Transmit),
    /// Install the secret and the receive keys, then call [`Exchanges::installed`] for the datagram to send, or
    /// [`Exchanges::abandon`]. The responder sends under the new generation from then on, the initiator once it is told
    /// to.
    Install(Box<Established>),
    /// Initiator: send under the new generation.
    Activate {
        /// Of this pair.
        pair: Pair,
        /// The generation.
        generation: u64,
    },
    /// Nothing yet.
    Wait,
}

/// What time has brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Send this.
    Send(Transmit),
    /// An exchange that this host opened came to nothing. If it had something installed, the peer may hold it too or
    /// not: it stays for receiving until another exchange brings the next generation.
    Failed {
        /// Of this pair.
        pair: Pair,
        /// What was installed, not yet to be sent under.
        generation: Option<u64>,
    },
}

/// The exchanges of one pair: at most one that this host opened, and one that the peer did.
#[derive(Default)]
struct Slot {
    ours: Option<Initiator>,
    theirs: Option<Responder>,
    /// Sessions that the peer opened as long as their cookies may be good.
    recent: VecDeque<(Bucket, Session)>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.ours.is_none() && self.theirs.is_none() && self.recent.is_empty()
    }

    /// Forgets what can be forgotten.
    fn expire(&mut self, now: Duration) {
        if self.theirs.as_ref().and_then(Responder::expires).is_some_and(|expires| expires <= now) {
            self.theirs = None;
        }
        // A cookie for the session was good in the bucket it was taken in, and may be in the next one.
        self.recent.retain(|(taken, _)| taken.saturating_add(1) >= bucket(now));
    }
}

/// All exchanges of a host.
pub struct Exchanges {
    cookies: Cookies,
    budget: Budget,
    slots: BTreeMap<Pair, Slot>,
    pairs_max: usize,
    failed: Vec<Event>,
}

impl Exchanges {
    /// None yet. At most `pairs_max` pairs have one at a time ([`PAIRS_MAX`](super::limits::PAIRS_MAX) unless there is
    /// a reason for another number). `now` is of a clock that never goes back.
    pub fn new(pairs_max: usize, now: Duration, entropy: &mut impl Entropy) -> Self {
        Self {
            cookies: Cookies::new(now, entropy),
            budget: Budget::new(ACCEPTS_A_SECOND, now),
            slots: BTreeMap::new(),
            pairs_max,
            failed: Vec::new(),
        }
    }

    /// Opens an exchange: m1, to be sent.
    ///
    /// # Errors
    /// [`Refusal::Stranger`], [`Refusal::UnderWay`], [`Refusal::Busy`], or what [`Initiator::open`] refuses.
    pub fn start(
        &mut self,
        path: Path,
        generators: Generators,
        members: &impl Members,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<Transmit, Refusal> {
        let pair = pair(&path, generators);
        let member = members.member(&pair).ok_or(Refusal::Stranger)?;
        let is_new = self.make_room(&pair, now)?;
        let slot = self.slots.entry(pair).or_default();
        slot.expire(now);
        let theirs = slot.theirs.as_ref();
        // The client's stands.
        let stands =
            |theirs: &Responder| theirs.is_installing() || theirs.is_half_open() && member.role == Role::Server;
        if slot.ours.is_some() || theirs.is_some_and(stands) {
            return Err(Refusal::UnderWay);
        }
        let opened = Initiator::open(path, &pair, &member, now, entropy);
        match opened {
            Ok((initiator, transmit)) => {
                slot.theirs.take_if(|theirs| theirs.is_half_open());
                slot.ours = Some(initiator);
                Ok(transmit)
            }
            Err(refusal) => {
                if is_new {
                    self.slots.remove(&pair);
                }
                Err(refusal)
            }
        }
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// Whatever is wrong with it. Nothing is sent then.
    pub fn receive(
        &mut self,
        path: Path,
        datagram: &[u8],
        members: &impl Members,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<Step, Refusal> {
        let message = Message::decode(datagram)?;
        let pair = pair(&path, message.name().generators);
        let member = members.member(&pair).ok_or(Refusal::Stranger)?;
        self.cookies.advance(now, entropy);
        if let Some(slot) = self.slots.get_mut(&pair) {
            slot.expire(now);
        }
        match message {
            Message::Init(init) => self.init(path, pair, &init, &member, now, entropy),
            Message::Cookie(body) => self.cookie(&path, &pair, &body, now),
            Message::Answer(body) => self.answer(&path, &pair, &body, &member),
            Message::Confirm(body) => self.confirm(&path, &pair, &body),
            Message::Installed(body) => self.peer_installed(&path, &pair, &body),
        }
    }

    /// The caller installed what a [`Step::Install`] told it to: the datagram to send. `None` when the exchange is
    /// over: what was installed is to be removed.
    pub fn installed(&mut self, handle: &Handle, now: Duration) -> Option<Transmit> {
        let slot = self.slots.get_mut(&handle.pair)?;
        if let Some(theirs) = slot.theirs.as_mut().filter(|theirs| *theirs.session() == handle.session) {
            return theirs.installed(now);
        }
        slot.ours.as_mut().filter(|ours| *ours.session() == handle.session)?.installed(now)
    }

    /// The caller could not install, or gives up otherwise. The peer's tries run out.
    pub fn abandon(&mut self, handle: &Handle) {
        if let Some(slot) = self.slots.get_mut(&handle.pair) {
            slot.ours.take_if(|ours| *ours.session() == handle.session);
            slot.theirs.take_if(|theirs| *theirs.session() == handle.session);
        }
    }

    /// An option authenticated under a generation: whether that tells the initiator what m5 would have.
    pub fn authenticated(&mut self, pair: &Pair, generation: u64) -> bool {
        let slot = self.slots.get_mut(pair);
        slot.and_then(|slot| slot.ours.take_if(|ours| ours.is_confirming(generation))).is_some()
    }

    /// What is due at `now`.
    pub fn poll(&mut self, now: Duration) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.failed);
        self.slots.retain(|pair, slot| {
            slot.expire(now);
            match slot.ours.as_mut().map_or(Due::Nothing, |ours| ours.due(now)) {
                Due::Nothing => {}
                Due::Send(transmit) => events.push(Event::Send(transmit)),
                Due::Over => events.extend(failed(*pair, slot.ours.take())),
            }
            !slot.is_empty()
        });
        events
    }

    /// When to call [`Exchanges::poll`] next; `None` when nothing is under way.
    pub fn next(&self) -> Option<Duration> {
        let of = |slot: &Slot| {
            let ours = slot.ours.as_ref().and_then(Initiator::next);
            ours.into_iter().chain(slot.theirs.as_ref().and_then(Responder::expires)).min()
        };
        self.slots.values().filter_map(of).chain((!self.failed.is_empty()).then_some(Duration::ZERO)).min()
    }

    /// Pairs that take memory.
    pub fn pairs(&self) -> usize {
        self.slots.len()
    }

    /// Whether the pair's slot is yet to be made.
    fn make_room(&mut self, pair: &Pair, now: Duration) -> Result<bool, Refusal> {
        if self.slots.contains_key(pair) {
            return Ok(false);
        }
        if self.slots.len() >= self.pairs_max {
            self.slots.retain(|_, slot| {
                slot.expire(now);
                !slot.is_empty()
            });
        }
        if self.slots.len() >= self.pairs_max {
            return Err(Refusal::Busy);
        }
        Ok(true)
    }

    fn init(
        &mut self,
        path: Path,
        pair: Pair,
        init: &Init,
        member: &Member<'_>,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<Step, Refusal> {
        check(init, member)?;
        let slot = self.slots.get(&pair);
        // "both sides starting at once": the client's stands.
        if member.role == Role::Client && slot.is_some_and(|slot| slot.ours.is_some()) {
            return Err(Refusal::Crossing);
        }
        if !init.cookie.is_some_and(|cookie| self.cookies.is_mine(&cookie, &path, &init.session)) {
            let cookie = self.cookies.bake(&path, &init.session);
            let body = Cookie { session: init.session, generators: init.generators, cookie };
            return Ok(Step::Send(Transmit { path, datagram: Message::Cookie(body).encode() }));
        }
        if let Some(slot) = slot {
            match &slot.theirs {
                Some(theirs) if *theirs.session() == init.session => return theirs.again(&path, init).map(Step::Send),
                Some(theirs) if theirs.is_installing() => return Err(Refusal::UnderWay),
                _ => {}
            }
            if slot.recent.iter().any(|(_, session)| *session == init.session) {
                return Err(Refusal::Replayed);
            }
            if slot.recent.len() >= RECENT_MAX {
                return Err(Refusal::Busy);
            }
        }
        self.make_room(&pair, now)?;
        if !self.budget.take(now) {
            return Err(Refusal::Busy);
        }
        let slot = self.slots.entry(pair).or_default();
        // Remembered whether it opens or not, so that it is tried once.
        slot.recent.push_back((bucket(now), init.session));
        let (responder, transmit) = Responder::accept(path, &pair, init, member, now, entropy)?;
        slot.theirs = Some(responder);
        Ok(Step::Send(transmit))
    }

    /// The exchange that this host opened, if a datagram belongs to it.
    fn ours(&mut self, path: &Path, pair: &Pair, session: &Session) -> Option<&mut Initiator> {
        let ours = self.slots.get_mut(pair)?.ours.as_mut()?;
        Some(ours).filter(|ours| ours.session() == session && ours.is_on(path))
    }

    fn cookie(&mut self, path: &Path, pair: &Pair, body: &Cookie, now: Duration) -> Result<Step, Refusal> {
        let ours = self.ours(path, pair, &body.session).ok_or(Refusal::Unexpected(2))?;
        ours.cookie(body.cookie, now).map(Step::Send)
    }

    fn answer(&mut self, path: &Path, pair: &Pair, body: &Answer, member: &Member<'_>) -> Result<Step, Refusal> {
        let is_pending = |theirs: &Responder| theirs.is_half_open() || theirs.is_installing();
        let theirs = self.slots.get(pair).and_then(|slot| slot.theirs.as_ref());
        // The client's stands, as long as it may come to something.
        if member.role == Role::Server && theirs.is_some_and(is_pending) {
            return Err(Refusal::Crossing);
        }
        let ours = self.ours(path, pair, &body.session).ok_or(Refusal::Unexpected(3))?;
        ours.answer(pair, body, member).map(Step::Install)
    }

    fn confirm(&mut self, path: &Path, pair: &Pair, body: &Confirm) -> Result<Step, Refusal> {
        let slot = self.slots.get_mut(pair).ok_or(Refusal::Unexpected(4))?;
        let theirs = slot.theirs.as_mut().filter(|theirs| *theirs.session() == body.session && theirs.is_on(path));
        match theirs.ok_or(Refusal::Unexpected(4))?.confirm(&body.confirm)? {
            Confirmed::Install(established) => {
                // The one that this host opened is not needed any more.
                if slot.ours.as_ref().is_some_and(|ours| ours.generation().is_some()) {
                    self.failed.extend(failed(*pair, slot.ours.take()));
                }
                slot.ours = None;
                Ok(Step::Install(established))
            }
            Confirmed::Send(transmit) => Ok(Step::Send(transmit)),
            Confirmed::Wait => Ok(Step::Wait),
        }
    }

    fn peer_installed(&mut self, path: &Path, pair: &Pair, body: &Confirm) -> Result<Step, Refusal> {
        let ours = self.ours(path, pair, &body.session).ok_or(Refusal::Unexpected(5))?;
        let generation = ours.confirmed(&body.confirm)?;
        if let Some(slot) = self.slots.get_mut(pair) {
            slot.ours = None;
        }
        Ok(Step::Activate { pair: *pair, generation })
    }
}

fn pair(path: &Path, generators: Generators) -> Pair {
    Pair { local: path.local, remote: *path.remote.ip(), scope: path.remote.scope_id(), generators }
}

fn failed(pair: Pair, ours: Option<Initiator>) -> Option<Event> {
    ours.map(|ours| Event::Failed { pair, generation: ours.generation() })
}
