// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The published vectors in `docs/test-vectors/`, recomputed with the helper's own code. With `PDMV2_REGENERATE=1` in the
//! environment the files are written anew instead of compared.

mod common;

use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305};
use common::{key, public};
use hpke::rand_core::{TryCryptoRng, TryRng};
use pdmv2::hex;
use pdmv2::keys::schedule::Prk;
use pdmv2::negotiate::binding::{info, transcript};
use pdmv2::negotiate::message::Message;
use pdmv2::negotiate::{Client, Exporter, Failure, Local, Server, Step};
use pdmv2::secret::Secret;
use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::schedule::nonce;
use pdmv2_proto::suite::{Aead as Cipher, Suite};
use serde_json::{json, Value};

/// Compares with the published file, or writes it.
fn published(name: &str, value: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/test-vectors").join(name);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("PDMV2_REGENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    } else {
        let published = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text, published, "{name} differs from what the code computes");
    }
}

struct Case {
    suite: Suite,
    salt: Vec<u8>,
    shared_secret: Vec<u8>,
    profile: u8,
    /// Epoch, or Kri in profile `v2-kri`.
    epoch: u32,
    protocol: u8,
    from: (&'static str, u16),
    to: (&'static str, u16),
    /// PSNTP, or the 15-bit field in profile `v2-kri`.
    counter: u16,
    body: &'static str,
}

/// Wire profile `v2`.
const V2: u8 = 2;
/// Wire profile `v2-kri`.
const V2_KRI: u8 = 3;
/// Option type and the length of an encrypted option.
const OPTION: [u8; 2] = [0x0f, 0x22];
/// Reserved 0, GLOBALPTR 1, scales 0x0a and 0x14, PSNLR 7, DTLR 8, DTLS 9.
const BODY: &str = "0000000000010a14000700080009";
/// Scales 0x0a and 0x14, GLOBALPTR 1, PSNTP 0x1234, PSNLR 7, DTLR 8, DTLS 9.
const KRI_BODY: &str = "0a14000000011234000700080009";

fn seal(suite: Suite, key: &[u8], nonce: &[u8; 12], aad: &[u8], body: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: body, aad };
    match Cipher::of(suite).unwrap() {
        Cipher::Aes128Gcm => Aes128Gcm::new_from_slice(key).unwrap().encrypt(nonce.into(), payload).unwrap(),
        Cipher::Aes256Gcm => Aes256Gcm::new_from_slice(key).unwrap().encrypt(nonce.into(), payload).unwrap(),
        Cipher::ChaCha20Poly1305 => {
            let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).unwrap());
            let mut sealed = body.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).unwrap();
            sealed
        }
    }
}

impl Case {
    /// The four bytes of the body that are always in clear.
    fn clear(&self) -> [u8; 4] {
        let (first, second) = match self.profile {
            V2 => (self.epoch as u16, self.counter),
            // "F = Kri mod 2"
            _ => (0, self.counter << 1 | (self.epoch % 2) as u16),
        };
        let ([a, b], [c, d]) = ((2 << 12 | first).to_be_bytes(), second.to_be_bytes());
        [a, b, c, d]
    }

