// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The daemon's end of the control socket.
//!
//! Each connection has its own task, its own bounds and one request; none of them can hold up another, or the daemon.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::id::PeerId;
use super::lock::{network_namespace, Lock, LockError};
use super::{reload, Shared};
use crate::clock::since_boot;
use crate::config;
use crate::control::{Answer, Command, Outcome, PeerStatus, Rekeyed, Request, Status, REKEY_MAX, REQUEST_MAX, VERSION};

/// Connections at a time; further ones are closed.
const CONNECTIONS_MAX: usize = 16;

/// Negotiations that one request starts at a time, so that a thousand peers do not stampede.
const REKEYS_MAX: usize = 32;

/// Longest time for a request to come, and for its answer to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon has it.
    #[error("control socket {path}: another daemon has it (process {holder}); `control-socket` names another")]
    Held {
        /// The socket.
        path: PathBuf,
        /// The other's process.
        holder: String,
    },
    /// Something else is there.
    #[error("control socket {path}: something is there that is no socket")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// The system.
    #[error("control socket {path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that nobody else has, removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Socket {
    /// Listens, with mode 0600. Whoever has the lock beside the socket has the socket, so that one that a killed daemon left
    /// behind is told from one in use.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        use std::os::unix::fs::FileTypeExt;
        let io = |source| SocketError::Io { path: path.to_owned(), source };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let lock = Lock::take(Path::new(&beside)).map_err(|error| match error {
            LockError::Held(holder) => SocketError::Held { path: path.to_owned(), holder },
            LockError::Io(source) => io(source),
        })?;
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path).map_err(io)?,
            Ok(_) => return Err(SocketError::Taken { path: path.to_owned() }),
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(io)?;
        // Until then, others may connect at most, and are not answered.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }
}

/// Serves root and the daemon's own user; never ends.
pub async fn serve(shared: Arc<Shared>, socket: Socket) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = match socket.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!("control socket: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let uid = stream.peer_cred().map(|credentials| credentials.uid());
        if !uid.as_ref().is_ok_and(|uid| *uid == 0 || *uid == geteuid().as_raw()) {
            debug!(?uid, "control socket: not answered");
            continue;
        }
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            debug!("control socket: too many connections");
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = converse(&shared, stream).await {
                debug!("control socket: {error}");
            }
            drop(permit);
        });
    }
}

async fn converse(shared: &Arc<Shared>, stream: UnixStream) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut line = Vec::new();
    let mut limited = BufReader::new(from.take(REQUEST_MAX as u64 + 1));
    timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
    let outcome = match request(&line).and_then(|request| meant(request, network_namespace().ok())) {
        Ok(request) => carry_out(shared, request.command).await,
        Err(why) => Outcome::Refused(why),
    };
    let mut answer = serde_json::to_vec(&Answer { version: VERSION, answer: outcome })?;
    answer.push(b'\n');
    timeout(PATIENCE, to.write_all(&answer)).await?
}

/// Reads a line.
fn request(line: &[u8]) -> Result<Request, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if line.len() > REQUEST_MAX {
        return Err(format!("the request is longer than {REQUEST_MAX} bytes"));
    }
    if line.last() != Some(&b'\n') {
        return Err("the request has no end".to_owned());
    }
    let malformed = |error: serde_json::Error| format!("malformed request: {error}");
    let Versioned { version } = serde_json::from_slice(line).map_err(malformed)?;
    if version != VERSION {
        return Err(format!("the request is of version {version}; this daemon speaks version {VERSION}"));
    }
    serde_json::from_slice(line).map_err(malformed)
}

/// Passes a request on that is for this daemon: file systems are shared where network namespaces are not.
fn meant(request: Request, here: Option<u64>) -> Result<Request, String> {
    match request.namespace {
        Some(namespace) if Some(namespace) != here => {
            Err("the daemon at this socket is of another network namespace; --socket names the one that is meant"
                .into())
        }
        _ => Ok(request),
    }
}

async fn carry_out(shared: &Arc<Shared>, command: Command) -> Outcome {
    match command {
        Command::Rekey { peers } => match named(shared, &peers) {
            Ok(peers) => Outcome::Rekeyed(rekey_all(shared, peers).await),
            Err(why) => Outcome::Refused(why),
        },
        Command::Sync { path, text } => match reload::bring_into_force(shared, &path, config::parse(&path, &text)) {
            Ok(report) => Outcome::Applied(report),
            Err(why) => Outcome::Refused(why),
        },
        Command::Status {} => Outcome::Status(status(shared)),
    }
}

