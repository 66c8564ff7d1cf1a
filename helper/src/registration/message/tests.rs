// SPDX-License-Identifier: GPL-2.0-only OR MIT

use std::net::Ipv6Addr;

use pdmv2_proto::suite::Suite;
use proptest::prelude::*;

use super::member::{
    Acknowledge, Activate, AddressSecret, Answer, Grant, Granted, HeldLease, HeldList, Identity, IdentityKey, Join,
    MemberGone, MemberGroup, MemberList, Poll, Prepare, Prepared, Refusal, Secrets, Synced, WantEpochs, Welcome,
};
use super::peer::{Generator, GroupGone, GroupIs, Hello, ListPart, Progress, Sequence, Told};
use super::*;
use crate::hex;
use crate::identity::PublicKey;
use crate::registration::group::{GroupName, Pairing, Side};
use crate::registration::lease::Range;
use crate::registration::lists::{List, LIST_MAX};

fn samples() -> Vec<Message> {
    let pairing = Pairing { client: PublicKey([1; 32]), server: PublicKey([2; 32]) };
    let name = GroupName::new("web").unwrap();
    let (one, two): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let group = GroupIs { name: name.clone(), mode: 2, poller: Some(0), group_gen: 7 };
    let prefixes: Vec<Prefix> = ["fd00::1", "::/0", "fd00::/9"].iter().map(|text| text.parse().unwrap()).collect();
    let part = ListPart {
        group: None,
        anew: true,
        removed: vec![],
        added: prefixes.clone(),
        digest: Some([3; 32]),
        returns: 4,
    };
    let grant = Grant { address: one, range: Range::new(0, 128) };
    let secret = Secret::new(vec![9; 32]);
    let poll = Poll { pairing, pms: [4; 8], group: name.clone(), group_gen: 7, own: one, remote: two };
    vec![
        Message::Hello(Hello { side: Side::Server, sequence: u64::MAX, seen: 0, group_gen: 7 }),
        Message::GroupIs(group.clone()),
        Message::GroupIs(GroupIs { mode: 1, poller: None, ..group.clone() }),
        Message::GroupGone(GroupGone { name: name.clone() }),
        Message::List(part.clone()),
        Message::List(ListPart {
            group: Some(name.clone()),
            anew: false,
            removed: prefixes,
            added: vec![],
            digest: None,
            returns: 0,
        }),
        Message::Told(Told {}),
        Message::Progress(Progress { pms: [4; 8], ready: false, waiting: 2, stragglers: vec![one, two] }),
        Message::Sequence(Sequence { sequence: 3 }),
        Message::Generator(Generator { parameters: vec![1; 97], period: 5 }),
        Message::Welcome(Welcome { addresses: vec![one] }),
        Message::MemberGroup(MemberGroup { pairing, group }),
        Message::MemberGone(MemberGone { pairing, group: None }),
        Message::MemberList(MemberList { pairing, part }),
        Message::Prepare(Prepare {
            pairing,
            generation: 2,
            pms: [4; 8],
            suite: Suite::DEFAULT.into(),
            profile: 2,
            lifetime: 86_400,
            grants: vec![grant.clone(), Grant { address: two, range: None }],
        }),
        Message::Secrets(Secrets {
            pairing,
            pms: [4; 8],
            group: name.clone(),
            group_gen: 7,
            shared: Some(secret.clone()),
            own: vec![AddressSecret { address: one, secret: secret.clone() }],
        }),
        Message::Activate(Activate { pairing, pms: [4; 8] }),
        Message::Synced(Synced { revision: 1, later: vec![pairing] }),
        Message::Granted(Granted { pms: [4; 8], grant }),
        Message::Answer(Answer { poll: poll.clone(), secret: Some(secret), refusal: None }),
        Message::Answer(Answer { poll: poll.clone(), secret: None, refusal: Some(Refusal::Busy as u8) }),
        Message::Identity(Identity {
            pairing,
            client_parameters: vec![1; 97],
            server_parameters: vec![2; 97],
            period: 5,
            keys: vec![IdentityKey { address: one, period: 5, key: Secret::new(vec![9; 48]) }],
        }),
        Message::Join(Join {
            addresses: vec![one],
            leases: vec![HeldLease { pms: [4; 8], address: one, end: 128 }],
            lists: vec![HeldList { pairing, group: Some(name), digest: [3; 32] }],
        }),
        Message::Acknowledge(Acknowledge { revision: 1 }),
        Message::Prepared(Prepared { pairing, pms: [4; 8] }),
        Message::WantEpochs(WantEpochs { pms: [4; 8], address: one, end: 128 }),
        Message::Poll(poll),
    ]
}

#[test]
fn round_trip_and_deterministic() {
    for message in samples() {
        let bytes = message.encode();
        assert_eq!(Message::decode(bytes.as_bytes()).as_ref(), Ok(&message));
        assert_eq!(message.clone().encode(), bytes);
        assert!(is_registration(bytes.as_bytes()), "{message:?}");
    }
    let mut numbers: Vec<u8> = samples().iter().map(Message::number).collect();
    numbers.dedup();
    assert_eq!(numbers, (16..=23).chain(32..=42).chain(48..=52).collect::<Vec<_>>());
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    for message in samples() {
        let bytes = message.encode();
        for len in 0..bytes.as_bytes().len() {
            assert!(Message::decode(&bytes.as_bytes()[..len]).is_err(), "{message:?} cut to {len}");
        }
        assert_eq!(Message::decode(&[bytes.as_bytes(), &[0]].concat()), Err(Failure::Malformed));
    }
}

