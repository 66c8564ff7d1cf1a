// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The daemon: negotiates with every peer, keeps the pair secrets, and answers the module.
//!
//! - [`keeper`]: associations, secrets and keys, without I/O but the module's
//! - [`links`]: who dials, which of two crossing negotiations stands, which session is a peer's
//! - [`channel`], [`session`]: messages over TLS, and the negotiation run over them
//! - [`dial`], [`accept`]: how sessions come about
//!
//! A session stays open after its negotiation. Its end is how a restart of the peer is noticed, and closing it is how a host
//! that cannot dial asks the other to negotiate anew.
//!
//! On a clean exit the daemon deletes its secrets from the module, so that nothing stays without a keeper; policy and
//! associations stay. After a kill the module goes on with the keys it has, and the next daemon negotiates a new generation.

pub mod accept;
pub mod backoff;
pub mod channel;
pub mod dial;
pub mod keeper;
pub mod links;
pub mod session;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use crate::clock::since_boot;
use crate::config::Config;
use crate::files::{read_secret, FileError};
use crate::identity::{KeyError, PrivateKey, PublicKey};
use crate::keys::keylog::KeyLog;
use crate::netlink::client::Family;
use crate::netlink::listener::{Listener, Told};
use crate::netlink::{Client, Error, Kernel};
use crate::tls::{self, TlsError};
use keeper::{Keeper, KeeperError};
use links::{Cancel, Links};

/// How often lifetimes are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Messages from the module that may wait; the module repeats what is lost.
const TOLD_MAX: usize = 4096;

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
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
    /// A peer has this host's own key.
    #[error("peer `{0}` has this host's own public key")]
    OwnKey(String),
    /// TLS settings.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address to listen on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The module.
    #[error(transparent)]
    Netlink(#[from] Error),
    /// Associations or policy.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The system.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What all tasks share.
pub struct Shared {
    keeper: Mutex<Keeper>,
    /// Sessions and negotiations under way.
    pub links: Links,
    own: PrivateKey,
    config: Config,
}

impl Shared {
    /// The keeper. Nothing waits while it is held.
    pub fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// This host's key.
    pub fn own(&self) -> &PrivateKey {
        &self.own
    }

    /// A peer's name, for messages.
    pub fn name(&self, index: usize) -> &str {
        self.config.peers.get(index).map_or("?", |peer| peer.name.as_str())
    }

    /// The peer that has a key.
    pub fn peer_of(&self, key: &PublicKey) -> Option<usize> {
        self.config.peers.iter().position(|peer| peer.public_key == *key)
    }

    /// A negotiation succeeded, and its session is the peer's from now on. Should its secret be lost already, as the module
    /// went meanwhile, another is seen to.
    pub fn established(&self, index: usize) -> Cancel {
        let cancel = self.links.established(index);
        if !self.keeper().sends(index) {
            self.renew(index);
        }
        cancel
    }

    /// Sees to a new secret with a peer: dials it, or has it dial.
    pub fn renew(&self, index: usize) {
        let dials = self.config.peers.get(index).is_some_and(|peer| peer.endpoint.is_some());
        if dials {
            self.links.want(index);
        } else {
            self.links.close_session(index);
        }
    }
}

/// A daemon that has its associations and its policy in place.
pub struct Daemon {
    shared: Arc<Shared>,
}

impl Daemon {
    /// Puts associations and policy in place.
    ///
    /// # Errors
    /// What the module refuses; then what was made is removed again.
    pub fn new(config: Config, own: PrivateKey, kernel: Box<dyn Kernel>) -> Result<Self, DaemonError> {
        let path = config.host.private_key_file.display().to_string();
        let public = own.public().map_err(|source| DaemonError::Key { path, source })?;
        if let Some(peer) = config.peers.iter().find(|peer| peer.public_key == public) {
            return Err(DaemonError::OwnKey(peer.name.clone()));
        }
        let key_log = config.host.key_log.as_deref().map(KeyLog::open).transpose()?;
        if let Some(path) = &config.host.key_log {
            warn!("pair secrets are logged to {}", path.display());
        }
        let keeper = Keeper::start(kernel, &config, public, key_log)?;
        let links = Links::new(public, &config.peers);
        Ok(Self { shared: Arc::new(Shared { keeper: Mutex::new(keeper), links, own, config }) })
    }

    /// What the tasks share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs until `stop` is done, then deletes the secrets from the module.
    ///
    /// # Errors
    /// Unusable TLS settings; a listening socket that failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        mut told: mpsc::Receiver<Told>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), DaemonError> {
        let shared = &self.shared;
        let mut tasks = tokio::task::JoinSet::new();
        let peers = shared.config.peers.iter().map(|peer| peer.public_key).collect();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls::server(&shared.own, peers)?));
        tasks.spawn(accept::accept_all(Arc::clone(shared), listener, acceptor));
        for (index, peer) in shared.config.peers.iter().enumerate() {
            if let Some(endpoint) = peer.endpoint {
                let connector = tokio_rustls::TlsConnector::from(Arc::new(tls::client(&shared.own, peer.public_key)?));
                tasks.spawn(dial::keep_dialling(Arc::clone(shared), index, endpoint, connector));
            }
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        tokio::pin!(stop);
        loop {
            let renew = tokio::select! {
                () = &mut stop => break,
                _ = tick.tick() => {
                    let mut keeper = shared.keeper();
                    let forgotten = keeper.look_again();
                    [forgotten, keeper.tick(since_boot())].concat()
                }
                Some(told) = told.recv() => handle(shared, told),
            };
            for index in renew {
                info!(peer = shared.name(index), "a new secret is due");
                shared.renew(index);
            }
        }
        tasks.shutdown().await;
        shared.links.close_all();
        self.shared.keeper().stop();
        Ok(())
    }
}

