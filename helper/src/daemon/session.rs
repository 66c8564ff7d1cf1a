// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A session: the negotiation at its start, then its life until it ends.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::accept::UNFINISHED;
use super::channel::{Channel, ChannelError};
use super::id::PeerId;
use super::keeper::KeeperError;
use super::links::Cancel;
use super::Shared;
use crate::clock::since_boot;
use crate::identity::PublicKey;
use crate::negotiate::{system_entropy, Client, Failure, Reason, Server, Step};
use crate::tls::TlsError;

/// Longest wait for a message of the negotiation.
const STEP: Duration = Duration::from_secs(10);

/// How often m5 is repeated.
const REPEAT: Duration = Duration::from_secs(1);

/// How often m5 is sent at most; then the server's own sight of an authenticated option must do.
const REPEATS: usize = 10;

/// Why a negotiation or a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The peer's messages.
    #[error(transparent)]
    Negotiation(#[from] Failure),
    /// The connection.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The secret could not be installed.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// Nothing came for too long.
    #[error("no answer within {} s", STEP.as_secs())]
    Timeout,
    /// The peer did not get its negotiation done in time.
    #[error("not negotiated within {} s", UNFINISHED.as_secs())]
    Late,
    /// Somebody else has its place.
    #[error("not negotiated when its place was needed")]
    GaveWay,
    /// The peer's own negotiation stands instead.
    #[error("the peer's own negotiation stands")]
    Crossed,
    /// The key at the other end belongs to no peer.
    #[error("unknown peer")]
    Stranger,
    /// The peer went meanwhile.
    #[error("the peer was removed")]
    Removed,
    /// This host's key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer is named by its certificate, and this host has none.
    #[error("this host has no certificate")]
    NoCertificate,
}

/// Runs the client's side over a session to a peer.
///
/// # Errors
/// Whatever ended the negotiation; the session is then to be closed.
pub async fn negotiate<IO>(shared: &Shared, id: PeerId, channel: &mut Channel<IO>) -> Result<(), SessionError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let cancel = shared.links.client_begins(id);
    let result = tokio::select! {
        result = client(shared, id, channel) => result,
        () = cancel.notified() => Err(SessionError::Crossed),
    };
    shared.links.client_ends(id, &cancel);
    result
}

async fn client<IO>(shared: &Shared, id: PeerId, channel: &mut Channel<IO>) -> Result<(), SessionError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let peer = channel.peer().ok_or(SessionError::Stranger)?;
    let local = shared.keeper().local(id, peer.key())?;
    let (mut client, m1) = Client::start(local, &mut system_entropy());
    channel.send(&m1).await?;
    loop {
        let message = timeout(STEP, channel.receive()).await.map_err(|_| SessionError::Timeout)??;
        match client.receive(&message, &*channel, &mut system_entropy())? {
            Step::Send(message) => channel.send(&message).await?,
            Step::Install(negotiated) => {
                let now = since_boot();
                shared.keeper().install(id, &negotiated, now)?;
                shared.keeper().activate(id, negotiated.generation, now)?;
                let (generation, suite) = (negotiated.generation, negotiated.suite);
                info!(peer = shared.name(id), generation, %suite, "negotiated; sending under it");
                return confirm(&mut client, channel).await;
            }
            Step::Activate(_) | Step::Done => return Ok(()),
        }
    }
}

/// m5, repeated until it is acknowledged.
async fn confirm<IO>(client: &mut Client, channel: &mut Channel<IO>) -> Result<(), SessionError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..REPEATS {
        if let Some(m5) = client.installed() {
            channel.send(&m5).await?;
        }
        if let Ok(message) = timeout(REPEAT, channel.receive()).await {
            client.receive(&message?, &*channel, &mut system_entropy())?;
            return Ok(());
        }
    }
    Err(SessionError::Timeout)
}

