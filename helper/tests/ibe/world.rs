// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Two Secondaries, the generators of their Primaries, and the network between them.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use pdmv2::negotiate::system_entropy;
use pdmv2::registration::ibe::bf::CIPHERTEXT_LEN;
use pdmv2::registration::ibe::limits::PAIRS_MAX;
use pdmv2::registration::ibe::message::{Init, Message};
use pdmv2::registration::ibe::{
    generators, suite, Event, Exchanges, Generator, Generators, Keys, Member, Members, Pair, Parameters, Path, Refusal,
    Role, Step, Transmit, PORT,
};
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;

pub const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xc);
pub const SERVER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x5);
pub const PERIOD: u32 = 1000;

/// The key generators of a Primary Client and a Primary Server.
pub struct Primaries {
    pub client: Generator,
    pub server: Generator,
}

impl Primaries {
    pub fn new() -> Self {
        let generator = |role| Generator::generate(role, &mut system_entropy()).unwrap();
        Self { client: generator(Role::Client), server: generator(Role::Server) }
    }

    pub fn of(&self, role: Role) -> &Generator {
        match role {
            Role::Client => &self.client,
            Role::Server => &self.server,
        }
    }

    pub fn name(&self) -> Generators {
        generators(self.client.parameters(), self.server.parameters())
    }
}

/// What a host knows of one peer.
pub struct Entry {
    pub role: Role,
    pub parameters: Parameters,
    pub keys: Keys,
    pub peer_parameters: Parameters,
    pub period: u32,
    pub suite: Suite,
    pub last_generation: u64,
}

impl Entry {
    /// Of a host with this role and address, with private keys of the period before, the present, and the next.
    pub fn new(primaries: &Primaries, role: Role, address: Ipv6Addr) -> Self {
        let (own, peer) = (primaries.of(role), primaries.of(role.other()));
        let mut entry = Self {
            role,
            parameters: own.parameters().clone(),
            keys: Keys::default(),
            peer_parameters: peer.parameters().clone(),
            period: PERIOD,
            suite: Suite::DEFAULT,
            last_generation: 0,
        };
        for period in [PERIOD - 1, PERIOD, PERIOD + 1] {
            entry.add_key(own, address, period);
        }
        entry
    }

    pub fn add_key(&mut self, generator: &Generator, address: Ipv6Addr, period: u32) {
        let key = generator.extract(address, period, period).unwrap().encode();
        self.keys.add(&key, generator.parameters(), self.role, address, period).unwrap();
    }
}

/// The lists of one host: its peers by address.
pub struct Lists {
    pub generators: Generators,
    pub local: Ipv6Addr,
    pub peers: BTreeMap<Ipv6Addr, Entry>,
}

impl Members for Lists {
    fn member(&self, pair: &Pair) -> Option<Member<'_>> {
        let entry = self.peers.get(&pair.remote)?;
        (pair.local == self.local && pair.generators == self.generators).then_some(Member {
            role: entry.role,
            parameters: &entry.parameters,
            keys: &entry.keys,
            peer_parameters: &entry.peer_parameters,
            period: entry.period,
            suite: entry.suite,
            last_generation: entry.last_generation,
        })
    }
}

/// A Secondary with one peer, and what its daemon would do.
pub struct Host {
    pub exchanges: Exchanges,
    pub lists: Lists,
    pub peer: Ipv6Addr,
    /// Secrets by generation.
    pub installed: BTreeMap<u64, Secret>,
    /// The generation it sends under, 0 for none.
    pub active: u64,
    /// Exchanges of its own that came to nothing.
    pub failed: usize,
}

impl Host {
    pub fn new(primaries: &Primaries, role: Role, address: Ipv6Addr, peer: Ipv6Addr) -> Self {
        let peers = BTreeMap::from([(peer, Entry::new(primaries, role, address))]);
        Self {
            exchanges: Exchanges::new(PAIRS_MAX, Duration::ZERO, &mut system_entropy()),
            lists: Lists { generators: primaries.name(), local: address, peers },
            peer,
            installed: BTreeMap::new(),
            active: 0,
            failed: 0,
        }
    }

    pub fn entry(&mut self) -> &mut Entry {
        self.lists.peers.get_mut(&self.peer).unwrap()
    }

    /// The path on which datagrams of the peer come.
    pub fn path(&self) -> Path {
        path(self.lists.local, self.peer)
    }

    pub fn pair(&self) -> Pair {
        Pair { local: self.lists.local, remote: self.peer, scope: 0, generators: self.lists.generators }
    }

    pub fn start(&mut self, now: Duration) -> Result<Vec<u8>, Refusal> {
        let path = self.path();
        let name = self.lists.generators;
        self.exchanges.start(path, name, &self.lists, now, &mut system_entropy()).map(|transmit| transmit.datagram)
    }

    /// Takes a datagram that came from the peer, and installs and activates as told: what to send.
    pub fn receive(&mut self, datagram: &[u8], now: Duration) -> Result<Option<Vec<u8>>, Refusal> {
        self.receive_on(self.path(), datagram, now).map(|sent| sent.map(|transmit| transmit.datagram))
    }

