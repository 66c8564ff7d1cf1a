// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Configuration: what is read, and that every error names file, line and key.

mod common;

use std::path::{Path, PathBuf};

use common::public;
use pdmv2::config::{parse, parse_policy, Config, ConfigError, Peer};
use pdmv2::identity::Identity;
use pdmv2::netlink::policy::Limits;
use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::{mechanisms, KeyMode, Mechanism, OnFailure, Profile};

const GOOD: &str = r#"[host]
private-key-file = "/etc/pdmv2/private-key"
listen = "[::1]:4480"
idle = 300
kem = ["x25519", "x-wing"]
aead = ["chacha20-poly1305"]

[[peer]]
name = "b"
public-key = "KEY_B"
endpoint = "[fd00::2]:4480"
local = ["fd00::1"]
remote = ["fd00::2", "fd01::/64"]
key-mode = "kernel"
profile = "v2-kri"
on-failure = "drop"
lifetime = 3600
epoch-packets = 1000
epoch-seconds = 60
kem = ["p-256"]
kdf = ["hkdf-sha512"]

[[peer]]
name = "c"
public-key = "KEY_C"
interface = "eth0"
local = ["fe80::/10"]
remote = ["fe80::/10"]

[policy]
flows-max = 1000

[[rule]]
remote = "fd00::/16"
protocol = ["tcp", 17]
remote-ports = "1000-2000"
direction = "outbound"
send = "v2-encrypted"
profile = "v2-kri"
accept = ["v2-encrypted", "v2"]
sample = 10
mirror = true
expiry = 0

[[rule]]
send = "pdm"
"#;

fn good() -> String {
    GOOD.replace("KEY_B", &public(2).to_string()).replace("KEY_C", &public(3).to_string())
}

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(Path::new("pdmv2.toml"), text)
}

#[test]
fn everything_is_read() {
    let config = read(&good()).unwrap();
    assert_eq!(config.host.listen.to_string(), "[::1]:4480");
    assert_eq!((config.host.idle, config.policy.limits.idle), (300, Some(300)));
    let [b, c] = config.peers.as_slice() else { panic!() };
    assert_eq!((b.key_mode, b.on_failure, b.lifetime), (KeyMode::Kernel, OnFailure::Drop, 3600));
    assert_eq!(b.identity, Identity::Key(public(2)));
    assert_eq!((b.profile, c.profile), (Profile::V2Kri, Profile::V2));
    assert_eq!((c.key_mode, c.on_failure, c.lifetime), (KeyMode::Helper, OnFailure::Deliver, 86_400));
    assert_eq!((b.epoch_packets, b.epoch_seconds), (Some(1000), Some(60)));
    assert_eq!((c.epoch_packets, c.epoch_seconds, c.renew_packets), (None, None, None));
    let renewing = read(&good().replace("epoch-seconds = 60", "renew-packets = 5000000000")).unwrap();
    assert_eq!(renewing.peers[0].renew_packets, Some(5_000_000_000));
    assert_eq!(c.endpoint, None);
    let shown = |peer: &Peer| peer.suites.iter().map(Suite::to_string).collect::<Vec<_>>();
    assert_eq!(shown(b), ["p-256/hkdf-sha512/chacha20-poly1305"]);
    let of_the_host = ["x25519/hkdf-sha256", "x25519/hkdf-sha512", "x-wing/hkdf-sha256", "x-wing/hkdf-sha512"];
    assert_eq!(shown(c), of_the_host.map(|names| format!("{names}/chacha20-poly1305")));
    let rules = &config.policy.rules;
    assert_eq!(rules.iter().map(|rule| rule.protocol).collect::<Vec<_>>(), [Some(6), Some(17), None]);
    assert_eq!(rules[0].accept, Some(mechanisms::V2 | mechanisms::V2_ENCRYPTED));
    assert_eq!((rules[0].profile, rules[2].profile), (Some(Profile::V2Kri), None));
    assert_eq!((rules[0].sample, rules[0].mirror, rules[0].expiry), (Some(10), true, Some(0)));
    assert_eq!((rules[2].send, rules[2].accept, rules[2].expiry), (Mechanism::Pdm, None, None));
    assert_eq!(config.host.key_log, None);
}

