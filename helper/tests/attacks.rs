// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! docs/protocol.md, section 9: what somebody between two ends, or a peer that is not honest, may try. Each attempt fails,
//! and neither end installs anything.

mod common;

use common::exchange::{client_local, edit, run, server_local, tampered, CLIENT, SERVER};
use common::tls::{session, ClientExporter, ServerExporter};
use common::{key, public};
use pdmv2::negotiate::message::{Message, WireSuite, OFFER_MAX};
use pdmv2::negotiate::{suites, system_entropy, Client, Failure, Local, Reason, Server, Step};
use pdmv2_proto::suite::{Kem, Suite};

/// A third host, that both know.
const THIRD: u8 = 3;

type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

const NOT_OPENED: (Option<Failure>, Option<Failure>) =
    (Some(Failure::Refused(Reason::NotOpened)), Some(Failure::NotOpened));

#[test]
fn a_relay_to_another_session_fails_when_m3_opens() {
    let (one, two) = (session(&key(CLIENT), &key(SERVER)), session(&key(CLIENT), &key(SERVER)));
    let outcome = run(client_local(), server_local(), &one, &two, |_, message| message);
    outcome.installs_nothing().fails(Some(Failure::Refused(Reason::NotOpened)), Some(Failure::NotOpened));
}

#[test]
fn another_identity_than_the_one_meant_fails_when_m3_opens() {
    let tls = session(&key(CLIENT), &key(SERVER));
    for (client, server) in [
        (Local { peer: public(3), ..client_local() }, server_local()),
        (client_local(), Local { peer: public(3), ..server_local() }),
        (Local { identity: public(SERVER), peer: public(CLIENT), ..client_local() }, server_local()),
    ] {
        let outcome = run(client, server, &tls, &tls, |_, message| message);
        outcome.installs_nothing().fails(Some(Failure::Refused(Reason::NotOpened)), Some(Failure::NotOpened));
    }
}

/// "relaying to another identity": a host that both know hands on every message between its two sessions.
#[test]
fn a_relay_by_a_third_identity_fails_when_m3_opens() {
    let (to_third, from_third) = (session(&key(CLIENT), &key(THIRD)), session(&key(THIRD), &key(SERVER)));
    let client = Local { peer: public(THIRD), ..client_local() };
    let server = Local { peer: public(THIRD), ..server_local() };
    let outcome = run(client, server, &to_third, &from_third, |_, message| message);
    outcome.installs_nothing().fails(NOT_OPENED.0, NOT_OPENED.1);
}

#[test]
fn removing_the_best_suite_from_an_offer_fails_when_m3_opens() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let best = Suite { kem: 0x647a, ..Suite::DEFAULT };
    let client = Local { suites: vec![best, Suite::DEFAULT], ..client_local() };
    let remove = edit(1, |message| {
        let Message::Offer(offer) = message else { panic!() };
        assert_eq!(offer.suites.remove(0), WireSuite::from(best));
    });
    let outcome = run(client, server_local(), &tls, &tls, remove);
    outcome.installs_nothing().fails(Some(Failure::Refused(Reason::NotOpened)), Some(Failure::NotOpened));
}

#[test]
fn removing_any_suites_from_an_offer_fails_when_m3_opens() {
    for left in 1..suites::all().len() {
        let outcome = tampered(edit(1, |message| {
            let Message::Offer(offer) = message else { panic!() };
            offer.suites.drain(..left);
        }));
        outcome.installs_nothing().fails(NOT_OPENED.0, NOT_OPENED.1);
    }
}

#[test]
fn reordering_an_offer_fails_when_m3_opens() {
    for turn in [1, 6, 17] {
        let outcome = tampered(edit(1, |message| {
            let Message::Offer(offer) = message else { panic!() };
            offer.suites.rotate_left(turn);
        }));
        outcome.installs_nothing().fails(NOT_OPENED.0, NOT_OPENED.1);
    }
    // Nor may anything be put before it, known or not.
    let outcome = tampered(edit(1, |message| {
        let Message::Offer(offer) = message else { panic!() };
        offer.suites.insert(0, WireSuite { kem: 0xfffe, kdf: 0xfffe, aead: 0xfffe });
    }));
    outcome.installs_nothing().fails(NOT_OPENED.0, NOT_OPENED.1);
}

