// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Lists of prefixes and addresses, as Primaries keep and tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use sha2::{Digest, Sha256};

use crate::prefix::Prefix;

/// Most prefixes of a list.
pub const LIST_MAX: usize = 4096;

/// SHA-256 of a list.
pub type ListDigest = [u8; 32];

/// Why a list is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// More than [`LIST_MAX`] prefixes.
    #[error("more than {LIST_MAX} prefixes in a list")]
    Full,
    /// Link-local and multicast addresses mean nothing on another host.
    #[error("{0} is link-local or multicast")]
    Scope(Prefix),
    /// It overlaps a prefix of another group's list.
    #[error("{0} overlaps the list of another group")]
    Overlap(Prefix),
}

/// A bounded set of prefixes. They may lie in one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    prefixes: BTreeSet<Prefix>,
    /// How many there are of each length, so that only those lengths are looked for.
    lengths: BTreeMap<u8, usize>,
}

impl List {
    /// The list of these.
    ///
    /// # Errors
    /// As [`List::add`].
    pub fn of(prefixes: impl IntoIterator<Item = Prefix>) -> Result<Self, ListError> {
        let mut list = Self::default();
        for prefix in prefixes {
            list.add(prefix)?;
        }
        Ok(list)
    }

    /// Adds a prefix; whether it was not there before.
    ///
    /// # Errors
    /// [`ListError::Full`], [`ListError::Scope`].
    pub fn add(&mut self, prefix: Prefix) -> Result<bool, ListError> {
        if prefix.is_link_local() || (prefix.length() >= 8 && prefix.address().is_multicast()) {
            return Err(ListError::Scope(prefix));
        }
        if self.prefixes.len() >= LIST_MAX && !self.prefixes.contains(&prefix) {
            return Err(ListError::Full);
        }
        let new = self.prefixes.insert(prefix);
        if new {
            *self.lengths.entry(prefix.length()).or_default() += 1;
        }
        Ok(new)
    }

    /// Removes a prefix; whether it was there.
    pub fn remove(&mut self, prefix: &Prefix) -> bool {
        let there = self.prefixes.remove(prefix);
        if let Some(many) = self.lengths.get_mut(&prefix.length()).filter(|_| there) {
            *many = many.saturating_sub(1);
            if *many == 0 {
                self.lengths.remove(&prefix.length());
            }
        }
        there
    }

    /// The prefixes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Prefix> {
        self.prefixes.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The longest prefix around an address.
    pub fn longest(&self, address: Ipv6Addr) -> Option<Prefix> {
        let lengths = self.lengths.keys().rev();
        lengths.map(|length| Prefix::around(address, *length)).find(|prefix| self.prefixes.contains(prefix))
    }

    /// Whether some address lies in the prefix and in the list.
    pub fn overlaps(&self, prefix: &Prefix) -> bool {
        let within = self.prefixes.range(*prefix..).next().is_some_and(|other| prefix.overlaps(other));
        let around = |length: &u8| self.prefixes.contains(&Prefix::around(prefix.address(), *length));
        within || self.lengths.range(..prefix.length()).any(|(length, _)| around(length))
    }

    /// What leads from an older state to this one: removed and added prefixes.
    pub fn changes_since(&self, older: &Self) -> (Vec<Prefix>, Vec<Prefix>) {
        (
            older.prefixes.difference(&self.prefixes).copied().collect(),
            self.prefixes.difference(&older.prefixes).copied().collect(),
        )
    }

    /// SHA-256 over `length u8 || address` of each prefix, in order of addresses, then of lengths.
    pub fn digest(&self) -> ListDigest {
        let mut digest = Sha256::new();
        for prefix in &self.prefixes {
            digest.update([prefix.length()]);
            digest.update(prefix.address().octets());
        }
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn p(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn list(texts: &[&str]) -> List {
        List::of(texts.iter().map(|text| p(text))).unwrap()
    }

    #[test]
    fn what_a_list_takes() {
        for (text, taken) in [
            ("fd00::1", Ok(true)),
            ("fd00::/64", Ok(true)),
            ("::/0", Ok(true)),
            ("fe80::1", Err(ListError::Scope(p("fe80::1")))),
            ("ff02::1", Err(ListError::Scope(p("ff02::1")))),
            ("ff00::/8", Err(ListError::Scope(p("ff00::/8")))),
        ] {
            assert_eq!(List::default().add(p(text)), taken, "{text}");
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let prefix = |n: usize| Prefix::from(Ipv6Addr::from_bits((0xfd00 << 112) | n as u128));
        let mut full = List::of((0..LIST_MAX).map(prefix)).unwrap();
        assert_eq!(full.add(prefix(LIST_MAX)), Err(ListError::Full));
        assert_eq!(full.add(prefix(0)), Ok(false));
        assert!(full.remove(&prefix(0)));
        assert!(!full.remove(&prefix(0)));
        assert_eq!(full.add(prefix(LIST_MAX)), Ok(true));
        assert_eq!(full.len(), LIST_MAX);
    }

    #[test]
    fn the_longest_prefix_counts() {
        let some = list(&["fd00::/16", "fd00::/64", "fd00::1"]);
        for (address, expected) in [
            ("fd00::1", Some("fd00::1")),
            ("fd00::2", Some("fd00::/64")),
            ("fd00:1::", Some("fd00::/16")),
            ("fd01::1", None),
        ] {
            assert_eq!(some.longest(address.parse().unwrap()), expected.map(p), "{address}");
        }
    }

    #[test]
    fn a_digest_is_of_what_is_listed() {
        assert_eq!(list(&["fd00::1", "fd00::2"]).digest(), list(&["fd00::2", "fd00::1"]).digest());
        assert_ne!(list(&["fd00::/64"]).digest(), list(&["fd00::/65"]).digest());
        assert_eq!(crate::hex::encode(&List::default().digest()[..4]), "e3b0c442");
    }

    fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
        let one = (0u128..16, 120u8..=128)
            .prop_map(|(bits, length)| Prefix::around(Ipv6Addr::from_bits((0xfd00 << 112) | bits << 3 | bits), length));
        prop::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_state_to_the_other(before in prefixes(), after in prefixes()) {
            let (before, after) = (List::of(before).unwrap(), List::of(after).unwrap());
            let (removed, added) = after.changes_since(&before);
            let mut changed = before.clone();
            for prefix in &removed {
                prop_assert!(changed.remove(prefix));
            }
            for prefix in added {
                prop_assert_eq!(changed.add(prefix), Ok(true));
            }
            prop_assert_eq!(changed.digest(), after.digest());
            prop_assert_eq!(changed, after);
        }

        #[test]
        fn overlap_is_as_defined(some in prefixes(), other in prefixes()) {
            let list = List::of(some.clone()).unwrap();
            for prefix in other {
                prop_assert_eq!(list.overlaps(&prefix), some.iter().any(|one| one.overlaps(&prefix)));
                let around = some.iter().filter(|one| one.contains(prefix.address())).max_by_key(|one| one.length());
                prop_assert_eq!(list.longest(prefix.address()), around.copied());
            }
        }
    }
}
