// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! "both sides starting at once (crossing) resolved deterministically": the Secondary Client's exchange stands.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use pdmv2::registration::ibe::Refusal;
use proptest::prelude::*;

use crate::world::*;

/// The rest of an exchange from a datagram on, which is for the first of the two.
fn finish(to: &mut Host, from: &mut Host, datagram: Vec<u8>) -> Result<(), Refusal> {
    let Some(answer) = to.receive(&datagram, at(0))? else { return Ok(()) };
    finish(from, to, answer)
}

#[test]
fn the_clients_exchange_stands() {
    let [mut client, mut server] = hosts();
    let (from_client, from_server) = (client.start(at(0)).unwrap(), server.start(at(0)).unwrap());
    assert_eq!(client.receive(&from_server, at(0)), Err(Refusal::Crossing));
    finish(&mut server, &mut client, from_client).unwrap();
    assert_eq!((client.active, server.active), (1, 1));
    // The server's own is over without a word.
    assert!(server.poll(at(60)).is_empty());
    assert_eq!(server.failed, 0);
    assert!(agree(&[client, server]));
}

#[test]
fn the_clients_exchange_stands_over_one_that_is_answered() {
    let [mut client, mut server] = hosts();
    let m1 = server.start(at(0)).unwrap();
    let m2 = client.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = server.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = client.receive(&m1, at(0)).unwrap().unwrap();
    // The client opens its own with the server's half open; both may be confirmed by the server, the client's counts.
    let from_client = client.start(at(0)).unwrap();
    let m4 = server.receive(&m3, at(0)).unwrap().unwrap();
    assert_eq!((server.installed.len(), server.active), (1, 0));
    assert_eq!(client.receive(&m4, at(0)), Err(Refusal::Unexpected(4)));
    finish(&mut server, &mut client, from_client).unwrap();
    assert_eq!((client.active, server.active), (2, 2));
    // The server hears that what it installed for its own comes to nothing.
    server.poll(at(0));
    assert_eq!(server.failed, 1);
    assert!(agree(&[client, server]));
}

#[test]
fn the_servers_exchange_waits_while_the_clients_is_half_open() {
    let [mut client, mut server] = hosts();
    let (from_server, from_client) = (server.start(at(0)).unwrap(), client.start(at(0)).unwrap());
    let m2 = server.receive(&from_client, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    assert_eq!(server.start(at(0)), Err(Refusal::UnderWay));
    assert_eq!(client.start(at(0)), Err(Refusal::UnderWay));
    assert_eq!(client.receive(&from_server, at(0)), Err(Refusal::Crossing));
    finish(&mut client, &mut server, m3).unwrap();
    assert!(agree(&[client, server]));
}

/// The client answers the server's, opens its own, and that overtakes the answer: one of the two comes to something.
#[test]
fn an_answer_that_was_overtaken_is_not_taken() {
    let [mut client, mut server] = hosts();
    let m1 = server.start(at(0)).unwrap();
    let m2 = client.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = server.receive(&m2, at(0)).unwrap().unwrap();
    let late = client.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    assert_eq!(server.receive(&late, at(0)), Err(Refusal::Crossing));
    finish(&mut client, &mut server, m3).unwrap();
    assert_eq!(server.receive(&late, at(0)), Err(Refusal::Unexpected(3)));
    assert_eq!((client.installed.len(), server.installed.len(), server.active), (1, 1, 1));
    assert!(agree(&[client, server]));
}

/// A client whose own attempt nobody answers does not keep the server from it for ever.
#[test]
fn an_exchange_that_came_to_nothing_makes_room() {
    let [mut client, mut server] = hosts();
    client.start(at(0)).unwrap();
    let m1 = server.start(at(0)).unwrap();
    assert_eq!(client.receive(&m1, at(30)), Err(Refusal::Crossing));
    for now in 0..=31 {
        client.poll(at(now));
    }
    assert_eq!(client.failed, 1);
    let m2 = client.receive(&m1, at(31)).unwrap().unwrap();
    let m1 = server.receive(&m2, at(31)).unwrap().unwrap();
    let m3 = client.receive(&m1, at(31)).unwrap().unwrap();
    let m4 = server.receive(&m3, at(31)).unwrap().unwrap();
    let m5 = client.receive(&m4, at(31)).unwrap().unwrap();
    server.receive(&m5, at(31)).unwrap();
    assert!(agree(&[client, server]));
}

/// What becomes of a datagram: milliseconds on the way, whether it is lost, whether it comes twice.
type Fate = (u64, bool, bool);

/// Two hosts open exchanges at some times, over a network that delays, reorders, loses and doubles; each opens anew a
/// second (the client) or two after one came to nothing. At the end they agree.
fn simulate(starts: [u64; 2], fates: &[Fate]) -> [Host; 2] {
    let mut both = hosts();
    let mut fates = fates.iter().copied();
    // What arrives where.
    let mut wire: BinaryHeap<Reverse<(u64, usize, Vec<u8>)>> = BinaryHeap::new();
    let mut starts = starts.map(Some);
    let mut failed = [0, 0];
    let mut send = |wire: &mut BinaryHeap<_>, now: u64, to: usize, datagram: Vec<u8>| {
        let (delay, lost, doubled) = fates.next().unwrap_or((50, false, false));
        if !lost {
            wire.push(Reverse((now + delay, to, datagram.clone())));
        }
        if doubled {
            wire.push(Reverse((now + 2 * delay, to, datagram)));
        }
    };
    for now in (0..400_000).step_by(10) {
        let time = Duration::from_millis(now);
        for own in [0, 1] {
            if starts[own].take_if(|start| *start <= now).is_some() {
                if let Ok(datagram) = both[own].start(time) {
                    send(&mut wire, now, 1 - own, datagram);
                }
            }
            for datagram in both[own].poll(time) {
                send(&mut wire, now, 1 - own, datagram);
            }
            if both[own].failed > failed[own] {
                failed[own] = both[own].failed;
                starts[own] = Some(now + 1000 * (own as u64 + 1));
            }
        }
        while wire.peek().is_some_and(|Reverse((when, ..))| *when <= now) {
            let Some(Reverse((_, to, datagram))) = wire.pop() else { break };
            if let Ok(Some(answer)) = both[to].receive(&datagram, time) {
                send(&mut wire, now, 1 - to, answer);
            }
        }
        if now > 5_000
            && wire.is_empty()
            && starts == [None, None]
            && both.iter().all(|host| host.exchanges.next().is_none())
        {
            break;
        }
    }
    both
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn however_they_cross_they_agree(
        starts in [0u64..3000, 0u64..3000],
        fates in prop::collection::vec((0u64..2500, prop::bool::weighted(0.15), prop::bool::weighted(0.1)), 60),
    ) {
        let both = simulate(starts, &fates);
        prop_assert!(agree(&both), "{:?} {:?}", both[0].active, both[1].active);
    }
}
