// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! docs/protocol.md, section 9: hosts that a private CA certifies, and whatever somebody may show who is none of them. Each
//! attempt fails before there is a session, so that neither end can install anything.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::ca::{files, trust, Ca, Change, PLAIN};
use common::exchange::{client_local, run, server_local, CLIENT, SERVER};
use common::host::{peer, until, Host};
use common::tls::{handshake, told_handshake, Refusal, Session};
use common::{key, public};
use pdmv2::config::examine::{examine, Severity};
use pdmv2::config::parse;
use pdmv2::daemon::reload::{apply, ReloadError};
use pdmv2::daemon::{Daemon, DaemonError};
use pdmv2::files::create_secret;
use pdmv2::identity::{Authenticated, Identity};
use pdmv2::negotiate::{Failure, Local, Reason};
use pdmv2::tls::{self, authenticated, x509, ServerConfigs, Trust, TrustError};
use rcgen::{date_time_ymd, DnType, ExtendedKeyUsagePurpose, IsCa, SanType};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, ClientConfig, ServerConfig};

/// Names of the two hosts.
const ONE: &str = "one.example";
const TWO: &str = "spiffe://example/two";

fn named(name: &str) -> Identity {
    Identity::Subject(name.parse().unwrap())
}

fn client(trust: &Arc<Trust>, server: &str) -> ClientConfig {
    x509::client(trust, named(server)).unwrap()
}

fn server(trust: &Arc<Trust>, client: &str) -> ServerConfig {
    let client = named(client);
    x509::server(trust, Arc::new(move |found: &Authenticated| client.is(found))).unwrap()
}

/// What host 1 and host 2 trust, each certified by this CA.
fn pair(ca: &Ca) -> (Arc<Trust>, Arc<Trust>) {
    let of = |number, name| trust(&key(number), &ca.certify(&[name], &key(number), PLAIN), &ca.pem(), None).unwrap();
    (of(CLIENT, ONE), of(SERVER, TWO))
}

fn certified_session(ca: &Ca) -> Session {
    let (one, two) = pair(ca);
    handshake(client(&one, TWO), server(&two, ONE)).unwrap()
}

#[test]
fn hosts_that_the_ca_certifies_negotiate() {
    let ca = Ca::root("CA");
    let tls = certified_session(&ca);
    let seen =
        |certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>| authenticated(&certificates.unwrap()[0]);
    let one = Authenticated::Certificate { key: public(CLIENT), subjects: vec![ONE.parse().unwrap()] };
    let two = Authenticated::Certificate { key: public(SERVER), subjects: vec![TWO.parse().unwrap()] };
    assert_eq!(seen(tls.server.peer_certificates()), Some(one));
    assert_eq!(seen(tls.client.peer_certificates()), Some(two));
    assert_eq!(tls.client.tls13_tickets_received(), 0);
    // "client identity key || server identity key" are those of the certificates.
    let outcome = run(client_local(), server_local(), &tls, &tls, |_, message| message);
    let (client, server) = (outcome.client_installed.unwrap(), outcome.server_installed.unwrap());
    assert_eq!(client.shared_secret, server.shared_secret);
    assert!(outcome.client_done && outcome.server_activated);
}

#[test]
fn a_relay_by_a_third_certified_host_fails_when_m3_opens() {
    let ca = Ca::root("CA");
    let (one, two) = pair(&ca);
    let third = trust(&key(3), &ca.certify(&["three.example"], &key(3), PLAIN), &ca.pem(), None).unwrap();
    let to_third = handshake(client(&one, "three.example"), server(&third, ONE)).unwrap();
    let from_third = handshake(client(&third, TWO), server(&two, "three.example")).unwrap();
    let client = Local { peer: public(3), ..client_local() };
    let server = Local { peer: public(3), ..server_local() };
    let outcome = run(client, server, &to_third, &from_third, |_, message| message);
    outcome.installs_nothing().fails(Some(Failure::Refused(Reason::NotOpened)), Some(Failure::NotOpened));
}

