// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! docs/protocol.md, section 9: two ends negotiate over real TLS sessions in memory, undisturbed and disturbed.
//! Each test is named after the requirement it shows.

mod common;

use common::exchange::{client_local, edit, run, server_local, tampered, CLIENT, SERVER};
use common::key;
use common::tls::{session, ClientExporter, ServerExporter};
use pdmv2::negotiate::message::{Message, Status};
use pdmv2::negotiate::{suites, system_entropy, Client, Failure, Local, Reason, Role, Server, Step};
use pdmv2_proto::suite::{Aead, Kdf, Kem, Suite};

#[test]
fn both_ends_hold_the_same_secret() {
    let outcome = tampered(|_, message| message);
    let (client, server) = (outcome.client_installed.unwrap(), outcome.server_installed.unwrap());
    assert!(outcome.client_done && outcome.server_activated);
    assert_eq!(client.shared_secret, server.shared_secret);
    assert_eq!(client.salt, server.salt);
    assert_eq!(client.shared_secret.as_bytes().len(), 32);
    assert_eq!((client.suite, client.profile), (server.suite, server.profile));
    assert_eq!((client.generation, server.generation), (1, 1));
    assert_eq!((client.lifetime, server.lifetime), (7200, 7200));
    assert_eq!((client.peer_idle, server.peer_idle), (900, 300));
    assert_eq!((client.role, server.role), (Role::Client, Role::Server));
    assert_eq!(outcome.messages.len(), 6);
}

#[test]
fn every_suite_can_be_negotiated() {
    let tls = session(&key(CLIENT), &key(SERVER));
    assert_eq!(suites::all().len(), 18);
    for suite in suites::all() {
        let client = Local { suites: vec![suite], ..client_local() };
        let outcome = run(client, server_local(), &tls, &tls, |_, message| message);
        let (client, server) = (outcome.client_installed.unwrap(), outcome.server_installed.unwrap());
        assert!(outcome.client_done && outcome.server_activated, "{suite}");
        assert_eq!((client.suite, server.suite), (suite, suite));
        assert_eq!(client.shared_secret, server.shared_secret, "{suite}");
        assert_eq!(Some(client.shared_secret.as_bytes().len()), suite.hash_len(), "{suite}");
    }
}

#[test]
fn x_wing_is_preferred_when_both_have_it_and_the_servers_order_decides() {
    use Kem::{XWing, P256, X25519};
    let tls = session(&key(CLIENT), &key(SERVER));
    let of = |kems: &[Kem]| suites::of(kems, &Kdf::ALL, &Aead::ALL);
    let table: [(&[Kem], &[Kem], Kem); 7] = [
        (&Kem::ALL, &Kem::ALL, XWing),
        // Unless the server's configuration says otherwise, whatever the client's.
        (&[P256, X25519, XWing], &Kem::ALL, XWing),
        (&[X25519, XWing], &Kem::ALL, XWing),
        (&Kem::ALL, &[X25519, XWing], X25519),
        (&[XWing, P256], &[X25519, P256, XWing], P256),
        // Where one end does not have it.
        (&[P256, X25519], &Kem::ALL, X25519),
        (&Kem::ALL, &[P256], P256),
    ];
    for (ours, theirs, expected) in table {
        let client = Local { suites: of(ours), ..client_local() };
        let server = Local { suites: of(theirs), ..server_local() };
        let outcome = run(client, server, &tls, &tls, |_, message| message);
        let suite = Suite { kem: expected.number(), ..Suite::DEFAULT };
        assert_eq!(outcome.client_installed.unwrap().suite, suite, "{ours:?} {theirs:?}");
        assert_eq!(outcome.server_installed.unwrap().suite, suite, "{ours:?} {theirs:?}");
    }
    // KDF and AEAD likewise.
    let client = Local { suites: suites::of(&Kem::ALL, &Kdf::ALL, &Aead::ALL), ..client_local() };
    let (kdfs, aeads) = ([Kdf::HkdfSha512, Kdf::HkdfSha256], [Aead::ChaCha20Poly1305, Aead::Aes128Gcm]);
    let server = Local { suites: suites::of(&[X25519], &kdfs, &aeads), ..server_local() };
    let outcome = run(client, server, &tls, &tls, |_, message| message);
    assert_eq!(outcome.client_installed.unwrap().suite, Suite { kem: 0x20, kdf: 3, aead: 3 });
}

