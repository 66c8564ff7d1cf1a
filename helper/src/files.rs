// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Files that hold secrets: 0600 or stricter, owned by root or by who runs the program.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use zeroize::Zeroizing;

/// Longest secret file that is read, bytes.
const SECRET_FILE_MAX: u64 = 4096;

/// What group and others may do.
const OTHERS: u32 = 0o077;

/// What the path of a file begins with that a service manager hands over (systemd.exec(5), LoadCredential=).
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

/// Why a secret file was refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened, read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Group or others may read or write it.
    #[error("{path}: mode {mode:04o} lets others at a secret; run: chmod 600 {path}")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{path}: owned by user {owner}, not by root or the user running this")]
    Owner {
        /// The file.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// It is a directory, device, pipe or link.
    #[error("{path}: not a regular file")]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// It is longer than any secret.
    #[error("{path}: longer than {SECRET_FILE_MAX} bytes")]
    Long {
        /// The file.
        path: PathBuf,
    },
    /// It is a credential, and nothing handed any over.
    #[error("{path}: no credentials here, as CREDENTIALS_DIRECTORY is not set; systemd sets it for a service")]
    NoCredentials {
        /// The file.
        path: PathBuf,
    },
    /// It is there already.
    #[error("{path}: exists; it is not overwritten, since its key may be in use")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
    |source| FileError::Io { path: path.to_owned(), source }
}

/// Checks type, owner and mode of an open file, so that nothing can change between the check and the use.
fn check(path: &Path, file: &File, kept_from: u32) -> Result<u64, FileError> {
    let meta = file.metadata().map_err(io_error(path))?;
    let mode = meta.permissions().mode() & 0o7777;
    if !meta.is_file() {
        return Err(FileError::Kind { path: path.to_owned() });
    }
    if meta.uid() != 0 && meta.uid() != geteuid().as_raw() {
        return Err(FileError::Owner { path: path.to_owned(), owner: meta.uid() });
    }
    if mode & kept_from != 0 {
        return Err(FileError::Mode { path: path.to_owned(), mode });
    }
    Ok(meta.len())
}

/// Reads a secret file.
///
/// # Errors
/// Anything but a regular file of 0600 or stricter, owned by root or the effective user, of at most 4096 bytes of UTF-8.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    read(path, OTHERS)
}

/// [`read_secret`], of a file that a configuration names: it may be a credential, `$CREDENTIALS_DIRECTORY/NAME`.
///
/// # Errors
/// As for [`read_secret`]; [`FileError::NoCredentials`].
pub fn read_configured(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let Ok(name) = path.strip_prefix(CREDENTIALS) else { return read_secret(path) };
    let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(FileError::NoCredentials { path: path.to_owned() });
    };
    // Who may read one stands in an access control list, whose mask shows as the group's bits; the directory is closed.
    read(&Path::new(&directory).join(name), 0o037)
}

fn read(path: &Path, kept_from: u32) -> Result<Zeroizing<String>, FileError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32)
        .open(path)
        .map_err(io_error(path))?;
    if check(path, &file, kept_from)? > SECRET_FILE_MAX {
        return Err(FileError::Long { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(String::with_capacity(SECRET_FILE_MAX as usize + 1));
    (&file).take(SECRET_FILE_MAX).read_to_string(&mut text).map_err(io_error(path))?;
    Ok(text)
}

/// Writes a new secret file with mode 0600, and syncs it.
///
/// # Errors
/// [`FileError::Exists`] when anything is there already; nothing is overwritten.
pub fn create_secret(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|source| {
            match source.kind() {
                io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
                _ => FileError::Io { path: path.to_owned(), source },
            }
        })?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(io_error(path))
}

/// Opens a secret file for appending, creating it with mode 0600; links are not followed.
///
/// # Errors
/// As for [`read_secret`].
pub fn append_secret(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32)
        .open(path)
        .map_err(io_error(path))?;
    check(path, &file, OTHERS)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn modes_that_let_others_in_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, ok) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false), (0o620, false)]
        {
            let path = dir.path().join(format!("{mode:o}"));
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_secret(&path).is_ok(), ok, "{mode:o}");
            if mode & 0o200 != 0 {
                assert_eq!(append_secret(&path).is_ok(), ok, "{mode:o}");
            }
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_secret(dir.path()), Err(FileError::Kind { .. })));
        assert!(matches!(read_secret(&dir.path().join("none")), Err(FileError::Io { .. })));
        let target = dir.path().join("target");
        create_secret(&target, b"x").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(append_secret(&link).is_err());
    }

    #[test]
    fn long_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        create_secret(&path, &[b'a'; 5000]).unwrap();
        assert!(matches!(read_secret(&path), Err(FileError::Long { .. })));
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_secret(&path, b"one").unwrap();
        assert!(matches!(create_secret(&path, b"two"), Err(FileError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