#[test]
fn the_example_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pdmv2.example.toml");
    let config = pdmv2::config::load(&path).unwrap();
    assert_eq!((config.peers.len(), config.policy.rules.len()), (1, 1));
    // What is commented out is what holds without it.
    let text = std::fs::read_to_string(&path).unwrap();
    for key in ["kem", "kdf", "aead"] {
        assert!(text.contains(&format!("\n#{key} = [")));
    }
    let said = read(&text.replace("\n#kem", "\nkem").replace("\n#kdf", "\nkdf").replace("\n#aead", "\naead")).unwrap();
    assert_eq!(said.peers[0].suites, config.peers[0].suites);
    assert_eq!(config.peers[0].suites, pdmv2::negotiate::suites::all());
}

#[test]
fn defaults_suffice() {
    let config = read("[host]\nprivate-key-file = \"k\"\n").unwrap();
    assert_eq!(config.host.listen.to_string(), "[::]:4480");
    assert!(config.peers.is_empty() && config.policy.rules.is_empty());
}

#[test]
fn a_policy_is_read_alone_or_from_the_daemons_file() {
    let alone = parse_policy(Path::new("p"), "[[rule]]\nsend = \"v2\"\n").unwrap();
    assert_eq!(alone.rules.len(), 1);
    assert_eq!(parse_policy(Path::new("p"), &good()).unwrap().rules.len(), 3);
    assert!(parse_policy(Path::new("p"), "[[rules]]\nsend = \"v2\"\n").is_err());
}

#[test]
fn limits_are_told_and_what_is_absent_stays() {
    let limits = "memory = 8589934592\nrest = 5\nassociations-max = 7\npending-max = 64\nacquire-rate = 9\n\
                  event-rate = 10\nstranger-rate = 11";
    let policy = parse_policy(Path::new("p"), &good().replace("flows-max = 1000", limits)).unwrap();
    let expected = Limits {
        memory: Some(8 << 30),
        rest: Some(5),
        associations_max: Some(7),
        pending_max: Some(64),
        acquire_rate: Some(9),
        event_rate: Some(10),
        stranger_rate: Some(11),
        ..Limits::default()
    };
    assert_eq!(policy.limits, expected);
    assert_eq!(parse_policy(Path::new("p"), "[[rule]]\nsend = \"v2\"\n").unwrap().limits, Limits::default());
}

