// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What a thief of each secret can open and what not, by trying: options are sealed as a module does, and everything that
//! follows from the loot, by every derivation there is, is tried on them.

use std::net::Ipv6Addr;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::Aes128Gcm;
use pdmv2::identity::PublicKey;
use pdmv2::keys::schedule::{labeled_expand, Prk};
use pdmv2::registration::group::Mode;
use pdmv2::registration::message::Message;
use pdmv2::secret::Secret;
use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::suite::Suite;

use super::network::{host, Network};
use super::{client, server, topology, BY_CLIENT, BY_SERVER, PC, PS};

/// Seals what one host sends another, as its module does.
fn sealed(network: &Network, from: (PublicKey, Ipv6Addr), to: (PublicKey, Ipv6Addr)) -> (FlowId, u32, Vec<u8>) {
    let (_, held) = network.sends(from.0, from.1, to.1).unwrap();
    let flow = FlowId { local: from.1.octets(), remote: to.1.octets(), local_port: 1, remote_port: 2, protocol: 6 };
    let epoch = held.sends.unwrap().start;
    let key = held.prk.flow_key(2, epoch, &flow).unwrap();
    let cipher = Aes128Gcm::new_from_slice(key.key.as_bytes()).unwrap();
    let payload = Payload { msg: b"what is measured", aad: b"clear" };
    (flow, epoch, cipher.encrypt(&key.base_nonce.into(), payload).unwrap())
}

/// Secrets that a host was given, from the messages it got. PSS, PCS, S, and pairs' secrets are here as they came.
fn loot(network: &Network, of: PublicKey) -> Vec<Secret> {
    let mut loot = Vec::new();
    for (to, message) in &network.delivered {
        match Message::decode(message) {
            Ok(Message::Secrets(told)) if *to == of => {
                loot.extend(told.shared);
                loot.extend(told.own.into_iter().map(|own| own.secret));
            }
            Ok(Message::Answer(answer)) if *to == of => loot.extend(answer.secret),
            _ => {}
        }
    }
    assert!(!loot.is_empty());
    loot
}

/// Everything that follows from some secrets, with all that is public: addresses, groups, generations, labels.
fn consequences(loot: &[Secret]) -> Vec<Secret> {
    derived(loot, 0..6)
}

fn derived(loot: &[Secret], gens: std::ops::Range<u8>) -> Vec<Secret> {
    let addresses = [client(0).1, client(1).1, server(0).1, server(1).1];
    let mut infos: Vec<Vec<u8>> = addresses.iter().map(|address| address.octets().to_vec()).collect();
    for mode in [1, 2] {
        for group_gen in gens.clone() {
            for holder in [0, 1] {
                let d = [mode, 0, 0, 0, group_gen, holder];
                infos.push([&d[..], &[3], b"web"].concat());
                infos.push([&d[..], &[5], b"other"].concat());
                infos.extend(addresses.iter().map(|address| [&d[..], &address.octets()].concat()));
            }
        }
    }
    let labels: [&[u8]; 4] = [b"pdmv2_pss", b"pdmv2_pcs", b"pdmv2_own", b"pdmv2_pair"];
    let step = |secret: &Secret, out: &mut Vec<Secret>| {
        for label in labels {
            out.extend(infos.iter().map(|info| labeled_expand(Suite::DEFAULT, secret, label, info, 32).unwrap()));
        }
    };
    let mut all = loot.to_vec();
    for secret in loot {
        let mut first = Vec::new();
        step(secret, &mut first);
        all.extend(first);
    }
    all
}

/// Whether any of some secrets opens what was sealed.
fn opens(known: &[Secret], (flow, epoch, sealed): &(FlowId, u32, Vec<u8>)) -> bool {
    known.iter().any(|secret| {
        let prk = Prk::extract(Suite::DEFAULT, &[], secret).unwrap();
        let key = prk.flow_key(2, *epoch, flow).unwrap();
        let cipher = Aes128Gcm::new_from_slice(key.key.as_bytes()).unwrap();
        cipher.decrypt(&key.base_nonce.into(), Payload { msg: sealed, aad: b"clear" }).is_ok()
    })
}

/// Of the four pairs, in the order (client 1, server 1), (1, 2), (2, 1), (2, 2): which can a thief open, in either direction.
fn opened(network: &Network, thief: PublicKey) -> [bool; 4] {
    let known = consequences(&loot(network, thief));
    let pair = |c: usize, s: usize| {
        let both = [(client(c), server(s)), (server(s), client(c))]
            .map(|(from, to)| opens(&known, &sealed(network, from, to)));
        assert_eq!(both[0], both[1], "both directions have one secret");
        both[0]
    };
    [pair(0, 0), pair(0, 1), pair(1, 0), pair(1, 1)]
}

#[test]
fn what_a_stolen_secondary_can_open() {
    let (own_c, own_s) = ([true, true, false, false], [true, false, true, false]);
    let table = [
        // A client in TrustedServers: its own traffic. A server: everybody's with its group.
        (Mode::TrustedServers, client(0).0, own_c),
        (Mode::TrustedServers, server(0).0, [true; 4]),
        // In AsymmetricPoll each one's own, whichever side polls.
        (BY_CLIENT, client(0).0, own_c),
        (BY_CLIENT, server(0).0, own_s),
        (BY_SERVER, client(0).0, own_c),
        (BY_SERVER, server(0).0, own_s),
    ];
    for (mode, thief, expected) in table {
        let network = topology(3, mode);
        assert_eq!(opened(&network, thief), expected, "{mode:?} {thief}");
    }
}

