// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Renewal of a PairMasterSecret: PREPARE and ACTIVATE.

use std::time::Duration;

use pdmv2::registration::group::Mode;
use pdmv2::registration::primary::{Alert, MasterState};

use super::network::{host, Network};
use super::{all_open, client, server, topology, DERIVED, PC, PS};

fn masters(network: &Network, primary: u8) -> Vec<MasterState> {
    let peer = if primary == PC { PS } else { PC };
    network.primaries[&host(primary)].primary.masters(&host(peer))
}

fn renew(network: &mut Network) {
    network.with_primary(host(PC), |primary, now| primary.forked(now));
}

/// Generations that the four pairs send under, both directions.
fn generations(network: &Network) -> Vec<u64> {
    let mut sent = Vec::new();
    for c in 0..2 {
        for s in 0..2 {
            for (from, to) in [(client(c), server(s)), (server(s), client(c))] {
                sent.push(network.sends(from.0, from.1, to.1).map_or(0, |(name, _)| name.generation));
            }
        }
    }
    sent.sort_unstable();
    sent.dedup();
    sent
}

#[test]
fn a_renewal_loses_nothing_whatever_is_delivered_when() {
    for mode in DERIVED {
        for seed in 0..20 {
            let mut network = topology(seed, mode);
            renew(&mut network);
            network.negotiate_due();
            // After each single message, and each second.
            for _ in 0..130 {
                loop {
                    assert!(all_open(&network), "{mode:?} {seed}");
                    if !network.deliver_one() {
                        break;
                    }
                }
                network.pass(1);
            }
            assert_eq!(generations(&network), [2]);
            // The older is gone everywhere.
            for host in network.secondaries.values() {
                assert!(host.module.keys().all(|name| name.generation == 2), "{mode:?}");
            }
            assert_eq!(masters(&network, PC).len(), 1);
            assert_eq!(network.failures, []);
        }
    }
}

#[test]
fn nothing_is_sent_under_a_new_secret_before_activate_or_an_option_under_it() {
    let mut network = topology(1, Mode::TrustedServers);
    // One that cannot be reached holds ACTIVATE up.
    network.disconnect(client(1).0, host(PC));
    renew(&mut network);
    network.pass(30);
    assert_eq!(generations(&network), [1]);
    for key in [client(0).0, server(0).0, server(1).0] {
        assert!(network.secondaries[&key].module.keys().any(|name| name.generation == 2), "prepared");
    }
    // One that sees an option under it sends under it to that host, and to no other.
    let prepared = network.held(server(0).0, server(0).1, client(0).1);
    let name = prepared.iter().find(|(name, _)| name.generation == 2).unwrap().0.clone();
    network.with_secondary(server(0).0, |secondary, now, chance| secondary.authenticated(&name, now, chance));
    assert_eq!(network.sends(server(0).0, server(0).1, client(0).1).unwrap().0.generation, 2);
    assert_eq!(network.sends(server(0).0, server(0).1, client(1).1).unwrap().0.generation, 1);
    assert!(all_open(&network));
    network.pass(40);
    assert_eq!(network.sends(server(0).0, server(0).1, client(1).1).unwrap().0.generation, 2);
    network.connect_all();
    network.pass(1);
    assert_eq!(generations(&network), [2]);
    assert!(all_open(&network));
}

/// What works is not given up for a secret that the other Primary may not have.
#[test]
fn a_secret_that_the_other_primary_does_not_hold_is_not_activated_and_another_is_negotiated() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.primaries[&host(PS)].store.fail_after(0);
        network.restart_primary(host(PC), None);
        network.connect_all();
        for _ in 0..100 {
            network.pass(1);
            assert!(all_open(&network), "{mode:?}");
        }
        network.primaries[&host(PS)].store.work_again();
        for _ in 0..250 {
            network.pass(1);
            assert!(all_open(&network), "{mode:?}");
        }
        assert_eq!(masters(&network, PC), masters(&network, PS));
        assert_eq!(masters(&network, PC).len(), 1);
    }
}

#[test]
fn stragglers_hold_a_renewal_up_for_60_s_and_are_named() {
    let mut network = topology(1, Mode::TrustedServers);
    network.disconnect(client(1).0, host(PC));
    renew(&mut network);
    network.pass(50);
    assert_eq!(
        masters(&network, PC).iter().filter(|master| master.active).map(|m| m.generation).collect::<Vec<_>>(),
        [1]
    );
    let stragglers = network.primaries[&host(PC)].primary.stragglers(&host(PS));
    assert_eq!(stragglers, [(client(1).0, vec![client(1).1])]);
    assert!(network.primaries[&host(PS)].primary.stragglers(&host(PC)).is_empty());
    network.pass(15);
    for primary in [PC, PS] {
        let states = masters(&network, primary);
        assert!(states.iter().any(|master| master.active && master.generation == 2), "{states:?}");
    }
    let named = Alert::Stragglers { peer: host(PS), generation: 2, addresses: vec![client(1).1] };
    assert!(network.primaries[&host(PC)].alerts.contains(&named));
    // It finds its way back by itself.
    network.pass(100);
    network.connect_all();
    network.pass(5);
    assert!(all_open(&network));
    assert_eq!(generations(&network), [2]);
}

