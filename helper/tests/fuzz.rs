// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The fuzz targets (fuzz/README.md) over their corpora, in the ordinary test run. The seeds are made here, from the
//! published vectors and by the encoders; with `PDMV2_REGENERATE=1` in the environment they are written instead of compared.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};
use pdmv2::hex;
use pdmv2::identity::{PrivateKey, PublicKey};
use pdmv2::keys::schedule::FlowKey;
use pdmv2::negotiate::frame::frame;
use pdmv2::netlink::association::Association;
use pdmv2::netlink::attribute::Builder;
use pdmv2::netlink::flow_id::put_flow_id;
use pdmv2::netlink::key::KeyName;
use pdmv2::netlink::message::{encode, Payload};
use pdmv2::netlink::policy::{Policy, Rule};
use pdmv2::secret::Secret;
use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::uapi::{attr, cmd, Event, KeyDirection, KeyMode, Mechanism, OnFailure, Profile};
use rcgen::{
    date_time_ymd, BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, PKCS_ED25519,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn vectors(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(top().join("docs/test-vectors").join(name)).unwrap()).unwrap()
}

/// Every kind of setting.
const CONFIGURATION: &str = r#"# A comment
[host]
private-key-file = "/etc/pdmv2/private-key"
certificate-file = "/etc/pdmv2/host.pem"
ca-file = "/etc/pdmv2/ca.pem"
listen = "[::]:4480"
handshake-rate = 16
idle = 600
kem = ["x-wing", "x25519", "p-256"]

[[peer]]
name = "web"
public-key = "OhA4l1iDc2nQeJFsMXKnjLcu6+dINBGg0dOyzbrpXmQ="
endpoint = "[2001:db8:2::1]:4480"
interface = "eth0"
local = ["2001:db8:1::1", "fe80::/10"]
remote = [
  "2001:db8:2::/64",
]
profile = "v2-kri"
key-mode = "kernel"
on-failure = "drop"
lifetime = 86_400
epoch-packets = 0xffff

[[peer]]
name = "mail"
subject = "spiffe://example/mail"
vrf = "red"
local = ["::/0"]
remote = ["2001:db8:3::/64"]

[policy]
forbid-plain = true
memory = 67108864

[[rule]]
remote = "2001:db8:2::/64"
protocol = ["tcp", "udp", 58]
remote-ports = "1000-2000"
direction = "both"
send = "v2-encrypted"
accept = ["v2", "pdm"]
sample = 10
"#;

/// Target, name, bytes.
type Seed = (&'static str, String, Vec<u8>);

fn seeds() -> Vec<Seed> {
    [certificates(), configuration(), keys(), negotiation(), netlink(), packets()].concat()
}

fn seed(target: &'static str, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Seed {
    (target, name.into(), bytes.as_ref().to_vec())
}

/// A CA, a host of it and a list, all of fixed keys and dates.
fn certificates() -> Vec<Seed> {
    let pair = |number: u8| {
        let key = PrivateKey::from_seed([number; 32]);
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key.pkcs8().as_slice()), &PKCS_ED25519).unwrap()
    };
    let params = |name: &str, serial: u8| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params
    };
    let mut ca = params("CA", 1);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = ca.self_signed(&pair(9)).unwrap();
    let issuer = Issuer::new(ca, pair(9));
    let mut host = params("host", 7);
    let name = |text: &str| SanType::DnsName(text.try_into().unwrap());
    host.subject_alt_names =
        vec![name("one.example"), name("*.example"), SanType::URI("spiffe://example/one".try_into().unwrap())];
    let certificate = host.signed_by(&pair(1), &issuer).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(4000, 1, 1),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[8]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap().pem().unwrap();
    vec![
        seed("certificate", "host", certificate.der()),
        seed("certificate", "ca", root.der()),
        seed("certificate", "raw-key", public().spki()),
        seed("certificate_files", "ca", root.pem()),
        seed("certificate_files", "chain", [certificate.pem(), root.pem()].concat()),
        seed("certificate_files", "list", [certificate.pem(), root.pem(), list].concat()),
    ]
}

