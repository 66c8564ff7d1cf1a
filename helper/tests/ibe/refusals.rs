// SPDX-License-Identifier: GPL-2.0-only OR MIT

use std::net::{Ipv6Addr, SocketAddrV6};

use pdmv2::negotiate::system_entropy;
use pdmv2::registration::ibe::bf::{Refused, CIPHERTEXT_LEN, G2_LEN};
use pdmv2::registration::ibe::limits::{ANSWERS_MAX, COOKIES_MAX};
use pdmv2::registration::ibe::message::{Answer, Confirm, Cookie, Init, Message};
use pdmv2::registration::ibe::{Generator, Identity, Keys, Path, Refusal, Role, PORT};
use pdmv2_proto::suite::Suite;

use crate::world::*;

/// All that a host can be sent unasked.
fn unasked(host: &mut Host) -> Vec<Message> {
    let generators = host.lists.generators;
    let session = [9; 16];
    let confirm = Confirm { session, generators, confirm: [1; 32] };
    vec![
        Message::Cookie(Cookie { session, generators, cookie: [1; 32] }),
        Message::Answer(Answer { session, generators, generation: 1, ciphertext: [1; 160], confirm: [1; 32] }),
        Message::Confirm(confirm.clone()),
        Message::Installed(confirm),
    ]
}

/// "no answer to an address not on the list"
#[test]
fn a_stranger_gets_nothing() {
    let [mut client, mut server] = hosts();
    let stranger = path(SERVER, Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xbad));
    let elsewhere = path(Ipv6Addr::LOCALHOST, CLIENT);
    let mut all = unasked(&mut server);
    all.push(Message::Init(forged_init(&mut client, [1; 160], 1)));
    for message in all {
        for path in [stranger, elsewhere] {
            assert_eq!(server.receive_on(path, &message.encode(), at(0)), Err(Refusal::Stranger), "{message:?}");
        }
    }
    let mut other = forged_init(&mut client, [1; 160], 1);
    other.generators = [0; 16];
    assert_eq!(server.receive(&Message::Init(other).encode(), at(0)), Err(Refusal::Stranger));
    assert!(server.is_untouched());
    server.lists.peers.clear();
    assert_eq!(server.start(at(0)), Err(Refusal::Stranger));
}

#[test]
fn what_nobody_asked_for_does_nothing() {
    let [_, mut server] = hosts();
    for message in unasked(&mut server) {
        let number = message.number();
        assert_eq!(server.receive(&message.encode(), at(0)), Err(Refusal::Unexpected(number)));
    }
    assert!(server.is_untouched());
}

