// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Whatever happens in whatever order: no epoch of an address under a PairMasterSecret is leased twice (`Network` checks each
//! one that is sent in, and here each one that is granted), and once things are quiet both ends of every listed pair have the
//! same secret.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use pdmv2::keys::schedule::SecretId;
use pdmv2::registration::lease::Range;
use pdmv2::registration::message::Message;
use pdmv2::registration::store::Snapshot;
use proptest::prelude::*;

use super::network::{host, Network};
use super::{client, server, topology, DERIVED, PC, PS};

#[derive(Clone, Copy, Debug)]
enum Event {
    Deliver(u8),
    Pass(u8),
    Negotiate,
    Lose(u8),
    Connect,
    RestartPrimary(bool),
    RestartSecondary(u8),
    Backup(bool),
    Restore(bool),
    FailStore(bool, u8),
    MendStores,
    Client(u8),
    Server(u8),
    Used(u8, u8),
    Wiped(u8),
    Authenticated(u8),
    Fork(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1u8..20).prop_map(Event::Deliver),
        4 => (1u8..40).prop_map(Event::Pass),
        2 => Just(Event::Negotiate),
        3 => (0u8..5).prop_map(Event::Lose),
        4 => Just(Event::Connect),
        1 => any::<bool>().prop_map(Event::RestartPrimary),
        3 => (0u8..4).prop_map(Event::RestartSecondary),
        1 => any::<bool>().prop_map(Event::Backup),
        1 => any::<bool>().prop_map(Event::Restore),
        1 => (any::<bool>(), 0u8..4).prop_map(|(which, commits)| Event::FailStore(which, commits)),
        2 => Just(Event::MendStores),
        2 => (0u8..2).prop_map(Event::Client),
        2 => (0u8..2).prop_map(Event::Server),
        2 => (0u8..4, any::<u8>()).prop_map(|(which, epoch)| Event::Used(which, epoch)),
        1 => (0u8..4).prop_map(Event::Wiped),
        2 => (0u8..4).prop_map(Event::Authenticated),
        1 => any::<bool>().prop_map(Event::Fork),
    ]
}

fn primary(which: bool) -> pdmv2::identity::PublicKey {
    host(if which { PC } else { PS })
}

fn secondary(which: u8) -> (pdmv2::identity::PublicKey, Ipv6Addr) {
    let n = usize::from(which % 2);
    if which < 2 {
        client(n)
    } else {
        server(n)
    }
}

struct Run {
    network: Network,
    backups: BTreeMap<bool, Snapshot>,
    listed: BTreeMap<(char, u8), bool>,
    heard: usize,
    granted: BTreeMap<(SecretId, Ipv6Addr), Vec<Range>>,
}

impl Run {
    /// Every grant that was ever delivered, of whatever Primary, overlaps no other.
    fn check_grants(&mut self) {
        for (to, message) in &self.network.delivered[self.heard..] {
            let grants = match Message::decode(message) {
                Ok(Message::Prepare(prepare)) => prepare.grants.into_iter().map(|grant| (prepare.pms, grant)).collect(),
                Ok(Message::Granted(granted)) => vec![(granted.pms, granted.grant)],
                _ => continue,
            };
            for (pms, grant) in grants {
                let Some(range) = grant.range else { continue };
                let before = self.granted.entry((pms, grant.address)).or_default();
                assert!(before.iter().all(|other| !other.overlaps(range)), "{to}: {range:?} among {before:?}");
                before.push(range);
            }
        }
        self.heard = self.network.delivered.len();
    }

    /// Takes an address off its list, or puts it back.
    fn toggle(&mut self, kind: char, which: u8) {
        let listed = self.listed.get(&(kind, which)).copied().unwrap_or(true);
        let text = format!("fd00:{kind}::{}", which + 1).replace('s', "5");
        let prefix = [text.parse().unwrap()];
        let (gone, come) = if listed { (&prefix[..], &[][..]) } else { (&[][..], &prefix[..]) };
        let outcome = match kind {
            'c' => self.network.with_primary(host(PC), |x, now| x.change_clients(&host(PS), gone, come, now)),
            _ => self.network.with_primary(host(PS), |x, now| {
                x.change_servers(&host(PC), &super::network::group("web"), gone, come, now)
            }),
        };
        if outcome.is_ok() {
            self.listed.insert((kind, which), !listed);
        }
    }