/// (what is replaced, by what, line, key, part of the message)
const WRONG: &[(&str, &str, usize, &str, &str)] = &[
    ("listen = \"[::1]:4480\"", "listen = \"nowhere\"", 3, "host.listen", "is not an address and port"),
    ("idle = 300", "idle = 0", 4, "host.idle", "not within 1 to 86400"),
    ("idle = 300", "idle = -1", 4, "host.idle", "invalid value"),
    ("idle = 300", "idel = 300", 4, "host.idel", "unknown field"),
    ("idle = 300", "idle = ", 4, "host.idle", ""),
    ("idle = 300", "handshake-rate = 0", 4, "host.handshake-rate", "not within 1 to 100000"),
    ("idle = 300", "certificate-file = \"c\"", 4, "host.certificate-file", "`ca-file` is missing"),
    ("idle = 300", "ca-file = \"c\"", 4, "host.ca-file", "`certificate-file` is missing"),
    ("idle = 300", "crl-file = \"c\"", 4, "host.crl-file", "`certificate-file` is missing"),
    ("private-key-file = \"/etc/pdmv2/private-key\"", "", 1, "host", "missing field `private-key-file`"),
    ("name = \"b\"", "name = \"b b\"", 9, "peer[1].name", "letters"),
    ("name = \"b\"", "name = \"\"", 9, "peer[1].name", "letters"),
    ("name = \"c\"", "name = \"b\"", 24, "peer[2].name", "another peer is named"),
    ("public-key = \"KEY_C\"", "public-key = \"KEY_B\"", 25, "peer[2].public-key", "has this key"),
    ("public-key = \"KEY_B\"", "public-key = \"AAAA\"", 10, "peer[1].public-key", "not a public key"),
    ("public-key = \"KEY_B\"", "", 9, "peer[1].name", "`public-key` or `subject` is missing"),
    ("public-key = \"KEY_B\"", "subject = \"b.example\"", 10, "peer[1].subject", "missing in [host]"),
    ("public-key = \"KEY_B\"", "public-key = \"KEY_B\"\nsubject = \"b\"", 11, "peer[1].subject", "not by both"),
    ("endpoint = \"[fd00::2]:4480\"", "endpoint = \"fd00::2\"", 11, "peer[1].endpoint", "not an address and port"),
    ("local = [\"fd00::1\"]", "local = []", 12, "peer[1].local", "1 to 32 prefixes"),
    ("local = [\"fd00::1\"]", "local = [\"10.0.0.1\"]", 12, "peer[1].local", "not an IPv6 address"),
    ("fd01::/64", "fd01::1/64", 13, "peer[1].remote", "did you mean fd01::/64"),
    ("fd01::/64", "fd01::/129", 13, "peer[1].remote", "over 128"),
    ("fd01::/64", "fe80::/10", 13, "peer[1].remote", "interface"),
    ("remote = [\"fe80::/10\"]", "remote = [\"fd00::/8\"]", 28, "peer[2].remote", "overlaps fd00::2 of peer `b`"),
    ("key-mode = \"kernel\"", "key-mode = \"both\"", 14, "peer[1].key-mode", "helper, kernel"),
    ("profile = \"v2-kri\"", "profile = \"v3\"", 15, "peer[1].profile", "v2, v2-kri"),
    ("on-failure = \"drop\"", "on-failure = \"reset\"", 16, "peer[1].on-failure", "deliver, drop"),
    ("lifetime = 3600", "lifetime = 1", 17, "peer[1].lifetime", "not within 60"),
    ("epoch-packets = 1000", "epoch-packets = 0", 18, "peer[1].epoch-packets", "not within 1 to 65535"),
    ("epoch-packets = 1000", "epoch-packets = 65536", 18, "peer[1].epoch-packets", "not within 1 to 65535"),
    ("epoch-seconds = 60", "epoch-seconds = 86401", 19, "peer[1].epoch-seconds", "not within 1 to 86400"),
    ("epoch-seconds = 60", "renew-packets = 0", 19, "peer[1].renew-packets", "not within 1"),
    ("epoch-seconds = 60", "epoch-seconds = \"1m\"", 19, "peer[1].epoch-seconds", "invalid type"),
    ("flows-max = 1000", "flows-max = 0", 31, "policy.flows-max", "not within 1"),
    ("flows-max = 1000", "flows-max = 1048577", 31, "policy.flows-max", "not within 1 to 1048576"),
    ("flows-max = 1000", "pending-max = 65537", 31, "policy.pending-max", "not within 1 to 65536"),
    ("flows-max = 1000", "associations-max = 0", 31, "policy.associations-max", "not within 1 to 65536"),
    ("flows-max = 1000", "rest = 86401", 31, "policy.rest", "not within 1 to 86400"),
    ("flows-max = 1000", "acquire-rate = 0", 31, "policy.acquire-rate", "not within 1 to 65536"),
    ("flows-max = 1000", "event-rate = 0", 31, "policy.event-rate", "not within 1 to 65536"),
    ("flows-max = 1000", "stranger-rate = 65537", 31, "policy.stranger-rate", "not within 1 to 65536"),
    ("flows-max = 1000", "memory = -1", 31, "policy.memory", "invalid value"),
    ("flows-max = 1000", "forbid-plain = 3", 31, "policy.forbid-plain", "expected a boolean"),
    ("protocol = [\"tcp\", 17]", "protocol = [\"tpc\"]", 35, "rule[1].protocol", "`tpc` is not one of"),
    ("protocol = [\"tcp\", 17]", "protocol = 256", 35, "rule[1].protocol", "0 to 255"),
    ("protocol = [\"tcp\", 17]", "protocol = []", 35, "rule[1].protocol", "no protocol"),
    ("protocol = [\"tcp\", 17]", "protocol = \"icmpv6\"", 36, "rule[1].remote-ports", "has no ports"),
    ("\"1000-2000\"", "\"2000-1000\"", 36, "rule[1].remote-ports", "range of ports"),
    ("\"1000-2000\"", "\"70000\"", 36, "rule[1].remote-ports", "range of ports"),
    ("\"1000-2000\"", "70000", 36, "rule[1].remote-ports", "expected a number from 0 to 65535"),
    ("direction = \"outbound\"", "direction = \"up\"", 37, "rule[1].direction", "outbound, inbound, both"),
    ("send = \"v2-encrypted\"", "send = \"v3\"", 38, "rule[1].send", "none, pdm, v2, v2-encrypted"),
    ("accept = [\"v2-encrypted\", \"v2\"]", "accept = [\"v1\"]", 40, "rule[1].accept", "`v1` is not one of"),
    (
        "send = \"v2-encrypted\"\nprofile = \"v2-kri\"",
        "send = \"v2\"\nprofile = \"v4\"",
        39,
        "rule[1].profile",
        "v2, v2-kri",
    ),
    ("sample = 10", "sample = 0", 41, "rule[1].sample", "not within 1"),
    ("send = \"pdm\"", "", 45, "rule[2]", "missing field `send`"),
    ("flows-max = 1000", "forbid-plain = true", 46, "rule[2].send", "forbid-plain"),
    ("\"x25519\", \"x-wing\"", "\"x25519\", \"kyber\"", 5, "host.kem", "`kyber` is not one of: x-wing, x25519, p-256"),
    ("\"x25519\", \"x-wing\"", "\"x25519\", \"x25519\"", 5, "host.kem", "`x25519` comes twice"),
    ("\"x25519\", \"x-wing\"", "", 5, "host.kem", "at least one expected of: x-wing, x25519, p-256"),
    ("kem = [\"x25519\", \"x-wing\"]", "kem = \"x25519\"", 5, "host.kem", "invalid type"),
    ("[\"chacha20-poly1305\"]", "[\"aes\"]", 6, "host.aead", "aes-128-gcm, aes-256-gcm, chacha20-poly1305"),
    ("kem = [\"p-256\"]", "kem = [\"p-521\"]", 20, "peer[1].kem", "`p-521` is not one of: x-wing, x25519, p-256"),
    ("[\"hkdf-sha512\"]", "[\"sha512\"]", 21, "peer[1].kdf", "`sha512` is not one of: hkdf-sha256, hkdf-sha512"),
];

