// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Every mode, and hosts in several lists.

use std::net::Ipv6Addr;

use pdmv2::registration::group::Mode;
use pdmv2::registration::secondary::Wanted;

use super::network::{a, host, p, Network};
use super::{all_open, client, server, topology, BY_CLIENT, BY_SERVER, DERIVED, PC, PS};

#[test]
fn in_every_derived_mode_every_pair_has_the_same_secret_at_both_ends() {
    for mode in DERIVED {
        for seed in 0..10 {
            let network = topology(seed, mode);
            assert!(all_open(&network), "{mode:?} {seed}");
            assert_eq!(network.failures, []);
            // Four secrets for four pairs, or one for each client that trusts the servers.
            let mut prks: Vec<Vec<u8>> = Vec::new();
            for c in 0..2 {
                for s in 0..2 {
                    let (_, held) = network.sends(client(c).0, client(c).1, server(s).1).unwrap();
                    prks.push(held.prk.secret().as_bytes().to_vec());
                }
            }
            prks.sort();
            prks.dedup();
            assert_eq!(prks.len(), if mode == Mode::TrustedServers { 2 } else { 4 });
        }
    }
}

#[test]
fn every_kdf_serves() {
    use pdmv2_proto::suite::Suite;
    for kdf in [1, 3] {
        for mode in DERIVED {
            let mut network = topology(1, mode);
            network.suite = Suite { kdf, ..Suite::DEFAULT };
            network.with_primary(host(PC), |primary, now| primary.forked(now));
            network.pass(70);
            assert!(all_open(&network), "{mode:?} {kdf}");
            let (_, held) = network.sends(client(0).0, client(0).1, server(0).1).unwrap();
            assert_eq!(held.prk.suite().kdf, kdf);
        }
    }
}

#[test]
fn in_identity_based_each_host_gets_its_own_keys_and_pairs_agree_by_themselves() {
    let mut network = topology(1, Mode::IdentityBased);
    assert!(all_open(&network));
    let keys = |network: &Network, key| {
        let identities = &network.secondaries[&key].identities;
        assert_eq!(identities.len(), 1);
        let identity = identities.values().next().unwrap().clone();
        assert_eq!(identity.client_parameters, host(PC).0);
        assert_eq!(identity.server_parameters, host(PS).0);
        identity.keys.iter().map(|held| (held.address, held.period)).collect::<Vec<_>>()
    };
    for (key, own) in [client(0), client(1), server(0), server(1)] {
        assert_eq!(keys(&network, key), [(own, 0), (own, 1)]);
    }
    network.with_primary(host(PS), |primary, now| primary.advance_period(&host(PC), now)).unwrap();
    network.quiet();
    for (key, own) in [client(0), client(1), server(0), server(1)] {
        assert_eq!(keys(&network, key), [(own, 1), (own, 2)]);
    }
    // A host that reboots agrees anew: what it agreed on never comes again, and no epochs are leased for it.
    let before = network.sends(client(0).0, client(0).1, server(0).1).unwrap().1;
    network.restart_secondary(client(0).0);
    network.restart_secondary(server(0).0);
    network.connect_all();
    network.pass(2);
    assert!(super::pair_opens(&network, 0, 0));
    let after = network.sends(client(0).0, client(0).1, server(0).1).unwrap().1;
    assert!(before.prk != after.prk && after.sends == Some(pdmv2::registration::lease::Range::ALL));
    // A renewal agrees on others, and so does a revocation.
    network.with_primary(host(PC), |primary, now| primary.forked(now));
    network.pass(130);
    assert!(super::pair_opens(&network, 0, 0));
    network.change_servers(host(PS), host(PC), "web", &["fd00:5::2"], &[]);
    network.pass(5);
    assert!(super::pair_opens(&network, 0, 0));
    assert!(
        network.secondaries[&server(1).0].identities.is_empty() && network.secondaries[&server(1).0].module.is_empty()
    );
    assert_eq!(network.failures, []);
}

#[test]
fn without_protection_the_lists_are_an_access_list_and_there_is_no_secret() {
    let network = topology(1, Mode::NoProtection);
    for n in 0..2 {
        for ((key, own), remotes) in [(client(n), [server(0).1, server(1).1]), (server(n), [client(0).1, client(1).1])]
        {
            let host = &network.secondaries[&key];
            assert!(host.module.is_empty());
            let expected: Vec<_> = remotes.iter().map(|remote| (own, (*remote).into())).collect();
            assert_eq!(host.access, expected);
        }
    }
}

#[test]
fn protected_groups_permit_nothing_in_plain() {
    for mode in DERIVED {
        let network = topology(1, mode);
        assert!(network.secondaries.values().all(|host| host.access.is_empty()));
    }
}

