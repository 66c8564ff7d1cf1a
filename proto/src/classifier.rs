// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Finds the rule that decides about a flow without asking each: the answer is that of [`first_match`].
//!
//! Each field of the 5-tuple is looked up by itself, and gives the set of rules that it satisfies, one bit a rule; the
//! first bit that all sets have names the rule (Lakshman and Stiliadis: bit vectors). A field's values are cut into
//! intervals wherever a rule begins or ends, so that one search finds the set of all rules that hold there:
//!
//! ```text
//!   rule 0        |------------------|
//!   rule 1   |--------|
//!   rule 2   -----------------------------------------   (any)
//!            0    b1   b2            b3
//!   set     {1,2} {0,1,2}   {0,2}     {2}
//! ```

use core::ops::{Deref, DerefMut};

use super::flow_id::FlowId;
use super::policy::{first_match, Rule};
use super::uapi::RULES_MAX;

/// Rules in one word of a set.
const WORD: usize = u64::BITS as usize;
/// Most words of a set.
const WORDS_MAX: usize = RULES_MAX.div_ceil(WORD);
/// So few rules are asked one by one: that is no dearer.
const FEW: usize = 8;
/// Protocol numbers.
const PROTOCOLS: usize = 1 << u8::BITS;

/// A field that is cut into intervals.
#[derive(Clone, Copy)]
enum Field {
    Remote,
    Local,
    RemotePort,
    LocalPort,
}

impl Field {
    /// In the order in which they are looked up: what tells most rules apart comes first.
    const ALL: [Self; 4] = [Self::Remote, Self::RemotePort, Self::Local, Self::LocalPort];

    /// A flow's value.
    fn of(self, flow: &FlowId) -> u128 {
        match self {
            Self::Remote => u128::from_be_bytes(flow.remote),
            Self::Local => u128::from_be_bytes(flow.local),
            Self::RemotePort => flow.remote_port.into(),
            Self::LocalPort => flow.local_port.into(),
        }
    }

    /// The first and the last value that satisfy a rule.
    fn range(self, rule: &Rule) -> (u128, u128) {
        match self {
            Self::Remote => rule.remote.map_or((0, u128::MAX), |prefix| prefix.range()),
            Self::Local => rule.local.map_or((0, u128::MAX), |prefix| prefix.range()),
            Self::RemotePort => (rule.remote_ports.0.into(), rule.remote_ports.1.into()),
            Self::LocalPort => (rule.local_ports.0.into(), rule.local_ports.1.into()),
        }
    }
}

/// Where a field's intervals stand among all.
#[derive(Clone, Copy, Default)]
struct Span {
    first: usize,
    len: usize,
}

/// Rules made ready for looking up. `B` holds where the intervals begin, `S` the sets; both are the caller's memory.
///
/// The sets stand in this order: one for each direction, one for each protocol that a rule speaks of, one for each
/// interval.
pub struct Classifier<B, S> {
    /// Words of a set; 0 where the rules are asked one by one.
    words: usize,
    /// The set of each protocol, counted from 1; 0 where no rule speaks of it.
    protocols: [u16; PROTOCOLS],
    /// Protocols that a rule speaks of.
    spoken_of: usize,
    fields: [Span; Field::ALL.len()],
    starts: B,
    sets: S,
}

/// Intervals that `rules` rules can cut all fields into.
const fn most_intervals(rules: usize) -> usize {
    Field::ALL.len().saturating_mul(rules.saturating_mul(2).saturating_add(1))
}

/// Writes where a field's intervals begin, in order; returns how many there are.
fn cut(field: Field, rules: &[Rule], starts: &mut [u128]) -> usize {
    let ends = rules.iter().flat_map(|rule| {
        let (first, last) = field.range(rule);
        [Some(first), last.checked_add(1)]
    });
    core::iter::once(0).chain(ends.flatten()).fold(0, |len, start| insert(starts, len, start))
}