#[test]
fn peers_are_named_by_key_or_by_certificate() {
    let files = "certificate-file = \"host.pem\"\nca-file = \"ca.pem\"\ncrl-file = \"crl.pem\"\nhandshake-rate = 500";
    let with = |subject: &str| {
        let subject = format!("subject = \"{subject}\"");
        read(&good().replace("idle = 300", files).replace(&format!("public-key = \"{}\"", public(3)), &subject))
    };
    let config = with("Web.Example").unwrap();
    let certificates = config.host.certificates.clone().unwrap();
    assert_eq!((certificates.certificate.to_str(), certificates.ca.to_str()), (Some("host.pem"), Some("ca.pem")));
    assert_eq!(certificates.crl.unwrap().to_str(), Some("crl.pem"));
    assert_eq!(config.host.rate, 500);
    let named: Vec<_> = config.peers.into_iter().map(|peer| peer.identity).collect();
    assert_eq!(named, [Identity::Key(public(2)), Identity::Subject("web.example".parse().unwrap())]);
    assert!(with("spiffe://example/web").is_ok());
    for wrong in ["*.example", "", "fd00::1", "CN=web"] {
        let error = with(wrong).unwrap_err().to_string();
        assert!(error.contains("peer[2].subject: ") && error.contains("name that a certificate can carry"), "{error}");
    }
    // One name is one peer's.
    let twice = good().replace("idle = 300", files);
    let twice = [public(2), public(3)]
        .iter()
        .fold(twice, |text, key| text.replace(&format!("public-key = \"{key}\""), "subject = \"b.example\""));
    let error = read(&twice).unwrap_err().to_string();
    assert!(error.contains("peer[2].subject: peer `b` has this subject"), "{error}");
}

#[test]
fn the_same_prefixes_in_two_vrfs_are_two_peers() {
    let remote = "local = [\"fd00::1\"]\nremote = [\"fd00::2\", \"fd01::/64\"]";
    let c = "interface = \"eth0\"\nlocal = [\"fe80::/10\"]\nremote = [\"fe80::/10\"]";
    let both = |b: &str, c_vrf: &str| {
        let text = good().replace(remote, &format!("{b}{remote}")).replace(c, &format!("{c_vrf}{remote}"));
        parse(Path::new("p"), &text).map(|config| config.peers.into_iter().map(|peer| peer.vrf).collect::<Vec<_>>())
    };
    assert_eq!(both("", "vrf = \"red\"\n").unwrap(), [None, Some("red".into())]);
    assert_eq!(both("vrf = \"blue\"\n", "vrf = \"red\"\n").unwrap(), [Some("blue".into()), Some("red".into())]);
    for same in ["", "vrf = \"red\"\n"] {
        assert!(both(same, same).unwrap_err().to_string().contains("overlaps"));
    }
}

#[test]
fn every_error_names_file_line_and_key() {
    for (what, by, line, key, part) in WRONG {
        assert!(GOOD.contains(what), "{what}");
        let text = GOOD.replacen(what, by, 1);
        let text = text.replace("KEY_B", &public(2).to_string()).replace("KEY_C", &public(3).to_string());
        let error = read(&text).map(drop).unwrap_err().to_string();
        let rest =
            error.strip_prefix(&format!("pdmv2.toml:{line}:")).unwrap_or_else(|| panic!("{by}: {line}, {error}"));
        let (column, rest) = rest.split_once(": ").unwrap();
        assert!(column.parse().is_ok_and(|column: usize| (1..100).contains(&column)), "{by}: {error}");
        assert!(rest.starts_with(&format!("{key}: ")), "{by}: expected {key}, got {error}");
        assert!(error.contains(part), "{by}: expected {part}, got {error}");
    }
}

