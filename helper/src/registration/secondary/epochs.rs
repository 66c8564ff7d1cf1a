// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Leases as their holder keeps them.
//!
//! Where a secret was taken out of the module after it was sent under, the module's floors for it are gone. Were it put back
//! within the same lease, an epoch could come twice; so it is sent under again only within another lease.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::super::error::Failure;
use super::super::group::GroupName;
use super::super::jitter::part_of;
use super::super::lease::Range;
use super::super::message::member::{Granted, WantEpochs};
use super::super::message::Message;
use super::{Secondary, SecretName};
use crate::identity::PublicKey;
use crate::negotiate::Entropy;

/// A question without an answer, or with an answer of nothing, is asked again after this, and as much more by chance.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// Secrets that are remembered as taken out; with more of them, all are taken to be.
const SPENT_MAX: usize = 1024;

/// A remote address, and the secret of it that was sent under.
type Spent = (Ipv6Addr, GroupName, u32);

/// The epochs of one address under one PairMasterSecret.
#[derive(Debug, Default)]
pub(super) struct Lease {
    range: Option<Range>,
    /// What was leased last, which `range` may join to what was leased before.
    last: Option<Range>,
    spent: BTreeSet<Spent>,
    spent_more: bool,
    /// What is wanted: another range, not only more of this one.
    fresh: bool,
    /// What is wanted at all.
    wants: bool,
    /// When to ask (again).
    ask: Duration,
}

impl Lease {
    pub(super) fn range(&self) -> Option<Range> {
        self.range
    }

    /// The machine may be one of two: the range may be in use elsewhere.
    pub(super) fn lose(&mut self) {
        self.range = None;
        self.spent.clear();
        self.spent_more = false;
        (self.fresh, self.wants, self.ask) = (true, true, Duration::ZERO);
    }

    /// A new session: a question may have been lost.
    pub(super) fn ask_again(&mut self) {
        self.ask = Duration::ZERO;
    }

    /// A range that the Primary gave. One that begins before the end of another that was given is refused, whatever the
    /// Primary says: it may have been restored from a backup.
    pub(super) fn granted(&mut self, range: Range) -> Result<(), Failure> {
        if self.last.is_some_and(|last| range.start < last.end) {
            return Err(Failure::Bounds("epochs"));
        }
        self.last = Some(range);
        self.range = Some(match self.range.take() {
            Some(held) if !self.fresh => held.extended(range),
            _ => range,
        });
        if self.range == Some(range) {
            // Every flow is beyond what was sent in before.
            self.spent.clear();
            self.spent_more = false;
        }
        (self.fresh, self.wants, self.ask) = (false, false, Duration::ZERO);
        Ok(())
    }

    /// The range to send within; `None`, and one is asked for, where there is none, or this secret was taken out of the module
    /// since.
    pub(super) fn range_for(&mut self, name: &SecretName, continues: bool) -> Option<Range> {
        let spent = self.spent_more || self.spent.contains(&spent(name));
        match self.range {
            Some(range) if continues || !spent => Some(range),
            held => {
                self.fresh |= held.is_some();
                self.wants = true;
                None
            }
        }
    }

    /// A secret that was sent under leaves the module, or is sent under no more.
    pub(super) fn spend(&mut self, name: &SecretName) {
        if self.spent.len() < SPENT_MAX {
            self.spent.insert(spent(name));
        } else {
            self.spent_more = true;
        }
    }

    /// The highest epoch in use: "asks for more at three quarters".
    pub(super) fn used(&mut self, epoch: u32) {
        self.wants |= self.range.is_some() && self.last.is_some_and(|last| last.is_low(epoch));
    }

    /// Whether it is time to ask, and if so for what: the end of the range that is to go on, or 0.
    fn question(&mut self, now: Duration, entropy: &mut impl Entropy) -> Option<u32> {
        if !self.wants || now < self.ask {
            return None;
        }
        self.ask = now + ASK_AGAIN + part_of(ASK_AGAIN, entropy);
        Some(self.range.filter(|_| !self.fresh).map_or(0, |range| range.end))
    }
}

fn spent(name: &SecretName) -> Spent {
    (name.remote, name.group.clone(), name.group_gen)
}

impl Secondary {
    /// The module's highest epoch of a secret that is sent under.
    pub fn used(&mut self, name: &SecretName, highest: u32, now: Duration, entropy: &mut impl Entropy) {
        for registration in self.registrations.values_mut() {
            let Some(scope) = registration.scopes.get_mut(&name.pairing) else { continue };
            let Some(master) = scope.master_mut(&name.pms) else { continue };
            if let Some(lease) = master.leases.get_mut(&name.local) {
                lease.used(highest);
            }
        }
        self.retry_epochs(now, entropy);
    }