fn public() -> PublicKey {
    PrivateKey::from_seed([1; 32]).public().unwrap()
}

fn configuration() -> Vec<Seed> {
    let mut seeds = vec![
        seed("configuration", "all", CONFIGURATION),
        seed("configuration", "least", "[host]\nprivate-key-file = \"k\"\n"),
    ];
    let prefixes = ["::/0", "2001:db8::1", "fe80::/10", "2001:db8::/129", "2001:db8::1/64", "::ffff:192.0.2.1/128"];
    seeds.extend(prefixes.iter().enumerate().map(|(number, text)| seed("prefix", number.to_string(), text)));
    seeds
}

fn keys() -> Vec<Seed> {
    let key = PrivateKey::from_seed([1; 32]);
    vec![
        seed("key", "base64", key.to_base64().as_bytes()),
        seed("key", "pem", key.to_pem().as_bytes()),
        seed("key", "public", public().to_string()),
        seed("key", "spki", public().spki()),
        seed("key", "subject", "spiffe://example/one"),
        seed("key", "subject-dns", "one.example"),
    ]
}

fn negotiation() -> Vec<Seed> {
    let vectors = vectors("negotiation.json");
    let message = |name: &str| hex::decode(vectors[name].as_str().unwrap()).unwrap();
    let names = ["m1", "m2", "m3", "m4", "m5", "acknowledged"];
    let mut seeds: Vec<_> = names.iter().map(|name| seed("negotiation_message", *name, message(name))).collect();
    let framed = |names: &[&str]| names.iter().flat_map(|name| frame(&message(name))).collect::<Vec<_>>();
    seeds.push(seed("negotiation_message", "refusal", [0x83, 1, 4, 0xa1, 1, 2]));
    seeds.push(seed("negotiation_server", "m1", framed(&["m1"])));
    seeds.push(seed("negotiation_server", "m1-m3-m5", framed(&["m1", "m3", "m5"])));
    seeds.push(seed("negotiation_client", "m2", framed(&["m2"])));
    seeds.push(seed("negotiation_client", "m2-m4-acknowledged", framed(&["m2", "m4", "acknowledged"])));
    seeds.push(seed("deframer", "all", [vec![7], framed(&names)].concat()));
    seeds.push(seed("deframer", "bytes", [vec![1], framed(&["m1"])].concat()));
    seeds.push(seed("deframer", "too-long", [1, 0, 0, 0x40, 1, 0]));
    seeds
}