    fn compute(&self) -> Value {
        let prk = Prk::extract(self.suite, &self.salt, &Secret::new(self.shared_secret.clone())).unwrap();
        let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let sender = FlowId {
            local: octets(self.from.0),
            remote: octets(self.to.0),
            local_port: self.from.1,
            remote_port: self.to.1,
            protocol: self.protocol,
        };
        let key = prk.flow_key(self.profile, self.epoch, &sender).unwrap();
        let aad = [&OPTION[..], &self.clear()].concat();
        let body = hex::decode(self.body).unwrap();
        let sealed = seal(self.suite, key.key.as_bytes(), &nonce(&key.base_nonce, self.counter), &aad, &body);
        let suite = &self.suite.id()[4..];
        json!({
            "suite": hex::encode(suite),
            "salt": hex::encode(&self.salt),
            "shared_secret": hex::encode(&self.shared_secret),
            "prk": hex::encode(prk.secret().as_bytes()),
            "secret_id": hex::encode(&prk.secret_id().unwrap()),
            "profile": hex::encode(&[self.profile]),
            "epoch": hex::encode(&self.epoch.to_be_bytes()),
            "protocol": hex::encode(&[self.protocol]),
            "saddr": hex::encode(&sender.local),
            "daddr": hex::encode(&sender.remote),
            "sport": hex::encode(&sender.local_port.to_be_bytes()),
            "dport": hex::encode(&sender.remote_port.to_be_bytes()),
            "key": hex::encode(key.key.as_bytes()),
            "base_nonce": hex::encode(&key.base_nonce),
            "counter": hex::encode(&self.counter.to_be_bytes()),
            "aad": hex::encode(&aad),
            "body": self.body,
            "sealed": hex::encode(&sealed),
        })
    }
}

/// Vectors (a) and (b) of docs/protocol.md, section 4, then more of the default suite, then every KDF, AEAD and profile.
fn cases() -> Vec<Case> {
    let a = || Case {
        suite: Suite::DEFAULT,
        salt: vec![0x11; 16],
        shared_secret: vec![0x22; 32],
        profile: V2,
        epoch: 0,
        protocol: 17,
        from: ("fd00::1", 1000),
        to: ("fd00::2", 2000),
        counter: 0x1234,
        body: BODY,
    };
    let b = Case {
        suite: Suite { kem: 0x20, kdf: 3, aead: 2 },
        shared_secret: vec![0x22; 64],
        epoch: 0x123,
        protocol: 58,
        from: ("fd00::1", 0),
        to: ("fd00::2", 0),
        counter: 0xabcd,
        ..a()
    };
    let mut cases = vec![
        a(),
        b,
        // The other direction.
        Case { from: ("fd00::2", 2000), to: ("fd00::1", 1000), ..a() },
        Case { epoch: 1, counter: 0, ..a() },
        Case { epoch: 4095, counter: 0xffff, ..a() },
        Case { protocol: 6, from: ("2001:db8::1", 49152), to: ("2001:db8:ffff::443", 443), ..a() },
        Case { protocol: 58, from: ("fe80::1", 0), to: ("fe80::2", 0), epoch: 2, counter: 1, ..a() },
        // As negotiated: a salt of 32 bytes. And none at all.
        Case { salt: (0..32).collect(), shared_secret: (32..64).collect(), ..a() },
        Case { salt: vec![], body: "ffffffffffffffffffffffffffff", ..a() },
    ];
    let kri = |epoch, counter| Case { profile: V2_KRI, epoch, counter, body: KRI_BODY, ..a() };
    for (kdf, shared_secret) in [(1, vec![0x22; 32]), (3, vec![0x22; 64])] {
        for aead in [1, 2, 3] {
            let suite = Suite { kdf, aead, ..Suite::DEFAULT };
            cases.push(Case { suite, shared_secret: shared_secret.clone(), ..a() });
            cases.push(Case { suite, shared_secret: shared_secret.clone(), ..kri(0, 0x1234) });
        }
    }
    // The ends of the 15-bit field, and a Kri with F set and one beyond 16 bits.
    cases.extend([kri(0, 1), kri(1, 0x7fff), kri(0x0001_0002, 0x4000), kri(u32::MAX, 2)]);
    cases
}

