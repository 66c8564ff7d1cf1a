// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! "Nothing a peer says panics or grows memory without bound": what was said is said again, damaged, by others, to others.

use pdmv2::registration::error::Failure;
use pdmv2::registration::group::{Pairing, Side};
use pdmv2::registration::lists::LIST_MAX;
use pdmv2::registration::message::member::{MemberGroup, MemberList, Poll, Welcome};
use pdmv2::registration::message::peer::{GroupIs, Hello, ListPart};
use pdmv2::registration::message::Message;
use pdmv2::registration::secondary::PAIRINGS_MAX;
use proptest::prelude::*;

use super::network::{group, host, p, Network};
use super::{all_open, client, server, topology, DERIVED, PC, PS, SC, SS};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_nothing_panics_and_no_epoch_comes_twice(
        seed in any::<u64>(),
        mode in prop::sample::select(DERIVED.to_vec()),
        said in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..4, any::<u8>()),
            1..60,
        ),
    ) {
        let mut network = topology(seed, mode);
        let hosts: Vec<_> = [PC, PS].iter().chain(&SC).chain(&SS).map(|n| host(*n)).collect();
        let heard = network.delivered.clone();
        for (what, from, to, damage, byte) in said {
            let mut message = what.get(&heard).1.clone();
            if damage == 0 {
                let at = usize::from(byte) % message.len();
                message[at] ^= byte | 1;
            }
            let (from, to) = (*from.get(&hosts), *to.get(&hosts));
            if network.is_connected(from, to) {
                network.hand_over(from, to, &message);
                network.quiet();
            }
        }
        network.connect_all();
        network.pass(5);
    }
}

/// Says something to a fresh Secondary or Primary, over and over with another number, until it is refused.
fn until_refused(network: &mut Network, from: u8, to: u8, say: impl Fn(u32) -> Vec<Message>) -> (u32, Failure) {
    network.failures.clear();
    for number in 0..1_000_000 {
        for message in say(number) {
            network.hand_over(host(from), host(to), message.encode().as_bytes());
            if let Some((_, failure)) = network.failures.first() {
                return (number, *failure);
            }
        }
    }
    panic!("never refused");
}

fn told_group(number: u32) -> GroupIs {
    GroupIs { name: group(&format!("g{number}")), mode: 1, poller: None, group_gen: 1000 + number }
}

fn part(number: u32) -> ListPart {
    let added = (0..256).map(|n| p(&format!("fd00:{:x}::{n:x}", 0x100 + number))).collect();
    ListPart { group: None, anew: false, removed: vec![], added, digest: None, returns: 0 }
}

#[test]
fn groups_pairings_and_lists_are_bounded() {
    let mode = DERIVED[0];
    let pairing = Pairing { client: host(PC), server: host(PS) };
    let member_group = |number| Message::MemberGroup(MemberGroup { pairing, group: told_group(number) });
    let (groups, failure) = until_refused(&mut topology(1, mode), PC, SC[0], |number| vec![member_group(number)]);
    assert_eq!((groups, failure), (63, Failure::TooMany("groups")));
    let (groups, failure) =
        until_refused(&mut topology(1, mode), PS, PC, |number| vec![Message::GroupIs(told_group(number))]);
    assert_eq!((groups, failure), (63, Failure::TooMany("groups")));

    let other =
        |number: u32| Pairing { client: host(PC), server: pdmv2::identity::PublicKey([number as u8 + 100; 32]) };
    let pairings = |number| vec![Message::MemberGroup(MemberGroup { pairing: other(number), group: told_group(1) })];
    let (pairings, failure) = until_refused(&mut topology(1, mode), PC, SC[0], pairings);
    assert_eq!((pairings as usize, failure), (PAIRINGS_MAX - 1, Failure::TooMany("pairings")));

    let lists = |number| vec![Message::MemberList(MemberList { pairing, part: part(number) })];
    let (parts, failure) = until_refused(&mut topology(1, mode), PC, SC[0], lists);
    assert_eq!((parts as usize * 256 / LIST_MAX, failure), (0, Failure::TooMany("prefixes")));
    let (parts, failure) = until_refused(&mut topology(1, mode), PC, PS, |number| vec![Message::List(part(number))]);
    assert_eq!((parts as usize * 256 / LIST_MAX, failure), (0, Failure::TooMany("prefixes")));
}

#[test]
fn what_is_not_the_senders_to_say_ends_its_session() {
    let mode = DERIVED[0];
    let pairing = Pairing { client: host(PC), server: host(PS) };
    let poll = Poll { pairing, pms: [0; 8], group: group("web"), group_gen: 1, own: server(0).1, remote: client(0).1 };
    let other = Pairing { client: host(98), server: host(99) };
    let table = [
        // A PC has no groups; a PS no clients.
        (PC, PS, Message::GroupIs(told_group(1))),
        (PS, PC, Message::List(part(1))),
        (PC, PS, Message::List(ListPart { group: Some(group("web")), ..part(1) })),
        // A second hello, and one of the same side.
        (PC, PS, Message::Hello(Hello { side: Side::Client, sequence: 0, seen: 0, group_gen: 0 })),
        // A Primary speaks for its own pairings alone.
        (PC, SC[0], Message::MemberGroup(MemberGroup { pairing: other, group: told_group(1) })),
        // A Secondary asks for its own addresses alone, and tells nobody anything.
        (SC[0], PC, Message::Poll(poll)),
        (SC[0], PC, Message::Welcome(Welcome { addresses: vec![] })),
        (PC, SC[0], Message::Welcome(Welcome { addresses: vec![client(0).1; 17] })),
    ];
    for (from, to, message) in table {
        let mut network = topology(1, mode);
        network.hand_over(host(from), host(to), message.encode().as_bytes());
        assert_eq!(network.failures.len(), 1, "{message:?}");
        assert!(!network.is_connected(host(from), host(to)));
        // And nothing came of it.
        network.connect_all();
        network.pass(5);
        assert!(all_open(&network), "{message:?}");
    }
}

/// Both ends of a pairing say that they are the client: the configurations contradict each other.
#[test]
fn two_of_one_side_are_no_pairing() {
    let mut network = Network::new(1);
    for own in [PC, PS] {
        network.add_primary(host(own));
        let peer = host(if own == PC { PS } else { PC });
        network.primaries.get_mut(&host(own)).unwrap().primary.add_pairing(peer, Side::Client).unwrap();
    }
    network.connect(host(PC), host(PS));
    network.quiet();
    assert!(network.failures.iter().any(|(_, failure)| *failure == Failure::Bounds("side")));
}