#[test]
fn every_negotiation_has_its_own_secret() {
    let (one, two) = (tampered(|_, m| m), tampered(|_, m| m));
    assert_ne!(one.client_installed.unwrap().shared_secret, two.client_installed.unwrap().shared_secret);
    // pkR is made for the negotiation alone.
    let pk_r = |outcome: &[Vec<u8>]| match Message::decode(&outcome[1]) {
        Ok(Message::Choice(choice)) => choice.pk_r,
        other => panic!("{other:?}"),
    };
    assert_ne!(pk_r(&one.messages), pk_r(&two.messages));
}

#[test]
fn a_pair_master_secret_has_its_own_label_and_both_ends_must_mean_it() {
    use pdmv2::negotiate::binding::secret_label;
    use pdmv2::negotiate::Purpose::{Master, Pair};
    assert_eq!(secret_label(Pair), b"PDMv2 SharedSecret");
    assert_eq!(secret_label(Master), b"PDMv2 PairMasterSecret");
    for (ours, theirs) in [(Pair, Pair), (Master, Master), (Pair, Master), (Master, Pair)] {
        let tls = session(&key(CLIENT), &key(SERVER));
        let client = Local { purpose: ours, ..client_local() };
        let server = Local { purpose: theirs, ..server_local() };
        let outcome = run(client, server, &tls, &tls, |_, message| message);
        if ours == theirs {
            let (client, server) = (outcome.client_installed.unwrap(), outcome.server_installed.unwrap());
            assert_eq!((client.purpose, server.purpose), (ours, ours));
            assert_eq!(client.shared_secret, server.shared_secret);
        } else {
            let refused = Some(Failure::Refused(Reason::Bounds));
            outcome.installs_nothing().fails(refused, Some(Failure::Bounds("purpose")));
        }
    }
    // Nor can anybody on the way change it.
    let outcome = tampered(edit(1, |message| {
        if let Message::Offer(offer) = message {
            offer.purpose = Some(Master as u8);
        }
    }));
    assert_eq!(outcome.server_failure, Some(Failure::Bounds("purpose")));
    outcome.installs_nothing();
}

#[test]
fn generation_is_one_more_than_the_last_known_to_either() {
    for (client, server, expected) in [(0, 0, 1), (5, 3, 6), (3, 5, 6), (7, 7, 8)] {
        let tls = session(&key(CLIENT), &key(SERVER));
        let client = Local { last_generation: client, ..client_local() };
        let server = Local { last_generation: server, ..server_local() };
        let outcome = run(client, server, &tls, &tls, |_, message| message);
        assert_eq!(outcome.client_installed.unwrap().generation, expected);
        assert_eq!(outcome.server_installed.unwrap().generation, expected);
    }
    let tls = session(&key(CLIENT), &key(SERVER));
    let client = Local { last_generation: u64::MAX, ..client_local() };
    let outcome = run(client, server_local(), &tls, &tls, |_, message| message);
    outcome.installs_nothing().fails(Some(Failure::Refused(Reason::Bounds)), Some(Failure::Bounds("generation")));
}

#[test]
fn anything_altered_in_m1_or_m2_fails_when_m3_opens() {
    type Change = fn(&mut Message);
    let table: [(&str, usize, Change); 5] = [
        ("m1 random", 1, |m| {
            if let Message::Offer(m) = m {
                m.random[0] ^= 1
            }
        }),
        ("m1 idle", 1, |m| {
            if let Message::Offer(m) = m {
                m.idle += 1
            }
        }),
        ("m1 generation", 1, |m| {
            if let Message::Offer(m) = m {
                m.last_generation += 1
            }
        }),
        ("m2 random", 2, |m| {
            if let Message::Choice(m) = m {
                m.random[31] ^= 1
            }
        }),
        ("m2 generation", 2, |m| {
            if let Message::Choice(m) = m {
                m.generation += 1
            }
        }),
    ];
    for (name, place, change) in table {
        let outcome = tampered(edit(place, change));
        assert_eq!(outcome.server_failure, Some(Failure::NotOpened), "{name}");
        outcome.installs_nothing();
    }
}

