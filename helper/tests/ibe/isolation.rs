// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What a stolen key can open, and what it cannot.

use std::net::Ipv6Addr;

use pdmv2::registration::ibe::bf::{MasterKey, PrivateKey, Refused};
use pdmv2::registration::ibe::message::Message;
use pdmv2::registration::ibe::schedule::Agreement;
use pdmv2::registration::ibe::{suite, Identity, Refusal, Role};
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;

use crate::world::*;

const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xd);

/// What somebody saw of an exchange that the client opened, and the secret that came of it.
struct Seen {
    session: [u8; 16],
    ids: [Identity; 2],
    /// To the client, to the server.
    ciphertexts: [[u8; 160]; 2],
    secret: Secret,
}

fn watch(primaries: &Primaries) -> Seen {
    let [mut client, mut server] = pair_of_hosts(primaries);
    let log = run(&mut client, &mut server, at(0)).unwrap();
    let Ok(Message::Init(init)) = Message::decode(&log[2]) else { panic!() };
    let Ok(Message::Answer(answer)) = Message::decode(&log[3]) else { panic!() };
    let id = |role, address| Identity::new(primaries.of(role).parameters(), role, address, PERIOD);
    Seen {
        session: init.session,
        ids: [id(Role::Client, CLIENT), id(Role::Server, SERVER)],
        ciphertexts: [answer.ciphertext, init.ciphertext],
        secret: client.installed[&1].clone(),
    }
}

impl Seen {
    /// What these keys make of it.
    fn secret_with(&self, k_c: &Secret, k_s: &Secret) -> Secret {
        let agreement = Agreement {
            suite: suite(Suite::DEFAULT),
            initiator: Role::Client,
            session: &self.session,
            last_generation: 0,
            generation: 1,
            ids: [&self.ids[0], &self.ids[1]],
            ciphertexts: [&self.ciphertexts[0], &self.ciphertexts[1]],
        };
        agreement.derive(k_c, k_s).unwrap().0
    }

    /// What a private key opens of it: to the client, to the server.
    fn opened_with(&self, key: &PrivateKey) -> [Result<Secret, Refused>; 2] {
        self.ciphertexts.each_ref().map(|ciphertext| key.decapsulate(ciphertext))
    }
}

/// "a stolen Secondary key opens nothing of another pair"
#[test]
fn a_stolen_key_opens_nothing_of_another_pair() {
    let primaries = Primaries::new();
    let seen = watch(&primaries);
    let key = |role: Role, address, period| primaries.of(role).extract(address, period, period).unwrap();
    let table = [
        ("of another client", key(Role::Client, NEIGHBOUR, PERIOD)),
        ("of another server", key(Role::Server, NEIGHBOUR, PERIOD)),
        ("of the client in another period", key(Role::Client, CLIENT, PERIOD + 1)),
        ("of the server in another period", key(Role::Server, SERVER, PERIOD - 1)),
        ("of a client at the server's address", key(Role::Client, SERVER, PERIOD)),
        ("of a server at the client's address", key(Role::Server, CLIENT, PERIOD)),
    ];
    for (name, key) in table {
        assert_eq!(seen.opened_with(&key), [Err(Refused::NotOpened), Err(Refused::NotOpened)], "{name}");
    }
}

/// The key of one end opens one half of what it was sent before it was stolen. It takes both to have the secret.
#[test]
fn the_stolen_key_of_one_end_does_not_open_what_was_recorded() {
    let primaries = Primaries::new();
    let seen = watch(&primaries);
    let key = |role: Role, address| primaries.of(role).extract(address, PERIOD, PERIOD).unwrap();
    let [k_c, none] = seen.opened_with(&key(Role::Client, CLIENT));
    assert_eq!(none, Err(Refused::NotOpened));
    let [none, k_s] = seen.opened_with(&key(Role::Server, SERVER));
    assert_eq!(none, Err(Refused::NotOpened));
    let (k_c, k_s) = (k_c.unwrap(), k_s.unwrap());
    let nothing = Secret::zeroed(32);
    for (c, s) in [(&k_c, &nothing), (&nothing, &k_s), (&k_c, &k_c), (&k_s, &k_s), (&k_s, &k_c)] {
        assert_ne!(seen.secret_with(c, s), seen.secret);
    }
    assert_eq!(seen.secret_with(&k_c, &k_s), seen.secret);
}

/// "a PC's generator cannot derive what needs PS's master key too", "and neither can PS's"
#[test]
fn one_generator_alone_cannot_derive_a_secret() {
    let primaries = Primaries::new();
    let seen = watch(&primaries);
    let nothing = Secret::zeroed(32);
    let mut opened = Vec::new();
    for (own, role) in [(0, Role::Client), (1, Role::Server)] {
        // Under any identity at all, those of the other generator's Secondaries too.
        let master = MasterKey::decode(&primaries.of(role).master()).unwrap();
        let keys = seen.ids.each_ref().map(|id| master.extract(id.as_bytes()));
        assert_eq!(seen.opened_with(&keys[1 - own]), [Err(Refused::NotOpened), Err(Refused::NotOpened)]);
        let mut halves = seen.opened_with(&keys[own]);
        assert_eq!(halves[1 - own], Err(Refused::NotOpened));
        let half = std::mem::replace(&mut halves[own], Err(Refused::NotOpened)).unwrap();
        for other in [&nothing, &half] {
            let pair = if own == 0 { [&half, other] } else { [other, &half] };
            assert_ne!(seen.secret_with(pair[0], pair[1]), seen.secret, "{role:?}");
        }
        opened.push(half);
    }
    // Both together can.
    assert_eq!(seen.secret_with(&opened[0], &opened[1]), seen.secret);
}

/// A thief of one Secondary's key cannot pose as another Secondary, nor towards the robbed one as somebody else.
#[test]
fn a_stolen_key_does_not_make_its_thief_somebody_else() {
    let primaries = Primaries::new();
    let not_opened = Err(Refusal::Encapsulation(Refused::NotOpened));
    // The thief has the neighbour's key, and claims to be the client.
    for thief_opens in [true, false] {
        let [_, mut server] = pair_of_hosts(&primaries);
        let mut thief = Host::new(&primaries, Role::Client, CLIENT, SERVER);
        thief.entry().keys = Entry::new(&primaries, Role::Client, NEIGHBOUR).keys;
        let outcome =
            if thief_opens { run(&mut thief, &mut server, at(0)) } else { run(&mut server, &mut thief, at(0)) };
        assert_eq!(outcome, not_opened);
        assert!(server.installed.is_empty());
    }
    // The thief has the client's key, and claims towards the client to be the server.
    for thief_opens in [true, false] {
        let [mut client, _] = pair_of_hosts(&primaries);
        let mut thief = Host::new(&primaries, Role::Server, SERVER, CLIENT);
        thief.entry().keys = Entry::new(&primaries, Role::Client, CLIENT).keys;
        let outcome =
            if thief_opens { run(&mut thief, &mut client, at(0)) } else { run(&mut client, &mut thief, at(0)) };
        assert_eq!(outcome, not_opened);
        assert!(client.installed.is_empty());
    }
}
