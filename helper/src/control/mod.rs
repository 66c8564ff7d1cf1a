// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Requests to a daemon that runs, over a Unix socket of its own: one line of JSON there, and one back.
//!
//! The socket has mode 0600, and the daemon answers root and its own user only. A line has its protocol's version, which is
//! looked at before anything else:
//!
//! ```text
//! {"version":1,"command":{"rekey":{"peers":["b"]}}}
//! {"version":1,"answer":{"rekeyed":[{"peer":"b","generation":5}]}}
//! {"version":1,"answer":{"refused":"..."}}
//! ```

pub mod client;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::daemon::keeper::apply::Report;

/// The version of what is said.
pub const VERSION: u32 = 1;

/// Where the daemon listens unless its configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/pdmv2/control.sock";

/// Longest request, bytes: a configuration of many thousands of peers.
pub const REQUEST_MAX: usize = 8 << 20;

/// Longest wait for one negotiation that was asked for.
pub const REKEY_MAX: Duration = Duration::from_secs(60);

/// A request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The network namespace whose daemon is meant, by its number; whichever one answers, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<u64>,
    /// What is asked.
    pub command: Command,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// New secrets, now.
    Rekey {
        /// With whom; all if nobody is named.
        peers: Vec<String>,
    },
    /// Another configuration.
    Sync {
        /// Its file, for messages.
        path: PathBuf,
        /// What is in it.
        text: String,
    },
    /// How the sessions are.
    Status {},
}

/// An answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// What became of it.
    pub answer: Outcome,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was not carried out.
    Refused(String),
    /// Of [`Command::Rekey`].
    Rekeyed(Vec<Rekeyed>),
    /// Of [`Command::Sync`].
    Applied(Report),
    /// Of [`Command::Status`].
    Status(Status),
}

/// What became of one negotiation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rekeyed {
    /// The peer.
    pub peer: String,
    /// The generation that is sent under now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The program's version.
    pub program: String,
    /// Its peers.
    pub peers: Vec<PeerStatus>,
}

/// How the daemon is with a peer. Times are in seconds from now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerStatus {
    /// Its name.
    pub peer: String,
    /// Where it is dialled.
    pub endpoint: Option<String>,
    /// How long there has been a session.
    pub session: Option<u64>,
    /// The generation that is sent under.
    pub generation: Option<u64>,
    /// When the secret is to be replaced.
    pub renews_in: Option<u64>,
    /// When it is dialled again, if that waits.
    pub dials_in: Option<u64>,
    /// Why the last negotiation failed, if it did.
    pub last_error: Option<String>,
}