fn handle(shared: &Shared, told: Told) -> Vec<usize> {
    match told {
        Told::Acquire(name) => {
            if let Err(error) = shared.keeper().acquire(&name) {
                debug!(association = name.association, generation = name.generation, "key not given: {error}");
            }
            Vec::new()
        }
        Told::Event(notice) => shared.keeper().event(&notice, since_boot()),
        Told::Lost => {
            debug!("messages from the module were lost; it repeats what still counts");
            Vec::new()
        }
    }
}

/// Runs the daemon in this network namespace until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn run(config: Config) -> Result<(), DaemonError> {
    // A core dump would hold every secret.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let path = &config.host.private_key_file;
    let own = PrivateKey::from_base64(&read_secret(path)?)
        .map_err(|source| DaemonError::Key { path: path.display().to_string(), source })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = config.host.listen;
        let tcp = TcpListener::bind(address).await.map_err(|source| DaemonError::Listen { address, source })?;
        let client = Client::open()?;
        let family = client.family();
        let (listener, families) = (Listener::join(family, &family.groups)?, client.families());
        let daemon = Daemon::new(config, own, Box::new(client))?;
        let (sender, told) = mpsc::channel(TOLD_MAX);
        let listening = tokio::spawn(listen(listener, families, sender));
        info!("listening on {address}, {} peers", daemon.shared.config.peers.len());
        let result = daemon.serve(tcp, told, stop_signal()?).await;
        listening.abort();
        result
    })
}

/// Hands on what the module tells; when it was loaded anew, what the new one tells.
async fn listen(mut listener: Listener, mut families: watch::Receiver<Family>, sender: mpsc::Sender<Told>) {
    loop {
        let heard = tokio::select! {
            heard = listener.next() => heard,
            Ok(()) = families.changed() => {
                let family = *families.borrow_and_update();
                match Listener::join(family, &family.groups) {
                    Ok(joined) => {
                        listener = joined;
                        continue;
                    }
                    Err(error) => {
                        families.mark_changed();
                        Err(error)
                    }
                }
            }
        };
        match heard {
            Ok(messages) => {
                for message in messages {
                    // A full queue loses the message; the module repeats it.
                    let _ = sender.try_send(message);
                }
            }
            Err(error) => {
                error!("{error}");
                tokio::time::sleep(TICK).await;
            }
        }
    }
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{signal, SignalKind};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: ending"),
            _ = interrupt.recv() => info!("SIGINT: ending"),
        }
    })
}
