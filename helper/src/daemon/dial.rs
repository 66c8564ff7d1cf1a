// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Dialling a peer, again and again as needed.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tracing::{debug, warn};

use super::backoff::Pace;
use super::channel::{Channel, ChannelError};
use super::session::{self, SessionError};
use super::Shared;
use crate::clock::since_boot;
use crate::tls;

/// Longest time for connecting, and for the TLS handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Dials the peer whenever a negotiation is wanted; never ends.
pub async fn keep_dialling(shared: Arc<Shared>, index: usize, endpoint: SocketAddr, connector: TlsConnector) {
    let mut pace = Pace::default();
    loop {
        shared.links.wanted(index).await;
        if let Some(wait) = pace.wait_after_session(since_boot()) {
            sleep(wait).await;
            // The peer may have dialled meanwhile.
            continue;
        }
        match dial(&shared, index, endpoint, &connector).await {
            Ok(channel) => {
                pace.succeeded(since_boot());
                let cancel = shared.established(index);
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { session::live(&shared, index, channel, None, cancel).await });
            }
            Err(error) => {
                let wait = pace.failed();
                match error {
                    SessionError::Crossed => debug!(peer = shared.name(index), "{error}"),
                    _ => warn!(peer = shared.name(index), "{endpoint}: {error}; again in {:.1} s", wait.as_secs_f32()),
                }
                sleep(wait).await;
            }
        }
    }
}

async fn dial(
    shared: &Shared,
    index: usize,
    endpoint: SocketAddr,
    connector: &TlsConnector,
) -> Result<Channel<TcpStream>, SessionError> {
    let io = |error| SessionError::Channel(ChannelError::Io(error));
    let (endpoint, vrf) = {
        let keeper = shared.keeper();
        (keeper.scoped(index, endpoint), keeper.vrf(index))
    };
    let socket = if endpoint.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.map_err(io)?;
    socket.bind_device(vrf.as_deref().map(str::as_bytes)).map_err(io)?;
    let tcp = timeout(HANDSHAKE, socket.connect(endpoint)).await.map_err(|_| SessionError::Timeout)?.map_err(io)?;
    tune(&tcp);
    let stream = timeout(HANDSHAKE, connector.connect(tls::server_name(), tcp))
        .await
        .map_err(|_| SessionError::Timeout)?
        .map_err(io)?;
    let mut channel = Channel::new(stream);
    match session::negotiate(shared, index, &mut channel).await {
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
