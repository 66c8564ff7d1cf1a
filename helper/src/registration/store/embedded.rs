// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The default store: a redb database in one file, mode 0600.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Change, Entry, Store, StoreError};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("registration");

/// Memory for the database's pages, bytes: all that thousands of Secondaries need is a few megabytes.
const CACHE: usize = 8 << 20;

/// An open database. Only one process has it open at a time.
pub struct EmbeddedStore(Database);

impl EmbeddedStore {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`StoreError::Failed`] for a file that cannot be opened, is no database, or that another process has open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let database = Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(FileBackend::new(options.map_err(failed)?).map_err(failed)?)
            .map_err(failed)?;
        // So that the table is there for the first reader.
        let transaction = database.begin_write().map_err(failed)?;
        transaction.open_table(TABLE).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Self(database))
    }
}

impl Store for EmbeddedStore {
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let transaction = self.0.begin_read().map_err(failed)?;
        let table = transaction.open_table(TABLE).map_err(failed)?;
        let mut entries = Vec::new();
        for entry in table.range(prefix..).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            entries.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(entries)
    }

    /// redb's default durability: on return the batch is on stable storage. A transaction that is dropped is undone.
    fn commit(&mut self, (key, value): (&[u8], Option<&[u8]>), changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self.0.begin_write().map_err(failed)?;
        {
            let mut table = transaction.open_table(TABLE).map_err(failed)?;
            if table.get(key).map_err(failed)?.as_ref().map(|found| found.value()) != value {
                return Err(StoreError::Conflict);
            }
            for change in changes {
                match change {
                    Change::Put(key, value) => table.insert(key.as_slice(), value.as_slice()).map_err(failed)?,
                    Change::Delete(key) => table.remove(key.as_slice()).map_err(failed)?,
                };
            }
        }
        transaction.commit().map_err(failed)
    }
}

fn failed(error: impl Display) -> StoreError {
    StoreError::Failed(error.to_string())
}
