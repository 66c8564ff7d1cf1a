// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! docs/protocol.md, section 9: what strangers may take from a daemon that listens, with real sockets.

mod common;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::host::{peer, run, until, Host};
use common::{key, public};
use pdmv2::daemon::accept::UNFINISHED;
use pdmv2::daemon::admission::{SHARE_MAX, UNFINISHED_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout, Instant};

/// Host 2, which knows host 1 alone.
async fn listening(more: &str) -> Host {
    // Both ends of every connection are this process's.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let peer = peer("one", &format!("public-key = \"{}\"", public(1)), None, 2, 1);
    Host::start(key(2), &format!("[host]\nprivate-key-file = \"unused\"\n{more}\n{peer}")).await
}

/// Host 1, which dials it from ::1.
async fn dialling(port: u16) -> Host {
    let peer = peer("two", &format!("public-key = \"{}\"", public(2)), Some(port), 1, 2);
    Host::start(key(1), &format!("[host]\nprivate-key-file = \"unused\"\n{peer}")).await
}

/// Connects from an address of 127.0.0.0/8, of which each is a source of its own.
async fn connect(from: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.into(), 0))?;
    socket.connect(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await
}

/// The first bytes of a good ClientHello, and no more.
fn hello() -> Vec<u8> {
    let config = pdmv2::tls::client(&key(3), public(2)).unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), pdmv2::tls::server_name()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Says nothing until it is closed; returns after how long that was.
async fn half_open(from: Ipv4Addr, port: u16) -> Duration {
    let began = Instant::now();
    if let Ok(mut stream) = connect(from, port).await {
        let _ = stream.read(&mut [0; 64]).await;
    }
    began.elapsed()
}

/// Sends its ClientHello a byte a second until it is closed.
async fn slow(from: Ipv4Addr, port: u16) -> Duration {
    let began = Instant::now();
    if let Ok(stream) = connect(from, port).await {
        let (mut reader, mut writer) = stream.into_split();
        let (mut second, hello, mut answer) = (interval(Duration::from_secs(1)), hello(), Vec::new());
        let drip = async {
            for byte in &hello {
                second.tick().await;
                if writer.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = drip => {}
            _ = reader.read_to_end(&mut answer) => {}
        }
    }
    began.elapsed()
}

/// 200 clients that say nothing and 200 that say a byte a second, from as many sources as `source` gives; then host 1 comes.
async fn flooded(more: &str, source: impl Fn(u8, u8) -> Ipv4Addr) -> Vec<Duration> {
    let two = listening(more).await;
    let mut clients = JoinSet::new();
    for number in 0..200 {
        clients.spawn(half_open(source(1, number), two.port));
        clients.spawn(slow(source(2, number), two.port));
    }
    // All have connected, or been refused, and none is finished.
    sleep(Duration::from_secs(1)).await;
    let one = dialling(two.port).await;
    until("the peer's negotiation is done", || {
        (one.kernel.sending("two"), two.kernel.sending("one")) == (Some(1), Some(1))
    })
    .await;
    assert!(!clients.is_empty());
    // "Slow and half-open clients are cut off": each is, whatever it did meanwhile.
    let lasted = timeout(6 * UNFINISHED, clients.join_all()).await.expect("some were not cut off");
    // And none of them got anything.
    assert_eq!((one.installed().len(), two.installed().len()), (1, 1));
    lasted
}

/// Those beyond the one source's share are refused at once; the others do not last longer than a negotiation may.
#[test]
fn a_flood_from_one_address_leaves_room_for_others() {
    run(async {
        let lasted = flooded("handshake-rate = 100000", |_, _| Ipv4Addr::new(127, 0, 0, 9)).await;
        // How many at a time is exact in the tests of what decides; here it depends on how fast they come.
        let refused = lasted.iter().filter(|lasted| **lasted < UNFINISHED / 2).count();
        assert!((400 - 2 * SHARE_MAX..=400 - SHARE_MAX / 2).contains(&refused), "{refused}");
    });
}

/// More sources than there are places: the oldest make room.
#[test]
fn a_flood_from_many_addresses_leaves_room_for_others() {
    run(async {
        let lasted = flooded("", |kind, number| Ipv4Addr::new(127, 0, kind, number + 1)).await;
        assert_eq!(lasted.len(), 400);
        let made_room = lasted.iter().filter(|lasted| **lasted < UNFINISHED / 2).count();
        assert!(made_room > (400 - UNFINISHED_MAX) / 2, "{made_room}");
    });
}

/// Beyond its rate, one address is refused before any of its bytes is answered; another is not.
#[test]
fn connections_are_limited_in_their_rate() {
    run(async {
        let two = listening("handshake-rate = 1").await;
        let mut answered = 0;
        loop {
            let mut stream = connect(Ipv4Addr::new(127, 0, 0, 9), two.port).await.unwrap();
            // What is no TLS is answered with an alert, once it is read at all.
            let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
            let mut answer = Vec::new();
            let _ = timeout(2 * UNFINISHED, stream.read_to_end(&mut answer)).await.expect("it is still open");
            if answer.is_empty() {
                break;
            }
            answered += 1;
            assert!(answered < 10_000, "never refused");
        }
        // Four at once, and what was refilled meanwhile.
        assert!(answered >= 4, "{answered}");
        let one = dialling(two.port).await;
        until("the peer's negotiation is done", || one.kernel.sending("two") == Some(1)).await;
    });
}
