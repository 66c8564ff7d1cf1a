// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Primaries and Secondaries in one memory: sessions are queues, time and chance are the test's, and what a module would be
//! told is kept and checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::time::Duration;

use hpke::rand_core::{TryCryptoRng, TryRng};
use pdmv2::identity::PublicKey;
use pdmv2::keys::schedule::{Prk, SecretId};
use pdmv2::negotiate::{Negotiated, Purpose, Role};
use pdmv2::prefix::Prefix;
use pdmv2::registration::group::{GroupName, Mode, Pairing, Side};
use pdmv2::registration::lease::Range;
use pdmv2::registration::message::member::{Identity, IdentityKey};
use pdmv2::registration::primary::{Alert, KeyGenerator, Output, Primary};
use pdmv2::registration::secondary::{Action, Agree, Secondary, SecretName, Wanted};
use pdmv2::registration::store::{MemoryStore, Snapshot};
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

/// Chance that comes again when the test does.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.iter_mut().for_each(|byte| *byte = self.next() as u8);
        Ok(())
    }
}

impl TryCryptoRng for Chance {}

/// A secret in a module.
#[derive(Clone, Debug)]
pub struct InModule {
    pub prk: Prk,
    pub id: SecretId,
    /// Tells one installation from another, as each has its own floors.
    pub installation: u64,
    /// The epochs it was installed for.
    range: Option<Range>,
    pub sends: Option<Range>,
    pub expires: Duration,
}

/// What a flow's keys follow from, but for its ports and protocol: the epochs in which some installation sent.
type Sent = BTreeMap<(SecretId, Ipv6Addr, Ipv6Addr), Vec<(u64, Range)>>;

pub struct PrimaryHost {
    pub primary: Primary,
    pub store: MemoryStore,
    setup: Vec<Setup>,
    pub alerts: Vec<Alert>,
}

/// What a Primary's configuration says, for when it is started again.
#[derive(Clone)]
enum Setup {
    Pairing(PublicKey, Side),
    Member(PublicKey, Vec<Ipv6Addr>),
}

pub struct SecondaryHost {
    pub secondary: Secondary,
    primaries: Vec<PublicKey>,
    eager: usize,
    pub module: BTreeMap<SecretName, InModule>,
    pub access: Vec<(Ipv6Addr, Prefix)>,
    /// What is to be agreed on, and the keys for it.
    pub agree: BTreeMap<SecretName, Agree>,
    pub identities: BTreeMap<Pairing, Identity>,
}

/// A key generator without cryptography: its keys say what they are.
struct FakeGenerator(PublicKey);

impl KeyGenerator for FakeGenerator {
    fn parameters(&self) -> Vec<u8> {
        self.0 .0.to_vec()
    }

    fn extract(&self, side: Side, address: Ipv6Addr, period: u32) -> Option<Secret> {
        Some(Secret::new([&[side as u8, period as u8], self.0 .0.as_slice(), &address.octets()].concat()))
    }
}

/// A message on its way.
#[derive(Clone)]
pub struct Sealed(pub Vec<u8>);

pub struct Network {
    pub now: Duration,
    pub chance: Chance,
    pub primaries: BTreeMap<PublicKey, PrimaryHost>,
    pub secondaries: BTreeMap<PublicKey, SecondaryHost>,
    /// Sessions, each named by its two ends in order.
    sessions: BTreeSet<(PublicKey, PublicKey)>,
    queues: BTreeMap<(PublicKey, PublicKey), VecDeque<Sealed>>,
    negotiate: BTreeSet<(PublicKey, PublicKey)>,
    /// Primaries that do not negotiate for now.
    pub no_negotiation: bool,
    sent: Sent,
    installations: u64,
    /// Everything that was ever delivered, by receiver.
    pub delivered: Vec<(PublicKey, Vec<u8>)>,
    /// PairMasterSecrets that were negotiated.
    pub masters: Vec<Negotiated>,
    pub suite: Suite,
    pub lifetime: u32,
    /// Sessions that were closed for what was said in them.
    pub failures: Vec<(PublicKey, pdmv2::registration::error::Failure)>,
}

fn link(a: PublicKey, b: PublicKey) -> (PublicKey, PublicKey) {
    (a.min(b), a.max(b))
}