/// Chains, lists and names that are good.
#[test]
fn what_the_ca_allows_is_accepted() {
    let (root, other) = (Ca::root("CA"), Ca::root("other"));
    let between = root.intermediate("between", Some(0), &["example"]);
    let both = [root.pem(), other.pem()].concat();
    let lists = [root.revokes(&[1, 2, 3], 4000), between.revokes(&[8], 4000)].concat();
    let plain = |change: Change| root.certify(&[ONE], &key(CLIENT), change);
    let chains = [
        plain(PLAIN),
        plain(|params| params.extended_key_usages.clear()),
        plain(|params| params.key_usages.clear()),
        plain(|params| params.subject_alt_names = vec![SanType::DnsName("ONE.Example".try_into().unwrap())]),
        plain(|params| params.subject_alt_names.push(SanType::DnsName("web.example".try_into().unwrap()))),
        plain(|params| params.is_ca = IsCa::ExplicitNoCa),
        [between.certify(&[ONE], &key(CLIENT), PLAIN), between.pem()].concat(),
        // The CA itself, too, which nobody needs.
        [plain(PLAIN), root.pem()].concat(),
    ];
    for (number, chain) in chains.iter().enumerate() {
        for lists in [None, Some(lists.as_str())] {
            let shows = trust(&key(CLIENT), chain, &root.pem(), None).unwrap();
            let checks = trust(&key(SERVER), &root.certify(&[TWO], &key(SERVER), PLAIN), &both, lists).unwrap();
            let outcome = told_handshake(client(&shows, TWO), server(&checks, ONE));
            assert!(outcome.is_ok(), "{number} as client: {:?}", outcome.err());
            let outcome = told_handshake(client(&checks, ONE), server(&shows, TWO));
            assert!(outcome.is_ok(), "{number} as server: {:?}", outcome.err());
        }
    }
}

/// Whatever is wrong with a chain, it is refused at either end, and the other end is told no more than that.
#[test]
fn what_the_ca_does_not_allow_is_refused() {
    let (root, impostor) = (Ca::root("CA"), Ca::root("CA"));
    let between = root.intermediate("between", Some(0), &["example"]);
    let below = between.intermediate("below", None, &[]);
    let old = root.intermediate_but("old", None, &[], |params| params.not_after = date_time_ymd(2001, 1, 1));
    let plain = |change: Change| root.certify(&[ONE], &key(CLIENT), change);
    let through = |ca: &Ca, names: &[&str]| [ca.certify(names, &key(CLIENT), PLAIN), ca.pem()].concat();
    let host = root.certify(&["three.example"], &key(3), PLAIN);
    let of_a_host = Ca::of_a_host(&["three.example"], &key(3)).certify(&[ONE], &key(CLIENT), PLAIN);
    let all = [root.revokes(&[], 4000), between.revokes(&[], 4000)].concat();
    let revoked = root.revokes(&[7], 4000);
    let between_revoked = [root.revokes(&[9], 4000), between.revokes(&[], 4000)].concat();
    let out_of_date = root.revokes(&[], 2021);
    let forged = impostor.revokes(&[], 4000);
    let table: [(&str, String, Option<&str>, &str); 18] = [
        ("expired", plain(|p| p.not_after = date_time_ymd(2001, 1, 1)), None, "expired"),
        ("not yet valid", plain(|p| p.not_before = date_time_ymd(3999, 1, 1)), None, "not valid yet"),
        ("revoked", plain(PLAIN), Some(&revoked), "was revoked"),
        ("of another CA with the same name", impostor.certify(&[ONE], &key(CLIENT), PLAIN), None, ""),
        ("of a CA that is not trusted, which is shown", through(&impostor, &[ONE]), None, ""),
        ("of no CA", Ca::of_a_host(&[ONE], &key(CLIENT)).pem(), None, "none of the trusted CAs"),
        ("a CA's", plain(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)), None, "is that of a CA"),
        ("signed by a host", [of_a_host, host].concat(), None, "no CA"),
        ("of a CA without its own", between.certify(&[ONE], &key(CLIENT), PLAIN), None, "none of the trusted CAs"),
        ("of a CA that expired", through(&old, &[ONE]), None, "expired"),
        ("of a CA that was revoked", through(&between, &[ONE]), Some(&between_revoked), "was revoked"),
        (
            "of one CA too many",
            [below.certify(&[ONE], &key(CLIENT), PLAIN), below.pem(), between.pem()].concat(),
            None,
            "more CAs",
        ),
        ("of a CA without a list", through(&between, &[ONE]), Some(&revoked), "no revocation list"),
        ("with a list out of date", plain(PLAIN), Some(&out_of_date), "out of date"),
        ("with a list of another CA", plain(PLAIN), Some(&forged), ""),
        ("a name that its CA may not give", through(&between, &[ONE, "elsewhere.test"]), None, "these names"),
        (
            "for signing code",
            plain(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]),
            None,
            "extended key usage",
        ),
        ("good", plain(PLAIN), Some(&all), "good"),
    ];
    for (what, chain, lists, why) in table {
        let shows = trust(&key(CLIENT), &chain, &root.pem(), None).unwrap();
        let checks =
            trust(&key(SERVER), &root.certify(&[TWO], &key(SERVER), |p| p.serial_number = None), &root.pem(), lists)
                .unwrap();
        let outcomes = [
            told_handshake(client(&shows, TWO), server(&checks, ONE)),
            told_handshake(client(&checks, ONE), server(&shows, TWO)),
        ];
        for outcome in outcomes {
            match outcome {
                Ok(_) => assert_eq!(why, "good", "{what} is accepted"),
                Err(Refusal { error, alert }) => {
                    let words = tls::words(&error);
                    assert!(why != "good" && words.contains(why), "{what}: {words}");
                    assert_eq!(alert, Some(AlertDescription::CertificateUnknown), "{what}");
                }
            }
        }
    }
}

