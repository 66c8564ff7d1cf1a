// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Revocation: group_gen rises, and the old generation is refused.

use pdmv2::registration::group::Mode;
use pdmv2::registration::message::member::MemberGroup;
use pdmv2::registration::message::peer::GroupIs;
use pdmv2::registration::message::Message;

use super::network::{group, host, Network};
use super::{all_open, client, pair_opens, server, topology, DERIVED, PC, PS};

fn group_gen(network: &Network, primary: u8) -> u32 {
    let peer = if primary == PC { PS } else { PC };
    network.primaries[&host(primary)].primary.roster(&host(peer)).unwrap().groups[&group("web")].group_gen
}

#[test]
fn removing_a_server_raises_group_gen_and_so_does_adding_an_address_back() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        let first = group_gen(&network, PS);
        // A new address is no return.
        network.change_servers(host(PS), host(PC), "web", &[], &["fd00:5::3"]);
        network.change_clients(host(PC), host(PS), &[], &["fd00:c::3"]);
        network.quiet();
        assert_eq!(group_gen(&network, PS), first);
        // A client that goes holds nothing that opens others' traffic.
        network.change_clients(host(PC), host(PS), &["fd00:c::2"], &[]);
        network.quiet();
        assert_eq!(group_gen(&network, PS), first);
        network.change_servers(host(PS), host(PC), "web", &["fd00:5::2"], &[]);
        network.quiet();
        let second = group_gen(&network, PS);
        assert!(second > first);
        network.change_servers(host(PS), host(PC), "web", &[], &["fd00:5::2"]);
        network.quiet();
        let third = group_gen(&network, PS);
        assert!(third > second);
        // By a prefix around it, too, and though PC and PS do not hear of each other meanwhile.
        network.disconnect(host(PC), host(PS));
        network.change_clients(host(PC), host(PS), &[], &["fd00:c::/64"]);
        network.connect_all();
        network.quiet();
        assert!(group_gen(&network, PS) > third);
        assert_eq!(group_gen(&network, PC), group_gen(&network, PS));
        network.change_clients(host(PC), host(PS), &["fd00:c::/64"], &["fd00:c::2"]);
        network.pass(90);
        assert!(all_open(&network), "{mode:?}");
        assert_eq!(network.failures, []);
    }
}

#[test]
fn the_old_generation_is_refused_the_moment_it_is_known() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        let old = group_gen(&network, PS);
        network.change_servers(host(PS), host(PC), "web", &["fd00:5::2"], &[]);
        // Whoever was told holds nothing of the old; whoever was not, all of it.
        loop {
            for (n, told) in [(0, 'c'), (1, 'c'), (0, 's')] {
                let key = if told == 'c' { client(n).0 } else { server(n).0 };
                let knows = network.delivered.iter().any(|(to, message)| {
                    let group = match Message::decode(message) {
                        Ok(Message::MemberGroup(MemberGroup { group, .. })) => group,
                        _ => return false,
                    };
                    *to == key && group.group_gen > old
                });
                let holds = network.secondaries[&key].module.keys().any(|name| name.group_gen == old);
                assert_eq!(holds, !knows, "{mode:?} {key}");
            }
            if !network.deliver_one() {
                break;
            }
        }
        network.pass(90);
        assert!(pair_opens(&network, 0, 0) && pair_opens(&network, 1, 0), "{mode:?}");
        // The revoked server was told too.
        assert!(network.secondaries[&server(1).0].module.is_empty());
    }
}

#[test]
fn an_old_generation_is_refused_when_it_is_told_again() {
    let mut network = topology(1, Mode::TrustedServers);
    let (name, _) = network.sends(client(0).0, client(0).1, server(0).1).unwrap();
    let old: Vec<Vec<u8>> =
        network.delivered.iter().filter(|(to, _)| *to == client(0).0).map(|(_, m)| m.clone()).collect();
    network.change_servers(host(PS), host(PC), "web", &["fd00:5::2"], &[]);
    network.pass(90);
    // Everything that was ever said, once more, in whatever session; but for epochs, which are refused for another reason.
    for message in &old {
        if matches!(Message::decode(message), Ok(Message::Prepare(_) | Message::Granted(_))) {
            continue;
        }
        if network.is_connected(client(0).0, host(PC)) {
            network.hand_over(host(PC), client(0).0, message);
            network.collect();
        }
        let module = &network.secondaries[&client(0).0].module;
        assert!(module.keys().all(|held| held.group_gen != name.group_gen), "an old generation is back");
    }
    assert_eq!(network.failures, []);
}

