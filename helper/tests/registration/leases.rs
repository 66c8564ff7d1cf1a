// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Leases of epochs, reboots, and Primaries that are put back.

use pdmv2::registration::group::Mode;
use pdmv2::registration::lease::{EPOCHS, LEASE, LOW};
use pdmv2::registration::primary::Alert;

use super::network::{host, Network};
use super::{all_open, client, server, topology, BY_CLIENT, DERIVED, PC, PS};

fn range(network: &Network, n: usize) -> (u32, u32) {
    let range = network.sends(client(n).0, client(n).1, server(0).1).unwrap().1.sends.unwrap();
    (range.start, range.end)
}

#[test]
fn a_secondary_that_reboots_gets_epochs_it_never_had() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        for reboot in 0..5 {
            assert_eq!(range(&network, 0), (reboot * LEASE, (reboot + 1) * LEASE), "{mode:?}");
            network.restart_secondary(client(0).0);
            network.connect_all();
            network.pass(40);
            assert!(all_open(&network), "{mode:?} {reboot}");
        }
        assert_eq!(range(&network, 1), (0, LEASE));
        assert_eq!(network.masters.len(), 1);
    }
}

#[test]
fn a_secondary_that_comes_back_without_a_reboot_keeps_its_epochs() {
    let mut network = topology(1, Mode::TrustedServers);
    for _ in 0..40 {
        network.disconnect(client(0).0, host(PC));
        network.connect_all();
        network.pass(1);
    }
    assert_eq!(range(&network, 0), (0, LEASE));
    assert_eq!(network.failures, []);
    assert!(all_open(&network));
}

#[test]
fn more_is_asked_for_at_three_quarters() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        let (name, _) = network.sends(client(0).0, client(0).1, server(0).1).unwrap();
        for (epoch, end) in [(0, LEASE), (94, LEASE), (95, 2 * LEASE), (222, 2 * LEASE), (223, 3 * LEASE)] {
            network.with_secondary(client(0).0, |secondary, now, chance| secondary.used(&name, epoch, now, chance));
            network.pass(1);
            assert_eq!(range(&network, 0), (0, end), "{mode:?} {epoch}");
        }
        // All that it sends to others goes on too.
        let (_, other) = network.sends(client(0).0, client(0).1, server(1).1).unwrap();
        assert_eq!(other.sends.map(|range| range.end), Some(3 * LEASE));
    }
}

#[test]
fn used_up_epochs_are_followed_by_a_new_pair_master_secret() {
    let mut network = topology(1, Mode::TrustedServers);
    let mut highest = 0;
    while network.masters.len() == 1 {
        highest = range(&network, 0).1;
        assert!(highest <= EPOCHS);
        let (name, _) = network.sends(client(0).0, client(0).1, server(0).1).unwrap();
        network.with_secondary(client(0).0, |secondary, now, chance| secondary.used(&name, highest, now, chance));
        network.pass(30);
    }
    assert_eq!(highest + LEASE, LOW);
    let low = |alert: &Alert| *alert == Alert::EpochsLow { address: client(0).1 };
    assert!(network.primaries[&host(PC)].alerts.iter().any(low));
    network.pass(120);
    assert!(all_open(&network));
    assert_eq!(range(&network, 0), (0, LEASE));
}

/// It is leased nothing more for a while, so that others keep their PairMasterSecret.
#[test]
fn a_secondary_that_reboots_over_and_over_does_not_use_everything_up_at_once() {
    let mut network = topology(1, Mode::TrustedServers);
    let mut without = 0;
    for _ in 0..60 {
        network.restart_secondary(client(0).0);
        network.connect_all();
        network.pass(1);
        without += usize::from(network.sends(client(0).0, client(0).1, server(0).1).is_none());
    }
    assert!(without > 0);
    // It receives all the same, and sends again later.
    assert!(network.opens(server(0), client(0)));
    network.pass(200);
    assert!(all_open(&network));
    assert_eq!(network.masters.len(), 1);
}

#[test]
fn wiped_sending_keys_are_followed_by_other_epochs() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.with_secondary(client(0).0, |secondary, now, chance| secondary.wiped(now, chance));
        // Nothing is sent until the Primary has answered.
        assert!(network.sends(client(0).0, client(0).1, server(0).1).is_none());
        network.pass(40);
        assert_eq!(range(&network, 0), (LEASE, 2 * LEASE), "{mode:?}");
        assert!(all_open(&network));
    }
}