/// "a chain that is for another subject", and names that look like it.
#[test]
fn another_name_than_the_peers_is_refused() {
    let ca = Ca::root("CA");
    let (_, checks) = pair(&ca);
    let common_name = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name.push(DnType::CommonName, ONE);
        params.subject_alt_names.clear();
    };
    let table: [(&[&str], Change); 9] = [
        (&["two.example"], PLAIN),
        (&["*.example"], PLAIN),
        (&["one.example.test"], PLAIN),
        (&["example"], PLAIN),
        (&["sub.one.example"], PLAIN),
        (&["spiffe://one.example"], PLAIN),
        (&["urn:one.example"], PLAIN),
        (&[], PLAIN),
        (&[], common_name),
    ];
    for (names, change) in table {
        let shows = trust(&key(CLIENT), &ca.certify(names, &key(CLIENT), change), &ca.pem(), None).unwrap();
        for outcome in [
            told_handshake(client(&shows, TWO), server(&checks, ONE)),
            told_handshake(client(&checks, ONE), server(&shows, TWO)),
        ] {
            let refusal = outcome.err().unwrap_or_else(|| panic!("{names:?} is accepted"));
            assert_eq!(refusal.alert, Some(AlertDescription::AccessDenied), "{names:?}");
        }
    }
}

/// "a certificate that may be used at one end only" is refused at the other.
#[test]
fn extended_key_usage_says_at_which_end() {
    let ca = Ca::root("CA");
    let (_, checks) = pair(&ca);
    for (usage, as_client, as_server) in
        [(ExtendedKeyUsagePurpose::ClientAuth, true, false), (ExtendedKeyUsagePurpose::ServerAuth, false, true)]
    {
        let change: Change = match as_client {
            true => |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            false => |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        let shows = trust(&key(CLIENT), &ca.certify(&[ONE], &key(CLIENT), change), &ca.pem(), None).unwrap();
        assert_eq!(handshake(client(&shows, TWO), server(&checks, ONE)).is_ok(), as_client, "{usage:?}");
        assert_eq!(handshake(client(&checks, ONE), server(&shows, TWO)).is_ok(), as_server, "{usage:?}");
    }
}

/// A certificate shown with another private key than its own.
fn copied(certificate: &str, private: u8) -> Arc<SingleCertAndKey> {
    let chain = tls::authority::certificates(certificate.as_bytes()).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key(private).signing_key().unwrap())))
}

