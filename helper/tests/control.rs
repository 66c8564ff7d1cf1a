// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The control socket: what is asked over it, and that nobody who uses it badly holds anything up.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::daemons::{both_send, config, listener, pair, start, Running};
use common::kernel::MemoryKernel;
use common::logs::run;
use common::{key, public};
use pdmv2::control::client::{ask, ControlError};
use pdmv2::control::{Answer, Command, Outcome, Rekeyed, REQUEST_MAX};
use pdmv2::daemon::control::{serve, Socket, SocketError};
use pdmv2::files::create_secret;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Gives a daemon a control socket.
fn control(dir: &TempDir, daemon: &Running) -> PathBuf {
    let path = dir.path().join("control.sock");
    tokio::spawn(serve(Arc::clone(&daemon.shared), Socket::bind(&path).unwrap()));
    path
}

/// Asks as the commands do.
async fn asked(path: &Path, command: Command) -> Result<Outcome, ControlError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || ask(Some(&path), command)).await.unwrap()
}

async fn rekeyed(path: &Path, peers: &[&str]) -> Vec<Rekeyed> {
    let peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
    match asked(path, Command::Rekey { peers }).await.unwrap() {
        Outcome::Rekeyed(all) => all,
        other => panic!("{other:?}"),
    }
}

fn done(generation: u64) -> Vec<Rekeyed> {
    vec![Rekeyed { peer: "peer".into(), generation: Some(generation), error: None }]
}

#[test]
fn rekey_makes_the_next_generation_from_either_end_and_breaks_nothing() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        let (dir_1, dir_2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (dials, is_dialled) = (control(&dir_1, &client), control(&dir_2, &server));
        assert_eq!(rekeyed(&dials, &["peer"]).await, done(2));
        // It says so when it is so.
        assert_eq!((client.kernel.sending("peer"), server.kernel.sending("peer")), (Some(2), Some(2)));
        // Make before break: the generation before is still accepted.
        for host in [&client, &server] {
            assert_eq!(host.kernel.secrets("peer"), [(1, "retired".to_owned()), (2, "send".to_owned())]);
        }
        assert_eq!(rekeyed(&is_dialled, &[]).await, done(3));
        assert_eq!(server.kernel.sending("peer"), Some(3));
        both_send(&client, &server, 3).await;
        assert_eq!(rekeyed(&dials, &[]).await, done(4));
    });
}

#[test]
fn rekey_says_why_it_failed() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        // Nobody listens there any more.
        drop(two);
        let client = start(1, config(1, 2, Some(port), ""), one, MemoryKernel::default());
        let path = control(&dir, &client);
        let answer = rekeyed(&path, &["peer"]).await;
        let error = answer[0].error.clone().unwrap();
        assert!(error.contains(&format!("[::1]:{port}")) && error.contains("refused"), "{error}");
        let unknown = asked(&path, Command::Rekey { peers: vec!["nobody".into()] }).await.unwrap_err();
        assert_eq!(unknown.to_string(), "no peer is named `nobody`");

        // And what the peer says of it.
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let server = start(2, config(2, 1, None, "kem = [\"x25519\"]"), two, MemoryKernel::default());
        let client = start(1, config(1, 2, Some(port), "kem = [\"p-256\"]"), one, MemoryKernel::default());
        let (dir_1, dir_2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (dials, is_dialled) = (control(&dir_1, &client), control(&dir_2, &server));
        let (ours, theirs) = tokio::join!(rekeyed(&dials, &[]), rekeyed(&is_dialled, &[]));
        for answer in [ours, theirs] {
            assert!(answer[0].error.as_ref().is_some_and(|error| error.contains("in common")), "{answer:?}");
        }
    });
}