/// What two ends hold that do not belong together: the name, what is changed, and which refusal ends the exchange.
#[test]
fn what_does_not_belong_together_installs_nothing() {
    type Change = fn(&mut Host, &mut Host, &Primaries);
    let not_opened = Refusal::Encapsulation(Refused::NotOpened);
    let table: Vec<(&str, Change, Refusal)> = vec![
        ("both are clients", |_, server, _| server.entry().role = Role::Client, Refusal::Role),
        ("another KDF", |_, server, _| server.entry().suite = Suite { kdf: 3, ..Suite::DEFAULT }, Refusal::Suite),
        ("another AEAD", |client, _, _| client.entry().suite = Suite { aead: 3, ..Suite::DEFAULT }, Refusal::Suite),
        ("a period two later", |_, server, _| server.entry().period += 2, Refusal::Period(PERIOD)),
        ("a period two earlier", |_, server, _| server.entry().period -= 2, Refusal::Period(PERIOD)),
        ("no key of the server", |_, server, _| server.entry().keys = Keys::default(), Refusal::NoKey(PERIOD)),
        ("no key of the client", |client, _, _| client.entry().keys = Keys::default(), Refusal::NoKey(PERIOD)),
        ("the client's last generation", |c, _, _| c.entry().last_generation = u64::MAX, Refusal::Generation),
        ("the server's last generation", |_, s, _| s.entry().last_generation = u64::MAX, Refusal::Generation),
        (
            "parameters of another Primary Server",
            |client, _, _| client.entry().peer_parameters = Primaries::new().server.parameters().clone(),
            not_opened,
        ),
        (
            "parameters of another Primary Client",
            |_, server, _| server.entry().peer_parameters = Primaries::new().client.parameters().clone(),
            not_opened,
        ),
        (
            "the server's key is of another address",
            |_, server, primaries| add_key(server, primaries, Role::Server, Ipv6Addr::LOCALHOST),
            not_opened,
        ),
        (
            "the client's key is of another address",
            |client, _, primaries| add_key(client, primaries, Role::Client, Ipv6Addr::LOCALHOST),
            not_opened,
        ),
        (
            "the server's key is of another generator",
            |_, server, _| add_key(server, &Primaries::new(), Role::Server, SERVER),
            not_opened,
        ),
        (
            "the server's key is of the other role",
            |_, server, primaries| {
                // The same master key under the other role.
                let server_as_client = Primaries {
                    client: Generator::restore(Role::Client, &primaries.server.master()).unwrap(),
                    ..Primaries::new()
                };
                add_key(server, &server_as_client, Role::Client, SERVER);
            },
            not_opened,
        ),
    ];
    let primaries = Primaries::new();
    for (name, change, refusal) in table {
        let [mut client, mut server] = pair_of_hosts(&primaries);
        change(&mut client, &mut server, &primaries);
        assert_eq!(run(&mut client, &mut server, at(0)), Err(refusal), "{name}");
        assert!(client.installed.is_empty() && server.installed.is_empty(), "{name}");
    }
}

/// Gives a host a key that is not its own, as a thief has it: checked against whose it is, used as if it were the
/// host's.
fn add_key(host: &mut Host, primaries: &Primaries, role: Role, address: Ipv6Addr) {
    let mut stolen = Entry::new(primaries, role, address);
    std::mem::swap(&mut host.entry().keys, &mut stolen.keys);
}

/// A Secondary that is taken off the list in the middle of an exchange.
#[test]
fn who_is_taken_off_the_list_gets_no_further() {
    for gone in [0, 1, 2, 3, 4, 5] {
        let [mut client, mut server] = hosts();
        let mut next = client.start(at(0)).unwrap();
        for number in 0..=gone {
            let to = if number % 2 == 0 { &mut server } else { &mut client };
            if number == gone {
                to.lists.peers.clear();
                let installed = to.installed.len();
                assert_eq!(refusal_of(to, &next), Refusal::Stranger);
                assert_eq!(to.installed.len(), installed);
            } else if let Some(sent) = to.receive(&next, at(0)).unwrap() {
                next = sent;
            }
        }
    }
}

fn refusal_of(host: &mut Host, datagram: &[u8]) -> Refusal {
    host.receive(datagram, at(0)).unwrap_err()
}

/// "no answer to what does not decode", "truncated at every length"
#[test]
fn every_truncation_of_every_datagram_is_refused() {
    let [mut client, mut server] = hosts();
    let mut next = Some(client.start(at(0)).unwrap());
    for number in 0.. {
        let Some(datagram) = next else { break };
        let to = if number % 2 == 0 { &mut server } else { &mut client };
        for len in 0..datagram.len() {
            assert!(to.receive(&datagram[..len], at(0)).is_err(), "datagram {number} cut to {len}");
        }
        let longer = [datagram.as_slice(), &[0]].concat();
        assert_eq!(to.receive(&longer, at(0)), Err(Refusal::Malformed), "datagram {number}");
        let oversized = [datagram.as_slice(), &[0; 1232]].concat();
        assert_eq!(to.receive(&oversized, at(0)), Err(Refusal::Length(oversized.len())), "datagram {number}");
        // And none of that has disturbed it.
        next = to.receive(&datagram, at(0)).unwrap();
    }
    assert!(agree(&[client, server]));
}

