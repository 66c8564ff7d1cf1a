// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What is kept over a restart, and a store that fails.

use pdmv2::registration::error::ChangeError;
use pdmv2::registration::group::Mode;
use pdmv2::registration::message::Message;
use pdmv2::registration::primary::{Alert, Primary};
use pdmv2::registration::store::EmbeddedStore;

use super::network::{group, host, p, Network};
use super::{all_open, client, server, topology, BY_CLIENT, DERIVED, PC, PS};

#[test]
fn lists_groups_generations_and_leases_survive_a_restart() {
    let mut network = topology(1, BY_CLIENT);
    network.change_servers(host(PS), host(PC), "web", &[], &["fd00:5::/64"]);
    network.set_group(host(PS), host(PC), "open", Mode::NoProtection);
    network.change_servers(host(PS), host(PC), "open", &[], &["fd00:6::/64"]);
    network.pass(1);
    for (own, peer) in [(PC, PS), (PS, PC)] {
        let before = network.primaries[&host(own)].primary.roster(&host(peer)).unwrap().clone();
        let last = network.primaries[&host(own)].primary.last_generation(&host(peer));
        network.restart_primary(host(own), None);
        let after = network.primaries[&host(own)].primary.roster(&host(peer)).unwrap();
        if own == PC {
            assert_eq!(after.clients, before.clients);
        } else {
            assert_eq!(after.groups, before.groups);
        }
        assert_eq!((last, network.primaries[&host(own)].primary.last_generation(&host(peer))), (1, 1));
    }
    network.connect_all();
    network.pass(130);
    assert!(all_open(&network));
}

#[test]
fn no_secret_is_ever_in_the_store() {
    for mode in DERIVED {
        let network = topology(1, mode);
        let dumps = [PC, PS].map(|primary| network.primaries[&host(primary)].store.dump());
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for master in &network.masters {
            secrets.extend([&master.salt, &master.shared_secret].map(|secret| secret.as_bytes().to_vec()));
        }
        for (_, message) in &network.delivered {
            match Message::decode(message) {
                Ok(Message::Secrets(told)) => {
                    secrets.extend(told.shared.iter().map(|secret| secret.as_bytes().to_vec()));
                    secrets.extend(told.own.iter().map(|own| own.secret.as_bytes().to_vec()));
                }
                Ok(Message::Answer(answer)) => secrets.extend(answer.secret.iter().map(|s| s.as_bytes().to_vec())),
                _ => {}
            }
        }
        for host in network.secondaries.values() {
            secrets.extend(host.module.values().map(|held| held.prk.secret().as_bytes().to_vec()));
        }
        assert!(secrets.len() > 8);
        for secret in secrets {
            // Not even a part of one.
            for part in secret.windows(8) {
                assert!(dumps.iter().all(|dump| !dump.windows(8).any(|window| window == part)), "{mode:?}");
            }
        }
    }
}

/// Whatever is being written when the store fails, nothing of it was given to anybody, and all is well once it works.
#[test]
fn a_store_that_fails_at_any_write_has_granted_nothing() {
    let mut told = 0;
    for failing in [PC, PS] {
        for commits in 0..12 {
            let mut network = Network::new(commits);
            for primary in [PC, PS] {
                network.add_primary(host(primary));
            }
            network.pair(host(PC), host(PS));
            network.primaries[&host(failing)].store.fail_after(commits);
            let (ps, pc) = (host(PS), host(PC));
            let web = group("web");
            let list = |texts: [&str; 2]| texts.map(p).to_vec();
            let servers = list(["fd00:5::1", "fd00:5::2"]);
            let clients = list(["fd00:c::1", "fd00:c::2"]);
            let configure = |network: &mut Network| {
                let made = network.with_primary(ps, |primary, now| {
                    primary.set_group(&pc, &web, Mode::TrustedServers, now)?;
                    primary.change_servers(&pc, &web, &[], &servers, now)
                });
                let listed = network.with_primary(pc, |primary, now| primary.change_clients(&ps, &[], &clients, now));
                (made, listed)
            };
            let (made, listed) = configure(&mut network);
            for (outcome, primary) in [(made, PS), (listed, PC)] {
                assert!(outcome.is_ok() || matches!(outcome, Err(ChangeError::Store(_))) && primary == failing);
            }
            for n in 0..2 {
                network.add_secondary(client(n).0, 16);
                network.enrol(client(n).0, host(PC), &[client(n).1]);
                network.add_secondary(server(n).0, 16);
                network.enrol(server(n).0, host(PS), &[server(n).1]);
            }
            network.pass(70);
            // What a Secondary holds of epochs its Primary's store knows of.
            for primary in [PC, PS] {
                let dump = network.primaries[&host(primary)].store.dump();
                for n in 0..2 {
                    let (key, address) = if primary == PC { client(n) } else { server(n) };
                    for (name, held) in &network.secondaries[&key].module {
                        let Some(range) = held.sends else { continue };
                        let end = range.end.to_be_bytes();
                        let record = [b"lease/".as_slice(), &name.pms, &address.octets(), &end].concat();
                        assert!(
                            dump.windows(record.len()).any(|window| window == record),
                            "{failing} {commits}: {range:?} was given and is not in the store"
                        );
                    }
                }
            }
            let alerts = &network.primaries[&host(failing)].alerts;
            told += usize::from(alerts.iter().any(|alert| matches!(alert, Alert::Store(_))));
            network.primaries[&host(failing)].store.work_again();
            let (made, listed) = configure(&mut network);
            assert_eq!((made, listed), (Ok(()), Ok(())));
            network.pass(240);
            assert!(all_open(&network), "{failing} {commits}");
        }
    }
    assert!(told > 4, "the operator is told: {told}");
}