    /// Asks for the epochs that are wanted, of Primaries that can be reached.
    pub(super) fn retry_epochs(&mut self, now: Duration, entropy: &mut impl Entropy) {
        let mut questions = Vec::new();
        for (primary, registration) in self.registrations.iter_mut().filter(|(_, r)| r.connected && r.synced) {
            for master in registration.scopes.values_mut().flat_map(|scope| scope.masters.iter_mut()) {
                for (address, lease) in &mut master.leases {
                    if let Some(end) = lease.question(now, entropy) {
                        questions.push((*primary, WantEpochs { pms: master.id, address: *address, end }));
                    }
                }
            }
        }
        for (primary, question) in questions {
            self.send(&primary, &Message::WantEpochs(question));
        }
    }

    /// "Granted".
    pub(super) fn granted(
        &mut self,
        from: &PublicKey,
        granted: &Granted,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), Failure> {
        // An address or a PairMasterSecret that is gone by now.
        let Some(registration) = self.registrations.get_mut(from) else { return Ok(()) };
        let mut masters = registration.scopes.values_mut().flat_map(|scope| scope.masters.iter_mut());
        let Some(master) = masters.find(|master| master.id == granted.pms) else { return Ok(()) };
        let Some(lease) = master.leases.get_mut(&granted.grant.address) else { return Ok(()) };
        let Some(range) = granted.grant.range else { return Ok(()) };
        lease.granted(range)?;
        self.settle_all(now, entropy);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiate::system_entropy;
    use crate::registration::group::Pairing;

    fn name(remote: u16) -> SecretName {
        SecretName {
            local: Ipv6Addr::LOCALHOST,
            remote: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, remote),
            pairing: Pairing { client: PublicKey([1; 32]), server: PublicKey([2; 32]) },
            group: GroupName::new("g").unwrap(),
            generation: 1,
            pms: [1; 8],
            group_gen: 1,
        }
    }

    fn range(start: u32, end: u32) -> Range {
        Range::new(start, end).unwrap()
    }

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn without_a_range_one_is_asked_for_and_not_too_often() {
        let (mut lease, entropy) = (Lease::default(), &mut system_entropy());
        assert_eq!(lease.question(NOW, entropy), None);
        assert_eq!(lease.range_for(&name(1), false), None);
        assert_eq!(lease.question(NOW, entropy), Some(0));
        assert_eq!(lease.question(NOW + ASK_AGAIN / 2, entropy), None);
        assert_eq!(lease.question(NOW + 2 * ASK_AGAIN, entropy), Some(0));
        lease.granted(range(0, 128)).unwrap();
        assert_eq!(lease.question(NOW + 9 * ASK_AGAIN, entropy), None);
        assert_eq!(lease.range_for(&name(1), false), Some(range(0, 128)));
    }

    #[test]
    fn at_three_quarters_more_is_asked_for_and_joined_on() {
        let (mut lease, entropy) = (Lease::default(), &mut system_entropy());
        lease.granted(range(0, 128)).unwrap();
        lease.used(94);
        assert_eq!(lease.question(NOW, entropy), None);
        lease.used(95);
        assert_eq!(lease.question(NOW, entropy), Some(128));
        lease.granted(range(128, 256)).unwrap();
        assert_eq!(lease.range(), Some(range(0, 256)));
        lease.used(222);
        assert_eq!(lease.question(NOW, entropy), None);
        lease.used(223);
        assert_eq!(lease.question(NOW, entropy), Some(256));
        // Another instance of this host took the next: what is here ends, and goes on behind.
        lease.granted(range(384, 512)).unwrap();
        assert_eq!(lease.range(), Some(range(384, 512)));
    }

    #[test]
    fn what_left_the_module_is_not_sent_under_in_the_same_lease() {
        let (mut lease, entropy) = (Lease::default(), &mut system_entropy());
        lease.granted(range(0, 128)).unwrap();
        lease.spend(&name(1));
        assert_eq!(lease.range_for(&name(2), false), Some(range(0, 128)));
        assert_eq!(lease.range_for(&name(1), false), None);
        // Asked for anew, not extended.
        assert_eq!(lease.question(NOW, entropy), Some(0));
        lease.granted(range(128, 256)).unwrap();
        assert_eq!(lease.range_for(&name(1), false), Some(range(128, 256)));
        assert_eq!(lease.range_for(&name(2), true), Some(range(128, 256)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_fails_safe() {
        let mut lease = Lease::default();
        lease.granted(range(0, 128)).unwrap();
        for remote in 0..SPENT_MAX as u16 + 1 {
            lease.spend(&name(remote));
        }
        assert_eq!(lease.spent.len(), SPENT_MAX);
        assert_eq!(lease.range_for(&name(9999), false), None);
        assert_eq!(lease.range_for(&name(9999), true), Some(range(0, 128)));
    }

    #[test]
    fn no_epoch_is_taken_twice_whatever_the_primary_says() {
        let mut lease = Lease::default();
        lease.granted(range(0, 128)).unwrap();
        for (start, end) in [(0, 128), (0, 4096), (127, 128), (64, 192)] {
            assert_eq!(lease.granted(range(start, end)), Err(Failure::Bounds("epochs")));
        }
        lease.lose();
        assert_eq!(lease.range(), None);
        assert!(lease.granted(range(0, 128)).is_err());
        assert!(lease.granted(range(128, 256)).is_ok());
    }
}
