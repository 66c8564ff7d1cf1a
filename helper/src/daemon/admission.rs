// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Who may begin a negotiation with this host, by where the connection comes from, before any of its bytes is looked at.
//! Without I/O and without a clock.
//!
//! - Each source has its own rate: what one of them does takes nothing from another's.
//! - Places for unfinished negotiations are shared out: while there are free ones each source may have a quarter of all; when
//!   there are none, a newcomer takes the oldest place of the source that has the most, if that has more than its own.
//!
//! So a source that floods others competes with itself. Whoever has as many sources as there are places can take all, but
//! keeps each for only as long as as many newcomers take to come: a negotiation that is faster than that gets done.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Connections that may be short of a finished negotiation at a time.
pub const UNFINISHED_MAX: usize = 256;

/// Those of them that one source may have.
pub const SHARE_MAX: usize = UNFINISHED_MAX / 4;

/// Connections a second that one source may open, unless the configuration says otherwise.
pub const DEFAULT_RATE: u32 = 16;

/// Highest rate that may be configured.
pub const RATE_MAX: u32 = 100_000;

/// Seconds' worth of connections that may come at once from a source that was quiet.
const BURST: u32 = 4;

/// Sources of one set, and sets, whose rates are remembered.
const WAYS: usize = 8;
const SETS: usize = 256;

/// Where a connection comes from, as far as one administrator's reach goes: an IPv4 address, an IPv6 /64, or a link-local
/// address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source([u8; 16]);

impl Source {
    /// The source of a connection from this address.
    pub fn of(address: SocketAddr) -> Self {
        let (v6, scope) = match address {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
        };
        let mut octets = v6.octets();
        if v6.is_unicast_link_local() {
            // All links have this prefix: each neighbour counts, and its link where the prefix has zeros.
            if let Some(room) = octets.get_mut(4..8) {
                room.copy_from_slice(&scope.to_be_bytes());
            }
        } else if let (IpAddr::V6(_), Some(interface)) = (v6.to_canonical(), octets.get_mut(8..)) {
            interface.fill(0);
        }
        Self(octets)
    }
}

/// What a source has left of its rate: its bucket of [`BURST`] seconds is full again at this time.
#[derive(Clone, Copy)]
struct Bucket {
    source: Source,
    full_at: Duration,
}

/// The rates of sources, in a table of fixed size under a hash that nobody outside can aim at.
struct Rates {
    hasher: RandomState,
    sets: Vec<[Option<Bucket>; WAYS]>,
    interval: Duration,
}

impl Rates {
    fn new(rate: u32) -> Self {
        let interval = Duration::from_secs(1) / rate.max(1);
        Self { hasher: RandomState::new(), sets: vec![[None; WAYS]; SETS], interval }
    }

    fn set(&mut self, rate: u32) {
        self.interval = Duration::from_secs(1) / rate.max(1);
    }

    /// Takes one connection from a source's bucket, if there is one left.
    fn take(&mut self, source: Source, now: Duration) -> bool {
        let set = self.hasher.hash_one(source) as usize % SETS;
        let Some(set) = self.sets.get_mut(set) else { return false };
        let known = set.iter().position(|slot| slot.is_some_and(|bucket| bucket.source == source));
        // A newcomer takes an empty slot or that of the fullest bucket: of what is forgotten that is the least.
        let fullest =
            || (0..WAYS).min_by_key(|at| set.get(*at).copied().flatten().map_or(Duration::ZERO, |b| b.full_at));
        let Some(slot) = known.or_else(fullest).and_then(|at| set.get_mut(at)) else { return false };
        let full_at = slot.filter(|bucket| bucket.source == source).map_or(now, |bucket| bucket.full_at.max(now));
        let after = full_at + self.interval;
        let left = after - now <= Duration::from_secs(BURST.into()).max(self.interval);
        *slot = Some(Bucket { source, full_at: if left { after } else { full_at } });
        left
    }
}

/// Names an unfinished negotiation.
pub type Ticket = u64;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Admitted {
        /// Its name here.
        ticket: Ticket,
        /// Whose place it takes.
        instead_of: Option<Ticket>,
    },
    /// Its source opens too many a second.
    TooFast,
    /// Its source has its share of unfinished ones.
    TooMany,
}

/// What was decided so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were let in.
    pub admitted: u64,
    /// Refused, as their source opened too many a second.
    pub too_fast: u64,
    /// Refused, as their source had its share.
    pub too_many: u64,
    /// Ended before they were finished, as newcomers from other sources had fewer.
    pub gave_way: u64,
}

/// Decides, and counts.
pub struct Admission {
    rates: Rates,
    /// Unfinished ones of each source, the oldest first.
    places: HashMap<Source, VecDeque<Ticket>>,
    unfinished: usize,
    next: Ticket,
    counts: Counts,
}