/// Puts a value in its place among the first `len`, which are in order, unless it is there; returns how many there are then.
fn insert(sorted: &mut [u128], len: usize, value: u128) -> usize {
    let held = sorted.get(..len).unwrap_or(&[]);
    let at = held.partition_point(|other| *other < value);
    if held.get(at) == Some(&value) {
        return len;
    }
    let mut carried = value;
    for place in sorted.get_mut(at..=len).into_iter().flatten() {
        core::mem::swap(place, &mut carried);
    }
    len.saturating_add(1)
}

impl<B, S> Classifier<B, S>
where
    B: Deref<Target = [u128]> + DerefMut,
    S: Deref<Target = [u64]> + DerefMut,
{
    /// Makes rules ready. `make_starts` and `make_sets` give memory for as many values as they are told, all 0.
    ///
    /// # Errors
    /// Those of `make_starts` and `make_sets`.
    pub fn new<E>(
        rules: &[Rule],
        make_starts: impl FnOnce(usize) -> Result<B, E>,
        make_sets: impl FnOnce(usize) -> Result<S, E>,
    ) -> Result<Self, E> {
        let is_indexed = rules.len() > FEW && rules.len() <= RULES_MAX;
        let words = if is_indexed { rules.len().div_ceil(WORD) } else { 0 };
        let mut protocols = [0; PROTOCOLS];
        let mut spoken_of = 0usize;
        for (number, set) in (0..=u8::MAX).zip(&mut protocols) {
            if rules.iter().any(|rule| rule.speaks_of(number)) {
                spoken_of = spoken_of.saturating_add(1);
                *set = spoken_of as u16;
            }
        }
        let mut starts = make_starts(if is_indexed { most_intervals(rules.len()) } else { 0 })?;
        let mut fields = [Span::default(); Field::ALL.len()];
        let mut first = 0usize;
        if is_indexed {
            for (field, span) in Field::ALL.into_iter().zip(&mut fields) {
                let len = cut(field, rules, starts.get_mut(first..).unwrap_or(&mut []));
                *span = Span { first, len };
                first = first.saturating_add(len);
            }
        }
        let sets = make_sets(words.saturating_mul(first.saturating_add(spoken_of).saturating_add(DIRECTIONS)))?;
        let mut classifier = Self { words, protocols, spoken_of, fields, starts, sets };
        if is_indexed {
            classifier.fill(rules);
        }
        Ok(classifier)
    }

    /// Writes every set.
    fn fill(&mut self, rules: &[Rule]) {
        for (index, rule) in rules.iter().enumerate() {
            for outbound in [false, true] {
                if rule.speaks_of_direction(outbound) {
                    self.insert(usize::from(outbound), index);
                }
            }
            for number in 0..=u8::MAX {
                if rule.speaks_of(number) {
                    if let Some(set) = self.protocol_set(number) {
                        self.insert(set, index);
                    }
                }
            }
            for (field, span) in Field::ALL.into_iter().zip(self.fields) {
                // A rule holds in the whole of an interval or nowhere in it.
                let (first, last) = field.range(rule);
                let starts = self.starts_of(span);
                let (from, to) = (starts.partition_point(|s| *s < first), starts.partition_point(|s| *s <= last));
                for at in from..to {
                    self.insert(self.interval_set(span.first.saturating_add(at)), index);
                }
            }
        }
    }

    fn insert(&mut self, set: usize, rule: usize) {
        let place = set.saturating_mul(self.words).saturating_add(rule / WORD);
        if let Some(word) = self.sets.get_mut(place) {
            *word |= 1 << (rule % WORD);
        }
    }
}

/// Sets by direction, inbound first.
const DIRECTIONS: usize = 2;