#[test]
fn all_that_is_wrong_is_told_in_order_with_its_place() {
    let text = good()
        .replace("idle = 300", "idle = 0")
        .replace("endpoint = \"[fd00::2]:4480\"", "endpoint = \"here\"")
        .replace("lifetime = 3600", "lifetime = 1")
        .replace("name = \"c\"", "nmae = \"c\"")
        .replace("flows-max = 1000", "flows-max = 0")
        .replace("sample = 10", "sample = 0")
        .replace("send = \"pdm\"", "send = \"v7\"\nlocal = \"10.0.0.1\"")
        + "[extra]\n";
    let problems = pdmv2::config::check(Path::new("f"), &text).map(drop).unwrap_err();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| {
            let text = problem.to_string();
            text.splitn(5, ':').take(4).collect::<Vec<_>>().join(":")
        })
        .collect();
    let expected = [
        "f:4:8: host.idle",
        "f:11:12: peer[1].endpoint",
        "f:17:12: peer[1].lifetime",
        "f:24:1: peer[2].nmae",
        "f:31:13: policy.flows-max",
        "f:41:10: rule[1].sample",
        "f:46:8: rule[2].send",
        "f:47:9: rule[2].local",
        "f:48:2: extra",
    ];
    assert_eq!(found, expected, "{problems:?}");
    // All that is no TOML, too.
    let problems = pdmv2::config::check(Path::new("f"), "[host\nidle = \n[policy]\nx = = 3\n").map(drop).unwrap_err();
    assert!(problems.len() >= 2, "{problems:?}");
}

#[test]
fn what_does_not_fit_the_host_is_told_too() {
    use pdmv2::config::examine::{examine, Severity};

    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("key");
    pdmv2::files::create_secret(&key_file, common::key(2).to_base64().as_bytes()).unwrap();
    let text = good().replace("/etc/pdmv2/private-key", key_file.to_str().unwrap()).replace("eth0", "no-such-link");
    let found = |text: &str| {
        let told = |finding: pdmv2::config::examine::Finding| (finding.severity, finding.problem.to_string());
        examine(Path::new("f"), text).into_iter().map(told).collect::<Vec<_>>()
    };
    let [(own, own_text), (link, link_text)] = found(&text).try_into().unwrap();
    assert_eq!((own, link), (Severity::Error, Severity::Warning));
    assert!(own_text.starts_with("f:10:14: peer[1].public-key: "), "{own_text}");
    assert!(link_text.starts_with("f:26:13: peer[2].interface: `no-such-link`"), "{link_text}");

    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let plain = text.replace(&public(2).to_string(), &public(5).to_string()).replace("no-such-link", "lo");
    let [(mode, mode_text)] = found(&plain).try_into().unwrap();
    assert!(mode == Severity::Error && mode_text.contains("host.private-key-file") && mode_text.contains("0644"));
    for (file, part, severity) in [
        (dir.path().join("none"), "No such file", Severity::Error),
        (PathBuf::from("$CREDENTIALS_DIRECTORY/key"), "CREDENTIALS_DIRECTORY is not set", Severity::Warning),
    ] {
        let text = plain.replace(key_file.to_str().unwrap(), file.to_str().unwrap());
        let [(how, said)] = found(&text).try_into().unwrap();
        assert!(how == severity && said.contains(part), "{said}");
    }
    std::fs::write(&key_file, "not a key").unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let [(_, said)] = found(&plain).try_into().unwrap();
    assert!(said.contains("not a key: 32 bytes"), "{said}");
    std::fs::write(&key_file, common::key(1).to_base64().as_bytes()).unwrap();
    assert_eq!(found(&plain), []);
}

#[test]
fn a_missing_file_is_named() {
    let error = pdmv2::config::load(Path::new("/nonexistent/pdmv2.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/pdmv2.toml: "), "{error}");
}

mod no_panic {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn on_any_text(text in "\\PC{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn on_any_damage(at in any::<prop::sample::Index>(), by in any::<char>()) {
            let mut chars: Vec<char> = good().chars().collect();
            let at = at.index(chars.len());
            chars[at] = by;
            let _ = read(&chars.into_iter().collect::<String>());
        }
    }
}