#[test]
fn a_renewal_waits_for_the_other_primarys_secondaries_too() {
    let mut network = topology(1, Mode::TrustedServers);
    network.disconnect(client(1).0, host(PC));
    renew(&mut network);
    network.pass(30);
    // PS's own have all prepared.
    assert!(masters(&network, PS).iter().all(|master| master.generation != 2 || !master.active));
    network.connect_all();
    network.pass(2);
    assert!(masters(&network, PS).iter().any(|master| master.generation == 2 && master.active));
    assert!(all_open(&network));
}

#[test]
fn hosts_that_never_joined_are_not_waited_for() {
    let mut network = topology(1, Mode::TrustedServers);
    network.add_secondary(host(13), 0);
    network.change_clients(host(PC), host(PS), &[], &["fd00:c::3"]);
    network.enrol(host(13), host(PC), &["fd00:c::3".parse().unwrap()]);
    network.disconnect(host(13), host(PC));
    renew(&mut network);
    network.pass(3);
    assert!(masters(&network, PC).iter().any(|master| master.generation == 2 && master.active));
}

#[test]
fn a_secret_is_renewed_in_time() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.lifetime = 400;
        renew(&mut network);
        network.pass(120);
        let before = network.masters.len();
        for _ in 0..100 {
            network.pass(10);
            assert!(all_open(&network), "{mode:?} {:?}", network.now);
        }
        let renewed = network.masters.len() - before;
        assert!((2..=5).contains(&renewed), "{renewed}");
    }
}

/// A second one before the first was activated.
#[test]
fn renewals_may_overtake_each_other() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        for _ in 0..4 {
            renew(&mut network);
            network.negotiate_due();
            for _ in 0..20 {
                network.deliver_one();
                assert!(all_open(&network), "{mode:?}");
            }
        }
        network.pass(200);
        assert!(all_open(&network), "{mode:?}");
        assert_eq!(generations(&network), [5]);
        assert_eq!(network.failures, []);
    }
}

#[test]
fn polls_of_a_renewal_are_spread() {
    let mut network = topology(1, super::BY_CLIENT);
    let many: Vec<String> = (0..40).map(|n| format!("fd00:5::{:x}", 0x100 + n)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    network.change_servers(host(PS), host(PC), "web", &[], &many);
    network.add_secondary(host(13), 64);
    network.change_clients(host(PC), host(PS), &[], &["fd00:c::3"]);
    network.enrol(host(13), host(PC), &["fd00:c::3".parse().unwrap()]);
    network.pass(30);
    assert_eq!(network.secondaries[&host(13)].module.len(), 42);
    renew(&mut network);
    let mut prepared = Vec::new();
    for _ in 0..25 {
        network.pass(1);
        let module = &network.secondaries[&host(13)].module;
        prepared.push(module.keys().filter(|name| name.generation == 2).count());
    }
    assert!(prepared[0] < 30, "{prepared:?}");
    assert_eq!(prepared.last(), Some(&42));
}

#[test]
fn masters_that_do_not_serve_are_refused() {
    use pdmv2::negotiate::Negotiated;
    use pdmv2_proto::suite::Suite;
    use pdmv2_proto::uapi::Profile;
    let mut network = topology(1, Mode::TrustedServers);
    let last = network.masters[0].clone();
    let table: [(&str, Negotiated); 3] = [
        ("v2-kri", Negotiated { profile: Profile::V2Kri, generation: 2, ..last.clone() }),
        ("an old generation", last.clone()),
        ("an unknown KDF", Negotiated { suite: Suite { kdf: 9, ..last.suite }, generation: 2, ..last.clone() }),
    ];
    let mut chance = super::network::Chance(5);
    for (what, negotiated) in table {
        network.with_primary(host(PC), |primary, now| {
            assert!(primary.negotiated(&host(PS), &negotiated, now, &mut chance).is_err(), "{what}");
            assert!(primary.negotiated(&host(9), &last, now, &mut chance).is_err());
            assert_eq!(primary.poll_output(), None);
        });
    }
    assert_eq!(masters(&network, PC).len(), 1);
    assert!(Duration::ZERO < masters(&network, PC)[0].expires);
}