/// Runs the server's side over a session that a peer opened, to its success, or until it is `over`.
///
/// # Errors
/// Whatever ended the negotiation, after the peer was told as far as it is told.
pub async fn answer<IO>(
    shared: &Shared,
    id: PeerId,
    channel: &mut Channel<IO>,
    mut over: Pin<&mut impl Future<Output = SessionError>>,
) -> Result<Server, SessionError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let m1 = tokio::select! {
        m1 = channel.receive() => m1?,
        over = &mut over => return Err(over),
    };
    let peer = channel.peer().ok_or(SessionError::Stranger)?.key();
    let cancel = shared.links.server_begins(id, peer).ok_or(SessionError::Crossed)?;
    let result = tokio::select! {
        result = server(shared, id, peer, channel, m1) => result,
        () = cancel.notified() => Err(SessionError::Crossed),
        over = &mut over => Err(over),
    };
    shared.links.server_ends(id, &cancel);
    let refusal = match &result {
        Err(SessionError::Negotiation(failure)) => Server::refusal(*failure),
        Err(SessionError::Channel(ChannelError::Message(failure))) => Server::refusal(*failure),
        Err(SessionError::Keeper(_)) => Some(Server::refuse(Reason::Install)),
        _ => None,
    };
    if let Some(refusal) = refusal {
        // The peer may be gone already, or slow.
        tokio::select! {
            _ = channel.send(&refusal) => {}
            over = &mut over => return Err(over),
        }
    }
    result
}

async fn server<IO>(
    shared: &Shared,
    id: PeerId,
    peer: PublicKey,
    channel: &mut Channel<IO>,
    m1: Vec<u8>,
) -> Result<Server, SessionError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut server = Server::new(shared.keeper().local(id, peer)?);
    let mut generation = 0;
    let mut suite = None;
    let mut message = m1;
    loop {
        match server.receive(&message, &*channel, &mut system_entropy())? {
            Step::Send(message) => channel.send(&message).await?,
            Step::Install(negotiated) => {
                shared.keeper().install(id, &negotiated, since_boot())?;
                generation = negotiated.generation;
                suite = Some(negotiated.suite);
                if let Some(m4) = server.installed() {
                    channel.send(&m4).await?;
                }
            }
            Step::Activate(acknowledgement) => {
                shared.keeper().activate(id, generation, since_boot())?;
                let suite = suite.map(tracing::field::display);
                info!(peer = shared.name(id), generation, suite, "negotiated; sending under it");
                channel.send(&acknowledgement).await?;
                return Ok(server);
            }
            Step::Done => return Ok(server),
        }
        message = channel.receive().await?;
    }
}

/// Lives with an established session until either end closes it, or the peer goes. `server` answers repeated m5.
pub async fn live<IO>(shared: &Shared, id: PeerId, mut channel: Channel<IO>, mut server: Option<Server>, cancel: Cancel)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let gone = shared.links.gone(id);
    tokio::pin!(gone);
    loop {
        let message = tokio::select! {
            message = channel.receive() => message,
            () = cancel.notified() => break,
            () = &mut gone => break,
        };
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                debug!(peer = shared.name(id), "session: {error}");
                break;
            }
        };
        let answer = match &mut server {
            Some(server) => server.receive(&message, &channel, &mut system_entropy()),
            // A repeated m5 may be acknowledged more than once.
            None => Ok(Step::Done),
        };
        match answer {
            Ok(Step::Activate(acknowledgement)) => {
                if channel.send(&acknowledgement).await.is_err() {
                    break;
                }
            }
            Ok(_) => {}
            Err(failure) => {
                warn!(peer = shared.name(id), "session: {failure}");
                break;
            }
        }
    }
    let _ = timeout(STEP, channel.close()).await;
    if shared.links.session_ends(id, &cancel) {
        info!(peer = shared.name(id), "session ended; its keys stay until the next negotiation");
        shared.renew(id);
    }
}