#[test]
fn what_was_not_offered_is_not_accepted() {
    type Change = fn(&mut Message);
    let table: [(Change, Failure); 6] = [
        (
            |m| {
                if let Message::Choice(m) = m {
                    m.suite.aead = 0xffff
                }
            },
            Failure::NotOffered,
        ),
        (
            |m| {
                if let Message::Choice(m) = m {
                    m.profile = 3
                }
            },
            Failure::NotOffered,
        ),
        (
            |m| {
                if let Message::Choice(m) = m {
                    m.generation = 0
                }
            },
            Failure::Bounds("generation"),
        ),
        (
            |m| {
                if let Message::Choice(m) = m {
                    m.idle = 0
                }
            },
            Failure::Bounds("idle lifetime"),
        ),
        (
            |m| {
                if let Message::Choice(m) = m {
                    m.pk_r = vec![0; 32]
                }
            },
            Failure::Key,
        ),
        (
            |m| {
                if let Message::Choice(m) = m {
                    m.pk_r.truncate(31)
                }
            },
            Failure::Key,
        ),
    ];
    for (change, failure) in table {
        tampered(edit(2, change)).installs_nothing().fails(Some(failure), None);
    }
}

#[test]
fn unknown_suites_are_skipped() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let unknown = Suite { kem: 0xfffe, kdf: 0xfffe, aead: 0xfffe };
    let client = Local { suites: vec![unknown, Suite::DEFAULT], ..client_local() };
    let outcome = run(client, server_local(), &tls, &tls, |_, message| message);
    assert_eq!(outcome.client_installed.unwrap().suite, Suite::DEFAULT);
}

#[test]
fn without_a_common_suite_m4_says_so() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let client = Local { suites: vec![Suite { kem: 0xfffe, ..Suite::DEFAULT }], ..client_local() };
    let outcome = run(client, server_local(), &tls, &tls, |_, message| message);
    outcome.installs_nothing().fails(Some(Failure::Refused(Reason::NoCommonSuite)), Some(Failure::NoCommonSuite));
}

#[test]
fn a_damaged_m3_does_not_open() {
    type Change = fn(&mut Message);
    let table: [(Change, Failure); 5] = [
        (
            |m| {
                if let Message::Encap(m) = m {
                    m.sealed[0] ^= 1
                }
            },
            Failure::NotOpened,
        ),
        (
            |m| {
                if let Message::Encap(m) = m {
                    m.sealed.truncate(15)
                }
            },
            Failure::NotOpened,
        ),
        (
            |m| {
                if let Message::Encap(m) = m {
                    m.enc[0] ^= 1
                }
            },
            Failure::NotOpened,
        ),
        (
            |m| {
                if let Message::Encap(m) = m {
                    m.enc = vec![0; 32]
                }
            },
            Failure::Key,
        ),
        (
            |m| {
                if let Message::Encap(m) = m {
                    m.enc.push(0)
                }
            },
            Failure::Key,
        ),
    ];
    for (change, failure) in table {
        let outcome = tampered(edit(3, change));
        assert_eq!(outcome.server_failure, Some(failure));
        outcome.installs_nothing();
    }
}

#[test]
fn lifetimes_out_of_bounds_are_refused() {
    for lifetime in [0, 30 * 86_400 + 1, u32::MAX] {
        let tls = session(&key(CLIENT), &key(SERVER));
        let client = Local { lifetime, ..client_local() };
        let outcome = run(client, server_local(), &tls, &tls, |_, message| message);
        outcome.installs_nothing().fails(Some(Failure::Refused(Reason::Bounds)), Some(Failure::Bounds("lifetime")));
    }
}

#[test]
fn a_forged_m4_installs_nothing_on_the_client() {
    let forge =
        |confirm: Option<[u8; 32]>, reason| move |m: &mut Message| *m = Message::Status(Status { confirm, reason });
    let outcome = tampered(edit(4, forge(Some([0; 32]), None)));
    assert!(outcome.client_installed.is_none() && !outcome.server_activated);
    assert_eq!(outcome.client_failure, Some(Failure::Confirmation));
    let outcome = tampered(edit(4, forge(None, Some(6))));
    assert!(outcome.client_installed.is_none());
    assert_eq!(outcome.client_failure, Some(Failure::Refused(Reason::Install)));
    let outcome = tampered(edit(4, forge(None, Some(99))));
    assert_eq!(outcome.client_failure, Some(Failure::RefusedUnknown(99)));
}