/// Each byte of each datagram is damaged once: the exchange fails, or comes to the same as without.
#[test]
fn a_damaged_datagram_never_leaves_two_secrets() {
    let mut both = hosts();
    let mut now = 0;
    for damaged in 0..6u8 {
        let (mut refused, mut len) = (0, 1);
        let mut place = 0;
        while place < len {
            // Attempts, cookies and what is remembered are over.
            for host in &mut both {
                (now..now + 200).step_by(25).for_each(|now| drop(host.poll(at(now))));
                assert_eq!((host.exchanges.pairs(), host.exchanges.next()), (0, None));
            }
            now += 200;
            let before = [both[0].active, both[1].active];
            let [client, server] = &mut both;
            let outcome = run_with(client, server, at(now), |number, mut datagram| {
                if number == damaged {
                    len = datagram.len();
                    datagram[place] ^= 1 << (place % 8);
                }
                datagram
            });
            let after = [both[0].active, both[1].active];
            match outcome {
                Ok(_) => assert!(agree(&both) && after[0] > before[0], "m{damaged} byte {place}"),
                Err(_) => {
                    refused += 1;
                    // m5 alone is lost on the initiator only.
                    assert_eq!(after[0], before[0], "m{damaged} byte {place}");
                    assert!(after[1] == before[1] || damaged == 5, "m{damaged} byte {place}");
                }
            }
            // Ciphertext and padding in steps: bf.rs damages each byte of a ciphertext.
            place += if damaged < 2 && place > 60 { 7 } else { 1 };
        }
        // Of confirmations every byte counts: all but the map's heads are looked at.
        assert!(damaged < 3 || refused + 4 >= len, "m{damaged}: {refused} of {len}");
        assert!(damaged > 0 || refused > 0);
    }
}

/// "small-subgroup and non-canonical points, identity points"
#[test]
fn points_that_are_none_are_refused_in_both_directions() {
    let mut identity = [0; G2_LEN];
    identity[0] = 0xc0;
    let points = [("identity", identity), ("zeros", [0; G2_LEN]), ("ones", [0xff; G2_LEN])];
    // x = 0..255 without a part of u: on the curve or not, never of the group.
    let small = (0..=255u8).map(|x| {
        let mut point = [0; G2_LEN];
        (point[0], point[G2_LEN - 1]) = (0x80, x);
        ("small x", point)
    });
    let primaries = Primaries::new();
    for (name, point) in points.into_iter().chain(small.take(8)) {
        let [mut client, mut server] = pair_of_hosts(&primaries);
        let mut ciphertext = [0; CIPHERTEXT_LEN];
        ciphertext[..G2_LEN].copy_from_slice(&point);
        let refused = Err(Refusal::Encapsulation(Refused::Point));
        let init = forged_init(&mut client, ciphertext, 1);
        assert_eq!(knock(&mut server, init, at(0)), refused, "{name}");
        let changed = run_with(&mut client, &mut server, at(0), |number, datagram| match Message::decode(&datagram) {
            Ok(Message::Answer(answer)) if number == 3 => Message::Answer(Answer { ciphertext, ..answer }).encode(),
            _ => datagram,
        });
        assert_eq!(changed.map(|_| None), refused, "{name}");
        assert!(client.installed.is_empty() && server.installed.is_empty(), "{name}");
    }
}

