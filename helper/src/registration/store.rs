// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What a Primary keeps over a restart: lists, groups and their generations, leases. Never a secret.
//!
//! The store sits behind one small interface, [`Store`], so that a replicated database can take its place: all it must
//! give is ordered keys, and batches that are applied wholly or not at all and are durable when the call returns.

mod embedded;
mod memory;

pub use embedded::EmbeddedStore;
pub use memory::{MemoryStore, Snapshot};

/// The store failed; nothing of the batch was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database, or what is below it, says so.
    #[error("store: {0}")]
    Failed(String),
    /// Another process changed the store: this one no longer knows what is in it.
    #[error("store: changed by another process")]
    Conflict,
    /// An entry that is not what was written there.
    #[error("store: damaged entry")]
    Damaged,
}

/// A change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key's value.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key, which may be absent.
    Delete(Vec<u8>),
}

/// An entry: key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Keys and values, in order of keys.
pub trait Store: Send {
    /// All entries whose keys begin so.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;

    /// If the key has this value (`None` where it is absent), applies all changes, and returns when they are durable;
    /// otherwise changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for another value; [`StoreError::Failed`], and it is as if the call had not been made.
    fn commit(&mut self, expected: (&[u8], Option<&[u8]>), changes: &[Change]) -> Result<(), StoreError>;
}

/// Where the number of commits stands.
const SEQUENCE: &[u8] = b"sequence";

/// A store with a count of its commits, which only rises: who sees it fall sees a store restored from a backup, and of two
/// processes that write, the second fails.
pub struct Ledger {
    store: Box<dyn Store>,
    sequence: u64,
}

impl Ledger {
    /// Reads the count.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::Damaged`].
    pub fn open(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let entries = store.scan(SEQUENCE)?;
        let found = entries.iter().find(|(key, _)| key == SEQUENCE);
        let sequence = match found {
            Some((_, value)) => u64::from_be_bytes(value.as_slice().try_into().map_err(|_| StoreError::Damaged)?),
            None => 0,
        };
        Ok(Self { store, sequence })
    }

    /// Commits so far.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// All entries whose keys begin so.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.store.scan(prefix)
    }

    /// Applies the changes, all or none; durable on return. Without changes nothing happens.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was applied.
    pub fn commit(&mut self, mut changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let before = self.sequence.to_be_bytes();
        let next = self.sequence.checked_add(1).ok_or(StoreError::Conflict)?;
        changes.push(Change::Put(SEQUENCE.to_vec(), next.to_be_bytes().to_vec()));
        self.store.commit((SEQUENCE, (self.sequence != 0).then_some(&before)), &changes)?;
        self.sequence = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8]) -> Change {
        Change::Put(key.to_vec(), value.to_vec())
    }

    /// What every store must do, run on each.
    fn obeys(open: &mut dyn FnMut() -> Box<dyn Store>) {
        let mut store = open();
        assert_eq!(store.scan(b"").unwrap(), []);
        store.commit((b"a/1", None), &[put(b"a/2", b"two"), put(b"a/1", b""), put(b"b", b"x")]).unwrap();
        let a = vec![(b"a/1".to_vec(), b"".to_vec()), (b"a/2".to_vec(), b"two".to_vec())];
        assert_eq!(store.scan(b"a/").unwrap(), a);
        // The condition does not hold: nothing happens.
        for expected in [None, Some(b"other".as_slice())] {
            let refused = store.commit((b"a/2", expected), &[put(b"a/2", b"three"), Change::Delete(b"b".to_vec())]);
            assert_eq!(refused, Err(StoreError::Conflict));
            assert_eq!(store.scan(b"").unwrap().len(), 3);
        }
        store
            .commit((b"a/2", Some(b"two")), &[Change::Delete(b"a/1".to_vec()), Change::Delete(b"c".to_vec())])
            .unwrap();
        drop(store);
        let store = open();
        let left = vec![(b"a/2".to_vec(), b"two".to_vec()), (b"b".to_vec(), b"x".to_vec())];
        assert_eq!(store.scan(b"").unwrap(), left);
        assert_eq!(store.scan(&[0xff]).unwrap(), []);
    }

    #[test]
    fn the_store_in_memory_obeys() {
        let store = MemoryStore::default();
        obeys(&mut || Box::new(store.clone()));
    }

    #[test]
    fn the_embedded_store_obeys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registration.redb");
        obeys(&mut || Box::new(EmbeddedStore::open(&path).unwrap()));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // One process at a time.
        let _open = EmbeddedStore::open(&path).unwrap();
        assert!(EmbeddedStore::open(&path).is_err());
    }

    #[test]
    fn a_file_that_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registration.redb");
        std::fs::write(&path, [7; 10_000]).unwrap();
        assert!(EmbeddedStore::open(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), [7; 10_000]);
    }

    #[test]
    fn commits_are_counted_over_restarts() {
        let store = MemoryStore::default();
        let mut ledger = Ledger::open(Box::new(store.clone())).unwrap();
        ledger.commit(vec![]).unwrap();
        assert_eq!(ledger.sequence(), 0);
        ledger.commit(vec![put(b"a", b"1")]).unwrap();
        ledger.commit(vec![put(b"a", b"2")]).unwrap();
        assert_eq!(ledger.sequence(), 2);
        assert_eq!(Ledger::open(Box::new(store)).unwrap().sequence(), 2);
    }

    #[test]
    fn of_two_that_write_one_fails() {
        let store = MemoryStore::default();
        let mut one = Ledger::open(Box::new(store.clone())).unwrap();
        let mut two = Ledger::open(Box::new(store.clone())).unwrap();
        one.commit(vec![put(b"a", b"1")]).unwrap();
        assert_eq!(two.commit(vec![put(b"a", b"2")]), Err(StoreError::Conflict));
        assert_eq!(two.scan(b"a").unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
        one.commit(vec![put(b"a", b"3")]).unwrap();
    }

    #[test]
    fn a_store_that_fails_changes_nothing() {
        let store = MemoryStore::default();
        let mut ledger = Ledger::open(Box::new(store.clone())).unwrap();
        store.fail_after(1);
        ledger.commit(vec![put(b"a", b"1")]).unwrap();
        assert!(matches!(ledger.commit(vec![put(b"a", b"2")]), Err(StoreError::Failed(_))));
        assert_eq!((ledger.sequence(), ledger.scan(b"a").unwrap()), (1, vec![(b"a".to_vec(), b"1".to_vec())]));
        store.work_again();
        ledger.commit(vec![put(b"a", b"2")]).unwrap();
        assert_eq!(ledger.sequence(), 2);
    }

    #[test]
    fn a_damaged_count_is_noticed() {
        let mut store = MemoryStore::default();
        store.commit((b"sequence", None), &[put(b"sequence", b"7")]).unwrap();
        assert_eq!(Ledger::open(Box::new(store)).err(), Some(StoreError::Damaged));
    }
}