impl<B, S> Classifier<B, S>
where
    B: Deref<Target = [u128]>,
    S: Deref<Target = [u64]>,
{
    /// Whether any rule speaks of this protocol, expired or not.
    pub fn speaks_of(&self, protocol: u8) -> bool {
        self.protocol_set(protocol).is_some()
    }

    /// The index of the first of the rules, those it was made from, that decides about a flow.
    pub fn first_match(&self, rules: &[Rule], flow: &FlowId, outbound: bool, now: u64) -> Option<usize> {
        if self.words == 0 {
            return if self.speaks_of(flow.protocol) { first_match(rules, flow, outbound, now) } else { None };
        }
        let mut left = [0; WORDS_MAX];
        let left = left.get_mut(..self.words)?;
        for (word, (a, b)) in
            left.iter_mut().zip(self.set(self.protocol_set(flow.protocol)?).iter().zip(self.set(outbound.into())))
        {
            *word = a & b;
        }
        for (field, span) in Field::ALL.into_iter().zip(self.fields) {
            let value = field.of(flow);
            // The first interval begins at 0.
            let within = self.starts_of(span).partition_point(|start| *start <= value).saturating_sub(1);
            let mut any = 0;
            for (word, set) in left.iter_mut().zip(self.set(self.interval_set(span.first.saturating_add(within)))) {
                *word &= set;
                any |= *word;
            }
            if any == 0 {
                return None;
            }
        }
        for (at, word) in left.iter().enumerate() {
            let mut bits = *word;
            while bits != 0 {
                let index = at.saturating_mul(WORD).saturating_add(bits.trailing_zeros() as usize);
                if rules.get(index).is_some_and(|rule| rule.is_in_force(now)) {
                    return Some(index);
                }
                bits &= bits.wrapping_sub(1);
            }
        }
        None
    }

    /// Where a field's intervals begin.
    fn starts_of(&self, span: Span) -> &[u128] {
        self.starts.get(span.first..span.first.saturating_add(span.len)).unwrap_or(&[])
    }

    /// A set's words.
    fn set(&self, set: usize) -> &[u64] {
        let first = set.saturating_mul(self.words);
        self.sets.get(first..first.saturating_add(self.words)).unwrap_or(&[])
    }

    fn protocol_set(&self, protocol: u8) -> Option<usize> {
        let set = usize::from(*self.protocols.get(usize::from(protocol))?);
        (set != 0).then(|| set.saturating_add(DIRECTIONS - 1))
    }

    fn interval_set(&self, interval: usize) -> usize {
        interval.saturating_add(self.spoken_of).saturating_add(DIRECTIONS)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::super::policy::tests::ANY;
    use super::super::prefix::Prefix;
    use super::super::uapi::rule_direction;
    use super::*;
    use core::convert::Infallible;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    type Ready = Classifier<Vec<u128>, Vec<u64>>;

    fn ready(rules: &[Rule]) -> Ready {
        let made: Result<Ready, Infallible> = Classifier::new(rules, |n| Ok(vec![0; n]), |n| Ok(vec![0; n]));
        let Ok(classifier) = made;
        classifier
    }

    /// Few values of each field, so that rules overlap and flows fall on their edges.
    fn address() -> impl Strategy<Value = [u8; 16]> {
        (0u8..3, 0u8..4, prop_oneof![Just(0u8), Just(255u8), Just(7u8)]).prop_map(|(a, b, c)| {
            let mut address = [c; 16];
            address[0] = [0, 0xfd, 0xff][usize::from(a)];
            address[7] = b;
            address
        })
    }

    fn prefix() -> impl Strategy<Value = Option<Prefix>> {
        (address(), prop_oneof![Just(0u8), Just(1), Just(8), Just(62), Just(64), Just(127), Just(128)]).prop_map(
            |(address, len)| {
                let mask = if len == 0 { 0 } else { u128::MAX << (128 - u32::from(len)) };
                Prefix::new((u128::from_be_bytes(address) & mask).to_be_bytes(), len)
            },
        )
    }

    fn port() -> impl Strategy<Value = u16> {
        prop_oneof![Just(0u16), Just(1), Just(443), Just(444), Just(u16::MAX), any::<u16>()]
    }

    fn ports() -> impl Strategy<Value = (u16, u16)> {
        prop_oneof![Just((0, u16::MAX)), (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)))]
    }

    fn protocol() -> impl Strategy<Value = u8> {
        prop_oneof![Just(6u8), Just(17), Just(58), Just(132), Just(0), Just(255)]
    }

    prop_compose! {
        fn rule()(
            local in prop::option::of(prefix()),
            remote in prop::option::of(prefix()),
            protocol in prop::option::of(protocol()),
            local_ports in ports(),
            remote_ports in ports(),
            direction in 1u8..=3,
            expires_at in prop::option::of(0u64..4),
        ) -> Rule {
            Rule {
                local: local.flatten(), remote: remote.flatten(), protocol, local_ports, remote_ports, direction,
                expires_at, ..ANY
            }
        }
    }

    prop_compose! {
        fn flow()(
            local in address(), remote in address(), local_port in port(), remote_port in port(), protocol in protocol(),
        ) -> FlowId {
            FlowId { local, remote, local_port, remote_port, protocol }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_answers_as_asking_each_rule_does(
            rules in prop_oneof![
                prop::collection::vec(rule(), 0..=FEW + 2),
                prop::collection::vec(rule(), WORD - 1..=WORD + 1),
                prop::collection::vec(rule(), RULES_MAX),
            ],
            flows in prop::collection::vec((flow(), any::<bool>(), 0u64..5), 1..200),
        ) {
            let classifier = ready(&rules);
            for (flow, outbound, now) in flows {
                let asked = first_match(&rules, &flow, outbound, now);
                prop_assert_eq!(classifier.first_match(&rules, &flow, outbound, now), asked);
                prop_assert!(asked.is_none() || classifier.speaks_of(flow.protocol));
            }
        }
    }

    #[test]
    fn a_rule_for_each_port_and_the_last_for_all() {
        let rules: Vec<_> = (0..RULES_MAX as u16)
            .map(|n| Rule { remote_ports: if n == 511 { (0, u16::MAX) } else { (1000 + n, 1000 + n) }, ..ANY })
            .collect();
        let classifier = ready(&rules);
        let flow = |remote_port| FlowId { remote_port, protocol: 17, ..FlowId::default() };
        for (port, index) in [(1000, 0), (1001, 1), (1064, 64), (1510, 510), (1511, 511), (999, 511), (0, 511)] {
            assert_eq!(classifier.first_match(&rules, &flow(port), true, 0), Some(index), "port {port}");
        }
        assert!(!classifier.speaks_of(132));
    }

    #[test]
    fn expired_rules_give_way_to_the_next() {
        let mut rules = vec![Rule { expires_at: Some(5), ..ANY }; 100];
        rules[99].expires_at = None;
        rules[70].direction = rule_direction::INBOUND;
        rules[70].expires_at = Some(9);
        let flow = FlowId { protocol: 6, ..FlowId::default() };
        let classifier = ready(&rules);
        for (outbound, now, index) in [(true, 4, 0), (true, 5, 99), (false, 5, 70), (false, 9, 99)] {
            assert_eq!(classifier.first_match(&rules, &flow, outbound, now), Some(index), "{outbound} {now}");
        }
    }

    #[test]
    fn its_memory_is_bounded() {
        let rules: Vec<_> = (0..RULES_MAX)
            .map(|n| {
                let mut address = [0; 16];
                address[..2].copy_from_slice(&(n as u16).to_be_bytes());
                let one = Prefix::new(address, 16);
                let port = n as u16 * 4 + 1;
                let (local_ports, protocol) = ((port, port + 1), Some(n as u8));
                Rule { local: one, remote: one, local_ports, remote_ports: local_ports, protocol, ..ANY }
            })
            .collect();
        let classifier = ready(&rules);
        let bytes = classifier.starts.len() * 16 + classifier.sets.len() * 8;
        assert!(bytes <= 384 * 1024, "{bytes}");
    }
}