/// "a stateless cookie before any pairing operation": what would not open is answered all the same, with a cookie
/// alone.
#[test]
fn without_a_good_cookie_nothing_is_opened_and_nothing_remembered() {
    let [mut client, mut server] = hosts();
    let here = server.path();
    let mut cookie = |host: &mut Host, path: Path, session: u8, now: u64| {
        let init = forged_init(&mut client, [1; 160], session);
        let sent = host.receive_on(path, &Message::Init(init).encode(), at(now)).unwrap().unwrap();
        let Ok(Message::Cookie(body)) = Message::decode(&sent.datagram) else { panic!() };
        body.cookie
    };
    let port = Path::new(SERVER, SocketAddrV6::new(CLIENT, PORT + 1, 0, 0));
    let neighbour = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xd);
    let entry = Entry::new(&Primaries::new(), Role::Server, SERVER);
    server.lists.peers.insert(neighbour, entry);
    let [_, mut rebooted] = hosts();
    rebooted.lists.generators = server.lists.generators;
    let table = [
        ("missing", None),
        ("made up", Some([7; 32])),
        ("of another port", Some(cookie(&mut server, port, 1, 1000))),
        ("of another address", Some(cookie(&mut server, path(SERVER, neighbour), 1, 1000))),
        ("of another session", Some(cookie(&mut server, here, 2, 1000))),
        ("of before a reboot", Some(cookie(&mut rebooted, here, 1, 1000))),
        ("good", Some(cookie(&mut server, here, 1, 1000))),
    ];
    let with = |client: &mut Host, cookie| {
        let mut init = forged_init(client, [1; 160], 1);
        init.cookie = cookie;
        Message::Init(init).encode()
    };
    for (name, cookie) in table {
        let sent = server.receive(&with(&mut client, cookie), at(1000));
        if name == "good" {
            assert_eq!(sent, Err(Refusal::Encapsulation(Refused::Point)));
            assert_eq!(server.exchanges.pairs(), 1);
        } else {
            let Ok(Message::Cookie(_)) = Message::decode(&sent.unwrap().unwrap()) else { panic!("{name}") };
            assert_eq!(server.exchanges.pairs(), 0, "{name}");
        }
    }
    // Stale: two buckets later it is as if it was missing.
    let [mut client, mut server] = hosts();
    let init = forged_init(&mut client, [1; 160], 1);
    let m2 = server.receive(&Message::Init(init).encode(), at(1000)).unwrap().unwrap();
    let Ok(Message::Cookie(body)) = Message::decode(&m2) else { panic!() };
    let again = with(&mut client, Some(body.cookie));
    let Ok(Message::Cookie(_)) = Message::decode(&server.receive(&again, at(1080)).unwrap().unwrap()) else { panic!() };
    assert_eq!(server.exchanges.pairs(), 0);
}

/// Who sees datagrams can send cookies and answers of its own: of neither is more than a few taken.
#[test]
fn cookies_and_answers_are_counted() {
    let [mut client, _] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let Ok(Message::Init(init)) = Message::decode(&m1) else { panic!() };
    let (session, generators) = (init.session, init.generators);
    let cookie = Message::Cookie(Cookie { session, generators, cookie: [1; 32] }).encode();
    for _ in 0..COOKIES_MAX {
        assert!(client.receive(&cookie, at(0)).unwrap().is_some());
    }
    assert_eq!(client.receive(&cookie, at(0)), Err(Refusal::Unexpected(2)));
    let answer = Answer { session, generators, generation: 1, ciphertext: init.ciphertext, confirm: [1; 32] };
    let answer = Message::Answer(answer).encode();
    for _ in 0..ANSWERS_MAX {
        assert_eq!(client.receive(&answer, at(0)), Err(Refusal::Encapsulation(Refused::NotOpened)));
    }
    assert_eq!(client.receive(&answer, at(0)), Err(Refusal::Unexpected(3)));
}