fn netlink() -> Vec<Seed> {
    let id = FlowId { local: [1; 16], remote: [2; 16], local_port: 5, remote_port: 6, protocol: 6 };
    let name =
        KeyName { association: "b".into(), generation: 4, direction: KeyDirection::Receive, flow: id, epoch: 1 << 20 };
    let key = FlowKey { key: Secret::new(vec![1; 16]), base_nonce: [2; 12] };
    let mut notice = Builder::default();
    notice.u8(attr::notice::EVENT, Event::Authenticated as u8).text(attr::notice::ASSOCIATION, "b");
    notice.u64(attr::notice::GENERATION, 3);
    put_flow_id(&mut notice, attr::notice::FLOW, &id);
    let mut flow = Builder::default();
    put_flow_id(&mut flow, attr::flow::ID, &id);
    flow.u8(attr::flow::MECHANISM, 3).u64(attr::flow::PACKETS_OUT, 1 << 40).nest(attr::flow::RTT, |rtt| {
        rtt.u32(attr::delay::SAMPLES, 2).u32(attr::delay::SMOOTHED, 40_000_000);
    });
    flow.bytes(attr::flow::RTT_HISTOGRAM, &[1, 0, 0, 0, 2, 0, 0, 0]).nest(attr::flow::REFUSED, |count| {
        count.u32(attr::refusal_count::REASON, 6).u32(attr::refusal_count::OPTIONS, 3);
    });
    let association = Association {
        name: "b".into(),
        profile: Profile::V2,
        key_mode: KeyMode::Helper,
        on_failure: OnFailure::Drop,
        ifindex: 3,
        vrf: 0,
        local: vec!["fd00::1".parse().unwrap()],
        remote: vec!["fd00::2".parse().unwrap(), "fd01::/64".parse().unwrap()],
        peer_idle: Some(600),
        epoch_packets: Some(9),
        epoch_seconds: None,
        renew_packets: Some(1 << 33),
    };
    let rules = vec![Rule { remote: Some("fd00::/8".parse().unwrap()), ..Rule::sending(Mechanism::V2Encrypted) }];
    let policy = Policy { rules, ..Policy::default() };
    let mut stats = Builder::default();
    for kind in 1..40 {
        stats.u64(kind, 1 << kind);
    }
    let parts = [
        ("acquire", cmd::ACQUIRE, name.encode(&key).into_bytes()),
        ("notice", cmd::EVENT, notice.into_bytes()),
        ("flow", cmd::FLOW_GET, flow.into_bytes()),
        ("association", cmd::ASSOCIATION_GET, association.encode().into_bytes()),
        ("stats", cmd::STATS_GET, stats.into_bytes()),
        ("policy", cmd::POLICY_GET, policy.encode().into_bytes()),
        ("any", cmd::POLICY_SET, policy.encode().into_bytes()),
    ];
    let mut seeds = Vec::new();
    for (choice, (name, command, bytes)) in parts.iter().enumerate() {
        seeds.push(seed("netlink_attributes", *name, [&[choice as u8], bytes.as_slice()].concat()));
        let payload = Payload { command: *command, attributes: bytes.clone() };
        seeds.push(seed("netlink_datagram", *name, encode(0x21, 0, 9, payload).as_slice()));
    }
    // A refusal: the error, the header that it is about, and what the module says of its attribute.
    let request = encode(0x21, 5, 9, Payload { command: cmd::POLICY_SET, attributes: policy.encode().into_bytes() });
    let mut ack = Builder::default();
    ack.text(1, "remote: no").u32(2, 24).u32(5, 1).u32(6, 24);
    let echo = [&request[..16], &ack.into_bytes()].concat();
    let flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
    let error = [&(-22i32).to_ne_bytes()[..], &echo].concat();
    let length = (16 + error.len()) as u32;
    let header =
        [&length.to_ne_bytes()[..], &2u16.to_ne_bytes(), &flags.to_ne_bytes(), &[9, 0, 0, 0, 0, 0, 0, 0]].concat();
    seeds.push(seed("netlink_datagram", "refusal", [header, error].concat()));
    let lengths = [flags.to_be_bytes(), (request.len() as u16).to_be_bytes()].concat();
    seeds.push(seed("netlink_ext_ack", "capped", [&lengths, request.as_slice(), &echo].concat()));
    let lengths = [NLM_F_ACK_TLVS.to_be_bytes(), (request.len() as u16).to_be_bytes()].concat();
    seeds.push(seed("netlink_ext_ack", "whole", [&lengths, request.as_slice(), &request, &echo[16..]].concat()));
    seeds
}

