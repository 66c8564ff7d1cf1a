// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Which keys a sealed option of profile `v2-kri` is tried with (docs/protocol.md, section 6, Which keys): the option says
//! no more of its Kri than F. And its replay window, which runs over PSNs that are known only once it is opened.
//!
//! The first try is the Kri that is most likely. The second goes round what else it may be, one for each packet that
//! failed, so that no packet costs more than [`TRIES`] tag checks however far the sender is.

use super::receive::{KeyName, TRIES};
use super::window::Window;

/// How far ahead of the current Kri is looked, "after repeated failures Kri + 1..16".
pub const AHEAD: u32 = 16;
/// Packets in a row that failed before that.
pub const REPEATED: u8 = 4;

/// What a flow has received under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest key an option authenticated under.
    pub current: Option<KeyName>,
    /// The one before it, if it is still held.
    pub previous: Option<KeyName>,
}

/// How the search for a flow's Kri goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct KriSearch {
    /// Packets in a row that no key tried has opened.
    failures: u8,
    /// Which of the second tries is next.
    turn: u8,
}

/// "F = Kri mod 2".
const fn flag_of(kri: u32) -> bool {
    kri & 1 == 1
}

impl KriSearch {
    /// The keys to try, in order. For each that is not held the caller takes from the flow's budget before it derives the
    /// key or asks for it.
    ///
    /// `generations` are those that may be received, newest first, 0 for none. A generation older than the current one is
    /// tried only as the previous key.
    pub fn plan(&self, standing: Standing, generations: &[u64], flag: bool) -> [Option<KeyName>; TRIES] {
        let look = Look { standing, generations, flag };
        let (near, far) = (look.count(near).saturating_sub(1), look.count(far));
        let turn = usize::from(self.turn);
        let other = |at: Option<usize>| look.nth(self::near, at?.checked_add(1)?);
        let ahead = |at: Option<usize>| look.nth(self::far, at?);
        // Every other turn goes to what is near, so that a search does not keep late packets out.
        let second = match (near, far) {
            (0, 0) => None,
            (near, _) if self.failures < REPEATED => other(turn.checked_rem(near)),
            (0, far) => ahead(turn.checked_rem(far)),
            (near, 0) => other(turn.checked_rem(near)),
            (near, _) if turn % 2 == 0 => other((turn / 2).checked_rem(near)),
            (_, far) => ahead((turn / 2).checked_rem(far)),
        };
        [look.nth(self::near, 0), second]
    }

    /// No key tried has opened the option, or none could be tried.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.turn = self.turn.wrapping_add(1);
    }

    /// An option authenticated. The turn stays: what opened this packet is likely to open the next.
    pub fn authenticated(&mut self) {
        self.failures = 0;
    }

    /// Whether Kris beyond the next one are looked at.
    pub const fn looks_ahead(&self) -> bool {
        self.failures >= REPEATED
    }
}

/// Names keys in the order of their likelihood, one by one.
type Names = fn(Standing, &[u64], &mut dyn FnMut(KeyName));

/// A look for the keys that may have sealed an option.
struct Look<'a> {
    standing: Standing,
    generations: &'a [u64],
    flag: bool,
}

impl Look<'_> {
    /// Calls `what` with each name that may be received under and has this F.
    fn fitting(&self, names: Names, what: &mut dyn FnMut(KeyName)) {
        names(self.standing, self.generations, &mut |name| {
            if name.generation != 0 && flag_of(name.epoch) == self.flag && self.generations.contains(&name.generation) {
                what(name);
            }
        });
    }

    fn count(&self, names: Names) -> usize {
        let mut count = 0usize;
        self.fitting(names, &mut |_| count = count.saturating_add(1));
        count
    }

    fn nth(&self, names: Names, at: usize) -> Option<KeyName> {
        let (mut count, mut found) = (0usize, None);
        self.fitting(names, &mut |name| {
            if count == at {
                found = Some(name);
            }
            count = count.saturating_add(1);
        });
        found
    }
}

/// "The receiver tries current, then current ± 1 by F", the start of a newer generation, and the previous key.
fn near(standing: Standing, generations: &[u64], take: &mut dyn FnMut(KeyName)) {
    let current = standing.current;
    let at = |kri: Option<u32>| Some(KeyName { generation: current?.generation, epoch: kri? });
    let next = at(current.and_then(|name| name.epoch.checked_add(1)));
    let before = at(current.and_then(|name| name.epoch.checked_sub(1)));
    [current, next].into_iter().flatten().for_each(&mut *take);
    // "Flows start at Kri 0." What steps early may have come to 1 before anything arrives.
    newer(standing, generations, &mut |generation| {
        take(KeyName { generation, epoch: 0 });
        take(KeyName { generation, epoch: 1 });
    });
    let before = before.filter(|name| Some(*name) != standing.previous);
    [standing.previous, before].into_iter().flatten().for_each(take);
}