/// Every suite but the chosen one, put in its place in m2. All were offered, so that the client goes on; with another KEM
/// pkR is no key, or one that m3 does not open for.
#[test]
fn another_suite_in_m2_fails() {
    let tls = session(&key(CLIENT), &key(SERVER));
    for chosen in Kem::ALL.map(|kem| Suite { kem: kem.number(), ..Suite::DEFAULT }) {
        for other in suites::all().into_iter().filter(|other| *other != chosen) {
            let server = Local { suites: vec![chosen], ..server_local() };
            let swap = edit(2, |message| {
                let Message::Choice(choice) = message else { panic!() };
                assert_eq!(choice.suite, WireSuite::from(chosen));
                choice.suite = other.into();
            });
            let outcome = run(client_local(), server, &tls, &tls, swap);
            match other.kem == chosen.kem {
                true => outcome.installs_nothing().fails(NOT_OPENED.0, NOT_OPENED.1),
                false => outcome.installs_nothing().fails(Some(Failure::Key), None),
            }
        }
    }
}

/// A key that cannot be one, or another's, for each KEM.
#[test]
fn another_public_or_encapsulated_key_fails() {
    let tls = session(&key(CLIENT), &key(SERVER));
    for suite in Kem::ALL.map(|kem| Suite { kem: kem.number(), ..Suite::DEFAULT }) {
        let attempt = |place, change: Change<'_>| {
            let client = Local { suites: vec![suite], ..client_local() };
            let swap = edit(place, |message| match message {
                Message::Choice(choice) => change(&mut choice.pk_r),
                Message::Encap(encap) => change(&mut encap.enc),
                _ => panic!(),
            });
            let outcome = run(client, server_local(), &tls, &tls, swap);
            outcome.installs_nothing();
            (outcome.client_failure, outcome.server_failure)
        };
        let wrong_length: [Change<'_>; 3] = [&|key| key.truncate(31), &|key| key.push(0), &|key| key.clear()];
        for change in wrong_length {
            assert_eq!(attempt(2, change), (Some(Failure::Key), None), "{suite}");
            assert_eq!(attempt(3, change), (Some(Failure::Refused(Reason::Malformed)), Some(Failure::Key)), "{suite}");
        }
        // One's own key in place of the server's: what is encapsulated for it does not open there.
        let mut entropy = system_entropy();
        let (_, own) = pdmv2::negotiate::crypto::Recipient::generate(suite, &mut entropy).unwrap();
        assert_eq!(attempt(2, &|key| key.clone_from(&own)), NOT_OPENED, "{suite}");
        // An altered bit: another key or none, and in X-Wing's ciphertext another secret.
        let (_, refused) = attempt(3, &|key| *key.last_mut().unwrap() ^= 1);
        assert!(matches!(refused, Some(Failure::NotOpened | Failure::Key)), "{suite}: {refused:?}");
    }
}

#[test]
fn another_profile_fails() {
    use pdmv2_proto::uapi::Profile;
    let tls = session(&key(CLIENT), &key(SERVER));
    for (place, profiles) in [(1, vec![3]), (1, vec![3, 2]), (2, vec![3])] {
        let both = vec![Profile::V2, Profile::V2Kri];
        let client = Local { profiles: both.clone(), ..client_local() };
        let server = Local { profiles: both, ..server_local() };
        let swap = edit(place, |message| match message {
            Message::Offer(offer) => offer.profiles.clone_from(&profiles),
            Message::Choice(choice) => choice.profile = profiles[0],
            _ => panic!(),
        });
        run(client, server, &tls, &tls, swap).installs_nothing().fails(NOT_OPENED.0, NOT_OPENED.1);
    }
}

#[test]
fn a_replayed_m3_does_not_open() {
    let old = tampered(|_, message| message).messages[2].clone();
    let outcome = tampered(move |at, message| if at == 3 { old.clone() } else { message });
    outcome.installs_nothing().fails(Some(Failure::Refused(Reason::NotOpened)), Some(Failure::NotOpened));
}

