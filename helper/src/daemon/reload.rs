// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Another configuration comes into force while the daemon runs: all of it, or nothing.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::net::TcpListener;
use tracing::{error, info};

use super::keeper::apply::{ApplyError, Report};
use super::{open_key_log, Shared};
use crate::config::{Config, ConfigError, Host};
use crate::files::{read_configured, FileError};
use crate::identity::{Identity, KeyError, PrivateKey};

/// Why a configuration did not come into force. Nothing has changed then, but what [`ApplyError::Stuck`] says.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The private key's or the key log's file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The private key.
    #[error("{path}: {source}")]
    Key {
        /// Its file.
        path: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A setting that is looked at when the daemon starts.
    #[error("{0} is another than that of the daemon that runs; this takes a restart")]
    Restart(&'static str),
    /// A peer has this host's own key.
    #[error("peer `{0}` has this host's own public key")]
    OwnKey(String),
    /// A peer has a name of this host's own certificate.
    #[error("peer `{0}` has a subject of this host's own certificate")]
    OwnSubject(String),
    /// The address to listen on.
    #[error("cannot listen on {address}: {source}; where it overlaps with the address before, this takes a restart")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Peers and policy.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Brings what was read from a file into force, and logs what became of it.
///
/// # Errors
/// In words, what was wrong with it, or why it is not in force.
pub fn bring_into_force(
    shared: &Arc<Shared>,
    file: &Path,
    read: Result<Config, ConfigError>,
) -> Result<Report, String> {
    let applied = read.map_err(|error| error.to_string());
    let applied = applied.and_then(|config| apply(shared, config).map_err(|error| error.to_string()));
    match &applied {
        Ok(_) => info!("{} is in force", file.display()),
        Err(why) => error!("{} is not in force: {why}", file.display()),
    }
    applied
}

/// Brings a configuration into force. Nothing is waited for, so that all else sees it whole.
///
/// # Errors
/// Whatever is wrong with it; what the module refuses.
pub fn apply(shared: &Arc<Shared>, config: Config) -> Result<Report, ReloadError> {
    let mut host = shared.host.lock().unwrap_or_else(PoisonError::into_inner);
    check_key(shared, &config.host)?;
    if let Some(peer) = config.peers.iter().find(|peer| peer.identity == Identity::Key(shared.public)) {
        return Err(ReloadError::OwnKey(peer.name.clone()));
    }
    if config.host.certificates != host.certificates {
        return Err(ReloadError::Restart("host.certificate-file, ca-file or crl-file"));
    }
    let own = shared.trust.as_ref().map(|trust| trust.own());
    if let Some(peer) = config.peers.iter().find(|peer| own.as_ref().is_some_and(|own| peer.identity.is(own))) {
        return Err(ReloadError::OwnSubject(peer.name.clone()));
    }
    if config.host.control_socket() != host.control_socket() {
        return Err(ReloadError::Restart("host.control-socket"));
    }
    if config.host.listen != host.listen && shared.given.load(Ordering::Relaxed) {
        return Err(ReloadError::Restart("host.listen (the socket is the service manager's)"));
    }
    let listener = (config.host.listen != host.listen).then(|| listen(config.host.listen)).transpose()?;
    // Opened anew in any case: the file may have been moved away.
    let key_log = open_key_log(&config.host)?;
    let changes = shared.keeper().apply(&config, key_log)?;
    shared.allow();
    changes.went.iter().for_each(|id| shared.links.remove(*id));
    changes.came.iter().for_each(|id| shared.admit(*id));
    for id in changes.moved {
        let has_session = shared.links.progress(id).is_some_and(|progress| progress.borrow().session_since.is_some());
        if !has_session && shared.endpoint(id).is_some() {
            shared.links.want(id);
            shared.links.hurry(id);
        }
    }
    changes.renew.iter().for_each(|id| shared.renew(*id));
    if let Some(listener) = listener {
        info!("listening on {}", config.host.listen);
        shared.listener.send_replace(Some(Arc::new(listener)));
    }
    *host = config.host;
    Ok(changes.report)
}

/// The identity is what peers know this host by: it stays.
fn check_key(shared: &Shared, host: &Host) -> Result<(), ReloadError> {
    let path = &host.private_key_file;
    let wrong = |source| ReloadError::Key { path: path.display().to_string(), source };
    let key = PrivateKey::from_text(&read_configured(path)?).map_err(wrong)?;
    if key.public().map_err(wrong)? != shared.public {
        return Err(ReloadError::Restart("host.private-key-file: the key in it"));
    }
    Ok(())
}

fn listen(address: SocketAddr) -> Result<TcpListener, ReloadError> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    bind().map_err(|source| ReloadError::Listen { address, source })
}