/// Kris further ahead, of the current generation and of newer ones.
fn far(standing: Standing, generations: &[u64], take: &mut dyn FnMut(KeyName)) {
    let mut beyond = |from: KeyName| {
        for epoch in (2..=AHEAD).filter_map(|step| from.epoch.checked_add(step)) {
            take(KeyName { epoch, ..from });
        }
    };
    if let Some(current) = standing.current {
        beyond(current);
    }
    newer(standing, generations, &mut |generation| beyond(KeyName { generation, epoch: 0 }));
}

/// Generations that nothing was received under yet, newer than the current one.
fn newer(standing: Standing, generations: &[u64], take: &mut dyn FnMut(u64)) {
    let least = standing.current.map_or(0, |name| name.generation);
    for generation in generations.iter().filter(|generation| **generation > least) {
        take(*generation);
    }
}

/// "The replay window runs over the decrypted PSNTP." PSNs wrap within a Kri, but a Kri has fewer options than half of
/// them: which of two is ahead is always certain. This is the extended PSN that is nearest to the highest a window has seen;
/// the first lies beyond 2^16, so that there is room below.
pub fn extended(window: &Window, psn: u16) -> u64 {
    match window.highest() {
        None => 0x1_0000 + u64::from(psn),
        Some(highest) => highest.wrapping_add_signed(i64::from(psn.wrapping_sub(highest as u16) as i16)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::random15::LENGTH;
    use super::super::window::Seen;
    use super::*;
    use proptest::prelude::*;

    extern crate std;
    use std::vec;

    const fn name(generation: u64, kri: u32) -> KeyName {
        KeyName { generation, epoch: kri }
    }

    fn standing(current: Option<KeyName>, previous: Option<KeyName>) -> Standing {
        Standing { current, previous }
    }

    #[test]
    fn first_plans() {
        let (c, p) = (|kri| Some(name(1, kri)), |kri| Some(name(1, kri)));
        let table: [(&str, Standing, &[u64], bool, [Option<KeyName>; TRIES]); 14] = [
            ("nothing received: Kri 0", standing(None, None), &[1, 0], false, [c(0), None]),
            ("nothing received, F set: Kri 1", standing(None, None), &[1, 0], true, [c(1), None]),
            ("of two generations the newer first", standing(None, None), &[2, 1], false, [Some(name(2, 0)), c(0)]),
            ("no generation", standing(None, None), &[0, 0], false, [None, None]),
            ("current", standing(c(4), p(3)), &[1, 0], false, [c(4), None]),
            ("F flipped: the next, or a late one", standing(c(4), p(3)), &[1, 0], true, [c(5), c(3)]),
            ("F flipped: the one before, never seen", standing(c(4), None), &[1, 0], true, [c(5), c(3)]),
            ("at Kri 0 none is before", standing(c(0), None), &[1, 0], true, [c(1), None]),
            ("a newer generation starts", standing(c(4), p(3)), &[2, 1], false, [c(4), Some(name(2, 0))]),
            ("its start before late ones", standing(c(5), p(4)), &[2, 1], false, [c(6), Some(name(2, 0))]),
            ("the older one is live", standing(Some(name(2, 0)), p(8)), &[2, 1], false, [Some(name(2, 0)), c(8)]),
            ("the older one is not", standing(Some(name(2, 0)), None), &[2, 1], false, [Some(name(2, 0)), None]),
            ("the older one was deleted", standing(Some(name(2, 0)), p(8)), &[2, 0], false, [Some(name(2, 0)), None]),
            ("no Kri beyond the last", standing(c(u32::MAX), None), &[1, 0], false, [c(u32::MAX - 1), None]),
        ];
        for (what, standing, generations, flag, want) in table {
            assert_eq!(KriSearch::default().plan(standing, generations, flag), want, "{what}");
        }
    }

    /// Packets until one sealed under `sent` is opened, at most `most`; the search goes on from `search`.
    fn packets_to_open(
        search: &mut KriSearch,
        standing: Standing,
        generations: &[u64],
        sent: KeyName,
        most: usize,
    ) -> Option<usize> {
        (1..=most).find(|_| {
            let tries = search.plan(standing, generations, flag_of(sent.epoch));
            let opened = tries.contains(&Some(sent));
            if opened {
                search.authenticated();
            } else {
                search.failed();
            }
            opened
        })
    }

    /// "after repeated failures Kri + 1..16": each is found, and none beyond, nor any below current - 1.
    #[test]
    fn what_is_ahead_is_found_within_bounds() {
        for current in [0, 7, 100, u32::MAX - 20] {
            let standing = standing(Some(name(1, current)), current.checked_sub(1).map(|kri| name(1, kri)));
            for step in 0..=AHEAD {
                let mut search = KriSearch::default();
                let took = packets_to_open(&mut search, standing, &[1, 0], name(1, current + step), 64);
                assert!(took.is_some_and(|n| n <= if step < 2 { 1 } else { 24 }), "Kri {current} + {step}: {took:?}");
                // and found again at once, while it is not adopted
                assert_eq!(search.failures, 0);
            }
            for sent in [current + AHEAD + 1, current + AHEAD + 2, current.wrapping_sub(2), current.wrapping_sub(3)] {
                let mut search = KriSearch::default();
                assert_eq!(packets_to_open(&mut search, standing, &[1, 0], name(1, sent), 1000), None, "{sent}");
            }
        }
    }

    /// A newer generation of which the first Kris were lost is found too, and so is a flow's very first packet.
    #[test]
    fn the_start_of_a_generation_may_be_lost() {
        for kri in 0..=AHEAD {
            for standing in [standing(None, None), standing(Some(name(1, 9)), Some(name(1, 8)))] {
                let mut search = KriSearch::default();
                let took = packets_to_open(&mut search, standing, &[2, 1], name(2, kri), 64);
                assert!(took.is_some(), "Kri {kri} from {standing:?}");
            }
        }
    }

    /// Forgeries of either F, as many as there may be, do not keep out what is genuine.
    #[test]
    fn a_flood_of_forgeries_harms_no_live_flow() {
        let standing = standing(Some(name(1, 6)), Some(name(1, 5)));
        let mut search = KriSearch::default();
        for forged in 0..1000 {
            assert_eq!(packets_to_open(&mut search, standing, &[1, 0], name(9, forged % 2), 1), None);
            assert_eq!(packets_to_open(&mut search.clone(), standing, &[1, 0], name(1, 6), 1), Some(1), "current");
            assert_eq!(packets_to_open(&mut search.clone(), standing, &[1, 0], name(1, 7), 1), Some(1), "next");
            assert!(packets_to_open(&mut search.clone(), standing, &[1, 0], name(1, 5), 2).is_some(), "late");
        }
    }

    #[test]
    fn only_repeated_failures_make_it_look_ahead() {
        let mut search = KriSearch::default();
        let standing = standing(Some(name(1, 6)), None);
        for _ in 0..REPEATED {
            assert!(!search.looks_ahead());
            assert_eq!(search.plan(standing, &[1, 0], false), [Some(name(1, 6)), None]);
            search.failed();
        }
        assert!(search.looks_ahead() && search.plan(standing, &[1, 0], false)[1].is_some_and(|n| n.epoch > 7));
        search.authenticated();
        assert!(!search.looks_ahead());
    }

    /// A window over PSNs.
    #[derive(Default)]
    struct PsnWindow(Window);

    impl PsnWindow {
        fn check(&self, psn: u16) -> Seen {
            self.0.check(extended(&self.0, psn))
        }

        fn mark(&mut self, psn: u16) -> Seen {
            self.0.mark(extended(&self.0, psn))
        }
    }

    #[test]
    fn the_window_runs_over_psns_that_wrap() {
        use Seen::*;
        let cases = [
            (65530, New),
            (65529, New),
            (65530, Duplicate),
            (3, New),
            (65535, New),
            (65535, Duplicate),
            (3, Duplicate),
            (1100, New),
            (65530, TooOld),
            (77, New),
        ];
        let mut window = PsnWindow::default();
        for (number, (psn, want)) in cases.into_iter().enumerate() {
            assert_eq!(window.check(psn), want, "case {number}: {psn}");
            assert_eq!(window.mark(psn), want, "case {number}: {psn}");
        }
        let mut window = PsnWindow::default();
        assert_eq!((window.mark(0), window.mark(65535), window.mark(0)), (New, New, Duplicate));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        /// Every option of a Kri is new once and a duplicate afterwards, whatever its first PSN.
        #[test]
        fn a_whole_kri_in_order(first: u16) {
            let mut window = PsnWindow::default();
            for n in 0..LENGTH {
                let psn = first.wrapping_add(n);
                prop_assert_eq!(window.mark(psn), Seen::New);
                prop_assert_eq!(window.mark(psn), Seen::Duplicate);
            }
            // The first and the last of it are told apart, as far as they lie.
            prop_assert_eq!(window.check(first), Seen::TooOld);
        }
    }

    proptest! {
        /// No plan has the same key twice, one of the other F, or one of a generation that is not received.
        #[test]
        fn plans_are_sound(
            current in proptest::option::of((1u64..4, 0u32..40)),
            back in 0u32..3,
            generations in proptest::sample::select(vec![[0u64, 0], [1, 0], [2, 1], [3, 2], [3, 1]]),
            failures in 0u8..40,
            flag: bool,
        ) {
            let current = current.map(|(generation, kri)| name(generation, kri));
            let previous = current.and_then(|n| Some(name(n.generation, n.epoch.checked_sub(back).filter(|_| back > 0)?)));
            let mut search = KriSearch::default();
            (0..failures).for_each(|_| search.failed());
            let tries = search.plan(standing(current, previous), &generations, flag);
            for name in tries.into_iter().flatten() {
                prop_assert_eq!(flag_of(name.epoch), flag);
                prop_assert!(name.generation > 0 && generations.contains(&name.generation));
                let base = current.filter(|c| c.generation == name.generation).map_or(0, |c| c.epoch);
                prop_assert!(name.epoch <= base.saturating_add(AHEAD));
            }
            prop_assert!(tries[0].is_none() || tries[0] != tries[1]);
        }
    }
}
