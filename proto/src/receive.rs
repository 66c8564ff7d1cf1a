// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Which keys a sealed option is tried with, and what is remembered of it (docs/protocol.md, section 6, Which keys).
//!
//! A flow holds the keys of its current and its previous epoch, and of up to two candidates that nothing authenticated
//! under yet: a higher epoch, or another generation's. A candidate is adopted only by a packet that authenticates.

use super::uapi::Refusal;
use super::window::{Seen, Window};

/// Generations of one association that may be accepted at a time.
pub const GENERATIONS: usize = 2;
/// Tag checks per packet: "two tag checks a packet at most".
pub const TRIES: usize = 2;

/// Attempts at keys not held that a flow may make at once ...
const BURST: u8 = 4;
/// ... and how soon it earns another, ns.
const REFILL_NS: u64 = 250_000_000;

/// A secret's generation and an epoch under it: what a flow key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// Generation of the secret.
    pub generation: u64,
    /// 12-bit epoch.
    pub epoch: u16,
}

/// A key held, with what was received under it.
#[derive(Debug)]
pub struct Slot<K> {
    /// Which key it is.
    pub name: KeyName,
    /// The key.
    pub key: K,
    window: Window,
}

/// A flow's receive keys.
#[derive(Debug)]
pub struct Receiver<K> {
    current: Option<Slot<K>>,
    previous: Option<Slot<K>>,
    candidates: [Option<Slot<K>>; GENERATIONS],
    tokens: u8,
    refilled_at: u64,
}

impl<K> Default for Receiver<K> {
    fn default() -> Self {
        Self { current: None, previous: None, candidates: [None, None], tokens: BURST, refilled_at: 0 }
    }
}

/// Where a slot is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Current,
    Previous,
    Candidate(usize),
}

/// The keys to try on a sealed option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Their names, in order.
    pub tries: [Option<KeyName>; TRIES],
    /// A key held has seen this PSN before, or a window beyond it.
    pub replayed: bool,
}

impl Plan {
    /// Tag checks it makes.
    pub fn checks(&self) -> usize {
        self.tries.iter().flatten().count()
    }
}

impl<K> Receiver<K> {
    fn at(&self, place: Place) -> Option<&Slot<K>> {
        match place {
            Place::Current => self.current.as_ref(),
            Place::Previous => self.previous.as_ref(),
            Place::Candidate(index) => self.candidates.get(index)?.as_ref(),
        }
    }

    /// In the order they are tried: the generation that last authenticated first.
    const ORDER: [Place; 2 + GENERATIONS] = [Place::Current, Place::Previous, Place::Candidate(0), Place::Candidate(1)];

    fn slots(&self) -> impl Iterator<Item = (Place, &Slot<K>)> {
        Self::ORDER.into_iter().filter_map(|place| Some((place, self.at(place)?)))
    }

    /// The newest key an option authenticated under.
    pub fn current(&self) -> Option<KeyName> {
        self.current.as_ref().map(|slot| slot.name)
    }

    /// Whether this (generation, epoch) is held.
    pub fn holds(&self, name: KeyName) -> bool {
        self.slots().any(|(_, slot)| slot.name == name)
    }

    /// "Epochs below highest authenticated - 1 are refused before any key is derived or requested." A generation older
    /// than the current one is refused too: such a key is not live here, or it would be held.
    fn is_stale(&self, name: KeyName) -> bool {
        self.current().is_some_and(|current| {
            name.generation < current.generation
                || (name.generation == current.generation && name.epoch.saturating_add(1) < current.epoch)
        })
    }

    /// The keys held that may have sealed an option of this epoch and PSN, at most [`TRIES`].
    ///
    /// `generations` are those of the association that may be received.
    pub fn plan(&self, generations: &[u64], epoch: u16, psn: u16) -> Plan {
        let mut plan = Plan { tries: [None; TRIES], replayed: false };
        let mut free = plan.tries.iter_mut();
        for (place, slot) in self.slots() {
            if slot.name.epoch != epoch || !generations.contains(&slot.name.generation) {
                continue;
            }
            if matches!(place, Place::Candidate(_)) && self.is_stale(slot.name) {
                continue;
            }
            if slot.window.check(u64::from(psn)) != Seen::New {
                plan.replayed = true;
            } else if let Some(place) = free.next() {
                *place = Some(slot.name);
            }
        }
        plan
    }