#[test]
fn an_operators_change_that_is_not_stored_is_not_made() {
    let mut network = topology(1, Mode::TrustedServers);
    for primary in [PC, PS] {
        network.primaries[&host(primary)].store.fail_after(0);
    }
    let roster = |network: &Network, own: u8, peer: u8| {
        network.primaries[&host(own)].primary.roster(&host(peer)).unwrap().clone()
    };
    let before = (roster(&network, PC, PS), roster(&network, PS, PC));
    let (pc, ps, web) = (host(PC), host(PS), group("web"));
    let outcomes = [
        network.with_primary(pc, |x, now| x.change_clients(&ps, &[p("fd00:c::1")], &[p("fd00:c::9")], now)),
        network.with_primary(ps, |x, now| x.change_servers(&pc, &web, &[p("fd00:5::1")], &[], now)),
        network.with_primary(ps, |x, now| x.set_group(&pc, &web, BY_CLIENT, now)),
        network.with_primary(ps, |x, now| x.set_group(&pc, &group("new"), BY_CLIENT, now)),
        network.with_primary(ps, |x, now| x.remove_group(&pc, &web, now)),
    ];
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(ChangeError::Store(_)))), "{outcomes:?}");
    network.pass(5);
    assert_eq!((roster(&network, PC, PS), roster(&network, PS, PC)), before);
    assert!(all_open(&network));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_changed() {
    let mut network = topology(1, Mode::TrustedServers);
    let (pc, ps, web) = (host(PC), host(PS), group("web"));
    network.set_group(ps, pc, "other", Mode::TrustedServers);
    let overlap = network.with_primary(ps, |x, now| {
        x.change_servers(&pc, &group("other"), &[], &[p("fd00:9::1"), p("fd00:5::/64")], now)
    });
    assert!(matches!(overlap, Err(ChangeError::List(_))));
    let link_local = network.with_primary(pc, |x, now| x.change_clients(&ps, &[], &[p("fe80::1")], now));
    assert!(matches!(link_local, Err(ChangeError::List(_))));
    for (outcome, expected) in [
        (network.with_primary(pc, |x, now| x.change_servers(&ps, &web, &[], &[], now)), ChangeError::NotOurs),
        (network.with_primary(pc, |x, now| x.set_group(&ps, &web, BY_CLIENT, now)), ChangeError::NotOurs),
        (network.with_primary(ps, |x, now| x.change_clients(&pc, &[], &[], now)), ChangeError::NotOurs),
        (network.with_primary(ps, |x, now| x.change_servers(&pc, &group("no"), &[], &[], now)), ChangeError::NoGroup),
        (network.with_primary(ps, |x, now| x.change_clients(&host(9), &[], &[], now)), ChangeError::NoPairing),
        (network.with_primary(pc, |x, now| x.add_member(host(99), &[client(0).1], now)), ChangeError::Address),
        (network.with_primary(pc, |x, now| x.add_member(host(99), &[], now)), ChangeError::Address),
    ] {
        assert_eq!(outcome, Err(expected));
    }
    network.pass(5);
    assert!(all_open(&network));
}

#[test]
fn a_primary_runs_on_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registration.redb");
    let (pc, web) = (host(PC), group("web"));
    let open = || {
        let mut primary = Primary::open(host(PS), Box::new(EmbeddedStore::open(&path).unwrap())).unwrap();
        primary.add_pairing(pc, pdmv2::registration::group::Side::Server).unwrap();
        primary
    };
    let now = std::time::Duration::ZERO;
    let mut primary = open();
    primary.set_group(&pc, &web, BY_CLIENT, now).unwrap();
    primary.change_servers(&pc, &web, &[], &[p("fd00:5::/64"), p("fd00:6::1")], now).unwrap();
    primary.change_servers(&pc, &web, &[p("fd00:6::1")], &[], now).unwrap();
    let before = primary.roster(&pc).unwrap().clone();
    assert_eq!((before.groups[&web].group_gen, before.groups[&web].servers.len()), (2, 1));
    drop(primary);
    assert_eq!(open().roster(&pc), Some(&before));
}