#[test]
fn prefixes_serve_hosts_that_ask_when_packets_come() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.change_clients(host(PC), host(PS), &["fd00:c::1", "fd00:c::2"], &["fd00:c::/32"]);
        network.change_servers(host(PS), host(PC), "web", &["fd00:5::1", "fd00:5::2"], &["fd00:5::/32"]);
        network.pass(5);
        assert!(network.secondaries.values().all(|host| host.module.is_empty()));
        for (from, to) in [(client(0), server(1)), (server(1), client(0))] {
            assert_eq!(network.want(from.0, from.1, to.1), Wanted::Listed);
        }
        network.pass(5);
        assert!(network.opens(client(0), server(1)) && network.opens(server(1), client(0)), "{mode:?}");
        assert!(!network.opens(client(0), server(0)));
        // Not from an address that is not its own, nor to one that is not listed, nor to one of its own side.
        for (key, local, remote) in [
            (client(0).0, client(1).1, server(1).1),
            (client(0).0, client(0).1, a("fd00:9::1")),
            (client(0).0, client(0).1, client(1).1),
            (server(0).0, server(0).1, server(1).1),
        ] {
            assert_eq!(network.want(key, local, remote), Wanted::NotListed, "{local} {remote}");
        }
        // Packets no longer come.
        let (key, local) = client(0);
        network.with_secondary(key, |secondary, now, chance| secondary.unwant(local, server(1).1, now, chance));
        assert!(network.held(key, local, server(1).1).is_empty());
    }
}

#[test]
fn lists_change_at_any_time() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.change_clients(host(PC), host(PS), &["fd00:c::2"], &[]);
        network.quiet();
        assert!(super::pair_opens(&network, 0, 0) && super::pair_opens(&network, 0, 1));
        assert!(network.secondaries[&client(1).0].module.is_empty());
        assert!(network.held(server(0).0, server(0).1, client(1).1).is_empty());
        network.change_clients(host(PC), host(PS), &[], &["fd00:c::2"]);
        network.pass(90);
        assert!(all_open(&network), "{mode:?}");
    }
}

/// One host, client in one list and server in another: fd00:b::1 and fd00:b::2 are on both, with both Primaries.
fn both_sides(mode: Mode) -> Network {
    let mut network = topology(1, mode);
    network.change_clients(host(PC), host(PS), &[], &["fd00:b::/64"]);
    network.change_servers(host(PS), host(PC), "web", &[], &["fd00:b::/64"]);
    for n in [31, 32] {
        network.add_secondary(host(n), 16);
        let address = a(&format!("fd00:b::{}", n - 30));
        network.enrol(host(n), host(PC), &[address]);
        network.enrol(host(n), host(PS), &[address]);
    }
    network.pass(5);
    network
}

#[test]
fn of_two_hosts_on_both_lists_the_lower_is_the_client() {
    for mode in DERIVED {
        let mut network = both_sides(mode);
        let (low, high) = ((host(31), a("fd00:b::1")), (host(32), a("fd00:b::2")));
        network.want(low.0, low.1, high.1);
        network.want(high.0, high.1, low.1);
        network.pass(5);
        assert!(network.opens(low, high) && network.opens(high, low), "{mode:?}");
        // The same hosts are servers of one client and clients of one server.
        for (one, other) in [(client(0), high), (server(0), low)] {
            network.want(one.0, one.1, other.1);
            network.want(other.0, other.1, one.1);
            network.pass(5);
            assert!(network.opens(one, other) && network.opens(other, one), "{mode:?}");
        }
    }
}

/// Two more Primaries, with which the same hosts form another pairing.
fn two_pairings(modes: [Mode; 2], lists: [(&str, &str); 2]) -> Network {
    let mut network = Network::new(7);
    for (n, (mode, (clients, servers))) in modes.into_iter().zip(lists).enumerate() {
        let (pc, ps) = (host(1 + 2 * n as u8), host(2 + 2 * n as u8));
        network.add_primary(pc);
        network.add_primary(ps);
        network.pair(pc, ps);
        network.set_group(ps, pc, "web", mode);
        network.change_servers(ps, pc, "web", &[], &[servers]);
        network.change_clients(pc, ps, &[], &[clients]);
    }
    for n in 0..2 {
        network.add_secondary(client(n).0, 0);
        network.add_secondary(server(n).0, 0);
        for pairing in 0..2u8 {
            network.enrol(client(n).0, host(1 + 2 * pairing), &[client(n).1]);
            network.enrol(server(n).0, host(2 + 2 * pairing), &[server(n).1]);
        }
    }
    network.pass(5);
    for c in 0..2 {
        for s in 0..2 {
            network.want(client(c).0, client(c).1, server(s).1);
            network.want(server(s).0, server(s).1, client(c).1);
        }
    }
    network.pass(30);
    network
}