/// Peers by their names; all where none is named.
fn named(shared: &Shared, names: &[String]) -> Result<Vec<PeerId>, String> {
    let keeper = shared.keeper();
    if names.is_empty() {
        return Ok(keeper.peers());
    }
    names.iter().map(|name| keeper.named(name).ok_or_else(|| format!("no peer is named `{name}`"))).collect()
}

async fn rekey_all(shared: &Arc<Shared>, peers: Vec<PeerId>) -> Vec<Rekeyed> {
    let mut tasks = Vec::new();
    let at_a_time = Arc::new(Semaphore::new(REKEYS_MAX));
    for id in peers {
        let (peer, shared, at_a_time) = (shared.name(id), Arc::clone(shared), Arc::clone(&at_a_time));
        let task = async move {
            let _turn = at_a_time.acquire().await;
            rekey(&shared, id).await
        };
        tasks.push((peer, tokio::spawn(task)));
    }
    let mut all = Vec::new();
    for (peer, task) in tasks {
        let result = task.await.unwrap_or_else(|error| Err(error.to_string()));
        let (generation, error) = match result {
            Ok(generation) => (Some(generation), None),
            Err(error) => (None, Some(error)),
        };
        all.push(Rekeyed { peer, generation, error });
    }
    all
}

/// Negotiates a new secret with a peer now; the old one is in force until then. The new generation, or why there is none.
async fn rekey(shared: &Shared, id: PeerId) -> Result<u64, String> {
    const REMOVED: &str = "the peer was removed";
    let mut progress = shared.links.progress(id).ok_or(REMOVED)?;
    let before = progress.borrow_and_update().attempts;
    info!(peer = shared.name(id), "a new secret is asked for");
    let dials = shared.endpoint(id).is_some();
    shared.renew(id);
    shared.links.hurry(id);
    let outcome = timeout(REKEY_MAX, progress.wait_for(|progress| progress.attempts > before)).await;
    match outcome {
        Ok(Ok(progress)) => progress.last.clone().unwrap_or_else(|| Err("?".into())),
        Ok(Err(_)) => Err(REMOVED.into()),
        Err(_) if dials => Err(format!("no outcome within {} s", REKEY_MAX.as_secs())),
        Err(_) => Err(format!(
            "the peer did not dial within {} s, and there is no endpoint to dial it at",
            REKEY_MAX.as_secs()
        )),
    }
}

fn status(shared: &Shared) -> Status {
    let now = since_boot();
    let until = |at: Duration| at.saturating_sub(now).as_secs();
    let keeper = shared.keeper();
    let peers = keeper.peers().into_iter().filter_map(|id| {
        let (peer, progress) = (keeper.peer(id)?, shared.links.progress(id)?);
        let progress = progress.borrow().clone();
        Some(PeerStatus {
            peer: peer.name.clone(),
            endpoint: peer.endpoint.map(|endpoint| endpoint.to_string()),
            session: progress.session_since.map(|since| now.saturating_sub(since).as_secs()),
            generation: keeper.sending(id),
            renews_in: keeper.renews_at(id).map(until),
            dials_in: progress.dials_at.map(until),
            last_error: progress.last.and_then(Result::err),
        })
    });
    Status { program: env!("CARGO_PKG_VERSION").to_owned(), peers: peers.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_of_another_namespace_is_not_taken_for_this_ones() {
        for (said, here, passes) in
            [(None, Some(5), true), (Some(5), Some(5), true), (Some(4), Some(5), false), (Some(4), None, false)]
        {
            let request = Request { version: VERSION, namespace: said, command: Command::Status {} };
            assert_eq!(meant(request, here).is_ok(), passes, "{said:?}, {here:?}");
        }
    }

    #[test]
    fn the_version_is_looked_at_before_all_else() {
        let wrong = request(b"{\"version\":2,\"command\":{\"dance\":[]}}\n").unwrap_err();
        assert!(wrong.contains("version 2"), "{wrong}");
        for (line, part) in [
            (&b"{\"version\":1,\"command\":{\"dance\":{}}}\n"[..], "unknown variant"),
            (b"{\"version\":1,\"command\":{\"status\":{\"x\":1}}}\n", "unknown field"),
            (b"{\"version\":1}\n", "missing field"),
            (b"\n", "malformed"),
            (b"", "no end"),
            (b"{\"version\":1,\"command\":{\"status\":{}}}", "no end"),
        ] {
            let error = request(line).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let right = request(b"{\"version\":1,\"command\":{\"rekey\":{\"peers\":[]}}}\n").unwrap();
        assert_eq!(right.command, Command::Rekey { peers: vec![] });
        assert_eq!(right.namespace, None);
        assert!(request(&vec![b' '; REQUEST_MAX + 1]).unwrap_err().contains("longer"));
    }
}
