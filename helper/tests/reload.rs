// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Daemons whose configuration changes while they run.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::daemons::{both_send, listener, start, until, Running};
use common::kernel::{Done, MemoryKernel};
use common::logs::run;
use common::{key, public};
use pdmv2::config::{parse, Config};
use pdmv2::daemon::reload::{apply, ReloadError};
use pdmv2::files::create_secret;
use tempfile::TempDir;
use tokio::time::sleep;

/// A file with the key of a host.
fn key_file(dir: &TempDir, host: u8) -> PathBuf {
    let path = dir.path().join(format!("{host}.key"));
    if !path.exists() {
        create_secret(&path, key(host).to_base64().as_bytes()).unwrap();
    }
    path
}

/// A peer's table: host `other` at fd00::other.
fn peer(name: &str, own: u8, other: u8, port: Option<u16>, more: &str) -> String {
    let endpoint = port.map_or(String::new(), |port| format!("endpoint = \"[::1]:{port}\"\n"));
    format!(
        "[[peer]]\nname = \"{name}\"\npublic-key = \"{}\"\n{endpoint}local = [\"fd00::{own}\"]\nremote = [\"fd00::{other}\"]\n{more}\n",
        public(other)
    )
}

fn config(dir: &TempDir, own: u8, host: &str, peers: &[String]) -> Config {
    let text = format!(
        "[host]\nprivate-key-file = \"{}\"\n{host}\n{}[[rule]]\nsend = \"v2-encrypted\"\n",
        key_file(dir, own).display(),
        peers.concat()
    );
    parse(Path::new("test.toml"), &text).unwrap()
}

/// What was added to a module so far, of any association.
fn added(host: &Running) -> usize {
    host.kernel.state().log.iter().filter(|done| matches!(done, Done::Add(..))).count()
}

/// Since when each peer has had a session.
fn session(host: &Running, name: &str) -> Option<Duration> {
    let id = host.shared.keeper().named(name)?;
    let progress = host.shared.links.progress(id)?;
    let since = progress.borrow().session_since;
    since
}

/// Hosts 1, 2 and 3: 1 dials both others, of which each has it as its peer.
struct Three {
    dir: TempDir,
    one: Running,
    two: Running,
    three: Running,
    ports: [u16; 2],
}

impl Three {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (listener_1, _) = listener().await;
        let (listener_2, port_2) = listener().await;
        let (listener_3, port_3) = listener().await;
        let server = |own: u8| config(&dir, own, "", &[peer("peer", own, 1, None, "")]);
        let two = start(2, server(2), listener_2, MemoryKernel::default());
        let three = start(3, server(3), listener_3, MemoryKernel::default());
        let peers = [peer("two", 1, 2, Some(port_2), ""), peer("three", 1, 3, Some(port_3), "")];
        let one = start(1, config(&dir, 1, "", &peers), listener_1, MemoryKernel::default());
        let started = Self { dir, one, two, three, ports: [port_2, port_3] };
        started.agree("two", 1).await;
        started.agree("three", 1).await;
        started
    }

    fn other(&self, name: &str) -> &Running {
        if name == "two" {
            &self.two
        } else {
            &self.three
        }
    }

    async fn agree(&self, name: &str, generation: u64) {
        let other = self.other(name);
        until(&format!("{name} and one send under {generation}"), || {
            self.one.kernel.sending(name) == Some(generation)
                && other.kernel.sending("peer") == Some(generation)
                && session(&self.one, name).is_some()
                && session(other, "peer").is_some()
        })
        .await;
    }

    fn peer(&self, name: &str, more: &str) -> String {
        match name {
            "two" => peer("two", 1, 2, Some(self.ports[0]), more),
            _ => peer("three", 1, 3, Some(self.ports[1]), more),
        }
    }

    fn apply(&self, host: &str, peers: &[String]) -> Result<pdmv2::daemon::keeper::apply::Report, ReloadError> {
        apply(&self.one.shared, config(&self.dir, 1, host, peers))
    }
}