#[test]
fn m4_is_bound_to_m3() {
    // An m4 of another negotiation proves nothing here.
    let old = tampered(|_, message| message).messages[3].clone();
    let outcome = tampered(move |at, message| if at == 4 { old.clone() } else { message });
    assert_eq!(outcome.client_failure, Some(Failure::Confirmation));
    assert!(outcome.client_installed.is_none());
}

#[test]
fn a_forged_m5_activates_nothing_on_the_server() {
    let outcome = tampered(edit(5, |m| {
        if let Message::Installed(m) = m {
            m.confirm[31] ^= 1
        }
    }));
    assert!(!outcome.server_activated);
    assert_eq!(outcome.server_failure, Some(Failure::Confirmation));
}

#[test]
fn m5_is_repeated_until_acknowledged_and_answered_each_time() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let (client_tls, server_tls) = (ClientExporter(&tls.client), ServerExporter(&tls.server));
    let mut rng = system_entropy();
    let (mut client, m1) = Client::start(client_local(), &mut rng);
    let mut server = Server::new(server_local());
    assert!(client.installed().is_none() && server.installed().is_none());
    let Ok(Step::Send(m2)) = server.receive(&m1, &server_tls, &mut rng) else { panic!() };
    let Ok(Step::Send(m3)) = client.receive(&m2, &client_tls, &mut rng) else { panic!() };
    let Ok(Step::Install(_)) = server.receive(&m3, &server_tls, &mut rng) else { panic!() };
    let m4 = server.installed().unwrap();
    let Ok(Step::Install(_)) = client.receive(&m4, &client_tls, &mut rng) else { panic!() };
    let m5 = client.installed().unwrap();
    assert_eq!(client.installed().as_ref(), Some(&m5));
    for _ in 0..3 {
        let Ok(Step::Activate(acknowledged)) = server.receive(&m5, &server_tls, &mut rng) else { panic!() };
        drop(acknowledged);
    }
    let Ok(Step::Activate(acknowledged)) = server.receive(&m5, &server_tls, &mut rng) else { panic!() };
    assert!(matches!(client.receive(&acknowledged, &client_tls, &mut rng), Ok(Step::Done)));
    assert!(client.installed().is_none());
}

#[test]
fn malformed_messages_end_the_negotiation() {
    for place in 1..=6 {
        for (name, damage) in [
            ("truncated", (|m: Vec<u8>| m[..m.len() - 1].to_vec()) as fn(Vec<u8>) -> Vec<u8>),
            ("trailing", |m| [m, vec![0]].concat()),
            ("oversized", |_| vec![0; 16 * 1024 + 1]),
            ("empty", |_| vec![]),
            ("unknown version", |mut m| {
                m[1] = 2;
                m
            }),
            ("unknown type", |mut m| {
                m[2] = 9;
                m
            }),
        ] {
            let outcome = tampered(|at, message| if at == place { damage(message) } else { message });
            let failure = outcome.client_failure.or(outcome.server_failure);
            assert!(failure.is_some(), "m{place} {name}");
            assert!(place > 3 || outcome.server_installed.is_none(), "m{place} {name}");
            assert!(place > 4 || outcome.client_installed.is_none(), "m{place} {name}");
            assert!(place > 5 || !outcome.server_activated, "m{place} {name}");
            if name == "unknown version" {
                assert!(
                    outcome.client_failure == Some(Failure::Version(2))
                        || outcome.server_failure == Some(Failure::Version(2))
                );
            }
        }
    }
}

#[test]
fn messages_out_of_turn_are_refused() {
    let good = tampered(|_, message| message).messages;
    for place in 1..=6usize {
        for (other, message) in good.iter().enumerate().filter(|(other, _)| other + 1 != place) {
            let outcome = tampered(|at, own| if at == place { message.clone() } else { own });
            let failure = if place % 2 == 1 { outcome.server_failure } else { outcome.client_failure };
            assert_eq!(failure, Some(Failure::Unexpected(other as u8 + 1)), "m{} for m{place}", other + 1);
        }
    }
}

#[test]
fn after_a_failure_nothing_is_taken_any_more() {
    let tls = session(&key(CLIENT), &key(SERVER));
    let mut rng = system_entropy();
    let (_, m1) = Client::start(client_local(), &mut rng);
    let mut server = Server::new(server_local());
    assert!(server.receive(&[0], &ServerExporter(&tls.server), &mut rng).is_err());
    assert!(server.receive(&m1, &ServerExporter(&tls.server), &mut rng).is_err());
}