    pub fn receive_on(&mut self, path: Path, datagram: &[u8], now: Duration) -> Result<Option<Transmit>, Refusal> {
        let sent = match self.exchanges.receive(path, datagram, &self.lists, now, &mut system_entropy())? {
            Step::Send(transmit) => Some(transmit),
            Step::Wait => None,
            Step::Activate { generation, .. } => {
                assert!(self.installed.contains_key(&generation));
                self.active = generation;
                None
            }
            Step::Install(established) => {
                let generation = established.generation;
                assert!(generation > self.entry().last_generation, "a generation never comes again");
                self.entry().last_generation = generation;
                self.installed.insert(generation, established.shared_secret.clone());
                let sent = self.exchanges.installed(&established.handle, now).expect("just told to");
                if !established.is_initiator {
                    self.active = generation;
                }
                Some(sent)
            }
        };
        if let Some(sent) = &sent {
            assert_eq!(sent.path, path, "an answer goes where the request came from");
            assert!(sent.datagram.len() <= datagram.len() || is_cookie(datagram), "no amplification");
        }
        Ok(sent)
    }

    pub fn poll(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for event in self.exchanges.poll(now) {
            match event {
                Event::Send(transmit) => sent.push(transmit.datagram),
                Event::Failed { .. } => self.failed += 1,
            }
        }
        sent
    }

    /// Whether nothing has happened, and nothing is remembered.
    pub fn is_untouched(&self) -> bool {
        self.installed.is_empty() && self.active == 0 && self.exchanges.pairs() == 0
    }
}

pub fn path(local: Ipv6Addr, remote: Ipv6Addr) -> Path {
    Path::new(local, SocketAddrV6::new(remote, PORT, 0, 0))
}

/// Both Secondaries: the client, the server.
pub fn pair_of_hosts(primaries: &Primaries) -> [Host; 2] {
    let host = |role, address, peer| Host::new(primaries, role, address, peer);
    [host(Role::Client, CLIENT, SERVER), host(Role::Server, SERVER, CLIENT)]
}

/// The client and the server of new Primaries.
pub fn hosts() -> [Host; 2] {
    pair_of_hosts(&Primaries::new())
}

pub fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One exchange that nothing disturbs, opened by the first of the two: its datagrams, m1 twice.
pub fn run(initiator: &mut Host, responder: &mut Host, now: Duration) -> Result<Vec<Vec<u8>>, Refusal> {
    run_with(initiator, responder, now, |_, datagram| datagram)
}

/// The same, with a hand on each datagram: the number of its message (1 for the m1 with a cookie, 0 for the one
/// without).
pub fn run_with(
    initiator: &mut Host,
    responder: &mut Host,
    now: Duration,
    mut change: impl FnMut(u8, Vec<u8>) -> Vec<u8>,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut log = Vec::new();
    let mut next = Some(initiator.start(now)?);
    let mut to_responder = true;
    while let Some(sent) = next {
        let number = match Message::decode(&sent) {
            Ok(Message::Init(init)) if init.cookie.is_none() => 0,
            Ok(message) => message.number(),
            Err(refusal) => panic!("{refusal}"),
        };
        log.push(sent.clone());
        let datagram = change(number, sent);
        next = if to_responder { &mut *responder } else { &mut *initiator }.receive(&datagram, now)?;
        to_responder = !to_responder;
    }
    Ok(log)
}

/// The two hosts send under the same generation and secret.
pub fn agree(hosts: &[Host; 2]) -> bool {
    let [client, server] = hosts;
    let active = client.active;
    active > 0 && active == server.active && client.installed[&active] == server.installed[&active]
}

/// m2: what the initiator sends next is longer, as it asked for m2 by as much.
fn is_cookie(datagram: &[u8]) -> bool {
    matches!(Message::decode(datagram), Ok(Message::Cookie(_)))
}

/// An m1 with a ciphertext of the sender's choice, as anybody can send it who knows what is public.
pub fn forged_init(from: &mut Host, ciphertext: [u8; CIPHERTEXT_LEN], session: u8) -> Init {
    let generators = from.lists.generators;
    let entry = from.entry();
    Init {
        session: [session; 16],
        generators,
        role: entry.role as u8,
        suite: suite(entry.suite).into(),
        period: entry.period,
        last_generation: entry.last_generation,
        ciphertext,
        cookie: None,
        padding: Vec::new(),
    }
}

/// Sends an m1, takes the cookie, sends the m1 with it: what comes of that.
pub fn knock(host: &mut Host, mut init: Init, now: Duration) -> Result<Option<Vec<u8>>, Refusal> {
    let m2 = host.receive(&Message::Init(init.clone()).encode(), now)?.expect("a cookie");
    let Ok(Message::Cookie(body)) = Message::decode(&m2) else { panic!("not a cookie") };
    init.cookie = Some(body.cookie);
    host.receive(&Message::Init(init).encode(), now)
}