#[test]
fn key_schedule() {
    let values: Vec<Value> = cases().iter().map(Case::compute).collect();
    // What the decisions themselves print.
    assert_eq!(values[0]["prk"], "9687eb2e09fb2dc69835d5a8f4af4c55b47716b953737a082ac283ccee578815");
    assert_eq!(values[0]["key"], "43d6df13ddce990b0a98ffbe4e82c2bc");
    assert_eq!(values[0]["base_nonce"], "4431f922280772b6594b6ae0");
    assert_eq!(values[0]["aad"], "0f2220001234");
    assert_eq!(values[0]["sealed"], "a6fdd8299d851f098844f7c70d35af43bf20c1dfba5d90ef47a42580d076");
    assert_eq!(values[1]["base_nonce"], "49dfb7c8e17ddd1ba95cdae7");
    assert_eq!(values[1]["sealed"], "d2d0c64ecf3b23a09e950045c5f8683258fb7a02e2851df1fe0f604d30c2");
    published("key-schedule.json", &Value::Array(values));
}

/// The secrets of registration, which tests/vectors/registration.py computed.
#[test]
fn registration() {
    use pdmv2::registration::group::{GroupName, Mode, Side};
    use pdmv2::registration::schedule::{Binding, PairMaster};
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/test-vectors/registration.json");
    let vectors: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(vectors.len() > 10);
    for vector in &vectors {
        let bytes = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
        let number = |bytes: &[u8]| bytes.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        let suite = bytes("suite");
        let [kem, kdf, aead] = [0, 2, 4].map(|at| number(&suite[at..at + 2]) as u16);
        let suite = Suite { kem, kdf, aead };
        let address = |name| Ipv6Addr::from(<[u8; 16]>::try_from(bytes(name)).unwrap());
        let (client, server) = (address("client"), address("server"));
        let group = GroupName::new(std::str::from_utf8(&bytes("group")).unwrap()).unwrap();
        let group_gen = number(&bytes("group_gen"));
        let is = |name: &str, secret: &Secret| assert_eq!(secret, &Secret::new(bytes(name)), "{name} of {vector}");
        let has_id = |name: &str, prk: Prk| assert_eq!(prk.secret_id().unwrap().to_vec(), bytes(name), "{vector}");

        let master = PairMaster::extract(suite, &bytes("salt"), &Secret::new(bytes("pms"))).unwrap();
        assert_eq!(master.id().unwrap().to_vec(), bytes("id"));
        let trusted = Binding::new(Mode::TrustedServers, group_gen).unwrap();
        let pss = master.server_secret(trusted, &group).unwrap();
        is("pss", &pss.to_message());
        let pcs = pss.client_secret(client).unwrap();
        is("pcs", &pcs.to_message());
        has_id("pcs_id", pcs.prk().unwrap());
        for (poller, holder, own, pair) in [
            (Side::Client, server, "own_server", "pair_client_polls"),
            (Side::Server, client, "own_client", "pair_server_polls"),
        ] {
            let binding = Binding::new(Mode::AsymmetricPoll { poller }, group_gen).unwrap();
            let secret = master.own_secret(binding, poller.other(), holder).unwrap();
            is(own, &secret.to_message());
            let secret = secret.pair_secret(if holder == server { client } else { server }).unwrap();
            is(pair, &secret.to_message());
            has_id(&format!("{pair}_id"), secret.prk().unwrap());
        }
    }
}

/// Randomness that was drawn beforehand, in the order it is used.
struct Drawn(Vec<[u8; 32]>);

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

/// A TLS session whose exporter gives this.
struct FixedPsk([u8; 32]);

impl Exporter for FixedPsk {
    fn export(&self, _context: &[u8]) -> Result<Secret, Failure> {
        Ok(Secret::new(self.0.to_vec()))
    }
}