    /// The key that is not held and may have sealed an option of this epoch, once those of the plan did not open it: the
    /// generation that last authenticated first, then the others in their order, newest first.
    ///
    /// # Errors
    /// Why there is none: [`Refusal::StaleEpoch`], or [`Refusal::NoKey`] if all are held or there is no generation.
    pub fn missing(&self, generations: &[u64], epoch: u16) -> Result<KeyName, Refusal> {
        let current = self.current().map(|name| name.generation);
        let first = generations.iter().filter(|g| Some(**g) == current);
        let others = generations.iter().filter(|g| Some(**g) != current);
        let mut reason = Refusal::NoKey;
        for generation in first.chain(others) {
            let name = KeyName { generation: *generation, epoch };
            if self.is_stale(name) {
                reason = Refusal::StaleEpoch;
            } else if !self.holds(name) {
                return Ok(name);
            }
        }
        Err(reason)
    }

    /// The key of this name.
    pub fn key(&self, name: KeyName) -> Option<&K> {
        self.slots().find(|(_, slot)| slot.name == name).map(|(_, slot)| &slot.key)
    }

    /// Whether an attempt at a key not held is within the flow's budget at `now` (monotonic ns); takes from it.
    pub fn may_attempt(&mut self, now: u64) -> bool {
        let earned = now.saturating_sub(self.refilled_at) / REFILL_NS;
        if earned > 0 {
            self.tokens = u8::try_from(earned.saturating_add(u64::from(self.tokens))).unwrap_or(BURST).min(BURST);
            self.refilled_at = now;
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    /// Holds a key that was installed or derived. A key for a (generation, epoch) already held, or stale, changes
    /// nothing and is handed back: "installing a key for an existing (flow, epoch) resets neither counter nor window".
    pub fn install(&mut self, name: KeyName, key: K) -> Result<(), K> {
        if self.holds(name) || self.is_stale(name) {
            return Err(key);
        }
        let same =
            self.candidates.iter().position(|c| c.as_ref().is_some_and(|s| s.name.generation == name.generation));
        let free = || self.candidates.iter().position(Option::is_none);
        let index = same.or_else(free).unwrap_or_else(|| {
            let generation = |slot: &Option<Slot<K>>| slot.as_ref().map_or(0, |s| s.name.generation);
            let oldest = self.candidates.iter().enumerate().min_by_key(|(_, slot)| generation(slot));
            oldest.map_or(0, |(index, _)| index)
        });
        if let Some(place) = self.candidates.get_mut(index) {
            *place = Some(Slot { name, key, window: Window::new() });
        }
        Ok(())
    }

    /// Records that an option of this PSN authenticated under this key, and makes the key current if it is newer.
    pub fn authenticated(&mut self, name: KeyName, psn: u16) {
        let Some((place, _)) = self.slots().find(|(_, slot)| slot.name == name) else { return };
        if let Place::Candidate(index) = place {
            let slot = self.candidates.get_mut(index).and_then(Option::take);
            if self.current.as_ref().is_none_or(|current| current.name < name) {
                self.previous = self.current.take();
                self.current = slot;
            } else if self.previous.as_ref().is_none_or(|previous| previous.name < name) {
                self.previous = slot;
            }
        }
        let slots = [&mut self.current, &mut self.previous];
        if let Some(slot) = slots.into_iter().flatten().find(|slot| slot.name == name) {
            slot.window.mark(u64::from(psn));
        }
    }

    /// Drops every key of a generation.
    pub fn forget(&mut self, generation: u64) {
        let candidates = self.candidates.iter_mut();
        for slot in [&mut self.current, &mut self.previous].into_iter().chain(candidates) {
            if slot.as_ref().is_some_and(|s| s.name.generation == generation) {
                *slot = None;
            }
        }
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.slots().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn name(generation: u64, epoch: u16) -> KeyName {
        KeyName { generation, epoch }
    }

    fn adopted(names: &[KeyName]) -> Receiver<u32> {
        let mut r = Receiver::default();
        for (n, name) in names.iter().enumerate() {
            r.install(*name, n as u32).unwrap();
            r.authenticated(*name, 10);
        }
        r
    }

    #[test]
    fn plans() {
        let table: [(&str, &[KeyName], &[u64], u16, u16, Plan); 4] = [
            ("nothing held", &[], &[1], 0, 5, Plan { tries: [None, None], replayed: false }),
            ("held and new", &[name(1, 0)], &[1], 0, 11, Plan { tries: [Some(name(1, 0)), None], replayed: false }),
            ("held and replayed", &[name(1, 0)], &[1], 0, 10, Plan { tries: [None, None], replayed: true }),
            ("of a generation deleted", &[name(1, 0)], &[2], 0, 11, Plan { tries: [None, None], replayed: false }),
        ];
        for (what, held, generations, epoch, psn, want) in table {
            assert_eq!(adopted(held).plan(generations, epoch, psn), want, "{what}");
        }
    }

    #[test]
    fn missing_keys() {
        let table: [(&str, &[KeyName], &[u64], u16, Result<KeyName, Refusal>); 10] = [
            ("nothing held", &[], &[1], 0, Ok(name(1, 0))),
            ("nothing held, two generations: the newest", &[], &[2, 1], 0, Ok(name(2, 0))),
            ("no generation", &[], &[], 0, Err(Refusal::NoKey)),
            ("all held", &[name(1, 0)], &[1], 0, Err(Refusal::NoKey)),
            ("higher epoch", &[name(1, 0)], &[1], 9, Ok(name(1, 9))),
            ("higher epoch: of the generation in use first", &[name(1, 0)], &[2, 1], 9, Ok(name(1, 9))),
            ("the same epoch of the generation to come", &[name(1, 9)], &[2, 1], 9, Ok(name(2, 9))),
            ("the epoch before", &[name(1, 3)], &[1], 2, Ok(name(1, 2))),
            ("an epoch before that", &[name(1, 3)], &[1], 1, Err(Refusal::StaleEpoch)),
            ("an older generation that is not live", &[name(2, 3)], &[2, 1], 0, Err(Refusal::StaleEpoch)),
        ];
        for (what, held, generations, epoch, want) in table {
            assert_eq!(adopted(held).missing(generations, epoch), want, "{what}");
        }
    }

    /// A peer that still sends under the older generation on a new flow is understood, although the newer one's key is
    /// held already.
    #[test]
    fn the_older_generation_is_found_behind_a_key_held_ahead() {
        let mut r = Receiver::default();
        r.install(name(2, 0), 2).unwrap();
        assert_eq!(r.plan(&[2, 1], 0, 5).tries, [Some(name(2, 0)), None]);
        assert_eq!(r.missing(&[2, 1], 0), Ok(name(1, 0)));
        r.install(name(1, 0), 1).unwrap();
        r.authenticated(name(1, 0), 5);
        assert_eq!(r.plan(&[2, 1], 0, 6).tries, [Some(name(1, 0)), Some(name(2, 0))]);
        // its epoch step leaves the newer generation's key in place
        r.install(name(1, 1), 3).unwrap();
        assert!(r.holds(name(2, 0)));
    }

    #[test]
    fn a_candidate_is_adopted_only_by_authentication() {
        let mut r = adopted(&[name(1, 0)]);
        r.install(name(1, 7), 99).unwrap();
        assert_eq!(r.current(), Some(name(1, 0)));
        // a forged epoch does not push out the live one
        r.install(name(1, 8), 98).unwrap();
        assert!(r.holds(name(1, 0)) && !r.holds(name(1, 7)));
        r.authenticated(name(1, 8), 1);
        assert_eq!(r.current(), Some(name(1, 8)));
        assert!(r.holds(name(1, 0)), "the previous key stays for late packets");
    }

    #[test]
    fn installing_again_resets_no_window() {
        let mut r = adopted(&[name(1, 0)]);
        assert_eq!(r.install(name(1, 0), 7), Err(7));
        assert!(r.plan(&[1], 0, 10).replayed);
    }

    #[test]
    fn the_generation_that_last_authenticated_is_tried_first_then_the_other() {
        let mut r = adopted(&[name(1, 0)]);
        r.install(name(2, 0), 5).unwrap();
        assert_eq!(r.plan(&[2, 1], 0, 11).tries, [Some(name(1, 0)), Some(name(2, 0))]);
        r.authenticated(name(2, 0), 11);
        assert_eq!(r.plan(&[2, 1], 0, 12).tries, [Some(name(2, 0)), Some(name(1, 0))]);
        r.forget(1);
        assert_eq!(r.plan(&[2], 0, 12).tries, [Some(name(2, 0)), None]);
    }

    #[test]
    fn attempts_are_limited_and_earned_back() {
        let mut r = Receiver::<u32>::default();
        let now = 10 * REFILL_NS;
        assert_eq!((0..10).filter(|_| r.may_attempt(now)).count(), usize::from(BURST));
        assert!(r.may_attempt(now + REFILL_NS));
        assert!(!r.may_attempt(now + REFILL_NS));
    }
}