impl Admission {
    /// Nobody is here; each source may open `rate` connections a second.
    pub fn new(rate: u32) -> Self {
        Self {
            rates: Rates::new(rate),
            places: HashMap::with_capacity(UNFINISHED_MAX),
            unfinished: 0,
            next: 0,
            counts: Counts::default(),
        }
    }

    /// Each source may open `rate` connections a second from now on.
    pub fn set_rate(&mut self, rate: u32) {
        self.rates.set(rate);
    }

    /// A connection came.
    pub fn arrives(&mut self, source: Source, now: Duration) -> Verdict {
        if !self.rates.take(source, now) {
            self.counts.too_fast += 1;
            return Verdict::TooFast;
        }
        let own = self.places.get(&source).map_or(0, VecDeque::len);
        let mut instead_of = None;
        if own >= SHARE_MAX {
            self.counts.too_many += 1;
            return Verdict::TooMany;
        }
        if self.unfinished >= UNFINISHED_MAX {
            // The oldest of those that have most.
            let most =
                self.places.iter().max_by_key(|(_, held)| (held.len(), std::cmp::Reverse(held.front().copied())));
            let most = most.filter(|(_, held)| held.len() > own).map(|(source, _)| *source);
            instead_of = most.and_then(|source| self.places.get(&source)?.front().copied());
            match instead_of {
                Some(oldest) => self.leaves(oldest),
                None => {
                    self.counts.too_many += 1;
                    return Verdict::TooMany;
                }
            }
            self.counts.gave_way += 1;
        }
        let ticket = self.next;
        self.next += 1;
        self.places.entry(source).or_default().push_back(ticket);
        self.unfinished += 1;
        self.counts.admitted += 1;
        Verdict::Admitted { ticket, instead_of }
    }

    /// A negotiation is finished, or over. Nothing happens when its place was taken.
    pub fn leaves(&mut self, ticket: Ticket) {
        let unfinished = &mut self.unfinished;
        self.places.retain(|_, held| {
            let before = held.len();
            held.retain(|other| *other != ticket);
            *unfinished -= before - held.len();
            !held.is_empty()
        });
    }

