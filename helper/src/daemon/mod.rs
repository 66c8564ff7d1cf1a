// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The daemon: negotiates with every peer, keeps the pair secrets, and answers the module.
//!
//! - [`keeper`]: associations, secrets and keys, without I/O but the module's
//! - [`reload`]: another configuration comes into force
//! - [`control`], [`lock`]: the socket that commands come by, and that there is one daemon
//! - [`links`]: who dials, which of two crossing negotiations stands, which session is a peer's
//! - [`channel`], [`session`]: messages over TLS, and the negotiation run over them
//! - [`dial`], [`accept`]: how sessions come about; [`admission`]: who is let in, without I/O
//!
//! A session stays open after its negotiation. Its end is how a restart of the peer is noticed, and closing it is how a host
//! that cannot dial asks the other to negotiate anew.
//!
//! On a clean exit the daemon deletes its secrets from the module, so that nothing stays without a keeper; policy and
//! associations stay. After a kill the module goes on with the keys it has, and the next daemon negotiates a new generation.

pub mod accept;
pub mod admission;
pub mod backoff;
pub mod channel;
pub mod control;
pub mod dial;
pub mod id;
pub mod keeper;
pub mod links;
pub mod lock;
pub mod reload;
pub mod session;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tracing::{debug, error, info, warn};

use crate::clock::since_boot;
use crate::config::{self, Config, Host};
use crate::control::DEFAULT_SOCKET;
use crate::files::{read_configured, FileError};
use crate::identity::{Authenticated, Identity, KeyError, PrivateKey, PublicKey};
use crate::keys::keylog::KeyLog;
use crate::netlink::client::Family;
use crate::netlink::listener::{Listener, Told};
use crate::netlink::{Client, Error, Kernel};
use crate::notify;
use crate::tls::{self, x509, Allowed, ServerConfigs, TlsError, Trust, TrustError};
use control::{Socket, SocketError};
use id::PeerId;
use keeper::{Keeper, KeeperError};
use links::{Cancel, Links};
use lock::{Lock, LockError};
use session::SessionError;

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
    /// A peer has a name of this host's own certificate.
    #[error("peer `{0}` has a subject of this host's own certificate")]
    OwnSubject(String),
    /// Certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// TLS settings.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is one already.
    #[error("another daemon runs in this network namespace: {0}")]
    Another(LockError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] SocketError),
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
    public: PublicKey,
    /// This host's certificate, and who certifies its peers.
    trust: Option<Arc<Trust>>,
    /// Who may open a session by a raw key.
    allowed: Allowed,
    host: Mutex<Host>,
    /// The socket that peers dial is a service manager's.
    given: AtomicBool,
    /// The socket that peers dial, when it is another than at the start.
    listener: watch::Sender<Option<Arc<TcpListener>>>,
}

impl Shared {
    /// The keeper. Nothing waits while it is held.
    pub fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This host's key.
    pub fn own(&self) -> &PrivateKey {
        &self.own
    }

    /// Sockets that peers dial from now on, each in place of the one before.
    pub fn listeners(&self) -> watch::Receiver<Option<Arc<TcpListener>>> {
        self.listener.subscribe()
    }

    /// A peer's name, for messages.
    pub fn name(&self, id: PeerId) -> String {
        self.keeper().peer(id).map_or_else(|| "?".to_owned(), |peer| peer.name.clone())
    }

    /// Where a peer is dialled.
    pub fn endpoint(&self, id: PeerId) -> Option<SocketAddr> {
        self.keeper().peer(id)?.endpoint
    }

    /// The peer that TLS authenticated.
    pub fn peer_of(&self, found: &Authenticated) -> Option<PeerId> {
        self.keeper().peer_of(found)
    }