#[test]
fn a_secret_that_left_the_module_comes_back_in_other_epochs() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.change_clients(host(PC), host(PS), &["fd00:c::1", "fd00:c::2"], &["fd00:c::/64"]);
        network.pass(70);
        let ((key, own), remote) = (server(0), client(0).1);
        let mut ranges = Vec::new();
        for _ in 0..3 {
            network.want(key, own, remote);
            network.pass(70);
            // The other end has it all along; `Network` sees to it that no epoch comes twice.
            ranges.push(network.sends(key, own, remote).unwrap().1.sends.unwrap().start);
            network.with_secondary(key, |secondary, now, chance| secondary.unwant(own, remote, now, chance));
            assert!(network.held(key, own, remote).is_empty());
        }
        // The first went to what was sent while the client was listed by its address.
        assert_eq!(ranges, [LEASE, 2 * LEASE, 3 * LEASE], "{mode:?}");
    }
}

#[test]
fn a_primary_restored_from_a_backup_negotiates_a_new_pair_master_secret() {
    for restored in [PC, PS] {
        let mut network = topology(1, Mode::TrustedServers);
        let backup = network.primaries[&host(restored)].store.snapshot();
        for n in 0..2 {
            network.restart_secondary(client(n).0);
            network.restart_secondary(server(n).0);
        }
        network.connect_all();
        network.pass(5);
        network.restart_primary(host(restored), Some(&backup));
        network.connect_all();
        network.pass(130);
        assert_eq!(network.masters.len(), 2);
        assert!(all_open(&network));
        // The other Primary noticed, and says so.
        let alerts = &network.primaries[&host(restored)].alerts;
        let by = host(if restored == PC { PS } else { PC });
        assert!(alerts.contains(&Alert::Restored { by }), "{alerts:?}");
    }
}

/// Not only its disk but its memory was put back, while sessions went on: leases would come twice.
#[test]
fn a_primary_whose_memory_was_put_back_is_noticed_by_a_secondary_and_leases_nothing() {
    use pdmv2::registration::message::member::{HeldLease, Join};
    use pdmv2::registration::message::Message;
    let mut network = topology(1, Mode::TrustedServers);
    let (name, _) = network.sends(client(0).0, client(0).1, server(0).1).unwrap();
    // As if it had been leased more than the Primary knows of.
    let leases = vec![HeldLease { pms: name.pms, address: client(0).1, end: 2 * LEASE }];
    let join = Message::Join(Join { addresses: vec![], leases, lists: vec![] }).encode();
    network.no_negotiation = true;
    network.hand_over(client(0).0, host(PC), join.as_bytes());
    network.quiet();
    assert!(network.primaries[&host(PC)].alerts.contains(&Alert::Restored { by: client(0).0 }));
    // Nobody is leased anything until there is another PairMasterSecret.
    network.restart_secondary(client(1).0);
    network.connect_all();
    network.pass(40);
    assert!(network.sends(client(1).0, client(1).1, server(0).1).is_none());
    network.no_negotiation = false;
    network.pass(130);
    assert_eq!(network.masters.len(), 2);
    assert!(all_open(&network));
}

#[test]
fn the_other_primary_knows_of_each_commit_within_a_second() {
    let mut network = topology(1, Mode::TrustedServers);
    let backup = network.primaries[&host(PC)].store.snapshot();
    // A lease, in the middle of a session between the Primaries.
    network.restart_secondary(client(0).0);
    network.connect_all();
    network.pass(1);
    network.restart_primary(host(PC), Some(&backup));
    network.connect_all();
    network.quiet();
    assert!(network.primaries[&host(PC)].alerts.contains(&Alert::Restored { by: host(PS) }));
}

#[test]
fn a_primary_that_was_only_restarted_is_not_taken_for_restored() {
    for restarted in [PC, PS] {
        let mut network = topology(1, BY_CLIENT);
        network.restart_primary(host(restarted), None);
        network.connect_all();
        network.pass(130);
        assert!(all_open(&network));
        let alerts = &network.primaries[&host(restarted)].alerts;
        assert!(!alerts.iter().any(|alert| matches!(alert, Alert::Restored { .. })), "{alerts:?}");
        // It holds no secret from before, so that a new one is needed all the same.
        assert_eq!(network.masters.len(), 2);
    }
}
