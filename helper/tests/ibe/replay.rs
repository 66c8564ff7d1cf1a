// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! "replay of old datagrams creates nothing"

use pdmv2::negotiate::system_entropy;
use pdmv2::registration::ibe::limits::PAIRS_MAX;
use pdmv2::registration::ibe::message::Message;
use pdmv2::registration::ibe::{Exchanges, Refusal};

use crate::world::*;

/// Every datagram of an exchange is sent again to both ends, at once, while cookies are good, and later.
#[test]
fn an_old_exchange_sent_again_changes_nothing() {
    for later in [0, 30, 41, 59, 60, 119, 120, 121, 1000, 86_400] {
        let mut both = hosts();
        let log = {
            let [client, server] = &mut both;
            run(client, server, at(0)).unwrap()
        };
        let before = both.each_ref().map(|host| (host.installed.clone(), host.active));
        for datagram in &log {
            for host in &mut both {
                match host.receive(datagram, at(later)) {
                    // A cookie, which costs no state; m5 again while the initiator may ask for it.
                    Ok(Some(sent)) => match Message::decode(&sent) {
                        Ok(Message::Cookie(_)) => {}
                        Ok(Message::Installed(_)) => assert!(later < 40),
                        other => panic!("{later}: {other:?}"),
                    },
                    Ok(None) => panic!("{later}: taken"),
                    Err(_) => {}
                }
            }
        }
        assert_eq!(both.each_ref().map(|host| (host.installed.clone(), host.active)), before, "{later}");
        for host in &mut both {
            assert!(host.poll(at(later + 120)).is_empty());
            assert_eq!(host.exchanges.pairs(), 0, "{later}");
        }
    }
}

#[test]
fn the_m1_that_opened_an_exchange_opens_no_other() {
    let [mut client, mut server] = hosts();
    let log = run(&mut client, &mut server, at(10)).unwrap();
    let m1 = &log[2];
    // The cookie was given at 10 and is good until 120; what it opened is forgotten 40 s after.
    for now in [10, 30, 49] {
        assert_eq!(server.receive(m1, at(now)), Err(Refusal::Replayed), "{now}");
    }
    for now in [51, 60, 119] {
        assert_eq!(server.receive(m1, at(now)), Err(Refusal::Replayed), "{now}");
    }
    let sent = server.receive(m1, at(120)).unwrap().unwrap();
    assert!(matches!(Message::decode(&sent), Ok(Message::Cookie(_))));
}

#[test]
fn after_a_reboot_old_datagrams_find_nothing() {
    let [mut client, mut server] = hosts();
    let log = run(&mut client, &mut server, at(0)).unwrap();
    for host in [&mut client, &mut server] {
        host.exchanges = Exchanges::new(PAIRS_MAX, at(1), &mut system_entropy());
        host.installed.clear();
        host.active = 0;
        for datagram in &log {
            if let Ok(Some(sent)) = host.receive(datagram, at(1)) {
                assert!(matches!(Message::decode(&sent), Ok(Message::Cookie(_))));
            }
        }
        assert!(host.is_untouched());
    }
}

/// The answers of one exchange mean nothing to the next.
#[test]
fn datagrams_of_one_exchange_do_not_fit_another() {
    let [mut client, mut server] = hosts();
    let old = run(&mut client, &mut server, at(0)).unwrap();
    let m1 = client.start(at(200)).unwrap();
    for datagram in &old {
        assert!(client.receive(datagram, at(200)).is_err());
    }
    let m2 = server.receive(&m1, at(200)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(200)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(200)).unwrap().unwrap();
    assert_eq!(server.receive(&old[4], at(200)), Err(Refusal::Unexpected(4)));
    let m4 = client.receive(&m3, at(200)).unwrap().unwrap();
    assert_eq!(client.receive(&old[5], at(200)), Err(Refusal::Unexpected(5)));
    let m5 = server.receive(&m4, at(200)).unwrap().unwrap();
    client.receive(&m5, at(200)).unwrap();
    assert_eq!((client.active, server.active), (2, 2));
    assert!(agree(&[client, server]));
}

/// Who receives at the peer's address can put a new cookie into an old m1. It gets an m3 that it cannot open, and no
/// more.
#[test]
fn an_old_m1_with_a_new_cookie_installs_nothing() {
    let [mut client, mut server] = hosts();
    let old = run(&mut client, &mut server, at(0)).unwrap();
    let Ok(Message::Init(mut init)) = Message::decode(&old[0]) else { panic!() };
    init.padding.clear();
    let m3 = knock(&mut server, init, at(500)).unwrap().unwrap();
    assert!(matches!(Message::decode(&m3), Ok(Message::Answer(_))));
    assert_eq!(server.receive(&old[4], at(500)), Err(Refusal::Confirmation));
    // Nor is it the one that the old m3 had.
    assert_ne!(m3, old[3]);
    assert_eq!((server.installed.len(), server.active), (1, 1));
    server.poll(at(1000));
    assert_eq!(server.exchanges.pairs(), 0);
}
