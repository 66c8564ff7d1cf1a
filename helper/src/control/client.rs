// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The commands' end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Answer, Command, Outcome, Request, DEFAULT_SOCKET, VERSION};
use crate::daemon::lock::network_namespace;

/// Longest answer that is read, bytes.
const ANSWER_MAX: u64 = 64 << 20;

/// Longest wait for the daemon to take a request.
const WRITE: Duration = Duration::from_secs(10);

/// Longest wait for an answer: many peers take their time.
const READ: Duration = Duration::from_secs(600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("cannot reach a daemon at {path}: {source}; does one run, and is this its control socket?")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection failed.
    #[error("{path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon hung up: it serves root and its own user only.
    #[error("{path}: the daemon hung up without an answer; it answers root and its own user only")]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon is of another version.
    #[error("{path}: the answer is not understood; do the daemon's and this program's versions agree?")]
    Malformed {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks the daemon at a socket. At none in particular, that of this network namespace is asked, or nobody.
///
/// # Errors
/// No daemon there; what it refuses.
pub fn ask(socket: Option<&Path>, command: Command) -> Result<Outcome, ControlError> {
    let path = socket.unwrap_or(Path::new(DEFAULT_SOCKET));
    let namespace = if socket.is_none() { network_namespace().ok() } else { None };
    let stream =
        UnixStream::connect(path).map_err(|source| ControlError::Unreachable { path: path.to_owned(), source })?;
    let io = |source| ControlError::Io { path: path.to_owned(), source };
    stream.set_write_timeout(Some(WRITE)).and_then(|()| stream.set_read_timeout(Some(READ))).map_err(io)?;
    let malformed = |_| ControlError::Malformed { path: path.to_owned() };
    let mut line = serde_json::to_vec(&Request { version: VERSION, namespace, command }).map_err(malformed)?;
    line.push(b'\n');
    // Whoever is not answered may find the connection closed already.
    let written = (&stream).write_all(&line);
    let mut answer = Vec::new();
    let read = BufReader::new((&stream).take(ANSWER_MAX)).read_until(b'\n', &mut answer);
    match (written, read) {
        (_, Ok(1..)) => {}
        (Err(error), _) if error.kind() != io::ErrorKind::BrokenPipe => return Err(io(error)),
        (_, Err(error)) if error.kind() != io::ErrorKind::ConnectionReset => return Err(io(error)),
        _ => return Err(ControlError::Silent { path: path.to_owned() }),
    }
    match serde_json::from_slice::<Answer>(&answer).map_err(malformed)?.answer {
        Outcome::Refused(why) => Err(ControlError::Refused(why)),
        outcome => Ok(outcome),
    }
}
