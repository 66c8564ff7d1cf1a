// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What one process at a time may have: held as long as the process lives, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{flock, FlockOperation, OFlags};
use rustix::io::Errno;

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("process {0} has it")]
    Held(String),
    /// The file.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A lock that is held.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Takes the lock of a file, which is made with mode 0600 and tells who has it.
    ///
    /// # Errors
    /// [`LockError::Held`]; a file that cannot be made.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits() as i32)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = (&file).take(20).read_to_string(&mut holder);
                let holder = holder.trim();
                return Err(LockError::Held(if holder.is_empty() { "?".into() } else { holder.into() }));
            }
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

/// The network namespace that this process is in, by the number of its file.
///
/// # Errors
/// No `/proc`.
pub fn network_namespace() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/self/ns/net")?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_at_a_time_and_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Lock::take(&path).unwrap_err().to_string();
        assert_eq!(error, format!("process {} has it", std::process::id()));
        drop(held);
        // The file of a process that ended is nobody's.
        Lock::take(&path).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(matches!(Lock::take(&link), Err(LockError::Io(_))));
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn the_namespace_has_a_number() {
        assert_eq!(network_namespace().unwrap(), network_namespace().unwrap());
    }
}
