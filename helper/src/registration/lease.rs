// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Leases of epochs: secrets of registration follow from a PairMasterSecret, so that a Secondary that reboots gets those it
//! had, with its floors forgotten. It therefore sends only within a range of epochs that its Primary never leased before to
//! that address under that PairMasterSecret.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use pdmv2_proto::uapi::{EPOCH_MAX, SECRET_ID_LEN};

use super::store::{Change, Ledger, StoreError};
use crate::keys::schedule::SecretId;

/// Epochs of a secret in profile `v2`.
pub const EPOCHS: u32 = EPOCH_MAX as u32 + 1;

/// Epochs of one lease: an address can be leased 32 of them under one PairMasterSecret.
pub const LEASE: u32 = 128;

/// Once so much is leased to an address, a new PairMasterSecret is due, so that it is there before the rest is used up.
pub const LOW: u32 = EPOCHS / 4 * 3;

/// Epochs from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: u32,
    /// The one behind the last.
    pub end: u32,
}

impl Range {
    /// Every epoch, for a secret that was negotiated and never comes again.
    pub const ALL: Self = Self { start: 0, end: EPOCHS };

    /// A range that is not empty and ends within [`EPOCHS`].
    pub fn new(start: u32, end: u32) -> Option<Self> {
        (start < end && end <= EPOCHS).then_some(Self { start, end })
    }

    /// Whether three quarters of it are used up when this epoch is in use.
    pub fn is_low(self, epoch: u32) -> bool {
        let used = epoch.saturating_add(1).saturating_sub(self.start);
        used.saturating_mul(4) >= self.end.saturating_sub(self.start).saturating_mul(3)
    }

    /// This range and the next one; the next alone where others were leased in between.
    pub fn extended(self, next: Self) -> Self {
        if next.start == self.end {
            Self { start: self.start, end: next.end }
        } else {
            next
        }
    }

    /// Whether an epoch is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Why nothing was leased.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Every epoch was leased: a new PairMasterSecret is needed.
    #[error("every epoch is leased")]
    Exhausted,
    /// The store did not record it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Start of the keys under which leases are stored: `lease/ || PMS identifier || address`, the value a u32, the first epoch
/// that is not leased.
const KEY: &[u8] = b"lease/";

/// What was leased, of every PairMasterSecret that is held.
#[derive(Debug, Default)]
pub struct Leases(BTreeMap<(SecretId, Ipv6Addr), u32>);

impl Leases {
    /// Reads what was leased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn load(ledger: &Ledger) -> Result<Self, StoreError> {
        let mut leases = BTreeMap::new();
        for (key, value) in ledger.scan(KEY)? {
            let rest = key.get(KEY.len()..).unwrap_or_default();
            let (id, address) = rest.split_first_chunk::<SECRET_ID_LEN>().ok_or(StoreError::Damaged)?;
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(address).map_err(|_| StoreError::Damaged)?);
            let next = u32::from_be_bytes(value.as_slice().try_into().map_err(|_| StoreError::Damaged)?);
            leases.insert((*id, address), next);
        }
        Ok(Self(leases))
    }

    /// The first epoch that was not leased to an address under a PairMasterSecret.
    pub fn next(&self, pms: SecretId, address: Ipv6Addr) -> u32 {
        self.0.get(&(pms, address)).copied().unwrap_or(0)
    }

    /// Leases the next range to each address, all at once or, where the store fails, none: they are recorded durably before
    /// they are returned. Where an address has none left, the answer for it is `None`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was leased.
    pub fn take(
        &mut self,
        ledger: &mut Ledger,
        pms: SecretId,
        addresses: &[Ipv6Addr],
    ) -> Result<Vec<(Ipv6Addr, Option<Range>)>, StoreError> {
        let mut next: BTreeMap<Ipv6Addr, u32> = BTreeMap::new();
        let mut taken = Vec::with_capacity(addresses.len());
        for address in addresses {
            let start = next.get(address).copied().unwrap_or_else(|| self.next(pms, *address));
            let range = Range::new(start, start.saturating_add(LEASE).min(EPOCHS));
            if let Some(range) = range {
                next.insert(*address, range.end);
            }
            taken.push((*address, range));
        }
        let change = |(address, next): (&Ipv6Addr, &u32)| Change::Put(key(pms, *address), next.to_be_bytes().to_vec());
        ledger.commit(next.iter().map(change).collect())?;
        self.0.extend(next.into_iter().map(|(address, next)| ((pms, address), next)));
        Ok(taken)
    }

    /// Forgets the leases of PairMasterSecrets that nobody holds any more.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was forgotten.
    pub fn keep_only(&mut self, ledger: &mut Ledger, held: &[SecretId]) -> Result<(), StoreError> {
        let gone = |(id, _): &(SecretId, Ipv6Addr)| !held.contains(id);
        let changes = self.0.keys().filter(|name| gone(name)).map(|(id, address)| Change::Delete(key(*id, *address)));
        ledger.commit(changes.collect())?;
        self.0.retain(|name, _| !gone(name));
        Ok(())
    }
}

