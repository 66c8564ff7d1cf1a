// SPDX-License-Identifier: GPL-2.0-only OR MIT

use pdmv2::negotiate::system_entropy;
use pdmv2::registration::ibe::message::{Message, DATAGRAM_MAX};
use pdmv2::registration::ibe::{suite, Role, Step};
use pdmv2_proto::suite::{Aead, Kdf, Suite};

use crate::world::*;

#[test]
fn both_ends_hold_the_same_secret_whoever_opens() {
    for role in [Role::Client, Role::Server] {
        let mut both = hosts();
        let [client, server] = &mut both;
        let (initiator, responder) = if role == Role::Client { (client, server) } else { (server, client) };
        let log = run(initiator, responder, at(0)).unwrap();
        let numbers: Vec<_> = log.iter().map(|datagram| Message::decode(datagram).unwrap().number()).collect();
        assert_eq!(numbers, [1, 2, 1, 3, 4, 5]);
        assert!(log.iter().all(|datagram| datagram.len() <= DATAGRAM_MAX));
        assert!(agree(&both));
        assert_eq!(both[0].active, 1);
        assert_eq!(both[0].installed[&1].as_bytes().len(), 32);
    }
}

#[test]
fn the_suite_is_that_of_the_primaries_with_a_kem_of_its_own() {
    for kdf in Kdf::ALL {
        for aead in Aead::ALL {
            let [mut client, mut server] = hosts();
            let of = Suite { kdf: kdf.number(), aead: aead.number(), ..Suite::DEFAULT };
            client.entry().suite = of;
            // Which KEM the Primaries had between them does not matter.
            server.entry().suite = Suite { kem: 0x647a, ..of };
            let log = run(&mut client, &mut server, at(0)).unwrap();
            let Ok(Message::Init(init)) = Message::decode(&log[0]) else { panic!() };
            assert_eq!(Suite::from(init.suite), Suite { kem: 0xff01, ..of });
            assert_eq!(suite(of).kem, 0xff01);
            assert_eq!(client.installed[&1].as_bytes().len(), kdf.hash_len());
            assert!(agree(&[client, server]));
        }
    }
}

#[test]
fn the_generation_is_one_above_what_either_knows() {
    for (client_last, server_last, generation) in [(0, 0, 1), (7, 3, 8), (3, 7, 8), (u64::MAX - 1, 0, u64::MAX)] {
        let [mut client, mut server] = hosts();
        client.entry().last_generation = client_last;
        server.entry().last_generation = server_last;
        run(&mut client, &mut server, at(0)).unwrap();
        assert_eq!((client.active, server.active), (generation, generation));
    }
}

#[test]
fn each_exchange_is_another_secret() {
    let [mut client, mut server] = hosts();
    for round in 0..6 {
        let (now, opens) = (at(100 * round), round % 2 == 0);
        let (first, second) = if opens { (&mut client, &mut server) } else { (&mut server, &mut client) };
        run(first, second, now).unwrap();
    }
    assert_eq!((client.active, server.active), (6, 6));
    assert_eq!(client.installed, server.installed);
    let secrets: std::collections::BTreeSet<_> = client.installed.values().map(|secret| secret.as_bytes()).collect();
    assert_eq!(secrets.len(), 6);
}

/// "Nothing is installed before" a confirmation verifies; nobody sends under what the peer has not installed.
#[test]
fn the_initiator_installs_first_and_sends_last() {
    let [mut client, mut server] = hosts();
    let log = std::cell::RefCell::new(Vec::new());
    run_with(&mut client, &mut server, at(0), |number, datagram| {
        log.borrow_mut().push(number);
        datagram
    })
    .unwrap();
    assert_eq!(*log.borrow(), [0, 2, 1, 3, 4, 5]);

    let [mut client, mut server] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    assert!(server.installed.is_empty() && client.installed.is_empty());
    let m4 = client.receive(&m3, at(0)).unwrap().unwrap();
    assert!(server.installed.is_empty() && client.installed.len() == 1 && client.active == 0);
    let m5 = server.receive(&m4, at(0)).unwrap().unwrap();
    assert!(server.active == 1 && client.active == 0);
    assert_eq!(client.receive(&m5, at(0)), Ok(None));
    assert_eq!(client.active, 1);
}

/// An option that authenticates under the new generation says what m5 says.
#[test]
fn an_authenticated_option_stands_in_for_m5() {
    let [mut client, mut server] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    let pair = client.pair();
    assert!(!client.exchanges.authenticated(&pair, 1), "nothing is installed yet");
    let m4 = client.receive(&m3, at(0)).unwrap().unwrap();
    assert!(!client.exchanges.authenticated(&pair, 2), "another generation");
    assert!(client.exchanges.authenticated(&pair, 1));
    assert!(!client.exchanges.authenticated(&pair, 1), "it is over");
    assert!(client.poll(at(600)).is_empty() && client.failed == 0);
    // A late m5 finds nothing.
    let m5 = server.receive(&m4, at(0)).unwrap().unwrap();
    assert!(client.receive(&m5, at(0)).is_err());
}

