// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Polls of AsymmetricPoll: for listed addresses alone, at a bounded rate, spread by chance where a renewal makes many due
//! at once, and what was refused is not asked again for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::error::Failure;
use super::super::jitter::{part_of, Bucket};
use super::super::message::member::{Answer, Poll, Refusal};
use super::super::message::Message;
use super::super::schedule::PairSecret;
use super::{Secondary, WANTED_MAX};
use crate::identity::PublicKey;
use crate::negotiate::Entropy;

/// Questions at once, and how soon one more.
const RATE: (u32, Duration) = (64, Duration::from_millis(50));

/// How long an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Over how long the polls of a renewal are spread, within the 60 s that PREPARE may take.
const SPREAD: Duration = Duration::from_secs(20);

/// How long a refusal is believed.
const REFUSED: Duration = Duration::from_secs(60);

/// How long to wait where the Primary is busy, or knows another generation: soon one of the two learns.
const LATER: Duration = Duration::from_secs(5);

/// Polls at once: of two generations for each pair that is wanted.
const POLLS_MAX: usize = 2 * WANTED_MAX;

enum State {
    /// To be asked, not before then.
    Due(Duration),
    /// Asked; if there is no answer by then it is asked again.
    Asked(Duration),
    /// Known.
    Answered(PairSecret),
    /// Not asked before then.
    Refused(Duration),
}

/// What was asked, and of whom.
pub(super) struct Polls {
    states: BTreeMap<(PublicKey, Poll), State>,
    rate: Bucket,
}

/// Where a poll stands.
pub(super) enum Known<'a> {
    Secret(&'a PairSecret),
    Refused,
    Waiting,
}

impl Polls {
    pub(super) fn new(now: Duration) -> Self {
        Self { states: BTreeMap::new(), rate: Bucket::new(RATE.0, RATE.1, now) }
    }

    /// What is known; what is not is asked for, at once or, for a renewal, some time soon.
    pub(super) fn look(
        &mut self,
        primary: PublicKey,
        poll: Poll,
        renewal: bool,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Known<'_> {
        let place = (primary, poll);
        if !self.states.contains_key(&place) {
            if self.states.len() >= POLLS_MAX {
                return Known::Refused;
            }
            let wait = if renewal { part_of(SPREAD, entropy) } else { Duration::ZERO };
            self.states.insert(place.clone(), State::Due(now + wait));
        }
        match self.states.get(&place) {
            Some(State::Answered(secret)) => Known::Secret(secret),
            Some(State::Refused(_)) => Known::Refused,
            _ => Known::Waiting,
        }
    }

    /// Forgets those that nothing needs.
    pub(super) fn retain(&mut self, needed: impl Fn(&PublicKey, &Poll) -> bool) {
        self.states.retain(|(primary, poll), _| needed(primary, poll));
    }

    /// A new session: what was asked in an earlier one is not answered.
    pub(super) fn begin_session(&mut self, primary: &PublicKey) {
        for ((of, _), state) in &mut self.states {
            if of == primary {
                if let State::Asked(_) = state {
                    *state = State::Due(Duration::ZERO);
                }
            }
        }
    }

    /// Whether any of a pairing and generation is waited for.
    pub(super) fn is_waiting(&self, primary: &PublicKey, of: impl Fn(&Poll) -> bool) -> bool {
        let waits = |state: &State| matches!(state, State::Due(_) | State::Asked(_));
        self.states.iter().any(|((to, poll), state)| to == primary && of(poll) && waits(state))
    }
}

impl Secondary {
    /// Asks what is due, of Primaries that can be reached.
    pub(super) fn send_polls(&mut self, now: Duration, entropy: &mut impl Entropy) {
        let mut questions = Vec::new();
        for ((primary, poll), state) in &mut self.polls.states {
            let reachable = self.registrations.get(primary).is_some_and(|r| r.connected && r.synced);
            let due = matches!(state, State::Due(at) | State::Asked(at) | State::Refused(at) if *at <= now);
            if reachable && due && self.polls.rate.take(now) {
                *state = State::Asked(now + ANSWER_MAX + part_of(ANSWER_MAX, entropy));
                questions.push((*primary, poll.clone()));
            }
        }
        for (primary, poll) in questions {
            self.send(&primary, &Message::Poll(poll));
        }
    }

    /// "Answer".
    pub(super) fn answered(
        &mut self,
        from: &PublicKey,
        answer: Answer,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        let pair = (answer.poll.own, answer.poll.remote);
        let masters = self.registrations.get(from).and_then(|r| r.scopes.get(&answer.poll.pairing));
        let suite = masters
            .and_then(|scope| scope.masters.iter().find(|master| master.id == answer.poll.pms))
            .map(|master| master.suite);
        let place = (*from, answer.poll);
        // What was not asked, or is not needed any more, is not kept.
        let (Some(suite), Some(state)) = (suite, self.polls.states.get_mut(&place)) else { return Ok(()) };
        if !matches!(state, State::Asked(_)) {
            return Ok(());
        }
        *state = match (answer.secret, answer.refusal.and_then(Refusal::from_u8)) {
            (Some(secret), _) => State::Answered(PairSecret::from_message(suite, secret)?),
            (None, Some(Refusal::Busy)) => State::Due(now + LATER + part_of(LATER, entropy)),
            (None, Some(Refusal::Stale)) => State::Refused(now + LATER + part_of(LATER, entropy)),
            (None, _) => State::Refused(now + REFUSED + part_of(REFUSED, entropy)),
        };
        self.settle(pair, now, entropy);
        self.say_prepared();
        Ok(())
    }
}
