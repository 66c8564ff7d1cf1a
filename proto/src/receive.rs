// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Which keys a sealed option is tried with, and what is remembered of it (docs/protocol.md, section 6, Which keys).
//!
//! A flow holds the keys of its current and its previous epoch, and of candidates that nothing authenticated under yet: the
//! next epoch, any higher epoch, or another generation's. A candidate is adopted only by a packet that authenticates, and
//! the next epoch's is pushed out by nothing but the step, so that forged epochs do not get in its way.

use super::kri_receive::{extended, KriSearch, Standing};
use super::uapi::{Profile, Refusal, EPOCH_MAX};
use super::window::{Seen, Window};

/// Generations of one association that may be accepted at a time.
pub const GENERATIONS: usize = 2;
/// Tag checks per packet: "two tag checks a packet at most".
pub const TRIES: usize = 2;

/// Attempts at keys not held that a flow may make at once ...
const BURST: u8 = 4;
/// ... and how soon it earns another, ms.
const REFILL_MS: u32 = 250;
const MILLISECOND: u64 = 1_000_000;

/// A secret's generation and an epoch under it: what a flow key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// Generation of the secret.
    pub generation: u64,
    /// 12-bit epoch, or 32-bit Kri in profile `v2-kri`.
    pub epoch: u32,
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

impl<K> Slot<K> {
    /// The place of a PSN in the key's window. An epoch ends when its PSNs wrap; a Kri does not.
    fn seq(&self, profile: Profile, psn: u16) -> u64 {
        match profile {
            Profile::V2 => u64::from(psn),
            Profile::V2Kri => extended(&self.window, psn),
        }
    }

    fn seen(&self, profile: Profile, psn: u16) -> Seen {
        self.window.check(self.seq(profile, psn))
    }
}

/// The last epoch, or Kri, of a secret.
pub const fn last_epoch(profile: Profile) -> u32 {
    match profile {
        Profile::V2 => EPOCH_MAX as u32,
        Profile::V2Kri => u32::MAX,
    }
}

/// The receive key in use, and what every flow with one remembers.
#[derive(Debug)]
pub struct Receiver<K> {
    current: Option<Slot<K>>,
    /// Monotonic time, ms; wraps after 49 days.
    refilled_at: u32,
    tokens: u8,
    /// The previous key was given up for good: nothing older than the current one is taken any more.
    closed: bool,
    /// Where the search for a Kri stands.
    pub search: KriSearch,
}

/// The keys beside the one in use. A flow that rests does without.
#[derive(Debug)]
pub struct Others<K> {
    previous: Option<Slot<K>>,
    /// Of the epoch after the current one.
    next: Option<Slot<K>>,
    candidates: [Option<Slot<K>>; GENERATIONS],
}

impl<K> Default for Receiver<K> {
    fn default() -> Self {
        Self { current: None, refilled_at: 0, tokens: BURST, closed: false, search: KriSearch::default() }
    }
}

impl<K> Default for Others<K> {
    fn default() -> Self {
        Self { previous: None, next: None, candidates: [None, None] }
    }
}

/// All the receive keys of a flow.
#[derive(Debug)]
pub struct Keys<'a, K> {
    held: &'a mut Receiver<K>,
    others: Option<&'a mut Others<K>>,
    profile: Profile,
}

/// Where a slot is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Current,
    Previous,
    Next,
    Candidate(usize),
}

/// The keys to try on a sealed option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Their names, in order.
    pub tries: [Option<KeyName>; TRIES],
    /// A key held has seen this PSN before, or a window beyond it.
    pub replayed: bool,
    /// The first key that has seen it: it opens what is no more than a copy.
    pub seen: Option<KeyName>,
}

impl Plan {
    /// Tag checks it makes.
    pub fn checks(&self) -> usize {
        self.tries.iter().flatten().count()
    }
}

impl<K> Receiver<K> {
    /// The newest key an option authenticated under.
    pub fn current(&self) -> Option<KeyName> {
        self.current.as_ref().map(|slot| slot.name)
    }