/// Options of the published vectors, and packets that carry them.
fn packets() -> Vec<Seed> {
    let vectors = vectors("key-schedule.json");
    let mut bodies: Vec<(String, Vec<u8>)> = vec![("pdm".into(), vec![0x0a, 0x14, 0x12, 0x34, 0, 7, 0, 8, 0, 9])];
    for (number, vector) in vectors.as_array().unwrap().iter().enumerate().step_by(4) {
        let bytes = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
        let clear = bytes("aad")[2..].to_vec();
        bodies.push((format!("plain-{number}"), [clear.clone(), bytes("body")].concat()));
        bodies.push((format!("sealed-{number}"), [clear, bytes("sealed")].concat()));
    }
    let mut seeds: Vec<_> = bodies.iter().map(|(name, body)| seed("option", name, body)).collect();
    let udp = [0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0];
    let tcp =
        [&[0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0][..], &[2, 4, 5, 0xa0]]
            .concat();
    for (name, body) in bodies.iter().take(3) {
        let option = [&[15, body.len() as u8][..], body].concat();
        let unpadded = 4 + option.len();
        let padding = unpadded.next_multiple_of(8) - unpadded;
        let pad = match padding {
            0 => vec![],
            1 => vec![0],
            more => [vec![1, more as u8 - 2], vec![0; more - 2]].concat(),
        };
        let words = ((unpadded + padding) / 8 - 1) as u8;
        let header = [&[17, words, 1, 0][..], &option, &pad].concat();
        seeds.push(seed("headers", name, packet(60, &[&header, &udp[..]].concat())));
    }
    let hop_by_hop = [43, 0, 5, 2, 0, 0, 1, 0];
    let routing = [&[44, 2, 4, 1, 0, 0, 0, 0][..], &[3; 16]].concat();
    let fragment = [51, 0, 0, 1, 0, 0, 0, 9];
    let ah = [60, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let destination = [6, 0, 1, 4, 0, 0, 0, 0];
    let chain = [&hop_by_hop[..], &routing, &fragment, &ah, &destination, &tcp].concat();
    seeds.push(seed("headers", "chain", packet(0, &chain)));
    seeds.push(seed("headers", "tcp", packet(6, &tcp)));
    seeds.push(seed("headers", "echo", packet(58, &[128, 0, 0, 0, 0, 1, 0, 1])));
    seeds
}

fn packet(next_header: u8, rest: &[u8]) -> Vec<u8> {
    let fixed = [&[0x60, 0, 0, 0, 0, rest.len() as u8, next_header, 64][..], &[1; 16], &[2; 16]].concat();
    [fixed.as_slice(), rest].concat()
}

/// Files of a target's corpus that are committed.
fn corpus(target: &str) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(top().join("fuzz/corpus").join(target)) else { return Vec::new() };
    let named =
        entries.map(|entry| entry.unwrap()).map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let mut files: Vec<_> = named.filter(|(name, _)| name.starts_with("seed-") || name.starts_with("found-")).collect();
    files.sort();
    files
}

#[test]
fn seeds_are_what_the_encoders_write() {
    let mut expected = BTreeSet::new();
    for (target, name, bytes) in seeds() {
        let path = top().join("fuzz/corpus").join(target).join(format!("seed-{name}"));
        if std::env::var_os("PDMV2_REGENERATE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let committed = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(hex::encode(&committed), hex::encode(&bytes), "{}", path.display());
        assert!(expected.insert((target, format!("seed-{name}"))), "{target} {name} twice");
    }
    // And no others.
    for (target, _) in targets::TARGETS {
        for (name, path) in corpus(target).into_iter().filter(|(name, _)| name.starts_with("seed-")) {
            assert!(expected.contains(&(*target, name)), "{} is nobody's", path.display());
        }
    }
}

#[test]
fn every_target_takes_every_file_of_its_corpus() {
    for (target, _) in targets::TARGETS {
        let files = corpus(target);
        assert!(!files.is_empty(), "{target} has no corpus");
        for (_, path) in files {
            let bytes = fs::read(&path).unwrap();
            // Whole, cut short anywhere, and with one bit turned: what a fuzzer tries first.
            targets::run(target, &bytes);
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
                targets::run(target, &bytes[..at]);
                let mut turned = bytes.clone();
                turned[at] ^= 1 << (at % 8);
                targets::run(target, &turned);
            }
        }
    }
}

/// A target has a file that runs it, a name in Cargo.toml and a directory; and there is none of either without a target.
#[test]
fn every_target_is_in_its_place() {
    let names: BTreeSet<_> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names.len(), targets::TARGETS.len());
    let listed = |directory: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(top().join("fuzz").join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("fuzz_targets"), names);
    assert_eq!(listed("corpus"), names);
    let manifest: toml::Table = fs::read_to_string(top().join("fuzz/Cargo.toml")).unwrap().parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap();
    let bins: BTreeSet<_> = bins.iter().map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bins, names);
    for name in &names {
        let text = fs::read_to_string(top().join("fuzz/fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("run(\"{name}\", input)")), "{name}");
    }
}
