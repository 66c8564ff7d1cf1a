// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Another configuration comes into force: all of it or nothing, whatever the module refuses, and without an address that
//! is two peers' at any time.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::kernel::MemoryKernel;
use common::logs::checked;
use common::public;
use pdmv2::config::{parse, Config};
use pdmv2::daemon::id::PeerId;
use pdmv2::daemon::keeper::apply::{ApplyError, Changes, Report};
use pdmv2::daemon::keeper::Keeper;
use pdmv2::negotiate::{Negotiated, Purpose, Role};
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

/// The module's default.
const ASSOCIATIONS_MAX: u32 = 4096;
const NOW: Duration = Duration::from_secs(1000);

/// A peer's table: its name, the number of its key, its addresses, and what else is in it.
fn peer(name: &str, key: u8, remote: &str, more: &str) -> String {
    let local = if more.contains("local =") { "" } else { "local = [\"fd00::1\"]\n" };
    let key = public(key);
    format!("[[peer]]\nname = \"{name}\"\npublic-key = \"{key}\"\n{local}remote = [{remote}]\n{more}\n")
}

const A: &str = "\"fd00::a\"";
const B: &str = "\"fd00::b\", \"fd01::/64\"";
const C: &str = "\"fd00::c\"";
const ENCRYPTED: &str = "[[rule]]\nsend = \"v2-encrypted\"\nexpiry = 0\n";

fn config(peers: &[String], host: &str, rest: &str) -> Config {
    let text = format!("[host]\nprivate-key-file = \"unused\"\n{host}\n{}{rest}", peers.concat());
    parse(Path::new("test.toml"), &text).unwrap()
}

fn base_peers() -> Vec<String> {
    vec![peer("a", 2, A, ""), peer("b", 3, B, ""), peer("c", 4, C, "")]
}

fn base() -> Config {
    config(&base_peers(), "", ENCRYPTED)
}

/// A keeper of the base configuration that sends under generation 7 to every peer.
fn keeper() -> (Keeper, MemoryKernel) {
    let kernel = MemoryKernel::default();
    // The module always has one.
    kernel.state().policy.limits.associations_max = Some(ASSOCIATIONS_MAX);
    let mut keeper = Keeper::start(Box::new(kernel.clone()), &base(), public(1), None).unwrap();
    for id in keeper.peers() {
        install(&mut keeper, id, 7);
    }
    (keeper, kernel)
}

fn install(keeper: &mut Keeper, id: PeerId, generation: u64) {
    let mut shared_secret = Secret::zeroed(32);
    getrandom::fill(shared_secret.as_mut_bytes()).unwrap();
    let negotiated = Negotiated {
        role: Role::Client,
        purpose: Purpose::Pair,
        suite: Suite::DEFAULT,
        profile: Profile::V2,
        generation,
        lifetime: 86_400,
        peer_idle: 600,
        salt: Secret::new(vec![1; 32]),
        shared_secret,
    };
    keeper.install(id, &negotiated, NOW).unwrap();
    keeper.activate(id, generation, NOW).unwrap();
}

/// Everything that is known of the peers, by name.
fn known(keeper: &Keeper) -> BTreeMap<String, (PeerId, String, Option<u64>)> {
    let of = |id: PeerId| {
        let peer = keeper.peer(id).unwrap();
        (peer.name.clone(), (id, format!("{peer:?}"), keeper.sending(id)))
    };
    keeper.peers().into_iter().map(of).collect()
}