#[test]
fn of_two_pairings_both_ends_use_the_closest_and_receive_under_both() {
    let (wide, narrow) = (("fd00:c::/32", "fd00:5::/32"), ("fd00:c::/48", "fd00:5::/48"));
    let skewed = [("fd00:c::/48", "fd00:5::/32"), ("fd00:c::/32", "fd00:5::/48")];
    for modes in [[Mode::TrustedServers; 2], [BY_CLIENT, BY_SERVER], [Mode::TrustedServers, BY_CLIENT]] {
        for (lists, to_server, to_client) in [
            ([wide, narrow], Some(1), Some(1)),
            ([narrow, wide], Some(0), Some(0)),
            // "The longest remote prefix": each end has its own.
            (skewed, Some(1), Some(0)),
            // A tie.
            ([wide, wide], None, None),
        ] {
            let network = two_pairings(modes, lists);
            assert!(all_open(&network), "{modes:?} {lists:?}");
            for (from, to, expected) in [(client(0), server(1), to_server), (server(1), client(0), to_client)] {
                let held = network.held(from.0, from.1, to.1);
                assert_eq!(held.len(), 2, "both are received under");
                let (name, _) = network.sends(from.0, from.1, to.1).unwrap();
                if let Some(expected) = expected {
                    assert_eq!(name.pairing.client, host(1 + 2 * expected), "{lists:?}");
                }
            }
            let there = network.sends(client(0).0, client(0).1, server(1).1).unwrap().0;
            let back = network.sends(server(1).0, server(1).1, client(0).1).unwrap().0;
            if to_server == to_client {
                assert_eq!(there.pairing, back.pairing);
            }
        }
    }
}

#[test]
fn what_one_pairing_protects_no_other_makes_plain() {
    let lists = [("fd00:c::/32", "fd00:5::/32"); 2];
    for modes in [[Mode::NoProtection, Mode::TrustedServers], [BY_CLIENT, Mode::NoProtection]] {
        let network = two_pairings(modes, lists);
        assert!(network.secondaries.values().all(|host| host.access.is_empty()));
        assert!(all_open(&network));
    }
    let apart = [("fd00:c::/32", "fd00:5::1"), ("fd00:c::/32", "fd00:5::2")];
    let network = two_pairings([Mode::NoProtection, Mode::TrustedServers], apart);
    assert_eq!(network.secondaries[&client(0).0].access, [(client(0).1, p("fd00:5::1"))]);
    assert!(super::pair_opens(&network, 0, 1) && !super::pair_opens(&network, 0, 0));
}

#[test]
fn a_request_only_chooses_among_the_addresses_of_the_record() {
    use pdmv2::registration::message::member::Join;
    use pdmv2::registration::message::Message;
    let mut network = topology(1, Mode::TrustedServers);
    let (thief, own) = client(0);
    let victim = client(1).1;
    for (asked, given) in [(vec![victim], vec![]), (vec![victim, own], vec![own]), (vec![], vec![own])] {
        network.disconnect(thief, host(PC));
        network.connect(thief, host(PC));
        network.quiet();
        let join = Message::Join(Join { addresses: asked, leases: vec![], lists: vec![] }).encode();
        let from = network.delivered.len();
        network.hand_over(thief, host(PC), join.as_bytes());
        network.quiet();
        let mut secrets: Vec<Ipv6Addr> = Vec::new();
        let mut welcomed = None;
        for (to, message) in &network.delivered[from..] {
            match Message::decode(message) {
                Ok(Message::Welcome(welcome)) if *to == thief => welcomed = Some(welcome.addresses),
                Ok(Message::Secrets(told)) if *to == thief => secrets.extend(told.own.iter().map(|own| own.address)),
                _ => {}
            }
        }
        assert_eq!(welcomed, Some(given.clone()));
        assert_eq!(secrets, given);
    }
}

#[test]
fn strangers_and_other_roles_are_told_nothing() {
    use pdmv2::registration::group::{Pairing, Side};
    use pdmv2::registration::message::member::{Acknowledge, Join, Prepared, WantEpochs};
    use pdmv2::registration::message::peer::{Hello, Sequence, Told};
    use pdmv2::registration::message::Message;
    let pairing = Pairing { client: host(PC), server: host(PS) };
    let messages = [
        Message::Join(Join { addresses: vec![], leases: vec![], lists: vec![] }),
        Message::Acknowledge(Acknowledge { revision: 1 }),
        Message::Prepared(Prepared { pairing, pms: [1; 8] }),
        Message::WantEpochs(WantEpochs { pms: [0; 8], address: client(0).1, end: 0 }),
        Message::Hello(Hello { side: Side::Client, sequence: 0, seen: 0, group_gen: 0 }),
        Message::Told(Told {}),
        Message::Sequence(Sequence { sequence: 9 }),
    ];
    for message in &messages {
        let bytes = message.encode();
        let mut network = topology(1, Mode::TrustedServers);
        // Whoever it is, TLS authenticated it; but it is nobody this host knows in that role.
        for stranger in [host(99), server(0).0] {
            network.with_primary(host(PC), |primary, now| {
                assert!(primary.receive(&stranger, bytes.as_bytes(), now).is_err(), "{message:?}");
                assert_eq!(primary.poll_output(), None);
            });
        }
        network.with_secondary(client(0).0, |secondary, now, chance| {
            assert!(secondary.receive(&host(99), bytes.as_bytes(), now, chance).is_err());
            assert!(secondary.receive(&host(PC), bytes.as_bytes(), now, chance).is_err(), "{message:?}");
            assert_eq!(secondary.poll_action(), None);
        });
    }
}