#[test]
fn a_copied_certificate_without_its_key_is_refused_whosever_it_is() {
    let ca = Ca::root("CA");
    let (one, two) = pair(&ca);
    // Of a peer, and of somebody that the CA certified and that is no peer: nobody can tell the two apart.
    for name in [ONE, "four.example"] {
        let certificate = ca.certify(&[name], &key(CLIENT), PLAIN);
        let mut config = client(&one, TWO);
        config.client_auth_cert_resolver = copied(&certificate, 3);
        let refusal = told_handshake(config, server(&two, ONE)).err().unwrap();
        assert_eq!(refusal.alert, Some(AlertDescription::DecryptError), "{name}: {refusal:?}");

        let mut config = server(&one, TWO);
        config.cert_resolver = copied(&certificate, 3);
        let refusal = told_handshake(client(&two, ONE), config).err().unwrap();
        assert_eq!(refusal.alert, Some(AlertDescription::DecryptError), "{name}: {refusal:?}");
    }
    // With its own key the same construction passes.
    let mut config = client(&one, TWO);
    config.client_auth_cert_resolver = copied(&ca.certify(&[ONE], &key(CLIENT), PLAIN), CLIENT);
    assert!(handshake(config, server(&two, ONE)).is_ok());
}

#[test]
fn a_key_that_is_not_ed25519_is_refused() {
    let ca = Ca::root("CA");
    let (one, two) = pair(&ca);
    let (pem, p256) = ca.certify_p256(&[ONE]);
    let chain = tls::authority::certificates(pem.as_bytes()).unwrap();
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(p256.serialize_der());
    let signing = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&der.into()).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, signing)));
    let mut config = client(&one, TWO);
    config.client_auth_cert_resolver = resolver.clone();
    assert!(handshake(config, server(&two, ONE)).is_err());
    let mut config = server(&one, TWO);
    config.cert_resolver = resolver;
    assert!(handshake(client(&two, ONE), config).is_err());
    // And as this host's own it is said what is wrong with it.
    let error = trust(&key(CLIENT), &pem, &ca.pem(), None).unwrap_err();
    assert!(error.to_string().contains("not an Ed25519 key"), "{error}");
}

#[test]
fn ones_own_certificate_is_no_peers() {
    let ca = Ca::root("CA");
    let (one, _) = pair(&ca);
    let refusal = told_handshake(client(&one, ONE), server(&one, ONE)).err().unwrap();
    assert_eq!(refusal.alert, Some(AlertDescription::AccessDenied));
    // Nor is another certificate of the same key.
    let again = trust(&key(CLIENT), &ca.certify(&[TWO], &key(CLIENT), PLAIN), &ca.pem(), None).unwrap();
    assert!(handshake(client(&one, TWO), server(&again, ONE)).is_err());
}

/// One port serves both ways: each client gets what it can do, and the one way is no way around the other.
#[test]
fn the_client_hello_says_which_way() {
    let ca = Ca::root("CA");
    let (one, two) = pair(&ca);
    let configs = |certified: bool| ServerConfigs {
        raw: Arc::new(tls::server(&key(SERVER), vec![public(CLIENT)]).unwrap()),
        certified: certified.then(|| Arc::new(server(&two, ONE))),
    };
    // Host 1 by its key, and by its certificate; host 3 by its key, whom nobody pinned.
    let raw = || tls::client(&key(CLIENT), public(SERVER)).unwrap();
    let stranger = || tls::client(&key(3), public(SERVER)).unwrap();
    let table = [
        (true, raw(), true),
        (true, client(&one, TWO), true),
        (true, stranger(), false),
        (false, raw(), true),
        (false, client(&one, TWO), false),
    ];
    for (row, (certified, config, expected)) in table.into_iter().enumerate() {
        let configs = configs(certified);
        let mut client = rustls::ClientConnection::new(Arc::new(config), tls::server_name()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut hello.as_slice()).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let config = configs.choose(&accepted.client_hello());
        let outcome = accepted.into_connection(config).map_err(|(error, _)| error);
        let outcome = outcome.and_then(|mut server| {
            for _ in 0..4 {
                common::tls::carry(&mut server, &mut client)?;
                common::tls::carry(&mut client, &mut server)?;
            }
            Ok(!server.is_handshaking())
        });
        assert_eq!(outcome.as_ref().is_ok_and(|done| *done), expected, "{row}: {outcome:?}");
    }
}