struct Case {
    name: &'static str,
    to: Config,
    added: &'static [&'static str],
    removed: &'static [&'static str],
    changed: &'static [(&'static str, &'static [&'static str])],
    /// Peers that have the secret they had.
    keep: &'static [&'static str],
    /// Peers that another is negotiated with while the old one is in force.
    renew: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let [a, b, c] =
        [|more: &str| peer("a", 2, A, more), |more: &str| peer("b", 3, B, more), |more: &str| peer("c", 4, C, more)];
    let of = |peers: &[String]| config(peers, "", ENCRYPTED);
    let case = |name, to| Case { name, to, added: &[], removed: &[], changed: &[], keep: &["a", "b", "c"], renew: &[] };
    vec![
        case("nothing changes", base()),
        case("the order of peers is nothing", of(&[c(""), a(""), b("")])),
        Case { added: &["d"], ..case("one comes", of(&[a(""), b(""), c(""), peer("d", 5, "\"fd00::d\"", "")])) },
        Case { removed: &["c"], keep: &["a", "b"], ..case("one goes", of(&[a(""), b("")])) },
        Case { removed: &["a", "b", "c"], keep: &[], ..case("all go", of(&[])) },
        Case {
            added: &["d", "e"],
            removed: &["a", "b", "c"],
            keep: &[],
            ..case("all go, and others have their addresses", of(&[peer("d", 5, A, ""), peer("e", 6, B, "")]))
        },
        Case {
            changed: &[("a", &["remote"]), ("b", &["remote"])],
            ..case(
                "a prefix moves",
                of(&[peer("a", 2, "\"fd00::a\", \"fd01::/64\"", ""), peer("b", 3, "\"fd00::b\"", ""), c("")]),
            )
        },
        Case {
            changed: &[("a", &["remote"]), ("b", &["remote"])],
            ..case("two peers swap", of(&[peer("a", 2, B, ""), peer("b", 3, A, ""), c("")]))
        },
        Case {
            changed: &[("a", &["remote"]), ("b", &["remote"]), ("c", &["remote"])],
            ..case("three peers take turns", of(&[peer("a", 2, B, ""), peer("b", 3, C, ""), peer("c", 4, A, "")]))
        },
        Case {
            added: &["d"],
            changed: &[("b", &["remote"])],
            ..case("a part of a prefix goes to a new peer", {
                of(&[
                    a(""),
                    peer("b", 3, "\"fd00::b\", \"fd01:0:0:0:8000::/65\"", ""),
                    c(""),
                    peer("d", 5, "\"fd01::/65\"", ""),
                ])
            })
        },
        Case {
            changed: &[("a", &["endpoint", "on-failure", "epoch-packets", "epoch-seconds", "renew-packets"])],
            ..case("what is in force at once", {
                of(&[
                    a("endpoint = \"[::1]:9\"\non-failure = \"drop\"\nepoch-packets = 9\nepoch-seconds = 8\nrenew-packets = 7"),
                    b(""),
                    c(""),
                ])
            })
        },
        Case {
            changed: &[("a", &["suites"]), ("b", &["lifetime"]), ("c", &["profile"])],
            renew: &["a", "b", "c"],
            ..case("what is negotiated", of(&[a("kem = [\"p-256\"]"), b("lifetime = 60"), c("profile = \"v2-kri\"")]))
        },
        Case {
            changed: &[("a", &["public-key"])],
            keep: &["b", "c"],
            ..case("another identity", of(&[peer("a", 9, A, ""), b(""), c("")]))
        },
        Case {
            changed: &[("a", &["local"]), ("b", &["key-mode"])],
            keep: &["c"],
            ..case("what secrets are bound to", of(&[a("local = [\"fd00::2\"]"), b("key-mode = \"kernel\""), c("")]))
        },
        Case {
            changed: &[("a", &["public-key", "remote"]), ("b", &["remote"])],
            keep: &["b", "c"],
            ..case("another identity, with another's addresses", {
                of(&[peer("a", 9, "\"fd01::/64\"", ""), peer("b", 3, "\"fd00::b\"", ""), c("")])
            })
        },
        Case {
            added: &["z"],
            removed: &["a"],
            keep: &["b", "c"],
            ..case("another name", of(&[peer("z", 2, A, ""), b(""), c("")]))
        },
        case(
            "another policy",
            config(&base_peers(), "", "[policy]\nforbid-plain = true\n[[rule]]\nsend = \"v2-encrypted\""),
        ),
        case("no policy", config(&base_peers(), "", "")),
        Case {
            renew: &["a", "b", "c"],
            ..case("another idle lifetime, which peers are told", config(&base_peers(), "idle = 60", ENCRYPTED))
        },
        Case {
            added: &["d", "e"],
            removed: &["b", "c"],
            changed: &[("a", &["local"])],
            keep: &[],
            ..case("as many as there may be go, and as many come", {
                let peers = [a("local = [\"fd00::2\"]"), peer("d", 5, B, ""), peer("e", 6, C, "")];
                config(&peers, "", &format!("[policy]\nassociations-max = 3\n{ENCRYPTED}"))
            })
        },
    ]
}

