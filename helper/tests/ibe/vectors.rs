// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! docs/test-vectors/ibe.json, which tests/vectors/ibe.py wrote.

use std::convert::Infallible;
use std::net::SocketAddrV6;

use blst::min_sig::SecretKey;
use hpke::rand_core::{TryCryptoRng, TryRng};
use pdmv2::hex;
use pdmv2::keys::schedule::Prk;
use pdmv2::registration::ibe::bf::{MasterKey, PrivateKey};
use pdmv2::registration::ibe::hash::hash_to_range;
use pdmv2::registration::ibe::initiator::Initiator;
use pdmv2::registration::ibe::message::{Message, Name};
use pdmv2::registration::ibe::responder::{Confirmed, Responder};
use pdmv2::registration::ibe::{generators, Generator, Identity, Keys, Member, Pair, Parameters, Path, Role, PORT};
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::world::at;

fn vectors(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../docs/test-vectors/ibe.json")).unwrap();
    let vectors = all[kind].as_array().unwrap().clone();
    assert!(!vectors.is_empty());
    vectors
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name}"))
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(vector, name)).unwrap()
}

fn secret(vector: &Value, name: &str) -> Secret {
    Secret::new(bytes(vector, name))
}

fn number(vector: &Value, name: &str) -> u64 {
    vector[name].as_u64().unwrap_or_else(|| panic!("{name}"))
}

fn role(name: &str) -> Role {
    if name == "client" {
        Role::Client
    } else {
        Role::Server
    }
}

/// Randomness that was drawn beforehand, in the order it is used.
struct Drawn(Vec<Vec<u8>>);

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.remove(0));
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

/// Appendix J.9.1 of RFC 9380: `[1]hash_to_curve(msg)`, as private keys are extracted with.
#[test]
fn rfc_9380_hash_to_curve() {
    let mut one = [0; 32];
    one[31] = 1;
    let one = SecretKey::from_bytes(&one).unwrap();
    let vectors = vectors("hash_to_curve");
    assert_eq!(vectors.len(), 5);
    for vector in vectors {
        let point = one.sign(text(&vector, "msg").as_bytes(), text(&vector, "dst").as_bytes(), &[]);
        assert_eq!(point.serialize().to_vec(), [bytes(&vector, "x"), bytes(&vector, "y")].concat());
    }
}

#[test]
fn boneh_franklin() {
    for vector in vectors("boneh_franklin") {
        let master = MasterKey::decode(&secret(&vector, "master")).unwrap();
        let parameters = master.parameters();
        assert_eq!(parameters.encode().to_vec(), bytes(&vector, "parameters"));
        let (m, rho) = (bytes(&vector, "m"), bytes(&vector, "rho"));
        let address = text(&vector, "address").parse().unwrap();
        let id = Identity::new(&parameters, role(text(&vector, "role")), address, number(&vector, "period") as u32);
        assert_eq!(id.as_bytes().to_vec(), bytes(&vector, "id"));
        let one = MasterKey::decode(&Secret::new([vec![0; 31], vec![1]].concat())).unwrap();
        assert_eq!(one.extract(id.as_bytes()).encode(), secret(&vector, "q_id"));
        let private_key = master.extract(id.as_bytes());
        assert_eq!(private_key.encode(), secret(&vector, "private_key"));
        let l = hash_to_range([&rho, &Sha256::digest(&m)]);
        assert_eq!(l.to_vec(), bytes(&vector, "l"));
        let (k, ciphertext) = parameters.encapsulate(id.as_bytes(), &mut Drawn(vec![m.clone(), rho.clone()])).unwrap();
        assert_eq!(ciphertext.to_vec(), bytes(&vector, "ciphertext"));
        assert_eq!(k, Secret::new(m));
        // V = hashfcn(theta') XOR rho
        let mask = Sha256::digest(bytes(&vector, "theta"));
        let v: Vec<u8> = mask.iter().zip(&rho).map(|(a, b)| a ^ b).collect();
        assert_eq!(ciphertext[96..128], v);
        let again = PrivateKey::decode(&secret(&vector, "private_key"), &parameters, id.as_bytes()).unwrap();
        assert_eq!(again.decapsulate(&ciphertext), Ok(k));
    }
}

struct End {
    role: Role,
    parameters: Parameters,
    keys: Keys,
}

impl End {
    fn new(vector: &Value, name: &str) -> Self {
        let generator = Generator::restore(role(name), &secret(vector, &format!("{name}_master"))).unwrap();
        let address = text(vector, &format!("{name}_address")).parse().unwrap();
        let period = number(vector, "period") as u32;
        let key = generator.extract(address, period, period).unwrap().encode();
        let mut keys = Keys::default();
        keys.add(&key, generator.parameters(), role(name), address, period).unwrap();
        Self { role: role(name), parameters: generator.parameters().clone(), keys }
    }