pub fn a(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub fn group(text: &str) -> GroupName {
    GroupName::new(text).unwrap()
}

/// The key of a host: hosts need no more than different ones.
pub fn host(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

impl Network {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Duration::from_secs(1000),
            chance: Chance(seed),
            primaries: BTreeMap::new(),
            secondaries: BTreeMap::new(),
            sessions: BTreeSet::new(),
            queues: BTreeMap::new(),
            negotiate: BTreeSet::new(),
            no_negotiation: false,
            sent: BTreeMap::new(),
            installations: 0,
            delivered: Vec::new(),
            masters: Vec::new(),
            suite: Suite::DEFAULT,
            lifetime: 86_400,
            failures: Vec::new(),
        }
    }

    pub fn add_primary(&mut self, key: PublicKey) {
        let store = MemoryStore::default();
        let mut primary = Primary::open(key, Box::new(store.clone())).unwrap();
        primary.set_generator(Box::new(FakeGenerator(key)), self.now);
        self.primaries.insert(key, PrimaryHost { primary, store, setup: Vec::new(), alerts: Vec::new() });
    }

    /// Two Primaries form a pairing and are connected.
    pub fn pair(&mut self, client: PublicKey, server: PublicKey) {
        for (own, peer, side) in [(client, server, Side::Client), (server, client, Side::Server)] {
            let host = self.primaries.get_mut(&own).unwrap();
            host.setup.push(Setup::Pairing(peer, side));
            host.primary.add_pairing(peer, side).unwrap();
        }
        self.connect(client, server);
    }

    pub fn add_secondary(&mut self, key: PublicKey, eager: usize) {
        let secondary = Secondary::new(eager, self.now);
        let host = SecondaryHost {
            secondary,
            primaries: Vec::new(),
            eager,
            module: BTreeMap::new(),
            access: Vec::new(),
            agree: BTreeMap::new(),
            identities: BTreeMap::new(),
        };
        self.secondaries.insert(key, host);
    }

    /// A Secondary is a member of a Primary, and connected.
    pub fn enrol(&mut self, secondary: PublicKey, primary: PublicKey, addresses: &[Ipv6Addr]) {
        let now = self.now;
        let host = self.primaries.get_mut(&primary).unwrap();
        host.setup.push(Setup::Member(secondary, addresses.to_vec()));
        host.primary.add_member(secondary, addresses, now).unwrap();
        let host = self.secondaries.get_mut(&secondary).unwrap();
        host.primaries.push(primary);
        host.secondary.add_primary(primary, &[]);
        self.connect(secondary, primary);
    }

    pub fn is_connected(&self, one: PublicKey, other: PublicKey) -> bool {
        self.sessions.contains(&link(one, other))
    }

    pub fn connect(&mut self, one: PublicKey, other: PublicKey) {
        if !self.sessions.insert(link(one, other)) {
            return;
        }
        for (own, peer) in [(one, other), (other, one)] {
            if let Some(host) = self.primaries.get_mut(&own) {
                if self.secondaries.contains_key(&peer) {
                    continue;
                }
                host.primary.peer_connected(&peer);
            }
            if let Some(host) = self.secondaries.get_mut(&own) {
                host.secondary.connected(&peer);
            }
        }
        self.collect();
    }

    pub fn disconnect(&mut self, one: PublicKey, other: PublicKey) {
        if !self.sessions.remove(&link(one, other)) {
            return;
        }
        for (own, peer) in [(one, other), (other, one)] {
            self.queues.remove(&(own, peer));
            if let Some(host) = self.primaries.get_mut(&own) {
                host.primary.disconnected(&peer);
            }
            if let Some(host) = self.secondaries.get_mut(&own) {
                host.secondary.disconnected(&peer, self.now);
            }
        }
    }

    fn sessions_of(&self, host: PublicKey) -> Vec<PublicKey> {
        let other = |(x, y): &(PublicKey, PublicKey)| match (*x == host, *y == host) {
            (true, _) => Some(*y),
            (_, true) => Some(*x),
            _ => None,
        };
        self.sessions.iter().filter_map(other).collect()
    }

    /// A Primary is started again: its memory is gone, its store is as it is, or as it was.
    pub fn restart_primary(&mut self, key: PublicKey, backup: Option<&Snapshot>) {
        for peer in self.sessions_of(key) {
            self.disconnect(key, peer);
        }
        let now = self.now;
        let host = self.primaries.get_mut(&key).unwrap();
        if let Some(backup) = backup {
            host.store.restore(backup);
        }
        host.primary = Primary::open(key, Box::new(host.store.clone())).unwrap();
        host.primary.set_generator(Box::new(FakeGenerator(key)), now);
        for setup in host.setup.clone() {
            match setup {
                Setup::Pairing(peer, side) => host.primary.add_pairing(peer, side).unwrap(),
                Setup::Member(member, addresses) => host.primary.add_member(member, &addresses, now).unwrap(),
            }
        }
    }

    /// A Secondary reboots: helper and module forget everything.
    pub fn restart_secondary(&mut self, key: PublicKey) {
        for peer in self.sessions_of(key) {
            self.disconnect(key, peer);
        }
        let host = self.secondaries.get_mut(&key).unwrap();
        host.secondary = Secondary::new(host.eager, self.now);
        host.module.clear();
        host.access.clear();
        host.agree.clear();
        host.identities.clear();
        for primary in host.primaries.clone() {
            host.secondary.add_primary(primary, &[]);
        }
    }

    /// Every session that is configured is up.
    pub fn connect_all(&mut self) {
        let mut wanted = Vec::new();
        for (key, host) in &self.primaries {
            for setup in &host.setup {
                match setup {
                    Setup::Pairing(peer, Side::Client) => wanted.push((*key, *peer)),
                    Setup::Pairing(..) => {}
                    Setup::Member(member, _) => wanted.push((*member, *key)),
                }
            }
        }
        for (one, other) in wanted {
            self.connect(one, other);
        }
    }

    /// Puts what hosts say in queues, tells modules, and notes what is to be negotiated.
    pub fn collect(&mut self) {
        let primaries: Vec<_> = self.primaries.keys().copied().collect();
        for key in primaries {
            while let Some(output) = self.primaries.get_mut(&key).unwrap().primary.poll_output() {
                match output {
                    Output::Send { to, message } => self.queue(key, to, message.as_bytes()),
                    Output::Negotiate(peer) => {
                        self.negotiate.insert(link(key, peer));
                    }
                    Output::Alert(alert) => self.primaries.get_mut(&key).unwrap().alerts.push(alert),
                }
            }
        }
        let secondaries: Vec<_> = self.secondaries.keys().copied().collect();
        for key in secondaries {
            while let Some(action) = self.secondaries.get_mut(&key).unwrap().secondary.poll_action() {
                match action {
                    Action::Message { to, message } => self.queue(key, to, message.as_bytes()),
                    other => self.carry_out(key, other),
                }
            }
        }
    }

    fn queue(&mut self, from: PublicKey, to: PublicKey, message: &[u8]) {
        assert!(message.len() <= 16_384);
        if self.sessions.contains(&link(from, to)) {
            self.queues.entry((from, to)).or_default().push_back(Sealed(message.to_vec()));
        }
    }

    /// As a module does, and checks what would make a key and nonce come twice.
    fn carry_out(&mut self, key: PublicKey, action: Action) {
        self.installations += 1;
        let host = self.secondaries.get_mut(&key).unwrap();
        match action {
            Action::Install(install) => {
                // The key log's line opens what is sealed.
                assert_eq!(Prk::extract(install.suite, &[], &install.shared_secret).as_ref(), Ok(&install.prk));
                let in_module = InModule {
                    id: install.prk.secret_id().unwrap(),
                    prk: install.prk,
                    installation: self.installations,
                    range: install.range,
                    sends: None,
                    expires: install.expires,
                };
                let before = host.module.insert(install.name, in_module);
                assert!(before.is_none(), "installed twice: {before:?}");
            }
            Action::Send { name, range } => {
                let held = host.module.get_mut(&name).expect("sent under a secret that is not installed");
                let allowed = held.range.expect("sent under a secret that is for receiving");
                assert!(range.start == allowed.start && range.end >= allowed.end, "{range:?} of {allowed:?}");
                (held.range, held.sends) = (Some(range), Some(range));
                let place = (held.id, name.local, name.remote);
                let sent = self.sent.entry(place).or_default();
                for (installation, other) in sent.iter() {
                    assert!(
                        *installation == held.installation || !other.overlaps(range),
                        "{name:?}: epochs {range:?} overlap {other:?} of another installation"
                    );
                }
                sent.push((held.installation, range));
            }
            Action::StopSending(name) => {
                let held = host.module.get_mut(&name).expect("stopped sending under a secret that is not installed");
                assert!(held.sends.take().is_some());
            }
            Action::Remove(name) => {
                host.module.remove(&name).expect("removed a secret that is not installed");
            }
            Action::Access(access) => host.access = access,
            Action::Agree(agree) => {
                host.agree.insert(agree.name.clone(), *agree);
            }
            Action::Identity(identity) => {
                host.identities.insert(identity.pairing, *identity);
            }
            Action::ForgetIdentity(pairing) => {
                host.identities.remove(&pairing).expect("forgot what was not there");
            }
            Action::Message { .. } => unreachable!(),
        }
    }

    /// Delivers one message of some queue, of which chance decides; whether there was one.
    pub fn deliver_one(&mut self) -> bool {
        let waiting: Vec<_> = self.queues.iter().filter(|(_, queue)| !queue.is_empty()).map(|(key, _)| *key).collect();
        if waiting.is_empty() {
            return false;
        }
        let (from, to) = waiting[self.chance.below(waiting.len())];
        let Sealed(message) = self.queues.get_mut(&(from, to)).unwrap().pop_front().unwrap();
        self.delivered.push((to, message.clone()));
        self.hand_over(from, to, &message);
        self.collect();
        true
    }

    pub fn hand_over(&mut self, from: PublicKey, to: PublicKey, message: &[u8]) {
        let now = self.now;
        let outcome = if let Some(host) = self.primaries.get_mut(&to) {
            host.primary.receive(&from, message, now)
        } else {
            let host = self.secondaries.get_mut(&to).unwrap();
            host.secondary.receive(&from, message, now, &mut self.chance)
        };
        if let Err(failure) = outcome {
            self.failures.push((to, failure));
            self.disconnect(from, to);
        }
    }

    /// Negotiates what is to be, between Primaries that are connected.
    pub fn negotiate_due(&mut self) {
        if self.no_negotiation {
            return;
        }
        for (one, other) in std::mem::take(&mut self.negotiate) {
            if !self.sessions.contains(&(one, other)) {
                self.negotiate.insert((one, other));
                continue;
            }
            let last =
                [(one, other), (other, one)].map(|(own, peer)| self.primaries[&own].primary.last_generation(&peer));
            let mut negotiated = Negotiated {
                role: Role::Client,
                purpose: Purpose::Master,
                suite: self.suite,
                profile: Profile::V2,
                generation: 1 + last.into_iter().max().unwrap(),
                lifetime: self.lifetime,
                peer_idle: 600,
                salt: self.random(32),
                shared_secret: self.random(self.suite.hash_len().unwrap()),
            };
            self.masters.push(negotiated.clone());
            for (own, peer, role) in [(one, other, Role::Client), (other, one, Role::Server)] {
                negotiated.role = role;
                let (now, chance) = (self.now, &mut self.chance);
                // A store that fails: this end has no PairMasterSecret, and asks again.
                let _ = self.primaries.get_mut(&own).unwrap().primary.negotiated(&peer, &negotiated, now, chance);
            }
            self.collect();
        }
    }

    fn random(&mut self, len: usize) -> Secret {
        let mut secret = Secret::zeroed(len);
        secret.as_mut_bytes().iter_mut().for_each(|byte| *byte = self.chance.next() as u8);
        secret
    }

    /// What both ends want to agree on they do, if each has a key of its own for it.
    fn agree_due(&mut self) {
        let all: Vec<(PublicKey, Agree)> = self
            .secondaries
            .iter()
            .flat_map(|(key, host)| host.agree.values().map(|one| (*key, one.clone())))
            .collect();
        for (own, agree) in &all {
            let name = &agree.name;
            let mirrored = SecretName { local: name.remote, remote: name.local, ..name.clone() };
            let Some((peer, other)) = all.iter().find(|(_, other)| other.name == mirrored) else { continue };
            let ready = [(own, agree), (peer, other)].iter().all(|(key, agree)| {
                let host = &self.secondaries[key];
                let has = host.identities.get(&agree.name.pairing).is_some_and(|identity| {
                    let wanted = (agree.name.local, identity.period);
                    let number = if agree.side == Side::Client { 0 } else { 1 };
                    let key = |key: &IdentityKey| key.key.as_bytes()[..2] == [number, identity.period as u8];
                    identity.keys.iter().any(|held| (held.address, held.period) == wanted && key(held))
                });
                has && host.agree.contains_key(&agree.name)
            });
            if !ready {
                continue;
            }
            let suite = Suite { kem: 0xff01, ..agree.suite };
            let secret = self.random(suite.hash_len().unwrap());
            for (key, agree) in [(own, agree), (peer, other)] {
                self.secondaries.get_mut(key).unwrap().agree.remove(&agree.name);
                let secret = secret.clone();
                self.with_secondary(*key, |x, now, chance| x.agreed(&agree.name, suite, secret, now, chance));
            }
        }
    }

    /// Delivers until there is nothing to deliver.
    pub fn quiet(&mut self) {
        self.collect();
        loop {
            self.negotiate_due();
            self.agree_due();
            if !self.deliver_one() {
                return;
            }
        }
    }

    /// Time passes, second by second.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.quiet();
            self.now += Duration::from_secs(1);
            for host in self.primaries.values_mut() {
                host.primary.tick(self.now);
            }
            for host in self.secondaries.values_mut() {
                host.secondary.tick(self.now, &mut self.chance);
            }
            self.collect();
            let mut held = self.secondaries.values().flat_map(|host| host.module.values());
            assert!(held.all(|held| self.now < held.expires), "a secret outlived its time");
        }
        self.quiet();
    }

    pub fn want(&mut self, key: PublicKey, local: Ipv6Addr, remote: Ipv6Addr) -> Wanted {
        let host = self.secondaries.get_mut(&key).unwrap();
        let wanted = host.secondary.want(local, remote, self.now, &mut self.chance);
        self.collect();
        wanted
    }

    pub fn with_primary<T>(&mut self, key: PublicKey, act: impl FnOnce(&mut Primary, Duration) -> T) -> T {
        let now = self.now;
        let outcome = act(&mut self.primaries.get_mut(&key).unwrap().primary, now);
        self.collect();
        outcome
    }

    pub fn with_secondary<T>(
        &mut self,
        key: PublicKey,
        act: impl FnOnce(&mut Secondary, Duration, &mut Chance) -> T,
    ) -> T {
        let now = self.now;
        let outcome = act(&mut self.secondaries.get_mut(&key).unwrap().secondary, now, &mut self.chance);
        self.collect();
        outcome
    }

    pub fn set_group(&mut self, server: PublicKey, client: PublicKey, name: &str, mode: Mode) {
        self.with_primary(server, |primary, now| primary.set_group(&client, &group(name), mode, now)).unwrap();
    }

    pub fn change_servers(&mut self, server: PublicKey, client: PublicKey, name: &str, gone: &[&str], come: &[&str]) {
        let of = |texts: &[&str]| texts.iter().map(|text| p(text)).collect::<Vec<_>>();
        let (gone, come) = (of(gone), of(come));
        self.with_primary(server, |primary, now| primary.change_servers(&client, &group(name), &gone, &come, now))
            .unwrap();
    }

    pub fn change_clients(&mut self, client: PublicKey, server: PublicKey, gone: &[&str], come: &[&str]) {
        let of = |texts: &[&str]| texts.iter().map(|text| p(text)).collect::<Vec<_>>();
        let (gone, come) = (of(gone), of(come));
        self.with_primary(client, |primary, now| primary.change_clients(&server, &gone, &come, now)).unwrap();
    }

    /// What a host's module holds for a pair of addresses.
    pub fn held(&self, key: PublicKey, local: Ipv6Addr, remote: Ipv6Addr) -> Vec<(SecretName, InModule)> {
        let module = &self.secondaries[&key].module;
        let of_pair = module.iter().filter(|(name, _)| (name.local, name.remote) == (local, remote));
        of_pair.map(|(name, held)| (name.clone(), held.clone())).collect()
    }

    /// The secret a host sends under to an address.
    pub fn sends(&self, key: PublicKey, local: Ipv6Addr, remote: Ipv6Addr) -> Option<(SecretName, InModule)> {
        let mut sending = self.held(key, local, remote).into_iter().filter(|(_, held)| held.sends.is_some());
        let one = sending.next();
        assert!(sending.next().is_none(), "two secrets are sent under");
        one
    }

    /// Whether what one host sends the other can open.
    pub fn opens(&self, from: (PublicKey, Ipv6Addr), to: (PublicKey, Ipv6Addr)) -> bool {
        self.sends(from.0, from.1, to.1)
            .is_some_and(|(_, sent)| self.held(to.0, to.1, from.1).iter().any(|(_, held)| held.prk == sent.prk))
    }
}