/// The module has what the configuration says, and the keeper what the module has.
fn is_in_force(case: &Case, keeper: &Keeper, kernel: &MemoryKernel) {
    let name = case.name;
    let (associations, policy) = kernel.in_force();
    let mut expected: Vec<_> = case.to.peers.iter().map(|peer| (&peer.name, &peer.local, &peer.remote)).collect();
    expected.sort_by_key(|(name, ..)| *name);
    let found: Vec<_> = associations.iter().map(|known| (&known.name, &known.local, &known.remote)).collect();
    assert_eq!(found, expected, "{name}");
    for (known, peer) in associations.iter().filter_map(|known| Some((known, keeper.peer(keeper.named(&known.name)?)?)))
    {
        assert_eq!(known.on_failure, peer.on_failure.name(), "{name}");
        assert_eq!((known.epoch_packets, known.epoch_seconds), (peer.epoch_packets, peer.epoch_seconds), "{name}");
        assert_eq!(known.renew_packets, peer.renew_packets, "{name}");
        assert_eq!(known.key_mode, peer.key_mode.name(), "{name}");
        let sending = keeper.named(&known.name).and_then(|id| keeper.sending(id));
        assert_eq!(kernel.sending(&known.name), sending, "{name}");
    }
    let of = |rules: &[pdmv2::netlink::policy::Rule]| rules.iter().map(|rule| rule.send).collect::<Vec<_>>();
    assert_eq!(of(&policy.rules), of(&case.to.policy.rules), "{name}");
    assert_eq!(policy.forbid_plain, case.to.policy.forbid_plain, "{name}");
    let most = case.to.policy.limits.associations_max.or(Some(ASSOCIATIONS_MAX));
    assert_eq!(policy.limits.associations_max, most, "{name}");
    assert_eq!(policy.limits.idle, Some(case.to.host.idle), "{name}");
    assert!(!kernel.state().overlapped, "{name}: an address was two peers'");
}

fn is_told(case: &Case, before: &BTreeMap<String, (PeerId, String, Option<u64>)>, keeper: &Keeper, changes: &Changes) {
    let name = case.name;
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let Report { added, removed, changed, unchanged } = &changes.report;
    assert_eq!((sorted(added), sorted(removed)), (sorted(&text(case.added)), sorted(&text(case.removed))), "{name}");
    let mut found: Vec<_> = changed.iter().map(|changed| (changed.peer.clone(), changed.keys.clone())).collect();
    found.sort();
    assert_eq!(
        found,
        case.changed.iter().map(|(peer, keys)| (peer.to_string(), text(keys))).collect::<Vec<_>>(),
        "{name}"
    );
    assert_eq!(unchanged.len() + added.len() + changed.len(), case.to.peers.len(), "{name}");
    let ids = |names: &[&str]| names.iter().map(|name| keeper.named(name).unwrap()).collect::<Vec<_>>();
    assert_eq!(changes.renew, ids(case.renew), "{name}");
    // Peers that keep what they have are who they were; others are new to the rest of the daemon.
    let after = known(keeper);
    for (peer, (id, ..)) in before {
        let stays = after.get(peer).filter(|(now, ..)| now == id);
        assert_eq!(stays.is_some(), case.keep.contains(&peer.as_str()), "{name}: {peer}");
        assert_eq!(changes.went.contains(id), stays.is_none(), "{name}: {peer}");
        assert_eq!(stays.and_then(|(.., sending)| *sending), stays.map(|_| 7), "{name}: {peer}");
    }
    let came: Vec<_> =
        after.values().map(|(id, ..)| *id).filter(|id| before.values().all(|(known, ..)| known != id)).collect();
    let mut told = changes.came.clone();
    told.sort();
    let mut expected = came;
    expected.sort();
    assert_eq!(told, expected, "{name}");
}