#[test]
fn sync_applies_a_whole_file_or_says_what_is_wrong_with_it() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("key");
        create_secret(&key_file, key(1).to_base64().as_bytes()).unwrap();
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        let path = control(&dir, &client);
        let peer = |name: &str, number: u8| {
            format!("[[peer]]\nname = \"{name}\"\npublic-key = \"{}\"\nlocal = [\"fd00::1\"]\nremote = [\"fd00::{number}\"]\n", public(number))
        };
        let sync = |text: String| {
            let text = format!("[host]\nprivate-key-file = \"{}\"\n{text}", key_file.display());
            Command::Sync { path: "/etc/new.toml".into(), text }
        };
        let wrong = asked(&path, sync(format!("{}idle = 3\n", peer("peer", 2)))).await.unwrap_err().to_string();
        assert!(wrong.starts_with("/etc/new.toml:"), "{wrong}");
        let moved = asked(&path, sync("control-socket = \"/elsewhere\"\n".into())).await.unwrap_err().to_string();
        assert!(moved.contains("host.control-socket") && moved.contains("restart"), "{moved}");
        assert_eq!(client.shared.keeper().peers().len(), 1);
        let Outcome::Applied(report) = asked(&path, sync(peer("new", 3) + &peer("peer", 2))).await.unwrap() else {
            panic!()
        };
        assert_eq!(
            (report.added, report.changed[0].keys.clone()),
            (vec!["new".to_owned()], vec!["endpoint".to_owned()])
        );
        let Outcome::Status(status) = asked(&path, Command::Status {}).await.unwrap() else { panic!() };
        let [old, new] = status.peers.as_slice() else { panic!("{status:?}") };
        assert_eq!(
            (old.peer.as_str(), old.generation, new.peer.as_str(), new.generation),
            ("peer", Some(1), "new", None)
        );
        assert!(old.session.is_some() && new.session.is_none());
        assert!(old.renews_in.is_some_and(|seconds| (60_000..86_400).contains(&seconds)), "{old:?}");
    });
}

#[test]
fn a_slow_or_broken_client_holds_nothing_up() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        let path = control(&dir, &client);
        let mut kept = Vec::new();
        // One that says nothing, one that says a half, one that hangs up in the middle, one that does not read.
        for said in [&b""[..], b"{\"version\":1,", b"{", b"{\"version\":1,\"command\":{\"status\":{}}}\n"] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(said).await.unwrap();
            kept.push(stream);
        }
        drop(kept.remove(2));
        let soon = timeout(Duration::from_secs(8), rekeyed(&path, &[])).await;
        assert_eq!(soon.expect("it was held up"), done(2));

        for (said, part) in [
            (b"GET / HTTP/1.0\r\n".to_vec(), "malformed"),
            (b"{\"version\":9,\"command\":0}\n".to_vec(), "version 9"),
            (b"{\"version\":1,\"command\":{\"dance\":{}}}\n".to_vec(), "unknown variant"),
            (vec![b'x'; REQUEST_MAX + 1], "longer than"),
            (vec![0xff; 5].into_iter().chain([b'\n']).collect(), "malformed"),
        ] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(&said).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let Outcome::Refused(why) = serde_json::from_str::<Answer>(&answer).unwrap().answer else {
                panic!("{answer}")
            };
            assert!(why.contains(part), "{why}");
        }

        // More at once than are served: the others are turned away, and the daemon goes on.
        for _ in 0..40 {
            kept.push(UnixStream::connect(&path).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(matches!(asked(&path, Command::Status {}).await, Err(ControlError::Silent { .. })));
        assert_eq!(client.kernel.sending("peer"), Some(2));
        kept.clear();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(rekeyed(&path, &[]).await, done(3));
    });
}

#[test]
fn the_socket_is_its_daemons_alone() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let first = Socket::bind(&path).unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // In use: named with who has it, and left alone.
        let error = Socket::bind(&path).unwrap_err();
        assert!(
            matches!(&error, SocketError::Held { holder, .. } if *holder == std::process::id().to_string()),
            "{error}"
        );
        assert!(UnixStream::connect(&path).await.is_ok());
        // A clean exit removes it; one that a killed daemon left behind is replaced.
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let again = Socket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(again);
        // What is no socket is not touched.
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path).unwrap_err(), SocketError::Taken { .. }));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert!(matches!(Socket::bind(&dir.path().join("none/such")).unwrap_err(), SocketError::Io { .. }));
        let error = asked(&dir.path().join("nobody"), Command::Status {}).await.unwrap_err();
        assert!(matches!(error, ControlError::Unreachable { .. }), "{error}");
        tracing::info!("done");
    });
}
