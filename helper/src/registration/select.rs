// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Which of several secrets two addresses use: "the sender takes the longest remote prefix, then the longest local one,
//! then the lowest SHA-256(PC key || PS key || group); a receiver tries the first two".
//!
//! The order that counts for a packet is its sender's. A receiver therefore goes by the sender's remote prefix, which is
//! its own local one, first; with the same lists at both ends the sender's choice is then its first, and the second is for
//! the time in which one end knows of a change and the other does not.

use std::cmp::Reverse;

use sha2::{Digest, Sha256};

use super::group::{GroupName, Pairing};

/// Secrets that a receiver tries.
pub const RECEIVE_MAX: usize = 2;

/// Where a secret comes from, and how closely it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The two Primaries.
    pub pairing: Pairing,
    /// The group.
    pub group: GroupName,
    /// Length of the longest listed prefix around this host's address, bits.
    pub local: u8,
    /// Length of the longest listed prefix around the other's.
    pub remote: u8,
}

impl Candidate {
    fn tie(&self) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.pairing.client.0).chain_update(self.pairing.server.0);
        hash.chain_update(self.group.as_str()).finalize().into()
    }
}

/// The candidate to send under.
pub fn for_sending(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().min_by_key(|one| (Reverse(one.remote), Reverse(one.local), one.tie()))
}

/// The candidates to receive under, at most [`RECEIVE_MAX`].
pub fn for_receiving(candidates: &[Candidate]) -> Vec<&Candidate> {
    let mut all: Vec<&Candidate> = candidates.iter().collect();
    all.sort_by_cached_key(|one| (Reverse(one.local), Reverse(one.remote), one.tie()));
    all.truncate(RECEIVE_MAX);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PublicKey;
    use proptest::prelude::*;

    fn candidate(n: u8, local: u8, remote: u8) -> Candidate {
        let pairing = Pairing { client: PublicKey([n; 32]), server: PublicKey([200; 32]) };
        Candidate { pairing, group: GroupName::new("g").unwrap(), local, remote }
    }

    #[test]
    fn order_of_a_sender() {
        let (longest_remote, longer_local, other) = (candidate(1, 0, 128), candidate(2, 64, 64), candidate(3, 48, 64));
        let all = [other.clone(), longer_local.clone(), longest_remote.clone()];
        assert_eq!(for_sending(&all), Some(&longest_remote));
        assert_eq!(for_sending(&all[..2]), Some(&longer_local));
        assert_eq!(for_sending(&all[..1]), Some(&other));
        assert_eq!(for_sending(&[]), None);
    }

    #[test]
    fn of_equals_the_lowest_hash() {
        let all: Vec<_> = (0..9).map(|n| candidate(n, 64, 64)).collect();
        let chosen = for_sending(&all).unwrap();
        assert!(all.iter().all(|one| chosen.tie() <= one.tie()));
        let group = |text| Candidate { group: GroupName::new(text).unwrap(), ..candidate(1, 64, 64) };
        assert_ne!(group("a").tie(), group("b").tie());
        // SHA-256 of 32 bytes of 01, 32 of c8, and "g".
        assert_eq!(crate::hex::encode(&candidate(1, 0, 0).tie()[..4]), "1610e6b2");
    }

    proptest! {
        /// What one end sends under the other tries first, however many there are.
        #[test]
        fn the_receiver_tries_what_the_sender_chose(
            lengths in prop::collection::vec((0u8..4, 0u8..4), 1..9),
        ) {
            let here: Vec<_> = lengths.iter().zip(0..).map(|(l, n)| candidate(n, l.0, l.1)).collect();
            let there: Vec<_> = lengths.iter().zip(0u8..10).map(|(l, n)| candidate(n, l.1, l.0)).collect();
            let there: Vec<_> = there.into_iter().rev().collect();
            let sent = for_sending(&here).unwrap();
            let tried = for_receiving(&there);
            prop_assert!(tried.len() <= RECEIVE_MAX);
            prop_assert_eq!(&tried[0].pairing, &sent.pairing);
            // With one of them unknown to the sender, it is among those tried all the same.
            for missing in 0..here.len() {
                let fewer: Vec<_> = here.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, c)| c.clone()).collect();
                if let Some(sent) = for_sending(&fewer) {
                    prop_assert!(tried.iter().any(|one| one.pairing == sent.pairing));
                }
            }
        }
    }
}