fn key(pms: SecretId, address: Ipv6Addr) -> Vec<u8> {
    [KEY, &pms, &address.octets()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::store::MemoryStore;
    use super::*;

    const PMS: SecretId = [1; 8];

    fn a(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n)
    }

    fn open(store: &MemoryStore) -> (Ledger, Leases) {
        let ledger = Ledger::open(Box::new(store.clone())).unwrap();
        let leases = Leases::load(&ledger).unwrap();
        (ledger, leases)
    }

    #[test]
    fn three_quarters() {
        let range = Range::new(128, 256).unwrap();
        for (epoch, low) in [(0, false), (128, false), (222, false), (223, true), (255, true), (4095, true)] {
            assert_eq!(range.is_low(epoch), low, "{epoch}");
        }
        assert!(Range::new(0, 1).unwrap().is_low(0));
    }

    #[test]
    fn ranges() {
        let range = |start, end| Range::new(start, end).unwrap();
        assert_eq!(range(0, 128).extended(range(128, 256)), range(0, 256));
        assert_eq!(range(0, 128).extended(range(256, 384)), range(256, 384));
        for (start, end) in [(1, 1), (2, 1), (0, EPOCHS + 1), (u32::MAX, u32::MAX)] {
            assert_eq!(Range::new(start, end), None, "{start} {end}");
        }
        assert!(range(0, 128).overlaps(range(127, 128)));
        assert!(!range(0, 128).overlaps(range(128, 129)));
    }

    #[test]
    fn no_epoch_is_leased_twice_whatever_restarts() {
        let store = MemoryStore::default();
        let mut taken: Vec<Range> = Vec::new();
        loop {
            // As if the Primary were restarted after each.
            let (mut ledger, mut leases) = open(&store);
            let Some(range) = leases.take(&mut ledger, PMS, &[a(1)]).unwrap()[0].1 else { break };
            assert!(taken.iter().all(|before| !before.overlaps(range)), "{range:?}");
            taken.push(range);
        }
        assert_eq!(taken.len() as u32, EPOCHS / LEASE);
        assert_eq!((taken[0], taken[31].end), (Range { start: 0, end: LEASE }, EPOCHS));
        // Another address, and another PairMasterSecret, have their own.
        let (mut ledger, mut leases) = open(&store);
        assert_eq!(leases.take(&mut ledger, PMS, &[a(2)]).unwrap()[0].1, Some(taken[0]));
        assert_eq!(leases.take(&mut ledger, [2; 8], &[a(1)]).unwrap()[0].1, Some(taken[0]));
    }

    #[test]
    fn several_at_once_are_one_commit_and_an_address_twice_gets_two() {
        let store = MemoryStore::default();
        let (mut ledger, mut leases) = open(&store);
        let before = ledger.sequence();
        let taken = leases.take(&mut ledger, PMS, &[a(1), a(2), a(1)]).unwrap();
        assert_eq!(ledger.sequence(), before + 1);
        let starts: Vec<_> = taken.iter().map(|(_, range)| range.unwrap().start).collect();
        assert_eq!(starts, [0, 0, LEASE]);
    }

    #[test]
    fn what_the_store_does_not_record_is_not_leased() {
        let store = MemoryStore::default();
        let (mut ledger, mut leases) = open(&store);
        store.fail_after(0);
        assert!(leases.take(&mut ledger, PMS, &[a(1), a(2)]).is_err());
        assert_eq!((leases.next(PMS, a(1)), leases.next(PMS, a(2))), (0, 0));
        store.work_again();
        assert_eq!(leases.take(&mut ledger, PMS, &[a(1)]).unwrap()[0].1, Range::new(0, LEASE));
    }

    #[test]
    fn leases_of_secrets_that_are_gone_are_forgotten() {
        let store = MemoryStore::default();
        let (mut ledger, mut leases) = open(&store);
        leases.take(&mut ledger, PMS, &[a(1)]).unwrap();
        leases.take(&mut ledger, [2; 8], &[a(1)]).unwrap();
        leases.keep_only(&mut ledger, &[[2; 8]]).unwrap();
        let (_, leases) = open(&store);
        assert_eq!((leases.next(PMS, a(1)), leases.next([2; 8], a(1))), (0, LEASE));
    }
}