fn text(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn another_configuration_comes_into_force() {
    checked(|| {
        for case in cases() {
            let (mut keeper, kernel) = keeper();
            let before = known(&keeper);
            let changes = keeper.apply(&case.to, None).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            is_in_force(&case, &keeper, &kernel);
            is_told(&case, &before, &keeper, &changes);
            // Once more: there is nothing to do.
            let again = keeper.apply(&case.to, None).unwrap();
            assert_eq!(again.report.unchanged.len(), case.to.peers.len(), "{}", case.name);
            assert_eq!((&again.went, &again.came, &again.renew), (&vec![], &vec![], &vec![]), "{}", case.name);
            // And back.
            keeper.apply(&base(), None).unwrap();
            assert_eq!(keeper.peers().len(), 3, "{}", case.name);
            assert!(!kernel.state().overlapped, "{}", case.name);
            assert!(keeper.tick(NOW).is_empty(), "{}", case.name);
        }
    });
}

/// "When the module refuses something halfway everything is put back as it was": at each step of each case.
#[test]
fn whatever_is_refused_nothing_is_half_applied() {
    checked(|| {
        let mut refused = 0;
        for case in cases() {
            for step in 0.. {
                let (mut keeper, kernel) = keeper();
                let before = (known(&keeper), kernel.in_force());
                kernel.state().refuse_after = Some(step);
                let outcome = keeper.apply(&case.to, None);
                let over = kernel.state().refuse_after.take().is_some();
                match outcome {
                    Ok(changes) => {
                        // Deleting what went is no more than tried again.
                        if !over {
                            keeper.tick(NOW);
                        }
                        is_in_force(&case, &keeper, &kernel);
                        is_told(&case, &before.0, &keeper, &changes);
                    }
                    Err(ApplyError::Refused { what, source }) => {
                        refused += 1;
                        assert!(
                            source.to_string().contains("Cannot allocate memory"),
                            "{}: {what}: {source}",
                            case.name
                        );
                        is_as_before(&case, step, &before, &mut keeper, &kernel);
                        let changes = keeper.apply(&case.to, None).unwrap();
                        assert_eq!(text(case.added), changes.report.added, "{}", case.name);
                        is_in_force(&case, &keeper, &kernel);
                    }
                    Err(error) => panic!("{}: {error}", case.name),
                }
                if over {
                    break;
                }
            }
        }
        assert!(refused > 40, "{refused}");
    });
}

type Before = (
    BTreeMap<String, (PeerId, String, Option<u64>)>,
    (Vec<pdmv2::netlink::association::AssociationInfo>, pdmv2::netlink::policy::Policy),
);

/// But for the secrets of associations that were deleted: those are negotiated anew.
fn is_as_before(case: &Case, step: usize, before: &Before, keeper: &mut Keeper, kernel: &MemoryKernel) {
    let name = format!("{}, step {step}", case.name);
    let (peers, (associations, policy)) = before;
    let (found, policy_found) = kernel.in_force();
    assert_eq!(policy_found, *policy, "{name}");
    assert!(!kernel.state().overlapped, "{name}");
    assert_eq!(found.len(), associations.len(), "{name}");
    let mut due = Vec::new();
    for (now, then) in found.iter().zip(associations) {
        let mut then = then.clone();
        if now.secrets.is_empty() {
            // Only what is replaced is deleted before everything else has succeeded.
            let replaced =
                case.changed.iter().any(|(peer, _)| *peer == now.name) && !case.keep.contains(&now.name.as_str());
            assert!(replaced, "{name}: {}", now.name);
            then.secrets.clear();
            due.push(keeper.named(&now.name).unwrap());
        }
        assert_eq!(*now, then, "{name}");
    }
    for (peer, (id, definition, sending)) in known(keeper) {
        let (id_before, definition_before, sending_before) = &peers[&peer];
        assert_eq!((id, &definition), (*id_before, definition_before), "{name}");
        assert!(sending == *sending_before || due.contains(&id), "{name}: {peer}");
    }
    assert_eq!(keeper.tick(NOW), due, "{name}");
}

#[test]
fn what_cannot_be_put_back_is_told_and_tried_again() {
    checked(|| {
        let (mut keeper, kernel) = keeper();
        // Parking goes well, then the module takes nothing any more.
        (kernel.state().refuse_after, kernel.state().refuse_on) = (Some(1), false);
        let case = &cases()[5];
        {
            let mut state = kernel.state();
            (state.refuse_after, state.refuse_on) = (Some(1), true);
        }
        let error = keeper.apply(&case.to, None).unwrap_err();
        assert!(matches!(error, ApplyError::Stuck { .. }), "{error}");
        assert!(error.to_string().contains("tried again"), "{error}");
        kernel.state().refuse_after = None;
        assert_eq!(keeper.look_again().len(), 3);
        let remote: Vec<_> = kernel.in_force().0.into_iter().map(|known| known.remote).collect();
        assert_eq!(remote, base().peers.into_iter().map(|peer| peer.remote).collect::<Vec<_>>());
        assert_eq!(kernel.sending("a"), Some(7));
    });
}

#[test]
fn a_peer_that_goes_is_wiped_from_the_module_however_often_it_takes() {
    checked(|| {
        let (mut keeper, kernel) = keeper();
        let without = config(&base_peers()[..2], "", ENCRYPTED);
        // Parked, the policy, and then deleting is refused, again and again.
        {
            let mut state = kernel.state();
            (state.refuse_after, state.refuse_on) = (Some(2), true);
        }
        let changes = keeper.apply(&without, None).unwrap();
        assert_eq!((changes.report.removed, keeper.named("c")), (text(&["c"]), None));
        let parked = kernel.in_force().0.into_iter().find(|known| known.name == "c").unwrap();
        assert_eq!(parked.remote, ["::/128".parse().unwrap()]);
        keeper.tick(NOW);
        // It must not come back to the secrets of who went.
        assert!(matches!(keeper.apply(&base(), None), Err(ApplyError::Leaving(name)) if name == "c"));
        kernel.state().refuse_after = None;
        keeper.tick(NOW);
        assert_eq!(kernel.in_force().0.len(), 2);
        keeper.apply(&base(), None).unwrap();
        assert_eq!((kernel.sending("c"), kernel.sending("a")), (None, Some(7)));
    });
}

#[test]
fn what_can_be_checked_is_checked_before_anything_is_asked() {
    checked(|| {
        let (mut keeper, kernel) = keeper();
        let before = (known(&keeper), kernel.in_force(), kernel.state().log.len());
        let absent = "interface = \"no-such-link\"";
        for (peers, rest, part) in [
            (
                base_peers(),
                "[policy]\nassociations-max = 2\n",
                "associations-max is 2, which is too little for 3 peers",
            ),
            (vec![peer("a", 2, A, absent)], "", "interface `no-such-link`"),
            (vec![peer("d", 5, A, absent)], "", "interface `no-such-link`"),
            (vec![peer("a", 9, A, "vrf = \"no-such-vrf\"")], "", "interface `no-such-vrf`"),
        ] {
            let error = keeper.apply(&config(&peers, "", rest), None).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!((known(&keeper), kernel.in_force(), kernel.state().log.len()), before, "{part}");
        }
    });
}

/// Associations that come from elsewhere than the file live beside those of the file.
#[test]
fn peers_are_added_and_removed_one_by_one() {
    checked(|| {
        let (mut keeper, kernel) = keeper();
        let listed = config(&[peer("listed", 5, "\"fd00::d\"", "")], "", "").peers;
        let id = keeper.add(&listed[0]).unwrap();
        install(&mut keeper, id, 1);
        assert_eq!(keeper.named("listed"), Some(id));
        let clashes = config(&[peer("other", 6, "\"fd00::/64\"", "")], "", "").peers;
        assert!(matches!(keeper.add(&clashes[0]), Err(ApplyError::Taken(_))));
        assert!(matches!(keeper.add(&listed[0]), Err(ApplyError::Taken(name)) if name == "listed"));
        // The file knows nothing of it: it stays, and what is its own stays so.
        keeper.apply(&config(&base_peers()[..1], "", ENCRYPTED), None).unwrap();
        assert_eq!((kernel.sending("listed"), kernel.in_force().0.len()), (Some(1), 2));
        let takes = config(&[peer("taker", 6, "\"fd00::d\"", "")], "", "");
        assert!(matches!(keeper.apply(&takes, None), Err(ApplyError::Taken(name)) if name == "listed"));
        for step in 0..1 {
            kernel.state().refuse_after = Some(step);
            assert!(matches!(keeper.remove(id), Err(ApplyError::Refused { .. })));
            assert_eq!(kernel.sending("listed"), Some(1));
        }
        keeper.remove(id).unwrap();
        assert_eq!((kernel.in_force().0.len(), keeper.named("listed")), (1, None));
        assert!(keeper.remove(id).is_err());
    });
}