/// "Removing a key closes its connections", from either end, and it cannot come back.
#[test]
fn a_peer_that_is_removed_loses_its_session_at_once_and_is_a_stranger() {
    run(async {
        let all = Three::start().await;
        let kept = session(&all.one, "three");
        let report = all.apply("", &[all.peer("three", "")]).unwrap();
        assert_eq!((report.removed, report.unchanged), (vec!["two".into()], vec!["three".into()]));
        until("the other end sees it", || session(&all.two, "peer").is_none()).await;
        assert_eq!(all.one.kernel.secrets("two"), []);
        assert!(all.one.shared.keeper().named("two").is_none());

        // And the one that is dialled removes who dials.
        apply(&all.three.shared, config(&all.dir, 3, "", &[])).unwrap();
        until("the dialling end sees it", || session(&all.one, "three") != kept).await;
        let (before, theirs) = (added(&all.one), added(&all.three));
        sleep(Duration::from_millis(1500)).await;
        assert_eq!((added(&all.one), added(&all.three)), (before, theirs));
        assert_eq!(all.three.kernel.secrets("peer"), []);
        // Until it is added again.
        apply(&all.three.shared, config(&all.dir, 3, "", &[peer("peer", 3, 1, None, "")])).unwrap();
        all.agree("three", 2).await;
    });
}

#[test]
fn a_peer_that_is_added_is_dialled_and_others_notice_nothing() {
    run(async {
        let all = Three::start().await;
        let since = (session(&all.one, "two"), session(&all.one, "three"));
        let (listener_4, port) = listener().await;
        let four =
            start(4, config(&all.dir, 4, "", &[peer("peer", 4, 1, None, "")]), listener_4, MemoryKernel::default());
        let peers = [all.peer("two", ""), peer("four", 1, 4, Some(port), ""), all.peer("three", "")];
        let report = all.apply("", &peers).unwrap();
        assert_eq!(report.added, ["four"]);
        until("four", || all.one.kernel.sending("four") == Some(1) && four.kernel.sending("peer") == Some(1)).await;
        // Applying it again and again is nothing either.
        for _ in 0..3 {
            assert_eq!(all.apply("", &peers).unwrap().unchanged.len(), 3);
        }
        sleep(Duration::from_millis(500)).await;
        assert_eq!((session(&all.one, "two"), session(&all.one, "three")), since);
        assert_eq!((added(&all.one), added(&all.two), added(&all.three), added(&four)), (3, 1, 1, 1));
    });
}

#[test]
fn what_is_negotiated_is_negotiated_anew_and_what_is_not_is_not() {
    run(async {
        let all = Three::start().await;
        all.apply("", &[all.peer("two", "aead = [\"chacha20-poly1305\"]"), all.peer("three", "on-failure = \"drop\"")])
            .unwrap();
        all.agree("two", 2).await;
        assert_eq!(all.one.kernel.state().suites.last().map(|suite| suite.aead), Some(3));
        // The secret before is accepted for a while yet.
        assert_eq!(all.one.kernel.secrets("two"), [(1, "retired".to_owned()), (2, "send".to_owned())]);
        assert_eq!((added(&all.three), all.one.kernel.sending("three")), (1, Some(1)));
        // Secrets are bound to local prefixes: they go with them.
        let moved = peer("two", 1, 2, Some(all.ports[0]), "").replace("fd00::1", "fd00::11");
        all.apply("", &[moved, all.peer("three", "")]).unwrap();
        all.agree("two", 3).await;
        assert_eq!(all.one.kernel.secrets("two"), [(3, "send".to_owned())]);
    });
}

#[test]
fn another_idle_lifetime_is_told_to_all() {
    run(async {
        let all = Three::start().await;
        all.apply("idle = 60", &[all.peer("two", ""), all.peer("three", "")]).unwrap();
        all.agree("two", 2).await;
        all.agree("three", 2).await;
        let idle: Vec<_> = [&all.two, &all.three].map(|host| host.kernel.state().associations[0].peer_idle).into();
        assert_eq!(idle, [Some(60), Some(60)]);
    });
}

#[test]
fn peers_dial_the_new_address_from_then_on() {
    run(async {
        let all = Three::start().await;
        let free = listener().await;
        drop(free.0);
        let host = format!("listen = \"[::1]:{}\"", free.1);
        apply(&all.two.shared, config(&all.dir, 2, &host, &[peer("peer", 2, 1, None, "")])).unwrap();
        // The session there is goes on; the next one needs the new endpoint.
        assert_eq!(added(&all.one), 2);
        let peers = [peer("two", 1, 2, Some(free.1), "lifetime = 600"), all.peer("three", "")];
        assert_eq!(all.apply("", &peers).unwrap().changed[0].keys, ["endpoint", "lifetime"]);
        all.agree("two", 2).await;
        let refused = tokio::net::TcpStream::connect(("::1", all.ports[0])).await;
        assert!(refused.is_err(), "the old address still answers");
        // An address that is taken: everything stays.
        let taken = format!("listen = \"[::1]:{}\"", all.ports[1]);
        let error = all.apply(&taken, &[]).unwrap_err();
        assert!(matches!(error, ReloadError::Listen { .. }), "{error}");
        assert_eq!(all.one.shared.keeper().peers().len(), 2);
    });
}