    fn happen(&mut self, event: Event) {
        let network = &mut self.network;
        match event {
            Event::Deliver(many) => (0..many).for_each(|_| {
                network.deliver_one();
            }),
            Event::Pass(seconds) => network.pass(u64::from(seconds)),
            Event::Negotiate => network.negotiate_due(),
            Event::Lose(4) => network.disconnect(host(PC), host(PS)),
            Event::Lose(which) => {
                network.disconnect(secondary(which).0, host(if which < 2 { PC } else { PS }));
            }
            Event::Connect => network.connect_all(),
            Event::RestartPrimary(which) => network.restart_primary(primary(which), None),
            Event::RestartSecondary(which) => network.restart_secondary(secondary(which).0),
            Event::Backup(which) => {
                self.backups.insert(which, network.primaries[&primary(which)].store.snapshot());
            }
            Event::Restore(which) => {
                if let Some(backup) = self.backups.get(&which) {
                    network.restart_primary(primary(which), Some(backup));
                    // The operator's lists are those of the backup: as the test's own book would say otherwise.
                    self.read_lists();
                }
            }
            Event::FailStore(which, commits) => network.primaries[&primary(which)].store.fail_after(u64::from(commits)),
            Event::MendStores => network.primaries.values().for_each(|host| host.store.work_again()),
            Event::Client(which) => self.toggle('c', which),
            Event::Server(which) => self.toggle('s', which),
            Event::Used(which, epoch) => {
                let (key, _) = secondary(which);
                let sent: Vec<_> = network.secondaries[&key]
                    .module
                    .iter()
                    .filter_map(|(name, held)| Some((name.clone(), held.sends?)))
                    .collect();
                for (name, range) in sent {
                    let highest = range.start + u32::from(epoch) * (range.end - range.start) / 256;
                    network.with_secondary(key, |x, now, chance| x.used(&name, highest, now, chance));
                }
            }
            Event::Wiped(which) => {
                network.with_secondary(secondary(which).0, |x, now, chance| x.wiped(now, chance));
            }
            Event::Authenticated(which) => {
                let (key, _) = secondary(which);
                let names: Vec<_> = network.secondaries[&key].module.keys().cloned().collect();
                for name in names {
                    network.with_secondary(key, |x, now, chance| x.authenticated(&name, now, chance));
                }
            }
            Event::Fork(which) => network.with_primary(primary(which), |x, now| x.forked(now)),
        }
        self.check_grants();
    }

    fn read_lists(&mut self) {
        for which in 0..2u8 {
            let clients = &self.network.primaries[&host(PC)].primary.roster(&host(PS)).unwrap().clients;
            let is = clients.longest(client(usize::from(which)).1).is_some();
            self.listed.insert(('c', which), is);
            let roster = self.network.primaries[&host(PS)].primary.roster(&host(PC)).unwrap();
            let is = roster.group_of(server(usize::from(which)).1).is_some();
            self.listed.insert(('s', which), is);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_epoch_is_leased_twice_and_both_ends_agree(
        seed in any::<u64>(),
        mode in prop::sample::select(DERIVED.to_vec()),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let network = topology(seed, mode);
        let mut run = Run { network, backups: BTreeMap::new(), listed: BTreeMap::new(), heard: 0, granted: BTreeMap::new() };
        run.check_grants();
        for event in events {
            run.happen(event);
        }
        run.happen(Event::MendStores);
        // Sessions that fail are dialled again, for as long as a daemon would.
        for _ in 0..40 {
            run.happen(Event::Connect);
            run.happen(Event::Pass(10));
        }
        for c in 0..2u8 {
            for s in 0..2u8 {
                let listed = run.listed.get(&('c', c)).copied().unwrap_or(true) && run.listed.get(&('s', s)).copied().unwrap_or(true);
                let (c, s) = (usize::from(c), usize::from(s));
                prop_assert_eq!(super::pair_opens(&run.network, c, s), listed, "{:?} {} {}", mode, c, s);
                if !listed {
                    prop_assert!(run.network.held(client(c).0, client(c).1, server(s).1).is_empty());
                    prop_assert!(run.network.held(server(s).0, server(s).1, client(c).1).is_empty());
                }
            }
        }
    }
}