/// A forged answer that opens, as anybody can encapsulate: its confirmation is wrong, and the true one is still taken.
#[test]
fn a_forged_answer_does_not_end_the_exchange() {
    let [mut client, mut server] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    let Ok(Message::Answer(answer)) = Message::decode(&m3) else { panic!() };
    let id = Identity::new(&client.entry().parameters, Role::Client, CLIENT, PERIOD);
    let parameters = client.entry().parameters.clone();
    let (_, ciphertext) = parameters.encapsulate(id.as_bytes(), &mut system_entropy()).unwrap();
    let forged = [
        Answer { ciphertext, ..answer.clone() },
        Answer { generation: 2, ..answer.clone() },
        Answer { confirm: [0; 32], ..answer },
    ];
    for answer in forged {
        assert_eq!(client.receive(&Message::Answer(answer).encode(), at(0)), Err(Refusal::Confirmation));
    }
    // From another port it is not even looked at.
    let port = Path::new(CLIENT, SocketAddrV6::new(SERVER, PORT + 1, 0, 0));
    assert_eq!(client.receive_on(port, &m3, at(0)), Err(Refusal::Unexpected(3)));
    let m4 = client.receive(&m3, at(0)).unwrap().unwrap();
    let port = Path::new(SERVER, SocketAddrV6::new(CLIENT, PORT + 1, 0, 0));
    assert_eq!(server.receive_on(port, &m4, at(0)), Err(Refusal::Unexpected(4)));
    // Confirmations of other messages prove nothing.
    for number in [3, 5] {
        let Ok(Message::Confirm(confirm)) = Message::decode(&m4) else { panic!() };
        let Ok(Message::Answer(answer)) = Message::decode(&m3) else { panic!() };
        let confirm = if number == 3 { Confirm { confirm: answer.confirm, ..confirm } } else { confirm };
        let (host, message) = if number == 3 {
            (&mut server, Message::Confirm(confirm))
        } else {
            (&mut client, Message::Installed(confirm))
        };
        assert_eq!(host.receive(&message.encode(), at(0)), Err(Refusal::Confirmation));
    }
    let m5 = server.receive(&m4, at(0)).unwrap().unwrap();
    client.receive(&m5, at(0)).unwrap();
    assert!(agree(&[client, server]));
}

/// A second m1 of one session that is not the same m1, and one whose cookie is good elsewhere.
#[test]
fn one_session_has_one_m1() {
    let [mut client, mut server] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    let Ok(Message::Init(init)) = Message::decode(&m1) else { panic!() };
    let others = [
        Init { period: PERIOD + 1, ..init.clone() },
        Init { last_generation: 9, ..init.clone() },
        Init { ciphertext: [1; 160], ..init.clone() },
    ];
    for other in others {
        assert_eq!(server.receive(&Message::Init(other).encode(), at(0)), Err(Refusal::Replayed));
    }
    let port = Path::new(SERVER, SocketAddrV6::new(CLIENT, PORT + 1, 0, 0));
    let sent = server.receive_on(port, &m1, at(0)).unwrap().unwrap();
    let Ok(Message::Cookie(body)) = Message::decode(&sent.datagram) else { panic!() };
    let elsewhere = Message::Init(Init { cookie: Some(body.cookie), ..init.clone() }).encode();
    assert_eq!(server.receive_on(port, &elsewhere, at(0)), Err(Refusal::Replayed));
    // More padding is the same m1.
    let padded = Message::Init(Init { padding: vec![0; 600], ..init }).encode();
    assert_eq!(server.receive(&padded, at(0)), Ok(Some(m3)));
}

/// What the initiator knows when the answer comes counts, too.
#[test]
fn an_answer_of_a_generation_that_is_known_by_then_is_refused() {
    let [mut client, mut server] = hosts();
    let m1 = client.start(at(0)).unwrap();
    let m2 = server.receive(&m1, at(0)).unwrap().unwrap();
    let m1 = client.receive(&m2, at(0)).unwrap().unwrap();
    let m3 = server.receive(&m1, at(0)).unwrap().unwrap();
    client.entry().last_generation = 1;
    assert_eq!(client.receive(&m3, at(0)), Err(Refusal::Generation));
    client.entry().last_generation = 0;
    assert!(client.receive(&m3, at(0)).is_ok());
}