    fn member<'a>(&'a self, peer: &'a Self, vector: &Value, last_generation: u64) -> Member<'a> {
        let suite = bytes(vector, "suite");
        let at = |at: usize| u16::from_be_bytes([suite[at], suite[at + 1]]);
        assert_eq!(at(0), 0xff01);
        Member {
            role: self.role,
            parameters: &self.parameters,
            keys: &self.keys,
            peer_parameters: &peer.parameters,
            period: number(vector, "period") as u32,
            suite: Suite { kem: 0x20, kdf: at(2), aead: at(4) },
            last_generation,
        }
    }
}

#[test]
fn exchanges() {
    for vector in vectors("exchanges") {
        let names = if text(&vector, "initiator") == "client" { ["client", "server"] } else { ["server", "client"] };
        let ends = names.map(|name| End::new(&vector, name));
        let addresses = names.map(|name| text(&vector, &format!("{name}_address")).parse().unwrap());
        let [client, server] = if names[0] == "client" { [&ends[0], &ends[1]] } else { [&ends[1], &ends[0]] };
        let generators = generators(&client.parameters, &server.parameters);
        assert_eq!(generators.to_vec(), bytes(&vector, "generators"));
        let lasts = ["initiator", "responder"].map(|end| number(&vector, &format!("{end}_last_generation")));
        let seen = |own: usize, peer: usize| {
            let (local, remote) = (addresses[own], addresses[peer]);
            let path = Path::new(local, SocketAddrV6::new(remote, PORT, 0, 0));
            (path, Pair { local, remote, scope: 0, generators }, ends[own].member(&ends[peer], &vector, lasts[own]))
        };
        let (our_path, our_pair, ours) = seen(0, 1);
        let (their_path, their_pair, theirs) = seen(1, 0);
        let drawn = |names: &[&str]| Drawn(names.iter().map(|name| bytes(&vector, name)).collect());

        let mut rng = drawn(&["session", "initiator_m", "initiator_rho"]);
        let (mut initiator, m1) = Initiator::open(our_path, &our_pair, &ours, at(0), &mut rng).unwrap();
        assert!(rng.0.is_empty());
        assert_eq!(hex::encode(&m1.datagram), text(&vector, "m1"));
        let Ok(Message::Cookie(m2)) = Message::decode(&bytes(&vector, "m2")) else { panic!() };
        assert_eq!(m2.cookie.to_vec(), bytes(&vector, "cookie"));
        let m1 = initiator.cookie(m2.cookie, at(0)).unwrap();
        assert_eq!(hex::encode(&m1.datagram), text(&vector, "m1_with_cookie"));

        let Ok(Message::Init(init)) = Message::decode(&m1.datagram) else { panic!() };
        let mut rng = drawn(&["responder_m", "responder_rho"]);
        let (mut responder, m3) = Responder::accept(their_path, &their_pair, &init, &theirs, at(0), &mut rng).unwrap();
        assert!(rng.0.is_empty());
        assert_eq!(hex::encode(&m3.datagram), text(&vector, "m3"));
        let Ok(Message::Answer(answer)) = Message::decode(&m3.datagram) else { panic!() };
        let established = initiator.answer(&our_pair, &answer, &ours).unwrap();
        let m4 = initiator.installed(at(0)).unwrap();
        assert_eq!(hex::encode(&m4.datagram), text(&vector, "m4"));
        let Ok(Message::Confirm(confirm)) = Message::decode(&m4.datagram) else { panic!() };
        let Ok(Confirmed::Install(installed)) = responder.confirm(&confirm.confirm) else { panic!() };
        let m5 = responder.installed(at(0)).unwrap();
        assert_eq!(hex::encode(&m5.datagram), text(&vector, "m5"));
        let Ok(Message::Installed(confirm)) = Message::decode(&m5.datagram) else { panic!() };
        assert_eq!(initiator.confirmed(&confirm.confirm), Ok(number(&vector, "generation")));

        // The ciphertexts are where the vector says: ct_c is what the client opens.
        let [ct_c, ct_s] = ["ct_c", "ct_s"].map(|name| bytes(&vector, name));
        let (to_responder, to_initiator) = (init.ciphertext.to_vec(), answer.ciphertext.to_vec());
        let expected = if names[0] == "client" { (ct_s, ct_c) } else { (ct_c, ct_s) };
        assert_eq!((to_responder, to_initiator), expected);
        assert_eq!(Message::Init(init).name(), Name { session: *initiator.session(), generators });

        assert_eq!(established.shared_secret, installed.shared_secret);
        assert_eq!(established.shared_secret, secret(&vector, "shared_secret"));
        assert_eq!(established.generation, number(&vector, "generation"));
        let prk = Prk::extract(established.suite, &[], &established.shared_secret).unwrap();
        assert_eq!(prk.secret(), &secret(&vector, "prk"));
        assert_eq!(prk.secret_id().unwrap().to_vec(), bytes(&vector, "secret_id"));
    }
}