#[test]
fn bytes_of_some_messages() {
    for (message, bytes) in [
        (Message::Told(Told {}), "830114a0"),
        (Message::Sequence(Sequence { sequence: 3 }), "830116a10003"),
        (
            Message::Hello(Hello { side: Side::Server, sequence: 24, seen: 0, group_gen: 7 }),
            "830110a4000101181802000307",
        ),
        (
            Message::List(ListPart {
                group: None,
                anew: true,
                removed: vec![],
                added: vec!["fd00::/9".parse().unwrap(), "::/0".parse().unwrap()],
                digest: None,
                returns: 0,
            }),
            "830113a401f5028003824309fd0041000500",
        ),
    ] {
        assert!(
            hex::encode(message.encode().as_bytes()).starts_with(bytes),
            "{}",
            hex::encode(message.encode().as_bytes())
        );
    }
}

#[test]
fn refusals() {
    let table: [(&str, Failure); 9] = [
        ("", Failure::Length(0)),
        ("00", Failure::Malformed),
        ("830214a0", Failure::Version(2)),
        ("83021863a0", Failure::Version(2)),
        ("83011818a0", Failure::Malformed),
        ("830101a0", Failure::Malformed),
        ("820114", Failure::Malformed),
        // A prefix of 129 bits; one with bits after its length.
        ("830113a401f50281428180038004f6", Failure::Malformed),
        ("830113a301f50281420101038 0", Failure::Malformed),
    ];
    for (text, failure) in table {
        let bytes = hex::decode(&text.replace(' ', "")).unwrap();
        assert_eq!(Message::decode(&bytes), Err(failure), "{text}");
    }
    assert_eq!(Message::decode(&[0; MESSAGE_MAX + 1]), Err(Failure::Length(MESSAGE_MAX + 1)));
    let pairing = Pairing { client: PublicKey([1; 32]), server: PublicKey([2; 32]) };
    let (own, remote) = (Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    let poll = Poll { pairing, pms: [4; 8], group: GroupName::new("g").unwrap(), group_gen: 1, own, remote };
    for (secret, refusal) in [(None, None), (Some(Secret::zeroed(32)), Some(1))] {
        let both = Message::Answer(Answer { poll: poll.clone(), secret, refusal });
        assert_eq!(Message::decode(both.encode().as_bytes()), Err(Failure::Malformed));
    }
    for len in [0, SECRET_MAX + 1] {
        let long = Message::Answer(Answer { poll: poll.clone(), secret: Some(Secret::zeroed(len)), refusal: None });
        assert_eq!(Message::decode(long.encode().as_bytes()), Err(Failure::Malformed));
    }
}

#[test]
fn no_secret_is_printed() {
    for message in samples() {
        let shown = format!("{message:?}");
        assert!(!shown.contains("9, 9, 9"), "{shown}");
    }
}

#[test]
fn a_huge_claimed_count_costs_nothing() {
    // A list whose prefixes claim to be 2^64 - 1.
    let bytes = hex::decode("830113a20 1f5029bffffffffffffffff".replace(' ', "").as_str()).unwrap();
    assert_eq!(Message::decode(&bytes), Err(Failure::Malformed));
}

#[test]
fn the_longest_list_is_told_in_parts_that_fit() {
    let prefix = |n: usize| Prefix::from(Ipv6Addr::from_bits((0xfd00 << 112) | n as u128));
    let full = List::of((0..LIST_MAX).map(prefix)).unwrap();
    let other = List::of((LIST_MAX..2 * LIST_MAX).map(prefix)).unwrap();
    for (older, list, parts) in
        [(None, &full, 8), (Some(&full), &other, 16), (Some(&full), &full, 1), (None, &List::default(), 1)]
    {
        let told = list_parts(None, older, list);
        assert_eq!(told.len(), parts);
        let mut heard = older.cloned().unwrap_or_default();
        for part in &told {
            assert!(Message::List(part.clone()).encode().as_bytes().len() <= MESSAGE_MAX);
            part.removed.iter().for_each(|prefix| assert!(heard.remove(prefix)));
            part.added.iter().for_each(|prefix| assert_eq!(heard.add(*prefix), Ok(true)));
        }
        assert_eq!(told.last().unwrap().digest, Some(heard.digest()));
        assert_eq!(&heard, list);
    }
}

proptest! {
    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&bytes);
        let _ = is_registration(&bytes);
    }

    #[test]
    fn no_damage_panics(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let samples = samples();
        let message = &samples[which.index(samples.len())];
        let mut bytes = message.encode().as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = Message::decode(&bytes) {
            // What was read is what is written.
            prop_assert_eq!(Message::decode(other.encode().as_bytes()), Ok(other));
        }
    }
}