    /// Connections a second that one source may open.
    pub fn rate(&self) -> u32 {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).rate
    }

    /// TLS for dialling a peer.
    ///
    /// # Errors
    /// It went; an unusable key; no certificate where the peer is named by its own.
    pub fn connector(&self, id: PeerId) -> Result<TlsConnector, SessionError> {
        let identity = self.keeper().peer(id).map(|peer| peer.identity.clone()).ok_or(SessionError::Removed)?;
        let config = match (&identity, &self.trust) {
            (Identity::Key(key), _) => tls::client(&self.own, *key)?,
            (Identity::Subject(_), Some(trust)) => x509::client(trust, identity)?,
            (Identity::Subject(_), None) => return Err(SessionError::NoCertificate),
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// How sessions that peers open are served.
    fn server_configs(self: &Arc<Self>) -> Result<ServerConfigs, TlsError> {
        let raw = Arc::new(tls::server(&self.own, self.allowed.clone())?);
        let certified = self.trust.as_ref().map(|trust| {
            let shared = Arc::downgrade(self);
            let known = move |found: &Authenticated| shared.upgrade().is_some_and(|s| s.peer_of(found).is_some());
            x509::server(trust, Arc::new(known)).map(Arc::new)
        });
        Ok(ServerConfigs { raw, certified: certified.transpose()? })
    }

    /// Reads certificates again that have changed.
    fn look_at_certificates(&self) {
        let Some(trust) = &self.trust else { return };
        match trust.look_again() {
            Ok(false) => {}
            Ok(true) => {
                info!("certificates or revocation lists have changed, and were read again");
                tell_validity(trust);
            }
            Err(error) => warn!("{error}; what was read before stays in force"),
        }
    }

    /// A negotiation succeeded, and its session is the peer's from now on. Should its secret be lost already, as the module
    /// went meanwhile, another is seen to.
    pub fn established(&self, id: PeerId) -> Cancel {
        let sending = self.keeper().sending(id);
        let cancel = self.links.established(id, sending.unwrap_or_default(), since_boot());
        if sending.is_none() {
            self.renew(id);
        }
        cancel
    }

    /// Sees to a new secret with a peer: dials it, or has it dial.
    pub fn renew(&self, id: PeerId) {
        if self.endpoint(id).is_some() {
            self.links.want(id);
        } else {
            self.links.close_session(id);
        }
    }

    /// A peer came: it has a link from now on, and is dialled where that is possible.
    fn admit(self: &Arc<Self>, id: PeerId) {
        let wanted = self.keeper().peer(id).map(|peer| peer.endpoint.is_some());
        if let Some(wanted) = wanted {
            self.links.add(id, wanted);
            tokio::spawn(dial::keep_dialling(Arc::clone(self), id));
        }
    }

    /// Sessions are opened by the peers that there are, and by nobody else.
    fn allow(&self) {
        let keeper = self.keeper();
        let peers = keeper.peers().into_iter().filter_map(|id| keeper.peer(id));
        self.allowed.replace(peers.filter_map(|peer| match &peer.identity {
            Identity::Key(key) => Some(*key),
            // Whom the CA certifies is looked up at each handshake.
            Identity::Subject(_) => None,
        }));
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
        if let Some(peer) = config.peers.iter().find(|peer| peer.identity == Identity::Key(public)) {
            return Err(DaemonError::OwnKey(peer.name.clone()));
        }
        let trust = config.host.certificates.clone().map(|files| Trust::load(files, &own)).transpose()?.map(Arc::new);
        if let Some(trust) = &trust {
            let own = trust.own();
            if let Some(peer) = config.peers.iter().find(|peer| peer.identity.is(&own)) {
                return Err(DaemonError::OwnSubject(peer.name.clone()));
            }
            tell_validity(trust);
        }
        let key_log = open_key_log(&config.host)?;
        let keeper = Keeper::start(kernel, &config, public, key_log)?;
        let shared = Shared {
            keeper: Mutex::new(keeper),
            links: Links::new(public),
            own,
            public,
            trust,
            allowed: Allowed::default(),
            host: Mutex::new(config.host),
            given: AtomicBool::new(false),
            listener: watch::Sender::default(),
        };
        shared.allow();
        Ok(Self { shared: Arc::new(shared) })
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
        tasks.spawn(accept::accept_all(Arc::clone(shared), listener, shared.server_configs()?));
        let _ends_all = EndsAll(shared);
        let peers = shared.keeper().peers();
        for id in peers {
            shared.admit(id);
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        tokio::pin!(stop);
        loop {
            let renew = tokio::select! {
                () = &mut stop => break,
                _ = tick.tick() => {
                    shared.look_at_certificates();
                    let mut keeper = shared.keeper();
                    let forgotten = keeper.look_again();
                    [forgotten, keeper.tick(since_boot())].concat()
                }
                Some(told) = told.recv() => handle(shared, told),
            };
            for id in renew {
                info!(peer = shared.name(id), "a new secret is due");
                shared.renew(id);
            }
        }
        tasks.shutdown().await;
        self.shared.keeper().stop();
        Ok(())
    }
}

/// However the daemon ends, so does what runs on behalf of its peers.
struct EndsAll<'a>(&'a Shared);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.links.clear();
    }
}