/// What a host's own files may not hold.
#[test]
fn files_that_are_wrong_are_named() {
    let ca = Ca::root("CA");
    let good = ca.certify(&[ONE], &key(CLIENT), PLAIN);
    let list = ca.revokes(&[], 4000);
    let cut = |pem: &str| pem.replace("-----END", "");
    let short = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let table: [(&str, &str, Option<&str>, &str); 9] = [
        (&good, &ca.pem(), Some(&list), "good"),
        ("", &ca.pem(), None, "host.pem: no certificate in it"),
        (&cut(&good), &ca.pem(), None, "host.pem: not PEM"),
        (short, &ca.pem(), None, "host.pem: not a certificate"),
        (&ca.certify(&[ONE], &key(3), PLAIN), &ca.pem(), None, "host.pem: the certificate is not that of this host's"),
        (&good, "words", None, "ca.pem: no certificate in it"),
        (&good, &[&ca.pem(), short].concat(), None, "ca.pem: certificate 2:"),
        (&good, &ca.pem(), Some(&good), "crl.pem: no revocation list in it"),
        (
            &good,
            &ca.pem(),
            Some("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"),
            "crl.pem: revocation list 1:",
        ),
    ];
    for (chain, cas, lists, expected) in table {
        match trust(&key(CLIENT), chain, cas, lists) {
            Ok(_) => assert_eq!(expected, "good"),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut paths = files(dir.path(), &good, &ca.pem(), None);
    paths.ca = dir.path().join("none.pem");
    let error = Trust::load(paths, &key(CLIENT)).unwrap_err();
    assert!(matches!(&error, TrustError::Read { path, .. } if path.ends_with("none.pem")), "{error}");
}

/// Short-lived certificates and fresh lists take effect without a restart; half a file, or another's, does not.
#[test]
fn files_that_change_are_read_again() {
    let ca = Ca::root("CA");
    let (one, _) = pair(&ca);
    let dir = tempfile::tempdir().unwrap();
    let chain = |change: Change| ca.certify(&[TWO], &key(SERVER), change);
    let put = |chain: &str, revoked: &[u8]| files(dir.path(), chain, &ca.pem(), Some(&ca.revokes(revoked, 4000)));
    let two = Arc::new(Trust::load(put(&chain(PLAIN), &[]), &key(SERVER)).unwrap());
    let (opens, serves) = (client(&one, TWO), server(&two, ONE));
    let passes = || handshake(opens.clone(), serves.clone()).is_ok();
    assert!(passes() && !two.look_again().unwrap());
    // Host 1 is revoked, and no longer.
    put(&chain(PLAIN), &[7]);
    assert!(two.look_again().unwrap() && !passes());
    put(&chain(PLAIN), &[]);
    assert!(two.look_again().unwrap() && passes());
    // A new certificate that has had its time already, another's, half of one; then a good one.
    put(&chain(|params| params.not_after = date_time_ymd(2001, 1, 1)), &[]);
    assert!(two.look_again().unwrap() && !passes());
    assert!(two.own_is_valid(rustls::pki_types::UnixTime::now()).is_err());
    put(&chain(PLAIN), &[]);
    assert!(two.look_again().unwrap() && passes());
    for bad in [ca.certify(&[TWO], &key(3), PLAIN), chain(PLAIN).replace("-----END", "")] {
        put(&bad, &[]);
        assert!(two.look_again().is_err());
        // It is said once, and what was before stays.
        assert!(!two.look_again().unwrap() && passes());
    }
}

/// A host with certificates: its `[host]` table.
fn host_table(dir: &std::path::Path, ca: &Ca, number: u8, names: &[&str]) -> String {
    let files = files(dir, &ca.certify(names, &key(number), PLAIN), &ca.pem(), None);
    format!(
        "[host]\nprivate-key-file = \"unused\"\ncertificate-file = {:?}\nca-file = {:?}\n",
        files.certificate, files.ca
    )
}

#[test]
fn daemons_negotiate_by_certificates_beside_pinned_keys() {
    common::host::run(async {
        let ca = Ca::root("CA");
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        // Host 2 knows host 1 by its certificate and host 3 by its key.
        let text = [
            host_table(dirs[0].path(), &ca, 2, &[TWO]),
            peer("one", &format!("subject = \"{ONE}\""), None, 2, 1),
            peer("three", &format!("public-key = \"{}\"", public(3)), None, 2, 3),
        ];
        let two = Host::start(key(2), &text.concat()).await;
        let text = [
            host_table(dirs[1].path(), &ca, 1, &[ONE]),
            peer("two", &format!("subject = \"{TWO}\""), Some(two.port), 1, 2),
        ];
        let one = Host::start(key(1), &text.concat()).await;
        let pinned = peer("two", &format!("public-key = \"{}\"", public(2)), Some(two.port), 3, 2);
        let three = Host::start(key(3), &format!("[host]\nprivate-key-file = \"unused\"\n{pinned}")).await;
        until("all send", || {
            let sends = |host: &Host, name: &str| host.kernel.sending(name) == Some(1);
            sends(&one, "two") && sends(&three, "two") && sends(&two, "one") && sends(&two, "three")
        })
        .await;
        one.stop().await;
        two.stop().await;
        three.stop().await;
    });
}

/// Whoever is certified, but not as the peer meant, gets no secret from a daemon; nor does one with the names of two peers.
#[test]
fn daemons_install_nothing_for_other_certificates() {
    common::host::run(async {
        let (ca, impostor) = (Ca::root("CA"), Ca::root("CA"));
        let dirs: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
        let text = [
            host_table(dirs[0].path(), &ca, 2, &[TWO]),
            peer("one", &format!("subject = \"{ONE}\""), None, 2, 1),
            peer("three", "subject = \"three.example\"", None, 2, 3),
        ];
        let two = Host::start(key(2), &text.concat()).await;
        let mut strangers = Vec::new();
        let others: [(&Ca, u8, &[&str]); 3] =
            [(&ca, 4, &["four.example"]), (&impostor, 1, &[ONE]), (&ca, 3, &[ONE, "three.example"])];
        for ((ca, number, names), dir) in others.into_iter().zip(&dirs[1..]) {
            let own = host_table(dir.path(), ca, number, names);
            // They trust the CA that certifies host 2, whoever certifies them.
            std::fs::write(dir.path().join("ca.pem"), [ca.pem(), impostor.pem()].concat()).unwrap();
            let text = [own, peer("two", &format!("subject = \"{TWO}\""), Some(two.port), number, 2)];
            strangers.push(Host::start(key(number), &text.concat()).await);
        }
        // A dialled host that is not who it should be gets nothing from the dialling one either.
        let text = [
            host_table(dirs[4].path(), &ca, 5, &["five.example"]),
            peer("four", "subject = \"four.example\"", Some(two.port), 5, 4),
        ];
        strangers.push(Host::start(key(5), &text.concat()).await);
        // The good one is last: when it is done, the others have had their turn.
        let good = tempfile::tempdir().unwrap();
        let text = [
            host_table(good.path(), &ca, 1, &[ONE]),
            peer("two", &format!("subject = \"{TWO}\""), Some(two.port), 1, 2),
        ];
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert_eq!(two.installed(), []);
        let one = Host::start(key(1), &text.concat()).await;
        until("the good one sends", || one.kernel.sending("two") == Some(1)).await;
        for stranger in strangers {
            assert_eq!(stranger.installed(), []);
        }
    });
}

/// "Removing a key closes its connections": so does removing a name.
#[test]
fn certified_peers_come_and_go_while_the_daemon_runs() {
    common::host::run(async {
        let ca = Ca::root("CA");
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let file = dirs[0].path().join("key");
        create_secret(&file, key(2).to_base64().as_bytes()).unwrap();
        let own = host_table(dirs[0].path(), &ca, 2, &[TWO]).replace("\"unused\"", &format!("{file:?}"));
        let of = |subject: &str| peer("one", &format!("subject = \"{subject}\""), None, 2, 1);
        let change = |host: &Host, text: String| apply(&host.shared, parse(Path::new("test.toml"), &text).unwrap());
        let two = Host::start(key(2), &[own.clone(), of(ONE)].concat()).await;
        let dials = peer("two", &format!("subject = \"{TWO}\""), Some(two.port), 1, 2);
        let one = Host::start(key(1), &[host_table(dirs[1].path(), &ca, 1, &[ONE]), dials].concat()).await;
        let agree = || two.kernel.sending("one").is_some() && one.kernel.sending("two") == two.kernel.sending("one");
        until("both send", agree).await;
        let (before, added) = (one.installed(), two.installed());

        // Another name in its place: host 1 dials, and is nobody.
        change(&two, [own.clone(), of("other.example")].concat()).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        assert_eq!((one.installed(), two.installed()), (before, added));
        change(&two, [own.clone(), of(ONE)].concat()).unwrap();
        until("both send again", agree).await;
        assert!(one.installed().len() > 1);

        // What takes a restart, and what is a mistake.
        let error = change(&two, [own.replace("host.pem", "other.pem"), of(ONE)].concat()).unwrap_err();
        assert!(matches!(error, ReloadError::Restart(_)), "{error}");
        let error = change(&two, [own.clone(), of(TWO)].concat()).unwrap_err();
        assert!(matches!(error, ReloadError::OwnSubject(_)), "{error}");
        let error = change(&two, own.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap_err();
        assert!(matches!(error, ReloadError::Restart(_)), "{error}");
    });
}

/// `pdmv2 check-config` says what is wrong with each file.
#[test]
fn files_are_checked_with_the_configuration() {
    let ca = Ca::root("CA");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    create_secret(&file, key(1).to_base64().as_bytes()).unwrap();
    let own = host_table(dir.path(), &ca, 1, &[ONE]).replace("\"unused\"", &format!("{file:?}"));
    let found = |subject: &str| {
        let text = [own.clone(), peer("two", &format!("subject = \"{subject}\""), None, 1, 2)].concat();
        let found = examine(Path::new("test.toml"), &text);
        found.iter().map(|finding| (finding.severity, finding.problem.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(found(TWO), []);
    let wrong = |found: Vec<(Severity, String)>, severity, key: &str, words: &str| {
        let [(how_bad, message)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(*how_bad, severity);
        assert!(message.contains(key) && message.contains(words), "{message}");
    };
    wrong(found(ONE), Severity::Error, "peer[1].subject: ", "own certificate");
    let old = ca.certify(&[ONE], &key(1), |params| params.not_after = date_time_ymd(2001, 1, 1));
    files(dir.path(), &old, &ca.pem(), None);
    wrong(found(TWO), Severity::Warning, "host.certificate-file: ", "expired");
    files(dir.path(), &ca.certify(&[ONE], &key(3), PLAIN), &ca.pem(), None);
    wrong(found(TWO), Severity::Error, "host.certificate-file: ", "not that of this host's private key");
    files(dir.path(), &old, "words", None);
    wrong(found(TWO), Severity::Error, "host.ca-file: ", "no certificate in it");
}

#[test]
fn a_peer_with_this_hosts_own_subject_is_a_mistake() {
    let ca = Ca::root("CA");
    let dir = tempfile::tempdir().unwrap();
    let text = [host_table(dir.path(), &ca, 1, &[ONE]), peer("self", "subject = \"One.Example\"", None, 1, 2)].concat();
    let config = parse(std::path::Path::new("test.toml"), &text).unwrap();
    let error = Daemon::new(config, key(1), Box::<common::kernel::MemoryKernel>::default()).map(drop).unwrap_err();
    assert!(matches!(&error, DaemonError::OwnSubject(name) if name == "self"), "{error}");
}
