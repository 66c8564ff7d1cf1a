// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The key log (docs/protocol.md, section 10): one line per pair secret, for opening captures later.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;
use zeroize::Zeroizing;

use crate::files::{append_secret, FileError};
use crate::hex;
use crate::prefix::Prefix;
use crate::secret::Secret;

/// A pair secret, as the log tells it.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Name of the association.
    pub association: &'a str,
    /// Suite.
    pub suite: Suite,
    /// Wire profile.
    pub profile: Profile,
    /// Salt, may be empty.
    pub salt: &'a Secret,
    /// The SharedSecret itself.
    pub shared_secret: &'a Secret,
    /// Generation.
    pub generation: u64,
    /// This host's addresses.
    pub local: &'a [Prefix],
    /// The peer's addresses.
    pub remote: &'a [Prefix],
}

impl Entry<'_> {
    /// The line, with its line end. Several prefixes of one side are joined by commas.
    pub fn line(&self) -> Zeroizing<String> {
        let salt = Zeroizing::new(match self.salt.as_bytes() {
            [] => "-".to_owned(),
            salt => hex::encode(salt),
        });
        let secret = Zeroizing::new(hex::encode(self.shared_secret.as_bytes()));
        // Room for everything at once, so that no copy of a part stays behind.
        let mut line = Zeroizing::new(String::with_capacity(512 + 48 * (self.local.len() + self.remote.len())));
        let Suite { kem, kdf, aead } = self.suite;
        let before = format!("{} {kem:04x} {kdf:04x} {aead:04x} {}", self.association, self.profile.name());
        let after = format!("{} {} {}", self.generation, join(self.local), join(self.remote));
        for part in ["PDMV2_SHARED_SECRET ", &before, " ", &salt, " ", &secret, " ", &after, "\n"] {
            line.push_str(part);
        }
        line
    }
}

fn join(prefixes: &[Prefix]) -> String {
    prefixes.iter().map(Prefix::to_string).collect::<Vec<_>>().join(",")
}

/// An open key log.
#[derive(Debug)]
pub struct KeyLog(File);

impl KeyLog {
    /// Opens or creates the file, 0600, for appending.
    ///
    /// # Errors
    /// A file that others may read, that belongs to somebody else, or that is not a regular file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        append_secret(path).map(Self)
    }

    /// Writes an entry's line in one call.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.0.write_all(entry.line().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_of_the_line() {
        let (salt, empty) = (Secret::new(vec![0x11; 4]), Secret::new(vec![]));
        let shared_secret = Secret::new(vec![0x22; 4]);
        let entry = Entry {
            association: "b",
            suite: Suite::DEFAULT,
            profile: Profile::V2,
            salt: &salt,
            shared_secret: &shared_secret,
            generation: 7,
            local: &["fd00::1".parse().unwrap()],
            remote: &["fd00::2".parse().unwrap(), "fd01::/64".parse().unwrap()],
        };
        assert_eq!(
            entry.line().as_str(),
            "PDMV2_SHARED_SECRET b 0020 0001 0001 v2 11111111 22222222 7 fd00::1 fd00::2,fd01::/64\n"
        );
        let entry = Entry { salt: &empty, ..entry };
        assert!(entry.line().contains(" v2 - 22222222 7 "));
    }

    #[test]
    fn the_file_is_appended_to_and_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.log");
        let secret = Secret::new(vec![1]);
        let entry = Entry {
            association: "b",
            suite: Suite::DEFAULT,
            profile: Profile::V2,
            salt: &secret,
            shared_secret: &secret,
            generation: 1,
            local: &[],
            remote: &[],
        };
        KeyLog::open(&path).unwrap().write(&entry).unwrap();
        KeyLog::open(&path).unwrap().write(&entry).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