    /// The key in use.
    pub fn current_key(&mut self) -> Option<&mut K> {
        self.current.as_mut().map(|slot| &mut slot.key)
    }

    /// With the keys beside it, if there are any. What is held is of one profile.
    pub fn with<'a>(&'a mut self, others: Option<&'a mut Others<K>>, profile: Profile) -> Keys<'a, K> {
        Keys { held: self, others, profile }
    }

    /// The flow rests: the caller drops the keys beside the current one. What was accepted under the previous key could
    /// not be told any more, so that nothing under it is accepted again.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// An attempt succeeded: it was no forgery, and is not held against the flow.
    pub fn refund_attempt(&mut self) {
        self.tokens = self.tokens.saturating_add(1).min(BURST);
    }

    /// Whether an attempt at a key not held is within the flow's budget at `now` (monotonic ns); takes from it.
    pub fn may_attempt(&mut self, now: u64) -> bool {
        let now = (now / MILLISECOND) as u32;
        let earned = now.wrapping_sub(self.refilled_at) / REFILL_MS;
        if earned > 0 {
            self.tokens = u8::try_from(earned.saturating_add(u32::from(self.tokens))).unwrap_or(BURST).min(BURST);
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
}

impl<K> Keys<'_, K> {
    fn at(&self, place: Place) -> Option<&Slot<K>> {
        match place {
            Place::Current => self.held.current.as_ref(),
            Place::Previous => self.others.as_ref()?.previous.as_ref(),
            Place::Next => self.others.as_ref()?.next.as_ref(),
            Place::Candidate(index) => self.others.as_ref()?.candidates.get(index)?.as_ref(),
        }
    }

    fn at_mut(&mut self, place: Place) -> Option<&mut Slot<K>> {
        match place {
            Place::Current => self.held.current.as_mut(),
            Place::Previous => self.others.as_mut()?.previous.as_mut(),
            Place::Next => self.others.as_mut()?.next.as_mut(),
            Place::Candidate(index) => self.others.as_mut()?.candidates.get_mut(index)?.as_mut(),
        }
    }

    /// In the order they are tried: the generation that last authenticated first.
    const ORDER: [Place; 3 + GENERATIONS] =
        [Place::Current, Place::Previous, Place::Next, Place::Candidate(0), Place::Candidate(1)];

    fn slots(&self) -> impl Iterator<Item = (Place, &Slot<K>)> {
        Self::ORDER.into_iter().filter_map(|place| Some((place, self.at(place)?)))
    }

    fn current(&self) -> Option<KeyName> {
        self.held.current()
    }

    /// The epoch after the current one, if there is one.
    pub fn next_name(&self) -> Option<KeyName> {
        let current = self.current().filter(|current| current.epoch < last_epoch(self.profile))?;
        Some(KeyName { epoch: current.epoch.saturating_add(1), ..current })
    }

    /// Whether the peer has stepped to another epoch on this flow, early perhaps: it may do so again at any time.
    pub fn has_stepped(&self) -> bool {
        let generation = |place| self.at(place).map(|slot| slot.name.generation);
        generation(Place::Previous).is_some_and(|previous| generation(Place::Current) == Some(previous))
    }

    /// Whether this (generation, epoch) is held.
    pub fn holds(&self, name: KeyName) -> bool {
        self.slots().any(|(_, slot)| slot.name == name)
    }

    /// "Epochs below highest authenticated - 1 are refused before any key is derived or requested." A generation older
    /// than the current one is refused too: such a key is not live here, or it would be held.
    pub fn is_stale(&self, name: KeyName) -> bool {
        let kept = u32::from(!self.held.closed);
        self.current().is_some_and(|current| {
            name.generation < current.generation
                || (name.generation == current.generation && name.epoch.saturating_add(kept) < current.epoch)
        })
    }

    /// The keys held that may have sealed an option of this epoch and PSN, at most [`TRIES`].
    ///
    /// `generations` are those of the association that may be received.
    pub fn plan(&self, generations: &[u64], epoch: u32, psn: u16) -> Plan {
        let mut plan = Plan { tries: [None; TRIES], replayed: false, seen: None };
        let mut free = plan.tries.iter_mut();
        for (place, slot) in self.slots() {
            if slot.name.epoch != epoch || !generations.contains(&slot.name.generation) {
                continue;
            }
            if matches!(place, Place::Next | Place::Candidate(_)) && self.is_stale(slot.name) {
                continue;
            }
            match slot.seen(self.profile, psn) {
                Seen::New => {
                    if let Some(place) = free.next() {
                        *place = Some(slot.name);
                    }
                }
                seen => {
                    plan.replayed = true;
                    if seen == Seen::Duplicate {
                        plan.seen = plan.seen.or(Some(slot.name));
                    }
                }
            }
        }
        plan
    }

    /// The key that is not held and may have sealed an option of this epoch, once those of the plan did not open it: the
    /// generation that last authenticated first, then the others in their order, newest first.
    ///
    /// # Errors
    /// Why there is none: [`Refusal::StaleEpoch`], or [`Refusal::NoKey`] if all are held or there is no generation.
    pub fn missing(&self, generations: &[u64], epoch: u32) -> Result<KeyName, Refusal> {
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
    pub fn key(&mut self, name: KeyName) -> Option<&mut K> {
        let (place, _) = self.slots().find(|(_, slot)| slot.name == name)?;
        self.at_mut(place).map(|slot| &mut slot.key)
    }

    /// Holds a key that was installed or derived. A key for a (generation, epoch) already held, or stale, changes
    /// nothing and is handed back: "installing a key for an existing (flow, epoch) resets neither counter nor window".
    ///
    /// Without room for keys beside the current one, none is held that is not in use.
    pub fn install(&mut self, name: KeyName, key: K) -> Result<(), K> {
        if self.holds(name) || self.is_stale(name) {
            return Err(key);
        }
        let is_next = self.next_name() == Some(name);
        let current = self.current().map(|current| current.generation);
        let Some(others) = &mut self.others else { return Err(key) };
        if is_next {
            others.next = Some(Slot { name, key, window: Window::new() });
            return Ok(());
        }
        // The key that a switch begins with stays, so that no forged epoch of its generation gets in the way of that.
        let begins = |name: KeyName| name.epoch == 0 && current.is_some_and(|current| name.generation > current);
        let name_at = |slot: &Option<Slot<K>>| slot.as_ref().map(|slot| slot.name);
        let same = |found: KeyName| found.generation == name.generation && !begins(found);
        let same = others.candidates.iter().position(|slot| name_at(slot).is_some_and(same));
        let free = || others.candidates.iter().position(Option::is_none);
        let index = same.or_else(free).unwrap_or_else(|| {
            let rank = |slot: &Option<Slot<K>>| name_at(slot).map(|name| (begins(name), name.generation));
            let oldest = others.candidates.iter().enumerate().min_by_key(|(_, slot)| rank(slot));
            oldest.map_or(0, |(index, _)| index)
        });
        if let Some(place) = others.candidates.get_mut(index) {
            *place = Some(Slot { name, key, window: Window::new() });
        }
        Ok(())
    }

    /// Records that an option of this PSN authenticated under this key, and makes the key current if it is newer.
    pub fn authenticated(&mut self, name: KeyName, psn: u16) {
        let Some((mut place, _)) = self.slots().find(|(_, slot)| slot.name == name) else { return };
        let adopted = matches!(place, Place::Next | Place::Candidate(_));
        if let (true, Some(others)) = (adopted, &mut self.others) {
            let slot = match place {
                Place::Candidate(index) => others.candidates.get_mut(index).and_then(Option::take),
                _ => others.next.take(),
            };
            if self.held.current.as_ref().is_none_or(|current| current.name < name) {
                others.previous = self.held.current.take();
                self.held.current = slot;
                self.held.closed = false;
                place = Place::Current;
            } else if others.previous.as_ref().is_none_or(|previous| previous.name < name) {
                others.previous = slot;
                place = Place::Previous;
            }
        }
        if adopted {
            self.drop_stale();
        }
        let profile = self.profile;
        if let Some(slot) = self.at_mut(place) {
            let seq = slot.seq(profile, psn);
            slot.window.mark(seq);
        }
    }

    /// Drops the keys that nothing authenticated under and that nothing may any more.
    fn drop_stale(&mut self) {
        let unused = [Place::Next, Place::Candidate(0), Place::Candidate(1)];
        let stale = unused.map(|place| self.at(place).is_some_and(|slot| self.is_stale(slot.name)));
        let Some(others) = &mut self.others else { return };
        let [a, b] = &mut others.candidates;
        for (slot, _) in [&mut others.next, a, b].into_iter().zip(stale).filter(|(_, stale)| *stale) {
            *slot = None;
        }
    }

    /// What is known of a PSN under a key held; in profile `v2-kri` it is asked once the option is open.
    pub fn seen(&self, name: KeyName, psn: u16) -> Option<Seen> {
        let (_, slot) = self.slots().find(|(_, slot)| slot.name == name)?;
        Some(slot.seen(self.profile, psn))
    }

    /// What a search for a Kri starts from.
    pub fn standing(&self) -> Standing {
        let name = |place| self.at(place).map(|slot| slot.name);
        Standing { current: name(Place::Current), previous: name(Place::Previous) }
    }

    /// Drops every key of a generation.
    pub fn forget(&mut self, generation: u64) {
        let others = self.others.as_mut().map(|others| {
            let [a, b] = &mut others.candidates;
            [&mut others.previous, &mut others.next, a, b]
        });
        for slot in [&mut self.held.current].into_iter().chain(others.into_iter().flatten()) {
            if slot.as_ref().is_some_and(|s| s.name.generation == generation) {
                *slot = None;
            }
        }
    }

    /// Whether a key is held for a switch to another generation. (What a forged epoch left of the current one is none.)
    pub fn is_ahead(&self) -> bool {
        let current = self.current().map_or(0, |current| current.generation);
        self.slots().any(|(place, slot)| matches!(place, Place::Candidate(_)) && slot.name.generation > current)
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.slots().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn name(generation: u64, epoch: u32) -> KeyName {
        KeyName { generation, epoch }
    }

    /// The keys of a flow in use.
    #[derive(Default)]
    struct Held(Receiver<u32>, Others<u32>);

    impl Held {
        fn keys(&mut self) -> Keys<'_, u32> {
            self.0.with(Some(&mut self.1), Profile::V2)
        }

        fn install(&mut self, name: KeyName, key: u32) -> Result<(), u32> {
            self.keys().install(name, key)
        }

        fn authenticated(&mut self, name: KeyName, psn: u16) {
            self.keys().authenticated(name, psn);
        }

        fn plan(&mut self, generations: &[u64], epoch: u32, psn: u16) -> Plan {
            self.keys().plan(generations, epoch, psn)
        }

        fn missing(&mut self, generations: &[u64], epoch: u32) -> Result<KeyName, Refusal> {
            self.keys().missing(generations, epoch)
        }

        fn holds(&mut self, name: KeyName) -> bool {
            self.keys().holds(name)
        }
    }

    fn adopted(names: &[KeyName]) -> Held {
        let mut r = Held::default();
        for (n, name) in names.iter().enumerate() {
            r.install(*name, n as u32).unwrap();
            r.authenticated(*name, 10);
        }
        r
    }

    #[test]
    fn plans() {
        let table: [(&str, &[KeyName], &[u64], u32, u16, Plan); 4] = [
            ("nothing held", &[], &[1], 0, 5, Plan { tries: [None, None], replayed: false, seen: None }),
            (
                "held and new",
                &[name(1, 0)],
                &[1],
                0,
                11,
                Plan { tries: [Some(name(1, 0)), None], replayed: false, seen: None },
            ),
            (
                "held and replayed",
                &[name(1, 0)],
                &[1],
                0,
                10,
                Plan { tries: [None, None], replayed: true, seen: Some(name(1, 0)) },
            ),
            (
                "of a generation deleted",
                &[name(1, 0)],
                &[2],
                0,
                11,
                Plan { tries: [None, None], replayed: false, seen: None },
            ),
        ];
        for (what, held, generations, epoch, psn, want) in table {
            assert_eq!(adopted(held).plan(generations, epoch, psn), want, "{what}");
        }
    }

    #[test]
    fn missing_keys() {
        let table: [(&str, &[KeyName], &[u64], u32, Result<KeyName, Refusal>); 10] = [
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
        let mut r = Held::default();
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
        assert_eq!(r.0.current(), Some(name(1, 0)));
        // a forged epoch does not push out the live one
        r.install(name(1, 8), 98).unwrap();
        assert!(r.holds(name(1, 0)) && !r.holds(name(1, 7)));
        r.authenticated(name(1, 8), 1);
        assert_eq!(r.0.current(), Some(name(1, 8)));
        assert!(r.holds(name(1, 0)), "the previous key stays for late packets");
    }

    #[test]
    fn forged_epochs_do_not_push_out_the_next_one() {
        let mut r = adopted(&[name(1, 0)]);
        r.install(name(1, 1), 5).unwrap();
        for epoch in 2..9 {
            r.install(name(1, epoch), 99).unwrap();
        }
        assert!(r.holds(name(1, 1)) && r.holds(name(1, 8)) && !r.holds(name(1, 7)));
        assert_eq!(r.plan(&[1], 1, 3).tries, [Some(name(1, 1)), None]);
        r.authenticated(name(1, 1), 3);
        assert_eq!(r.0.current(), Some(name(1, 1)));
        assert!(r.plan(&[1], 1, 3).replayed);
        // late packets of the epoch before, and the next step
        assert_eq!(r.plan(&[1], 0, 11).tries, [Some(name(1, 0)), None]);
        r.install(name(1, 2), 6).unwrap();
        r.authenticated(name(1, 2), 4);
        assert_eq!(r.missing(&[1], 0), Err(Refusal::StaleEpoch));
    }

    #[test]
    fn a_step_is_remembered_and_another_generation_is_none() {
        let table: [(&[KeyName], bool); 4] = [
            (&[], false),
            (&[name(1, 3)], false),
            (&[name(1, 3), name(1, 4)], true),
            (&[name(1, 3), name(2, 0)], false),
        ];
        for (names, stepped) in table {
            assert_eq!(adopted(names).keys().has_stepped(), stepped, "{names:?}");
        }
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
        r.keys().forget(1);
        assert_eq!(r.plan(&[2], 0, 12).tries, [Some(name(2, 0)), None]);
    }

    /// The window of the previous key goes with it: what it had seen must not be taken once more under a new one.
    #[test]
    fn a_flow_that_rests_takes_nothing_older_than_its_current_key() {
        let mut r = adopted(&[name(1, 3), name(1, 4)]);
        assert!(r.plan(&[1], 3, 10).replayed);
        r.0.close();
        r.1 = Others::default();
        assert_eq!(r.plan(&[1], 3, 10).tries, [None, None]);
        assert_eq!(r.missing(&[1], 3), Err(Refusal::StaleEpoch));
        assert_eq!(r.install(name(1, 3), 7), Err(7));
        // the current one goes on, with its window
        assert!(r.plan(&[1], 4, 10).replayed);
        assert_eq!(r.plan(&[1], 4, 11).tries, [Some(name(1, 4)), None]);
        // and after the next step the one before is kept again
        r.install(name(1, 5), 8).unwrap();
        r.authenticated(name(1, 5), 1);
        assert_eq!(r.plan(&[1], 4, 11).tries, [Some(name(1, 4)), None]);
    }

    /// Of profile `v2-kri`: PSNs wrap under one key, Kri goes beyond 4095, and a key found ahead leaves the next one's alone.
    #[test]
    fn keys_of_a_kri() {
        let mut r = Held::default();
        let install = |r: &mut Held, name| r.0.with(Some(&mut r.1), Profile::V2Kri).install(name, 5).unwrap();
        let base = 5000;
        install(&mut r, name(1, base));
        let mut keys = r.0.with(Some(&mut r.1), Profile::V2Kri);
        for psn in [65534, 65535, 0, 1] {
            assert_eq!(keys.seen(name(1, base), psn), Some(Seen::New), "{psn}");
            keys.authenticated(name(1, base), psn);
            assert_eq!(keys.seen(name(1, base), psn), Some(Seen::Duplicate), "{psn}");
        }
        assert_eq!(keys.seen(name(1, base), 65533), Some(Seen::New));
        assert_eq!(keys.seen(name(1, base + 1), 2), None);
        assert_eq!(keys.next_name(), Some(name(1, base + 1)));
        for ahead in [1, 4, 6] {
            install(&mut r, name(1, base + ahead));
        }
        let mut keys = r.0.with(Some(&mut r.1), Profile::V2Kri);
        assert!(keys.holds(name(1, base + 1)) && keys.holds(name(1, base + 6)) && !keys.holds(name(1, base + 4)));
        keys.authenticated(name(1, base + 6), 9);
        let standing = Standing { current: Some(name(1, base + 6)), previous: Some(name(1, base)) };
        assert_eq!((keys.standing(), keys.is_stale(name(1, base + 4))), (standing, true));
        assert_eq!(keys.seen(name(1, base), 0), Some(Seen::Duplicate), "its window stays");
    }

    /// "Kept per flow: ... the next generation's epoch 0": whatever else is asked for meanwhile.
    #[test]
    fn the_key_that_a_switch_begins_with_is_pushed_out_by_nothing() {
        let mut r = adopted(&[name(1, 4), name(1, 5)]);
        r.install(name(2, 0), 7).unwrap();
        for epoch in [9, 77, 9] {
            for generation in [1, 2] {
                r.install(name(generation, epoch), 8).unwrap();
                assert!(r.holds(name(2, 0)) && r.holds(name(generation, epoch)), "{generation}, {epoch}");
            }
        }
        // A peer that begins later is understood all the same.
        r.authenticated(name(2, 9), 1);
        assert_eq!(r.plan(&[1, 2], 9, 2).tries, [Some(name(2, 9)), None]);
        assert!(!r.holds(name(2, 0)) && !r.holds(name(1, 9)) && !r.holds(name(1, 6)), "stale by then");
        // Before anything authenticated, there is no switch.
        let mut fresh = Held::default();
        for candidate in [name(1, 0), name(2, 0), name(2, 3)] {
            fresh.install(candidate, 5).unwrap();
        }
        assert!(fresh.holds(name(1, 0)) && fresh.holds(name(2, 3)) && !fresh.holds(name(2, 0)));
    }

    #[test]
    fn a_forged_epoch_keeps_no_flow_from_resting() {
        let mut r = adopted(&[name(1, 5)]);
        r.install(name(1, 77), 8).unwrap();
        assert!(!r.keys().is_ahead());
        r.install(name(2, 0), 8).unwrap();
        assert!(r.keys().is_ahead());
        r.authenticated(name(2, 0), 1);
        assert!(!r.keys().is_ahead());
    }

    #[test]
    fn without_room_for_others_no_key_is_taken() {
        let mut r = Receiver::<u32>::default();
        assert_eq!(r.with(None, Profile::V2).install(name(1, 0), 5), Err(5));
        assert_eq!(r.with(None, Profile::V2).missing(&[1], 0), Ok(name(1, 0)));
    }

    #[test]
    fn attempts_are_limited_and_earned_back() {
        let mut r = Receiver::<u32>::default();
        let refill = u64::from(REFILL_MS) * MILLISECOND;
        let now = 10 * refill;
        assert_eq!((0..10).filter(|_| r.may_attempt(now)).count(), usize::from(BURST));
        assert!(r.may_attempt(now + refill));
        assert!(!r.may_attempt(now + refill));
    }
}