/// # Errors
/// A file that others may read, or that cannot be written.
fn open_key_log(host: &Host) -> Result<Option<KeyLog>, FileError> {
    let key_log = host.key_log.as_deref().map(KeyLog::open).transpose()?;
    if let Some(path) = &host.key_log {
        warn!("pair secrets are logged to {}", path.display());
    }
    Ok(key_log)
}

/// A host whose clock is not right yet cannot tell; its peers with pinned keys do without.
fn tell_validity(trust: &Trust) {
    if let Err(error) = trust.own_is_valid(UnixTime::now()) {
        warn!("this host's certificate: {error}; peers may refuse it");
    }
}

fn handle(shared: &Shared, told: Told) -> Vec<PeerId> {
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

/// Runs the daemon in this network namespace until SIGTERM or SIGINT. On SIGHUP, what the file says then comes into force.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn run(config: Config, file: &Path) -> Result<(), DaemonError> {
    // A core dump would hold every secret.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let path = &config.host.private_key_file;
    let own = PrivateKey::from_text(&read_configured(path)?)
        .map_err(|source| DaemonError::Key { path: path.display().to_string(), source })?;
    let _only = only_one()?;
    let given = listenfd::ListenFd::from_env().take_tcp_listener(0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, mut hangup) = (stop_signal()?, signal(SignalKind::hangup())?);
        let control = control_socket(&config.host)?;
        let is_given = given.is_some();
        let tcp = listen_on(config.host.listen, given).await?;
        let client = Client::open()?;
        let family = client.family();
        let (listener, families) = (Listener::join(family, &family.groups)?, client.families());
        let (address, peers) = (tcp.local_addr()?, config.peers.len());
        let daemon = Daemon::new(config, own, Box::new(client))?;
        let shared = Arc::clone(&daemon.shared);
        shared.given.store(is_given, Ordering::Relaxed);
        let (sender, told) = mpsc::channel(TOLD_MAX);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(listen(listener, families, sender));
        if let Some(socket) = control {
            tasks.spawn(control::serve(Arc::clone(&shared), socket));
        }
        let file = file.to_owned();
        tasks.spawn(async move {
            while hangup.recv().await.is_some() {
                notify::reloading();
                let applied = reload::bring_into_force(&shared, &file, config::load(&file));
                let not = if applied.is_ok() { "" } else { "not " };
                notify::ready(&format!("{} is {not}in force", file.display()));
            }
        });
        info!("listening on {address}, {peers} peers");
        notify::ready(&format!("listening on {address}, {peers} peers"));
        let result = daemon.serve(tcp, told, stop).await;
        notify::stopping();
        tasks.shutdown().await;
        result
    })
}

/// A second daemon would take policy and associations from the first. Where there is no directory for its lock, the module
/// alone is asked.
fn only_one() -> Result<Option<Lock>, DaemonError> {
    let directory = Path::new(DEFAULT_SOCKET).parent().unwrap_or(Path::new("/run"));
    let _ = std::fs::create_dir_all(directory);
    let namespace = lock::network_namespace()?;
    match Lock::take(&directory.join(format!("netns-{namespace}.lock"))) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ LockError::Held(_)) => Err(DaemonError::Another(error)),
        Err(LockError::Io(error)) => {
            debug!("nothing keeps another daemon from this network namespace: {}: {error}", directory.display());
            Ok(None)
        }
    }
}

/// The control socket. The one that is nobody's choice may be the socket of a daemon in another network namespace: then
/// there is none here.
fn control_socket(host: &Host) -> Result<Option<Socket>, SocketError> {
    match Socket::bind(host.control_socket()) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if host.control_socket.is_none() => {
            warn!("`pdmv2 rekey`, `sync` and `status` do not reach this daemon: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The socket that a service manager gave, or else one of our own.
async fn listen_on(address: SocketAddr, given: Option<std::net::TcpListener>) -> Result<TcpListener, DaemonError> {
    match given {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            Ok(TcpListener::from_std(listener)?)
        }
        None => TcpListener::bind(address).await.map_err(|source| DaemonError::Listen { address, source }),
    }
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
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: ending"),
            _ = interrupt.recv() => info!("SIGINT: ending"),
        }
    })
}