#[test]
fn negotiation() {
    let (client_random, server_random) = ([0xc1; 32], [0x51; 32]);
    let (ikm_r, ikm_e, salt) = ([0x52; 32], [0xe1; 32], [0x5a; 32]);
    let tls = FixedPsk([0x95; 32]);
    let (client_id, server_id) = (public(1), public(2));
    let suites = vec![Suite::DEFAULT];
    let local = Local { suites, idle: 300, last_generation: 6, lifetime: 86_400, ..Local::new(client_id, server_id) };
    let peer = Local { idle: 600, last_generation: 4, ..Local::new(server_id, client_id) };

    let mut client_rng = Drawn(vec![client_random, ikm_e, salt]);
    let mut server_rng = Drawn(vec![server_random, ikm_r]);
    let (mut client, m1) = Client::start(local, &mut client_rng);
    let mut server = Server::new(peer);
    let Ok(Step::Send(m2)) = server.receive(&m1, &tls, &mut server_rng) else { panic!() };
    let Ok(Step::Send(m3)) = client.receive(&m2, &tls, &mut client_rng) else { panic!() };
    let Ok(Step::Install(theirs)) = server.receive(&m3, &tls, &mut server_rng) else { panic!() };
    let m4 = server.installed().unwrap();
    let Ok(Step::Install(ours)) = client.receive(&m4, &tls, &mut client_rng) else { panic!() };
    let m5 = client.installed().unwrap();
    let Ok(Step::Activate(acknowledged)) = server.receive(&m5, &tls, &mut server_rng) else { panic!() };
    assert!(matches!(client.receive(&acknowledged, &tls, &mut client_rng), Ok(Step::Done)));
    assert_eq!(ours.shared_secret, theirs.shared_secret);
    assert_eq!((ours.generation, theirs.generation), (7, 7));
    assert!(client_rng.0.is_empty() && server_rng.0.is_empty());

    let Ok(Message::Choice(choice)) = Message::decode(&m2) else { panic!() };
    let Ok(Message::Encap(encap)) = Message::decode(&m3) else { panic!() };
    let Ok(Message::Status(status)) = Message::decode(&m4) else { panic!() };
    let Ok(Message::Installed(installed)) = Message::decode(&m5) else { panic!() };
    let t = transcript(&m1, &m2);
    let prk = Prk::extract(ours.suite, ours.salt.as_bytes(), &ours.shared_secret).unwrap();
    let value = json!({
        "suite": hex::encode(&ours.suite.id()[4..]),
        "profile": hex::encode(&[ours.profile as u8]),
        "client_identity_seed": hex::encode(&[1; 32]),
        "client_identity": hex::encode(&client_id.0),
        "server_identity_seed": hex::encode(&[2; 32]),
        "server_identity": hex::encode(&server_id.0),
        "client_random": hex::encode(&client_random),
        "server_random": hex::encode(&server_random),
        "client_idle": 300,
        "server_idle": 600,
        "client_last_generation": 6,
        "server_last_generation": 4,
        "generation": ours.generation,
        "m1": hex::encode(&m1),
        "ikm_r": hex::encode(&ikm_r),
        "pk_r": hex::encode(&choice.pk_r),
        "m2": hex::encode(&m2),
        "transcript": hex::encode(&t),
        "psk": hex::encode(&tls.0),
        "psk_id": hex::encode(b"pdmv2-tls"),
        "info": hex::encode(&info(&t, &client_id, &server_id)),
        "ikm_e": hex::encode(&ikm_e),
        "enc": hex::encode(&encap.enc),
        "salt": hex::encode(ours.salt.as_bytes()),
        "lifetime": ours.lifetime,
        "sealed": hex::encode(&encap.sealed),
        "m3": hex::encode(&m3),
        "server_confirm": hex::encode(&status.confirm.unwrap()),
        "m4": hex::encode(&m4),
        "client_confirm": hex::encode(&installed.confirm),
        "m5": hex::encode(&m5),
        "acknowledged": hex::encode(&acknowledged),
        "shared_secret": hex::encode(ours.shared_secret.as_bytes()),
        "prk": hex::encode(prk.secret().as_bytes()),
        "secret_id": hex::encode(&prk.secret_id().unwrap()),
    });
    assert_eq!(key(1).public(), Ok(client_id));
    published("negotiation.json", &value);
}