#[test]
fn a_cut_off_secondary_goes_on_until_its_secrets_expire_and_never_falls_back_to_plain() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.lifetime = 600;
        network.with_primary(host(PC), |primary, now| primary.forked(now));
        network.pass(130);
        for n in 0..2 {
            network.disconnect(client(n).0, host(PC));
            network.disconnect(server(n).0, host(PS));
        }
        network.no_negotiation = true;
        network.pass(300);
        assert!(all_open(&network), "{mode:?}");
        network.pass(300);
        assert!(network.secondaries.values().all(|host| host.module.is_empty() && host.access.is_empty()));
    }
}

#[test]
fn an_access_list_is_not_believed_for_ever() {
    let mut network = topology(1, Mode::NoProtection);
    network.no_negotiation = true;
    network.disconnect(client(0).0, host(PC));
    network.pass(60);
    assert!(!network.secondaries[&client(0).0].access.is_empty());
    network.now += std::time::Duration::from_secs(86_400);
    network.pass(1);
    assert!(network.secondaries[&client(0).0].access.is_empty());
}

#[test]
fn polls_are_for_listed_addresses_limited_and_refusals_are_remembered() {
    use pdmv2::registration::message::member::{Poll, Refusal};
    use pdmv2::registration::message::Message;
    let mut network = topology(1, BY_CLIENT);
    let (name, _) = network.sends(client(0).0, client(0).1, server(0).1).unwrap();
    let poll = Poll {
        pairing: name.pairing,
        pms: name.pms,
        group: name.group.clone(),
        group_gen: name.group_gen,
        own: client(0).1,
        remote: server(0).1,
    };
    let refusal = |network: &mut Network, from, to, poll: &Poll| {
        let bytes = Message::Poll(poll.clone()).encode();
        network.with_primary(to, |primary, now| {
            primary.receive(&from, bytes.as_bytes(), now).map(|()| loop {
                match primary.poll_output() {
                    Some(pdmv2::registration::primary::Output::Send { message, .. }) => {
                        let Ok(Message::Answer(answer)) = Message::decode(message.as_bytes()) else { continue };
                        assert_eq!(answer.secret.is_some(), answer.refusal.is_none());
                        break answer.refusal.and_then(Refusal::from_u8);
                    }
                    other => assert!(other.is_some(), "no answer"),
                }
            })
        })
    };
    let ask = |network: &mut Network, poll: &Poll| refusal(network, client(0).0, host(PC), poll);
    assert_eq!(ask(&mut network, &poll), Ok(None));
    for (wrong, expected) in [
        (Poll { remote: a("fd00:5::9"), ..poll.clone() }, Refusal::NotListed),
        (Poll { remote: client(1).1, ..poll.clone() }, Refusal::NotListed),
        (Poll { group: super::network::group("other"), ..poll.clone() }, Refusal::NotListed),
        (Poll { group_gen: poll.group_gen + 1, ..poll.clone() }, Refusal::Stale),
        (Poll { pms: [9; 8], ..poll.clone() }, Refusal::Stale),
    ] {
        assert_eq!(ask(&mut network, &wrong), Ok(Some(expected)), "{wrong:?}");
    }
    // Another's address is no question at all; and the side that does not poll gets no pair's secret from its Primary.
    assert!(ask(&mut network, &Poll { own: client(1).1, ..poll.clone() }).is_err());
    let other_side = Poll { own: server(0).1, remote: client(0).1, ..poll.clone() };
    assert_eq!(refusal(&mut network, server(0).0, host(PS), &other_side), Ok(Some(Refusal::NotListed)));
    // However often it asks, it is answered so often and no more.
    let answers: Vec<_> = (0..1000).map(|_| ask(&mut network, &poll).unwrap()).collect();
    let given = answers.iter().filter(|refusal| refusal.is_none()).count();
    assert!((100..=256).contains(&given), "{given}");
    assert_eq!(answers.last(), Some(&Some(Refusal::Busy)));
}