#[test]
fn what_takes_a_restart_says_so_and_changes_nothing() {
    run(async {
        let all = Three::start().await;
        let mut other = config(&all.dir, 1, "", &[]);
        other.host.private_key_file = key_file(&all.dir, 9);
        let error = apply(&all.one.shared, other).unwrap_err();
        assert!(matches!(error, ReloadError::Restart(_)), "{error}");
        let mut none = config(&all.dir, 1, "", &[]);
        none.host.private_key_file = all.dir.path().join("none");
        assert!(matches!(apply(&all.one.shared, none).unwrap_err(), ReloadError::File(_)));
        let mut unwritable = config(&all.dir, 1, "", &[]);
        unwritable.host.key_log = Some(all.dir.path().join("no/such/directory"));
        assert!(matches!(apply(&all.one.shared, unwritable).unwrap_err(), ReloadError::File(_)));
        let error = all.apply("", &[peer("self", 1, 1, None, "")]).unwrap_err();
        assert!(matches!(error, ReloadError::OwnKey(_)), "{error}");
        assert_eq!(all.one.shared.keeper().peers().len(), 2);
        both_send_still(&all).await;
    });
}

async fn both_send_still(all: &Three) {
    for name in ["two", "three"] {
        all.agree(name, 1).await;
    }
}

/// Two hosts that wait for each other's call, until one learns where to call.
#[test]
fn an_endpoint_that_comes_is_dialled_at_once() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (listener_1, _) = listener().await;
        let (listener_2, port) = listener().await;
        let peers = |own, other, port| [peer("peer", own, other, port, "")];
        let two = start(2, config(&dir, 2, "", &peers(2, 1, None)), listener_2, MemoryKernel::default());
        let one = start(1, config(&dir, 1, "", &peers(1, 2, None)), listener_1, MemoryKernel::default());
        sleep(Duration::from_millis(300)).await;
        assert_eq!((added(&one), added(&two)), (0, 0));
        let report = apply(&one.shared, config(&dir, 1, "", &peers(1, 2, Some(port)))).unwrap();
        assert_eq!(report.changed[0].keys, ["endpoint"]);
        both_send(&one, &two, 1).await;
        // And one that goes: the session stays, and nobody dials any more.
        apply(&one.shared, config(&dir, 1, "", &peers(1, 2, None))).unwrap();
        apply(&two.shared, config(&dir, 2, "", &[])).unwrap();
        until("the session ends", || session(&one, "peer").is_none()).await;
        sleep(Duration::from_millis(1500)).await;
        assert_eq!((added(&one), one.kernel.sending("peer")), (1, Some(1)));
    });
}

/// A connection of a peer that goes while it negotiates ends there and then, and installs nothing.
#[test]
fn a_negotiation_under_way_ends_with_its_peer() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (listener_2, port) = listener().await;
        let server =
            start(2, config(&dir, 2, "", &[peer("peer", 2, 1, None, "")]), listener_2, MemoryKernel::default());
        // Host 1 shakes hands, and says nothing.
        let connector =
            tokio_rustls::TlsConnector::from(std::sync::Arc::new(pdmv2::tls::client(&key(1), public(2)).unwrap()));
        let tcp = tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
        let mut stream = connector.connect(pdmv2::tls::server_name(), tcp).await.unwrap();
        sleep(Duration::from_millis(200)).await;
        apply(&server.shared, config(&dir, 2, "", &[])).unwrap();
        let mut answer = Vec::new();
        // Well before the time that a message may take.
        let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(5), read).await;
        assert!(ended.is_ok() && answer.is_empty(), "{answer:?}");
        assert_eq!(added(&server), 0);
    });
}

#[test]
fn of_two_hosts_that_know_each_other_again_both_agree() {
    run(async {
        let all = Three::start().await;
        // Another name for the same host is another peer.
        let renamed = peer("new", 1, 2, Some(all.ports[0]), "");
        let report = all.apply("", &[renamed, all.peer("three", "")]).unwrap();
        assert_eq!((report.added, report.removed), (vec!["new".to_owned()], vec!["two".to_owned()]));
        until("both", || all.one.kernel.sending("new").is_some_and(|g| all.two.kernel.sending("peer") == Some(g)))
            .await;
        assert!(all.one.kernel.sending("new") > Some(1));
    });
}
