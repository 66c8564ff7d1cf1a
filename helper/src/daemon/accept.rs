// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Sessions that peers open.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::channel::{Channel, ChannelError};
use super::dial::{tune, HANDSHAKE};
use super::id::PeerId;
use super::session::{self, SessionError};
use super::Shared;

/// Connections that may be short of a finished negotiation at a time; further ones wait in the socket's queue.
const UNFINISHED_MAX: usize = 64;

/// Takes connections, from another socket as soon as there is one; never ends.
pub async fn accept_all(shared: Arc<Shared>, listener: TcpListener, acceptor: TlsAcceptor) {
    let unfinished = Arc::new(Semaphore::new(UNFINISHED_MAX));
    let mut listener = Arc::new(listener);
    let mut others = shared.listeners();
    loop {
        let Ok(permit) = Arc::clone(&unfinished).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Ok(()) = others.changed() => {
                if let Some(other) = &*others.borrow_and_update() {
                    listener = Arc::clone(other);
                }
                continue;
            }
        };
        match accepted {
            Ok((tcp, from)) => {
                let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                tokio::spawn(async move {
                    let outcome = serve(&shared, tcp, &acceptor).await;
                    drop(permit);
                    match outcome {
                        Ok((id, channel, server)) => {
                            let cancel = shared.established(id);
                            session::live(&shared, id, channel, Some(server), cancel).await;
                        }
                        Err(SessionError::Crossed) => debug!(%from, "gave way to this host's own negotiation"),
                        Err(error) => warn!(%from, "{error}"),
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, or the like: the next attempt may fare better.
                warn!("accept: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve(
    shared: &Shared,
    tcp: TcpStream,
    acceptor: &TlsAcceptor,
) -> Result<(PeerId, Channel<TcpStream>, crate::negotiate::Server), SessionError> {
    tune(&tcp);
    let stream = timeout(HANDSHAKE, acceptor.accept(tcp))
        .await
        .map_err(|_| SessionError::Timeout)?
        .map_err(|error| SessionError::Channel(ChannelError::Io(error)))?;
    let mut channel = Channel::new(stream);
    let id = channel.peer().and_then(|key| shared.peer_of(&key)).ok_or(SessionError::Stranger)?;
    let answered = tokio::select! {
        answered = session::answer(shared, id, &mut channel) => answered,
        () = shared.links.gone(id) => Err(SessionError::Removed),
    };
    match answered {
        Ok(server) => Ok((id, channel, server)),
        Err(error) => {
            if !matches!(error, SessionError::Crossed) {
                shared.links.failed(id, error.to_string());
            }
            let _ = timeout(HANDSHAKE, channel.close()).await;
            Err(error)
        }
    }
}