#[test]
fn members_that_have_not_acknowledged_are_named() {
    let mut network = topology(1, Mode::TrustedServers);
    let behind = |network: &Network, primary: u8| {
        let peer = if primary == PC { PS } else { PC };
        let unacknowledged = network.primaries[&host(primary)].primary.unacknowledged(&host(peer));
        unacknowledged.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert!(behind(&network, PC).is_empty() && behind(&network, PS).is_empty());
    network.disconnect(client(1).0, host(PC));
    network.disconnect(server(1).0, host(PS));
    network.change_servers(host(PS), host(PC), "web", &[], &["fd00:5::3"]);
    network.pass(1);
    assert!(behind(&network, PC).is_empty(), "nothing was revoked");
    network.change_servers(host(PS), host(PC), "web", &["fd00:5::3"], &[]);
    assert_eq!(behind(&network, PS), [server(0).0, server(1).0]);
    network.pass(1);
    assert_eq!(behind(&network, PC), [client(1).0]);
    assert_eq!(behind(&network, PS), [server(1).0]);
    network.connect_all();
    network.pass(1);
    assert!(behind(&network, PC).is_empty() && behind(&network, PS).is_empty());
}

#[test]
fn a_group_or_a_pairing_that_ends_takes_its_secrets_along() {
    for mode in DERIVED {
        let mut network = topology(1, mode);
        network.with_primary(host(PS), |primary, now| primary.remove_group(&host(PC), &group("web"), now)).unwrap();
        network.quiet();
        assert!(network.secondaries.values().all(|host| host.module.is_empty()));
        network.set_group(host(PS), host(PC), "web", mode);
        network.change_servers(host(PS), host(PC), "web", &[], &["fd00:5::1", "fd00:5::2"]);
        network.pass(90);
        assert!(all_open(&network), "{mode:?}");
        network.with_primary(host(PC), |primary, now| primary.remove_pairing(&host(PS), now));
        network.with_primary(host(PS), |primary, now| primary.remove_pairing(&host(PC), now));
        network.quiet();
        assert!(network.secondaries.values().all(|host| host.module.is_empty()));
    }
}

#[test]
fn a_changed_mode_is_another_generation() {
    let mut network = topology(1, Mode::TrustedServers);
    for mode in [super::BY_CLIENT, super::BY_SERVER, Mode::NoProtection, Mode::TrustedServers] {
        let before = group_gen(&network, PS);
        network.set_group(host(PS), host(PC), "web", mode);
        network.pass(90);
        assert!(group_gen(&network, PS) > before);
        assert_eq!(all_open(&network), mode != Mode::NoProtection, "{mode:?}");
        assert_eq!(network.secondaries[&client(0).0].access.is_empty(), mode != Mode::NoProtection);
    }
}

/// A Primary Server that was put back does not know how high its group_gen was; its peer does.
#[test]
fn generations_from_before_a_backup_never_come_again() {
    let mut network = topology(1, Mode::TrustedServers);
    let backup = network.primaries[&host(PS)].store.snapshot();
    for _ in 0..3 {
        network.change_servers(host(PS), host(PC), "web", &["fd00:5::2"], &[]);
        network.change_servers(host(PS), host(PC), "web", &[], &["fd00:5::2"]);
        network.pass(2);
    }
    let highest = group_gen(&network, PS);
    network.restart_primary(host(PS), Some(&backup));
    assert!(group_gen(&network, PS) < highest);
    network.connect_all();
    network.pass(200);
    assert!(group_gen(&network, PS) > highest);
    assert_eq!(group_gen(&network, PC), group_gen(&network, PS));
    assert!(all_open(&network));
}

#[test]
fn a_primary_client_takes_no_generation_that_falls() {
    let network = &mut topology(1, Mode::TrustedServers);
    let told = |group_gen, mode| Message::GroupIs(GroupIs { name: group("web"), mode, poller: None, group_gen });
    let now_is = group_gen(network, PC);
    for (message, taken) in [
        (told(now_is, 1), true),
        (told(now_is - 1, 1), false),
        (told(now_is, 0), false),
        (told(now_is + 1, 9), false),
        (told(now_is + 1, 1), true),
    ] {
        network.connect_all();
        network.quiet();
        network.failures.clear();
        network.hand_over(host(PS), host(PC), message.encode().as_bytes());
        assert_eq!(network.failures.is_empty(), taken, "{message:?}");
    }
}
