// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What is wrong with a configuration, or looks so, on this host: for `pdmv2 check-config`.

use std::io::ErrorKind;
use std::path::Path;

use rustls::pki_types::UnixTime;
use serde::Serialize;

use super::locate::Source;
use super::{check, Config, ConfigError};
use crate::files::{read_configured, FileError};
use crate::identity::{Identity, KeyError, PrivateKey};
use crate::netlink::interface_number;
use crate::tls::{CertificateFiles, Trust};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A daemon does not start with it.
    Error,
    /// It may be right by the time that a daemon starts, or for its user.
    Warning,
}

/// Something that was found.
#[derive(Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub problem: ConfigError,
}

/// Everything that is wrong with a text; if nothing is, what does not fit this host.
pub fn examine(path: &Path, text: &str) -> Vec<Finding> {
    match check(path, text) {
        Ok(config) => surroundings(&Source::new(path, text), &config),
        Err(problems) => problems.into_iter().map(|problem| Finding { severity: Severity::Error, problem }).collect(),
    }
}

fn surroundings(source: &Source<'_>, config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |severity, key: &str, message: String| {
        found.push(Finding { severity, problem: source.wrong_key(key, message) });
    };
    const KEY: &str = "host.private-key-file";
    match private_key(&config.host.private_key_file) {
        Ok(key) => {
            for (index, peer) in config.peers.iter().enumerate() {
                if key.public().is_ok_and(|public| Identity::Key(public) == peer.identity) {
                    let at = format!("peer[{}].public-key", index + 1);
                    tell(Severity::Error, &at, "this is the host's own key".to_owned());
                }
            }
            if let Some(files) = &config.host.certificates {
                certificates(files, &key, config, &mut tell);
            }
        }
        Err(Unread::File(error @ FileError::NoCredentials { .. })) => tell(Severity::Warning, KEY, error.to_string()),
        Err(Unread::File(FileError::Io { path, source })) if source.kind() == ErrorKind::PermissionDenied => {
            let message = format!("{}: {source}; the daemon's user must be able to read it", path.display());
            tell(Severity::Warning, KEY, message);
        }
        Err(Unread::File(error)) => tell(Severity::Error, KEY, error.to_string()),
        Err(Unread::Key(error)) => tell(Severity::Error, KEY, error.to_string()),
    }
    let directories = [
        ("host.key-log", config.host.key_log.as_deref()),
        ("host.control-socket", config.host.control_socket.as_deref()),
    ];
    for (key, file) in directories {
        let directory = file.and_then(Path::parent).filter(|directory| !directory.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            tell(Severity::Warning, key, format!("there is no directory {}", directory.display()));
        }
    }
    for (index, peer) in config.peers.iter().enumerate() {
        for (key, device) in [("interface", &peer.interface), ("vrf", &peer.vrf)] {
            let Some(device) = device else { continue };
            if let Err(error) = interface_number(device) {
                let message = format!("`{device}`: {error}; it must be there when the daemon starts");
                tell(Severity::Warning, &format!("peer[{}].{key}", index + 1), message);
            }
        }
    }
    found
}

/// The files of certificates; as long as they cannot be used, a daemon does not start.
fn certificates(
    files: &CertificateFiles,
    own: &PrivateKey,
    config: &Config,
    tell: &mut impl FnMut(Severity, &str, String),
) {
    let trust = match Trust::load(files.clone(), own) {
        Ok(trust) => trust,
        Err(error) => return tell(Severity::Error, error.setting(files), error.to_string()),
    };
    let found = trust.own();
    for (index, _) in config.peers.iter().enumerate().filter(|(_, peer)| peer.identity.is(&found)) {
        let at = format!("peer[{}].subject", index + 1);
        tell(Severity::Error, &at, "this host's own certificate has this name".to_owned());
    }
    if let Err(error) = trust.own_is_valid(UnixTime::now()) {
        tell(Severity::Warning, "host.certificate-file", format!("this host's certificate: {error}"));
    }
}

enum Unread {
    File(FileError),
    Key(KeyError),
}

fn private_key(path: &Path) -> Result<PrivateKey, Unread> {
    PrivateKey::from_text(&read_configured(path).map_err(Unread::File)?).map_err(Unread::Key)
}
