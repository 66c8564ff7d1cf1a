// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! "bounded state", and decoders that never panic.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use pdmv2::negotiate::message::WireSuite;
use pdmv2::negotiate::system_entropy;
use pdmv2::registration::ibe::bf::Refused;
use pdmv2::registration::ibe::limits::{ACCEPTS_A_SECOND, RECENT_MAX};
use pdmv2::registration::ibe::message::{Answer, Confirm, Cookie, Init, Message};
use pdmv2::registration::ibe::{Exchanges, Path, Refusal, Role};
use proptest::prelude::*;

use crate::world::*;

fn peer(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, number)
}

/// A server with so many clients, all of the same Primaries.
fn server_of(clients: u16) -> Host {
    let primaries = Primaries::new();
    let mut server = Host::new(&primaries, Role::Server, SERVER, CLIENT);
    for number in 0..clients {
        server.lists.peers.insert(peer(number), Entry::new(&primaries, Role::Server, SERVER));
    }
    server
}

/// An m1 that cannot be opened, sent with a good cookie.
fn knock_from(server: &mut Host, from: Ipv6Addr, session: u8, now: u64) -> Refusal {
    let generators = server.lists.generators;
    let mut init = Init {
        session: [session; 16],
        generators,
        role: Role::Client as u8,
        suite: WireSuite { kem: 0xff01, kdf: 1, aead: 1 },
        period: PERIOD,
        last_generation: 0,
        ciphertext: [1; 160],
        cookie: None,
        padding: Vec::new(),
    };
    let here = path(SERVER, from);
    let sent = server.receive_on(here, &Message::Init(init.clone()).encode(), at(now)).unwrap().unwrap();
    let Ok(Message::Cookie(body)) = Message::decode(&sent.datagram) else { panic!() };
    init.cookie = Some(body.cookie);
    server.receive_on(here, &Message::Init(init).encode(), at(now)).unwrap_err()
}

const NOT_OPENED: Refusal = Refusal::Encapsulation(Refused::Point);

#[test]
fn a_peer_opens_a_few_exchanges_as_long_as_a_cookie_is_good() {
    let mut server = server_of(0);
    for session in 0..RECENT_MAX as u8 {
        assert_eq!(knock_from(&mut server, CLIENT, session, 30), NOT_OPENED);
        assert_eq!(knock_from(&mut server, CLIENT, session, 30), Refusal::Replayed);
    }
    assert_eq!(knock_from(&mut server, CLIENT, 99, 30), Refusal::Busy);
    assert_eq!(knock_from(&mut server, CLIENT, 99, 119), Refusal::Busy);
    assert_eq!(knock_from(&mut server, CLIENT, 99, 120), NOT_OPENED);
    server.poll(at(240));
    assert_eq!(server.exchanges.pairs(), 0);
}

#[test]
fn pairs_are_bounded() {
    let mut server = server_of(6);
    server.exchanges = Exchanges::new(4, at(0), &mut system_entropy());
    for number in 0..4 {
        assert_eq!(knock_from(&mut server, peer(number), 1, 0), NOT_OPENED);
    }
    assert_eq!(knock_from(&mut server, peer(4), 1, 0), Refusal::Busy);
    assert_eq!(server.start(at(0)), Err(Refusal::Busy));
    // Who is in may go on.
    assert_eq!(knock_from(&mut server, peer(3), 2, 0), NOT_OPENED);
    assert_eq!(server.exchanges.pairs(), 4);
    // Old ones make room.
    assert_eq!(knock_from(&mut server, peer(4), 1, 120), NOT_OPENED);
    assert_eq!(server.exchanges.pairs(), 1);
    assert!(server.start(at(120)).is_ok());
}

