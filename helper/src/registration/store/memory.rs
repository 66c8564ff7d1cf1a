// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A store in memory, for tests: it is copied and put back as a backup is, and it fails when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Change, Entry, Store, StoreError};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct State {
    entries: Entries,
    /// Commits that still succeed; `None` for all.
    left: Option<u64>,
}

/// Entries that every clone shares, as every process that opens one file does.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Entries);

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A backup of what is there now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().entries.clone())
    }

    /// Puts a backup back.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.state().entries = snapshot.0.clone();
    }

    /// After so many more commits, every commit fails.
    pub fn fail_after(&self, commits: u64) {
        self.state().left = Some(commits);
    }

    /// Commits succeed again.
    pub fn work_again(&self) {
        self.state().left = None;
    }

    /// Every byte that is there, for tests that look for what must not be.
    pub fn dump(&self) -> Vec<u8> {
        self.state().entries.iter().flat_map(|(key, value)| [key.as_slice(), value].concat()).collect()
    }
}

impl Store for MemoryStore {
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let state = self.state();
        let from = state.entries.range(prefix.to_vec()..);
        Ok(from
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&mut self, (key, value): (&[u8], Option<&[u8]>), changes: &[Change]) -> Result<(), StoreError> {
        let mut state = self.state();
        match state.left {
            Some(0) => return Err(StoreError::Failed("told to fail".into())),
            Some(left) => state.left = Some(left - 1),
            None => {}
        }
        if state.entries.get(key).map(Vec::as_slice) != value {
            return Err(StoreError::Conflict);
        }
        for change in changes {
            match change {
                Change::Put(key, value) => state.entries.insert(key.clone(), value.clone()),
                Change::Delete(key) => state.entries.remove(key),
            };
        }
        Ok(())
    }
}