/// "retransmission": each datagram is lost once, or comes twice.
#[test]
fn a_lost_or_doubled_datagram_is_made_up_for() {
    for lost in 0..6 {
        let mut both = hosts();
        let (mut now, mut sent) = (0, 0);
        let mut queue = vec![(1, both[0].start(at(0)).unwrap())];
        while !agree(&both) {
            assert!(now < 60, "datagram {lost}");
            while let Some((to, datagram)) = queue.pop() {
                sent += 1;
                if sent - 1 == lost {
                    continue;
                }
                if let Ok(Some(answer)) = both[to].receive(&datagram, at(now)) {
                    queue.push((1 - to, answer));
                }
            }
            now += 1;
            let again = both[0].poll(at(now));
            queue.extend(again.into_iter().map(|datagram| (1, datagram)));
            assert!(both[1].poll(at(now)).is_empty(), "the responder answers, and sends nothing by itself");
        }
        assert_eq!((both[0].active, both[0].failed), (1, 0), "datagram {lost}");
    }
    for doubled in 0..6 {
        let [mut client, mut server] = hosts();
        let mut to_server = true;
        let mut next = Some(client.start(at(0)).unwrap());
        for number in 0.. {
            let Some(datagram) = next else { break };
            let to = if to_server { &mut server } else { &mut client };
            next = to.receive(&datagram, at(0)).unwrap();
            if number == doubled {
                // The copy gets the same answer, or none; never another exchange.
                if let Ok(again) = to.receive(&datagram, at(0)) {
                    assert!(again.is_none() || again == next || is_init(&again), "{number}");
                }
            }
            to_server = !to_server;
        }
        assert_eq!((client.installed.len(), server.installed.len()), (1, 1));
        assert!(agree(&[client, server]), "{doubled}");
    }
}

fn is_init(datagram: &Option<Vec<u8>>) -> bool {
    datagram.as_ref().is_some_and(|datagram| matches!(Message::decode(datagram), Ok(Message::Init(_))))
}

#[test]
fn without_an_answer_it_is_sent_five_times_then_given_up() {
    let [mut client, _] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let mut times = Vec::new();
    for now in 0..100 {
        for datagram in client.poll(at(now)) {
            assert_eq!(datagram, m1);
            times.push(now);
        }
    }
    assert_eq!(times, [1, 3, 7, 15]);
    assert_eq!((client.failed, client.exchanges.pairs(), client.exchanges.next()), (1, 0, None));
}

#[test]
fn the_time_it_asks_for_is_the_time_it_needs() {
    let [mut client, _] = hosts();
    client.start(at(5)).unwrap();
    let mut times = Vec::new();
    while let Some(next) = client.exchanges.next() {
        assert!(client.poll(next - at(1) / 1000).is_empty());
        client.poll(next);
        times.push(next.as_secs());
    }
    assert_eq!((times, client.failed), (vec![6, 8, 12, 20, 36], 1));
}

/// "validity periods that differ by one accepted, others refused"
#[test]
fn periods_may_differ_by_one() {
    let primaries = Primaries::new();
    for (client_period, server_period, good) in [(0, 0, true), (0, 1, true), (1, 0, true), (0, 2, false), (2, 0, false)]
    {
        let [mut client, mut server] = pair_of_hosts(&primaries);
        for (host, period) in [(&mut client, client_period), (&mut server, server_period)] {
            let (role, address) = (host.entry().role, host.lists.local);
            let present = PERIOD + period;
            host.entry().period = present;
            for period in [present - 1, present, present + 1] {
                host.entry().add_key(primaries.of(role), address, period);
            }
            host.entry().keys.advance(present);
        }
        let outcome = run(&mut client, &mut server, at(0));
        assert_eq!(outcome.is_ok(), good, "{client_period} {server_period}: {outcome:?}");
        assert_eq!(agree(&[client, server]), good);
    }
}

#[test]
fn what_cannot_be_installed_is_given_up() {
    let [mut client, mut server] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    let path = client.path();
    let step = client.exchanges.receive(path, &m3, &client.lists, at(0), &mut system_entropy()).unwrap();
    let Step::Install(established) = step else { panic!() };
    // While it installs, nothing is sent and nothing ends.
    assert!(client.poll(at(1000)).is_empty() && client.failed == 0);
    client.exchanges.abandon(&established.handle);
    assert_eq!(client.exchanges.installed(&established.handle, at(1000)), None);
    assert!(client.poll(at(1000)).is_empty());
    assert_eq!(client.exchanges.pairs(), 0);
    assert!(client.start(at(1000)).is_ok());
}