#[test]
fn pairing_operations_have_a_budget() {
    let peers = 2 * ACCEPTS_A_SECOND as u16 / RECENT_MAX as u16 + 2;
    let mut server = server_of(peers);
    let mut taken = 0;
    for number in 0..peers {
        for session in 0..RECENT_MAX as u8 {
            match knock_from(&mut server, peer(number), session, 0) {
                NOT_OPENED => taken += 1,
                Refusal::Busy => {}
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(taken, 2 * ACCEPTS_A_SECOND);
    assert_eq!(knock_from(&mut server, peer(peers - 1), 77, 1), NOT_OPENED);
}

#[test]
fn a_flood_without_cookies_leaves_nothing() {
    let [mut client, mut server] = hosts();
    for number in 0..5000u32 {
        let mut init = forged_init(&mut client, [1; 160], 0);
        init.session[..4].copy_from_slice(&number.to_be_bytes());
        let path = Path::new(SERVER, SocketAddrV6::new(CLIENT, number as u16, 0, 0));
        let sent = server.receive_on(path, &Message::Init(init).encode(), at(u64::from(number / 100)));
        assert!(matches!(Message::decode(&sent.unwrap().unwrap().datagram), Ok(Message::Cookie(_))));
    }
    assert!(server.is_untouched());
    assert_eq!(server.exchanges.next(), None);
}

#[test]
fn a_half_open_exchange_is_forgotten() {
    let [mut client, mut server] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m4 = client.receive(&m3, at(0)).unwrap().unwrap();
    assert_eq!(server.exchanges.next(), Some(at(40)));
    // m1 again within its life gets the same m3, and lengthens nothing.
    assert_eq!(server.receive(&m1, at(39)), Ok(Some(m3)));
    assert_eq!(server.receive(&m4, at(40)), Err(Refusal::Unexpected(4)));
    server.poll(at(120));
    assert!(server.is_untouched());
}

fn arrays() -> impl Strategy<Value = ([u8; 16], [u8; 32], Vec<u8>)> {
    (any::<[u8; 16]>(), any::<[u8; 32]>(), prop::collection::vec(any::<u8>(), 160))
}

/// Any message of this pair, whatever it holds.
fn messages() -> impl Strategy<Value = Message> {
    let numbers = (0u8..3, any::<[u16; 3]>(), 0u32..2000, any::<u64>(), any::<bool>(), 1u8..6);
    (arrays(), numbers).prop_map(|((session, bytes, ciphertext), (role, suite, period, number, flag, which))| {
        let (generators, ciphertext) = ([0; 16], ciphertext.try_into().unwrap());
        let suite = if flag { [0xff01, 1, 1] } else { suite };
        let suite = WireSuite { kem: suite[0], kdf: suite[1], aead: suite[2] };
        let cookie = flag.then_some(bytes);
        let confirm = Confirm { session, generators, confirm: bytes };
        match which {
            1 => Message::Init(Init {
                session,
                generators,
                role,
                suite,
                period,
                last_generation: number,
                ciphertext,
                cookie,
                padding: Vec::new(),
            }),
            2 => Message::Cookie(Cookie { session, generators, cookie: bytes }),
            3 => Message::Answer(Answer { session, generators, generation: number, ciphertext, confirm: bytes }),
            4 => Message::Confirm(confirm),
            _ => Message::Installed(confirm),
        }
    })
}

/// One for all cases, as none leaves anything.
fn untouched() -> MutexGuard<'static, Host> {
    static SERVER: LazyLock<Mutex<Host>> = LazyLock::new(|| {
        let [_, mut server] = hosts();
        server.lists.generators = [0; 16];
        Mutex::new(server)
    });
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

proptest! {
    #[test]
    fn no_message_panics_or_leaves_anything(messages in prop::collection::vec(messages(), 1..20)) {
        let mut server = untouched();
        for message in messages {
            if let Ok(Some(sent)) = server.receive(&message.encode(), at(0)) {
                prop_assert!(matches!(Message::decode(&sent), Ok(Message::Cookie(_))));
            }
        }
        prop_assert!(server.is_untouched());
    }

    #[test]
    fn no_datagram_panics_or_leaves_anything(datagram in prop::collection::vec(any::<u8>(), 0..1300)) {
        let mut server = untouched();
        prop_assert!(server.receive(&datagram, at(0)).is_err());
        prop_assert!(server.is_untouched());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_message_ends_an_exchange(messages in prop::collection::vec(messages(), 1..4)) {
        let [mut client, mut server] = hosts();
        let forged = |host: &mut Host, session: [u8; 16]| {
            for message in &messages {
                let mut message = message.clone();
                // Of this very exchange.
                let generators = host.lists.generators;
                match &mut message {
                    Message::Init(body) => (body.session, body.generators) = (session, generators),
                    Message::Cookie(_) => continue,
                    Message::Answer(body) => (body.session, body.generators) = (session, generators),
                    Message::Confirm(body) | Message::Installed(body) => {
                        (body.session, body.generators) = (session, generators);
                    }
                }
                let _ = host.receive(&message.encode(), at(0));
            }
        };
        let mut next = Some(client.start(at(0)).unwrap());
        let session = Message::decode(next.as_ref().unwrap()).unwrap().name().session;
        for number in 0.. {
            let Some(datagram) = next else { break };
            let to = if number % 2 == 0 { &mut server } else { &mut client };
            if number < 5 {
                forged(to, session);
            }
            next = to.receive(&datagram, at(0)).unwrap();
        }
        prop_assert!(agree(&[client, server]));
    }
}
