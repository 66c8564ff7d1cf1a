// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Dialling a peer, again and again as needed.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::backoff::Pace;
use super::channel::{Channel, ChannelError};
use super::id::PeerId;
use super::session::{self, SessionError};
use super::Shared;
use crate::clock::since_boot;
use crate::tls;

/// Longest time for connecting, and for the TLS handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Dials the peer whenever a negotiation is wanted, until the peer goes.
pub async fn keep_dialling(shared: Arc<Shared>, id: PeerId) {
    tokio::select! {
        () = dial_when_wanted(&shared, id) => {}
        () = shared.links.gone(id) => {}
    }
}

async fn dial_when_wanted(shared: &Arc<Shared>, id: PeerId) {
    let mut pace = Pace::default();
    loop {
        shared.links.wanted(id).await;
        if let Some(wait) = pace.wait_after_session(since_boot()) {
            shared.links.pause(id, wait, since_boot()).await;
            // The peer may have dialled meanwhile.
            continue;
        }
        let Some(endpoint) = shared.endpoint(id) else {
            shared.links.want_no_more(id);
            continue;
        };
        match dial(shared, id, endpoint).await {
            Ok(channel) => {
                pace.succeeded(since_boot());
                let cancel = shared.established(id);
                let shared = Arc::clone(shared);
                tokio::spawn(async move { session::live(&shared, id, channel, None, cancel).await });
            }
            Err(error) => {
                let wait = pace.failed();
                match error {
                    SessionError::Crossed => debug!(peer = shared.name(id), "{error}"),
                    _ => {
                        warn!(peer = shared.name(id), "{endpoint}: {error}; again in {:.1} s", wait.as_secs_f32());
                        shared.links.failed(id, format!("{endpoint}: {error}"));
                    }
                }
                shared.links.pause(id, wait, since_boot()).await;
            }
        }
    }
}

async fn dial(shared: &Shared, id: PeerId, endpoint: SocketAddr) -> Result<Channel<TcpStream>, SessionError> {
    let io = |error| SessionError::Channel(ChannelError::Io(error));
    let (endpoint, vrf) = {
        let keeper = shared.keeper();
        (keeper.scoped(id, endpoint), keeper.vrf(id))
    };
    let connector = shared.connector(id)?;
    let socket = if endpoint.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.map_err(io)?;
    socket.bind_device(vrf.as_deref().map(str::as_bytes)).map_err(io)?;
    let tcp = timeout(HANDSHAKE, socket.connect(endpoint)).await.map_err(|_| SessionError::Timeout)?.map_err(io)?;
    tune(&tcp);
    let stream = timeout(HANDSHAKE, connector.connect(tls::server_name(), tcp))
        .await
        .map_err(|_| SessionError::Timeout)?
        .map_err(io)?;
    let mut channel = Channel::new(stream);
    match session::negotiate(shared, id, &mut channel).await {
        Ok(()) => Ok(channel),
        Err(error) => {
            channel.close().await;
            Err(error)
        }
    }
}

/// Makes a silent peer's death noticed within about a minute. Kernels without an option do without.
pub fn tune(tcp: &TcpStream) {
    use rustix::net::sockopt::{
        set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_user_timeout,
    };
    let fd = tcp.as_fd();
    let _ = tcp.set_nodelay(true);
    let _ = set_socket_keepalive(fd, true);
    let _ = set_tcp_keepidle(fd, Duration::from_secs(20));
    let _ = set_tcp_keepintvl(fd, Duration::from_secs(10));
    let _ = set_tcp_keepcnt(fd, 3);
    let _ = set_tcp_user_timeout(fd, 50_000);
}