/// All that a client said once, said again to its server; in another session, and even within the same one.
#[test]
fn a_whole_exchange_replayed_to_the_server_installs_nothing() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let recorded = run(client_local(), server_local(), &tls, &tls, |_, message| message);
    assert!(recorded.client_done && recorded.server_activated);
    for session in [&session(&key(CLIENT), &key(SERVER)), &tls] {
        let exporter = ServerExporter(&session.server);
        let mut entropy = system_entropy();
        let mut server = Server::new(server_local());
        let [m1, _, m3, _, m5, _] = recorded.messages.as_slice() else { panic!() };
        assert!(matches!(server.receive(m1, &exporter, &mut entropy), Ok(Step::Send(_))));
        assert!(matches!(server.receive(m3, &exporter, &mut entropy), Err(Failure::NotOpened)));
        assert!(matches!(server.receive(m5, &exporter, &mut entropy), Err(Failure::Unexpected(5))));
        assert!(server.installed().is_none());
    }
}

/// All that a server said once, said again to its client.
#[test]
fn a_whole_exchange_replayed_to_the_client_installs_nothing() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let recorded = run(client_local(), server_local(), &tls, &tls, |_, message| message);
    for session in [&session(&key(CLIENT), &key(SERVER)), &tls] {
        let exporter = ClientExporter(&session.client);
        let mut entropy = system_entropy();
        let (mut client, _) = Client::start(client_local(), &mut entropy);
        let [_, m2, _, m4, _, acknowledged] = recorded.messages.as_slice() else { panic!() };
        assert!(matches!(client.receive(m2, &exporter, &mut entropy), Ok(Step::Send(_))));
        assert!(matches!(client.receive(m4, &exporter, &mut entropy), Err(Failure::Confirmation)));
        assert!(matches!(client.receive(acknowledged, &exporter, &mut entropy), Err(Failure::Unexpected(6))));
        assert!(client.installed().is_none());
        // Once the client knows of that generation, it does not even answer.
        let (mut client, _) = Client::start(Local { last_generation: 1, ..client_local() }, &mut entropy);
        let refused = client.receive(m2, &exporter, &mut entropy);
        assert!(matches!(refused, Err(Failure::Bounds("generation"))), "{refused:?}");
    }
}

#[test]
fn an_offer_has_bounds() {
    let tls = session(&key(CLIENT), &key(SERVER));
    for (count, fits) in [(1, true), (OFFER_MAX, true), (OFFER_MAX + 1, false), (0, false)] {
        let client = Local { suites: vec![Suite::DEFAULT; count], ..client_local() };
        let outcome = run(client, server_local(), &tls, &tls, |_, message| message);
        if fits {
            assert!(outcome.client_done, "{count}");
        } else {
            outcome.installs_nothing().fails(Some(Failure::Refused(Reason::Malformed)), Some(Failure::Malformed));
        }
    }
}

/// "Nothing a peer says widens them": no message has a place for prefixes, and what is added to a body is left aside.
#[test]
fn prefixes_that_a_peer_adds_to_an_offer_are_left_aside() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let mut entropy = system_entropy();
    let (_, m1) = Client::start(client_local(), &mut entropy);
    // A map of five becomes one of six, with ["::/0"] under 9.
    assert_eq!(m1[3], 0xa5);
    let mut claiming = m1;
    claiming[3] = 0xa6;
    claiming.extend([0x09, 0x81, 0x64, b':', b':', b'/', b'0']);
    let Ok(Message::Offer(_)) = Message::decode(&claiming) else { panic!() };
    let mut server = Server::new(server_local());
    let answer = server.receive(&claiming, &ServerExporter(&tls.server), &mut entropy);
    assert!(matches!(answer, Ok(Step::Send(_))));
    // Put there by somebody else, they are in T, and m3 does not open.
    let outcome = tampered(|at, mut message| {
        if at == 1 {
            message[3] = 0xa6;
            message.extend([0x09, 0x81, 0x64, b':', b':', b'/', b'0']);
        }
        message
    });
    outcome.installs_nothing().fails(NOT_OPENED.0, NOT_OPENED.1);
}