    /// How many are unfinished.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// What was decided so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(number: u64) -> Source {
        Source(((u128::from(number) | 0xfd << 120) << 64).to_be_bytes())
    }

    fn ticket(verdict: Verdict) -> Option<Ticket> {
        match verdict {
            Verdict::Admitted { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    #[test]
    fn sources() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        let same = [
            ("[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:2"),
            ("192.0.2.1:1", "192.0.2.1:2"),
            ("192.0.2.1:1", "[::ffff:192.0.2.1]:2"),
            ("[fe80::1%3]:1", "[fe80::1%3]:2"),
        ];
        for (one, other) in same {
            assert_eq!(of(one), of(other), "{one} {other}");
        }
        let apart = [
            ("[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"),
            ("192.0.2.1:1", "192.0.2.2:1"),
            ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1"),
            // Neighbours on a link, and links.
            ("[fe80::1%3]:1", "[fe80::2%3]:1"),
            ("[fe80::1%3]:1", "[fe80::1%4]:1"),
            ("[::1]:1", "127.0.0.1:1"),
        ];
        for (one, other) in apart {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }

    #[test]
    fn a_source_has_a_burst_and_then_its_rate() {
        let mut admission = Admission::new(10);
        let mut came = |now: Duration| match ticket(admission.arrives(source(1), now)) {
            Some(ticket) => {
                admission.leaves(ticket);
                true
            }
            None => false,
        };
        assert_eq!((0..100).filter(|_| came(Duration::ZERO)).count(), 40);
        // One each tenth of a second, however often it tries.
        for step in 1..50 {
            let now = Duration::from_millis(100 * step);
            assert_eq!((0..10).filter(|_| came(now)).count(), 1, "{step}");
        }
        // And a whole burst once it was quiet for as long as that.
        assert_eq!((0..100).filter(|_| came(Duration::from_secs(60))).count(), 40);
        assert_eq!(admission.counts().too_fast, 60 + 49 * 9 + 60);
        // A slow rate, too, lets one come.
        let mut slow = Rates::new(0);
        assert_eq!((0..10).filter(|_| slow.take(source(1), Duration::ZERO)).count(), 4);
    }

    #[test]
    fn of_unfinished_ones_a_source_has_a_quarter() {
        let mut admission = Admission::new(RATE_MAX);
        let verdicts: Vec<_> = (0..UNFINISHED_MAX).map(|_| admission.arrives(source(1), Duration::ZERO)).collect();
        assert_eq!(verdicts.iter().filter_map(|verdict| ticket(*verdict)).count(), SHARE_MAX);
        assert_eq!(verdicts.last(), Some(&Verdict::TooMany));
        assert_eq!(admission.unfinished(), SHARE_MAX);
        admission.leaves(0);
        assert!(ticket(admission.arrives(source(1), Duration::ZERO)).is_some());
    }

    #[test]
    fn a_newcomer_takes_the_oldest_place_of_who_has_most() {
        let mut admission = Admission::new(RATE_MAX);
        // Four sources that flood fill all places between them; the third is the one that began.
        for at in 0..UNFINISHED_MAX as u64 {
            let from = source([3, 1, 2, 4][at as usize % 4]);
            assert_eq!(admission.arrives(from, Duration::ZERO), Verdict::Admitted { ticket: at, instead_of: None });
        }
        let newcomer = admission.arrives(source(5), Duration::ZERO);
        assert_eq!(newcomer, Verdict::Admitted { ticket: UNFINISHED_MAX as u64, instead_of: Some(0) });
        // It keeps its place, whatever the four do.
        let mut taken = Vec::new();
        for at in 0..1000 {
            if let Verdict::Admitted { instead_of, .. } = admission.arrives(source(1 + at % 4), Duration::ZERO) {
                taken.extend(instead_of);
            }
        }
        assert!(!taken.contains(&(UNFINISHED_MAX as u64)));
        assert_eq!(admission.unfinished(), UNFINISHED_MAX);
        assert_eq!(admission.counts().gave_way, 1 + taken.len() as u64);
    }

    /// Whoever has more sources than there are places takes all, but each newcomer has its turn.
    #[test]
    fn with_a_source_for_each_place_the_oldest_gives_way() {
        let mut admission = Admission::new(1);
        for at in 0..3 * UNFINISHED_MAX as u64 {
            let instead_of = at.checked_sub(UNFINISHED_MAX as u64);
            let verdict = admission.arrives(source(at), Duration::ZERO);
            assert_eq!(verdict, Verdict::Admitted { ticket: at, instead_of });
        }
        // One that is here already, and no worse off than others, is not let in at their cost.
        assert_eq!(admission.arrives(source(3 * UNFINISHED_MAX as u64 - 1), Duration::ZERO), Verdict::TooMany);
    }

    /// The table does not grow, and a source that floods is not forgotten for those that come once.
    #[test]
    fn many_sources_take_no_more_room_and_help_a_flood_to_nothing() {
        let mut rates = Rates::new(1);
        let (mut passed, mut at) = (0, 0);
        for number in 0..20_000u64 {
            // All at one time: nothing is refilled.
            passed += u32::from(rates.take(source(u64::MAX), Duration::ZERO));
            at += u32::from(rates.take(source(number), Duration::ZERO));
        }
        assert_eq!((passed, at), (BURST, 20_000));
        assert_eq!(rates.sets.len() * WAYS, 2048);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Flood(u8),
        Lawful,
        Others(u16),
        Finish(prop::sample::Index),
        Wait(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            any::<u8>().prop_map(Step::Flood),
            Just(Step::Lawful),
            any::<u16>().prop_map(Step::Others),
            any::<prop::sample::Index>().prop_map(Step::Finish),
            any::<u16>().prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A flood from one source neither delays another's first connection nor takes its place, however the two mix with
        /// a hundred sources that behave. Places and memory stay within bounds.
        #[test]
        fn a_flood_from_one_source_takes_nothing_from_others(steps in steps()) {
            let mut admission = Admission::new(DEFAULT_RATE);
            let (mut now, mut held, mut lawful) = (Duration::ZERO, Vec::new(), None);
            for step in steps {
                let mut came = Vec::new();
                match step {
                    Step::Flood(count) => came.extend((0..count).map(|_| admission.arrives(source(1), now))),
                    Step::Lawful if lawful.is_none() => {
                        let verdict = admission.arrives(source(2), now);
                        prop_assert!(ticket(verdict).is_some(), "{verdict:?}");
                        lawful = ticket(verdict);
                        came.push(verdict);
                    }
                    Step::Lawful => {
                        admission.leaves(lawful.take().unwrap());
                        // As fast as its own rate allows, no faster.
                        now += Duration::from_secs(1) / DEFAULT_RATE;
                    }
                    Step::Others(number) => came.push(admission.arrives(source(10 + u64::from(number % 100)), now)),
                    Step::Finish(at) if !held.is_empty() => admission.leaves(held.swap_remove(at.index(held.len()))),
                    Step::Finish(_) => {}
                    Step::Wait(millis) => now += Duration::from_millis(millis.into()),
                }
                for verdict in came {
                    if let Verdict::Admitted { ticket, instead_of } = verdict {
                        prop_assert!(instead_of.is_none_or(|gone| Some(gone) != lawful));
                        held.retain(|other| Some(*other) != instead_of);
                        if Some(ticket) != lawful {
                            held.push(ticket);
                        }
                    }
                }
                prop_assert_eq!(admission.unfinished(), held.len() + usize::from(lawful.is_some()));
                prop_assert!(admission.unfinished() <= UNFINISHED_MAX);
                prop_assert!(admission.places.len() <= admission.unfinished());
                prop_assert!(admission.places.values().all(|held| held.len() <= SHARE_MAX && !held.is_empty()));
            }
        }
    }
}