/// What a poller did not ask for it cannot open either; the side that holds S can open any pair of its own, asked for or not.
#[test]
fn a_poller_holds_only_what_it_polled() {
    let mut network = topology(3, BY_CLIENT);
    network.delivered.clear();
    network.restart_secondary(client(0).0);
    network.restart_secondary(server(0).0);
    // This time client 1 asks for server 1 alone.
    let mut alone = pdmv2::registration::secondary::Secondary::new(0, network.now);
    alone.add_primary(host(PC), &[]);
    network.secondaries.get_mut(&client(0).0).unwrap().secondary = alone;
    network.connect_all();
    network.quiet();
    network.want(client(0).0, client(0).1, server(0).1);
    network.pass(5);
    let known = consequences(&loot(&network, client(0).0));
    assert!(opens(&known, &sealed(&network, client(0), server(0))));
    assert!(!opens(&known, &sealed(&network, server(1), client(0))));
    let known = consequences(&loot(&network, server(0).0));
    assert!(opens(&known, &sealed(&network, server(0), client(1))));
}

#[test]
fn a_stolen_pss_opens_its_own_group_and_no_other() {
    let mut network = topology(3, Mode::TrustedServers);
    network.change_servers(host(PS), host(PC), "web", &["fd00:5::2"], &[]);
    network.set_group(host(PS), host(PC), "other", Mode::TrustedServers);
    network.change_servers(host(PS), host(PC), "other", &[], &["fd00:5::2"]);
    network.delivered.clear();
    for (thief, expected) in [(server(0).0, [true, false, true, false]), (server(1).0, [false, true, false, true])] {
        network.disconnect(thief, host(PS));
        network.connect(thief, host(PS));
        network.pass(30);
        assert_eq!(opened(&network, thief), expected);
    }
}

#[test]
fn a_revoked_servers_secret_opens_nothing_new() {
    for mode in [Mode::TrustedServers, BY_CLIENT, BY_SERVER] {
        let mut network = topology(3, mode);
        let known = consequences(&loot(&network, server(1).0));
        assert!(opens(&known, &sealed(&network, client(0), server(1))));
        network.change_servers(host(PS), host(PC), "web", &["fd00:5::2"], &[]);
        network.pass(90);
        for c in 0..2 {
            assert!(network.held(client(c).0, client(c).1, server(1).1).is_empty());
            assert!(!opens(&known, &sealed(&network, client(c), server(0))), "{mode:?}");
            assert!(!opens(&known, &sealed(&network, server(0), client(c))), "{mode:?}");
        }
    }
}

#[test]
fn a_new_pair_master_secret_ends_what_every_older_secret_opens() {
    for mode in [Mode::TrustedServers, BY_CLIENT, BY_SERVER] {
        let mut network = topology(3, mode);
        let hosts = [client(0).0, client(1).0, server(0).0, server(1).0];
        let loot: Vec<Secret> = hosts.iter().flat_map(|of| loot(&network, *of)).collect();
        let known = consequences(&loot);
        network.with_primary(host(PS), |primary, now| primary.forked(now));
        network.pass(120);
        assert!(super::all_open(&network));
        for c in 0..2 {
            for s in 0..2 {
                assert!(!opens(&known, &sealed(&network, client(c), server(s))), "{mode:?}");
            }
        }
    }
}

/// The other way around: a thief of the PairMasterSecret opens everything. It never leaves the two Primaries.
#[test]
fn a_pair_master_secret_opens_everything_and_no_secondary_is_given_it() {
    for mode in [Mode::TrustedServers, BY_CLIENT, BY_SERVER] {
        let network = topology(3, mode);
        let master = network.masters.last().unwrap();
        let prk = Prk::extract(master.suite, master.salt.as_bytes(), &master.shared_secret).unwrap();
        let group_gen = network.sends(client(0).0, client(0).1, server(0).1).unwrap().0.group_gen as u8;
        let first = derived(&[prk.secret().clone()], group_gen..group_gen + 1);
        let known = derived(&first, group_gen..group_gen + 1);
        for c in 0..2 {
            for s in 0..2 {
                assert!(opens(&known, &sealed(&network, client(c), server(s))), "{mode:?}");
            }
        }
        for (_, message) in &network.delivered {
            for secret in [prk.secret(), &master.shared_secret, &master.salt] {
                assert!(!message.windows(32).any(|window| window == secret.as_bytes()));
            }
        }
    }
}

#[test]
fn each_secondary_is_given_secrets_of_its_own_alone() {
    for mode in [Mode::TrustedServers, BY_CLIENT, BY_SERVER] {
        let network = topology(3, mode);
        let (one, two) = (loot(&network, client(0).0), loot(&network, client(1).0));
        assert!(one.iter().all(|secret| !two.contains(secret)), "{mode:?}");
        let (one, two) = (loot(&network, server(0).0), loot(&network, server(1).0));
        // "Every SS of the group" has PSS.
        assert_eq!(one.iter().any(|secret| two.contains(secret)), mode == Mode::TrustedServers);
    }
}
