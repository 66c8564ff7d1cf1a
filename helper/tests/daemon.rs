// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Daemons on the loopback interface, each with a module in memory.

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::daemons::{both_send, config, listener, pair, start, until, Running};
use common::kernel::{Done, MemoryKernel};
use common::logs::{self, run};
use common::{key, public};
use pdmv2::config::parse;
use pdmv2::daemon::accept::UNFINISHED;
use pdmv2::daemon::{Daemon, DaemonError};
use pdmv2::netlink::flow::Flow;
use pdmv2::netlink::key::KeyName;
use pdmv2::netlink::listener::Told;
use pdmv2::netlink::notice::Notice;
use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::{Event, KeyDirection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

fn flow(local: u8, remote: u8) -> FlowId {
    let address = |host: u8| {
        let mut octets = [0; 16];
        (octets[0], octets[15]) = (0xfd, host);
        octets
    };
    FlowId { local: address(local), remote: address(remote), local_port: 1000, remote_port: 2000, protocol: 17 }
}

fn acquire(flow: FlowId, direction: KeyDirection, generation: u64, epoch: u32) -> KeyName {
    KeyName { association: "peer".into(), generation, direction, flow, epoch }
}

#[test]
fn two_daemons_negotiate_and_give_both_modules_the_same_keys() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        for epoch in [0, 1, 4095] {
            client.told.send(Told::Acquire(acquire(flow(1, 2), KeyDirection::Send, 1, epoch))).await.unwrap();
            let theirs = acquire(flow(1, 2).reversed(), KeyDirection::Receive, 1, epoch);
            server.told.send(Told::Acquire(theirs)).await.unwrap();
        }
        until("keys", || client.kernel.state().keys.len() == 3 && server.kernel.state().keys.len() == 3).await;
        let (ours, theirs) = (client.kernel.state().keys.clone(), server.kernel.state().keys.clone());
        for ((_, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
            assert_eq!(ours.key.as_bytes().len(), 16);
        }
        assert_ne!(ours[0].1, ours[1].1);
        // The other direction has another key.
        client.told.send(Told::Acquire(acquire(flow(1, 2), KeyDirection::Receive, 1, 0))).await.unwrap();
        until("fourth key", || client.kernel.state().keys.len() == 4).await;
        assert_ne!(client.kernel.state().keys[3].1, ours[0].1);
    });
}

#[test]
fn what_is_configured_is_negotiated_and_nothing_else() {
    run(async {
        let (client, server) = pair("kem = [\"p-256\"]\nkdf = [\"hkdf-sha512\"]\naead = [\"chacha20-poly1305\"]").await;
        both_send(&client, &server, 1).await;
        let suite = Suite { kem: 0x0010, kdf: 3, aead: 3 };
        assert_eq!(
            (client.kernel.state().suites.clone(), server.kernel.state().suites.clone()),
            (vec![suite], vec![suite])
        );

        // Nothing in common: nothing is installed.
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let server = start(2, config(2, 1, None, "kem = [\"x25519\"]"), two, MemoryKernel::default());
        let client = start(1, config(1, 2, Some(port), "kem = [\"x-wing\", \"p-256\"]"), one, MemoryKernel::default());
        sleep(Duration::from_millis(1500)).await;
        let (client, server) = (client.stop().await, server.stop().await);
        for kernel in [&client, &server] {
            assert!(kernel.state().log.iter().all(|done| !matches!(done, Done::Add(..))), "{:?}", kernel.state().log);
        }
    });
}

#[test]
fn nothing_is_given_for_foreign_addresses_or_unknown_generations() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        for refused in [
            acquire(flow(1, 3), KeyDirection::Send, 1, 0),
            acquire(flow(3, 2), KeyDirection::Receive, 1, 0),
            acquire(flow(1, 2), KeyDirection::Send, 2, 0),
            acquire(flow(1, 2), KeyDirection::Send, 1, 4096),
            KeyName { association: "other".into(), ..acquire(flow(1, 2), KeyDirection::Send, 1, 0) },
        ] {
            client.told.send(Told::Acquire(refused)).await.unwrap();
        }
        client.told.send(Told::Acquire(acquire(flow(1, 2), KeyDirection::Send, 1, 7))).await.unwrap();
        until("the good key", || !client.kernel.state().keys.is_empty()).await;
        let keys = client.kernel.state().keys.clone();
        assert_eq!(keys.iter().map(|(name, _)| name.epoch).collect::<Vec<_>>(), [7]);
    });
}

#[test]
fn keys_of_live_flows_are_there_before_activation() {
    run(async {
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let (kernel_1, kernel_2) = (MemoryKernel::default(), MemoryKernel::default());
        kernel_1.state().flows.push(Flow { id: flow(1, 2), ..Flow::default() });
        kernel_1.state().flows.push(Flow { id: flow(1, 9), ..Flow::default() });
        kernel_2.state().flows.push(Flow { id: flow(2, 1), ..Flow::default() });
        let server = start(2, config(2, 1, None, ""), two, kernel_2);
        let client = start(1, config(1, 2, Some(port), ""), one, kernel_1);
        both_send(&client, &server, 1).await;
        for (host, live) in [(&client, flow(1, 2)), (&server, flow(2, 1))] {
            let log = host.kernel.state().log.clone();
            let place = |wanted: &Done| log.iter().position(|done| done == wanted);
            let add = place(&Done::Add("peer".into(), 1)).unwrap();
            let activate = place(&Done::Activate("peer".into(), 1)).unwrap();
            for direction in [KeyDirection::Receive, KeyDirection::Send] {
                let key = place(&Done::Key(acquire(live, direction, 1, 0))).unwrap();
                assert!(add < key && key < activate, "{log:?}");
            }
            assert!(log.iter().all(|done| !matches!(done, Done::Key(name) if !name.flow.eq(&live))));
        }
    });
}

#[test]
fn in_key_mode_kernel_the_module_gets_the_prk_and_no_keys() {
    run(async {
        let (client, server) = pair("key-mode = \"kernel\"").await;
        both_send(&client, &server, 1).await;
        let (ours, theirs) = (client.kernel.state().prks.clone(), server.kernel.state().prks.clone());
        assert!(ours[0].1.is_some());
        assert_eq!(ours, theirs);
        assert!(client.kernel.state().keys.is_empty());
    });
}

#[test]
fn in_key_mode_helper_no_prk_leaves_the_helper() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        assert_eq!(client.kernel.state().prks, [(1, None)]);
    });
}

#[test]
fn of_two_daemons_that_dial_each_other_both_end_on_one_generation() {
    run(async {
        let (one, port_1) = listener().await;
        let (two, port_2) = listener().await;
        let kernel = "key-mode = \"kernel\"";
        let a = start(1, config(1, 2, Some(port_2), kernel), one, MemoryKernel::default());
        let b = start(2, config(2, 1, Some(port_1), kernel), two, MemoryKernel::default());
        let agree = || {
            let ours = a.kernel.sending("peer");
            ours.is_some() && ours == b.kernel.sending("peer")
        };
        until("one generation", agree).await;
        sleep(Duration::from_secs(2)).await;
        until("still one generation", agree).await;
        // And on one secret of it: of two negotiations that crossed, one installed nothing.
        let generation = a.kernel.sending("peer").unwrap();
        let prk = |host: &Running| {
            let state = host.kernel.state();
            let found: Vec<_> = state.prks.iter().filter(|(of, _)| *of == generation).cloned().collect();
            assert_eq!(found.len(), 1);
            found
        };
        assert_eq!(prk(&a), prk(&b));
    });
}

#[test]
fn after_a_restart_of_the_dialling_host_a_greater_generation_is_negotiated() {
    run(async {
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let server = start(2, config(2, 1, None, ""), two, MemoryKernel::default());
        let client = start(1, config(1, 2, Some(port), ""), one, MemoryKernel::default());
        both_send(&client, &server, 1).await;
        // Killed: its module keeps what it held.
        client.task.abort();
        let kernel = client.kernel.clone();
        let (one, _) = listener().await;
        let client = start(1, config(1, 2, Some(port), ""), one, kernel);
        both_send(&client, &server, 2).await;
        assert_eq!(client.kernel.secrets("peer"), [(1, "retired".to_owned()), (2, "send".to_owned())]);
        // And again: the module never holds more than two.
        client.task.abort();
        let kernel = client.kernel.clone();
        let (one, _) = listener().await;
        let client = start(1, config(1, 2, Some(port), ""), one, kernel);
        both_send(&client, &server, 3).await;
        assert_eq!(client.kernel.secrets("peer"), [(2, "retired".to_owned()), (3, "send".to_owned())]);
        // A clean exit leaves none, not even one of an earlier daemon.
        assert_eq!(client.stop().await.secrets("peer"), []);
    });
}

#[test]
fn a_peer_that_comes_back_empty_is_negotiated_with_anew() {
    run(async {
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let server = start(2, config(2, 1, None, ""), two, MemoryKernel::default());
        let client = start(1, config(1, 2, Some(port), ""), one, MemoryKernel::default());
        both_send(&client, &server, 1).await;
        server.stop().await;
        let again = TcpListener::bind(("::1", port)).await.unwrap();
        let server = start(2, config(2, 1, None, ""), again, MemoryKernel::default());
        both_send(&client, &server, 2).await;
    });
}

/// The module's memory of what was sent under goes with it: only a secret that never was may follow.
#[test]
fn a_module_that_is_loaded_anew_gets_everything_but_the_secrets_it_had() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        for (reloaded, generation) in [(&client, 2), (&server, 3)] {
            reloaded.kernel.unload();
            let told = reloaded.kernel.state().log.len();
            // Requests fail meanwhile, and that ends nothing.
            reloaded.told.send(Told::Acquire(acquire(flow(1, 2), KeyDirection::Send, 1, 0))).await.unwrap();
            sleep(Duration::from_millis(1500)).await;
            reloaded.kernel.load();
            both_send(&client, &server, generation).await;
            let log = reloaded.kernel.state().log[told..].to_vec();
            assert!(log.contains(&Done::Associate("peer".into())), "{log:?}");
            assert!(log.iter().any(|done| matches!(done, Done::Policy(policy) if policy.rules.len() == 1)), "{log:?}");
            let added: Vec<_> = log.iter().filter(|done| matches!(done, Done::Add(..))).collect();
            assert_eq!(added, [&Done::Add("peer".into(), generation)]);
            assert_eq!(reloaded.kernel.secrets("peer"), [(generation, "send".to_owned())]);
        }
    });
}

/// Unloaded and loaded between two looks, while nothing was asked of it.
#[test]
fn a_reload_that_nobody_saw_is_noticed() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        client.kernel.unload();
        client.kernel.load();
        both_send(&client, &server, 2).await;
        assert_eq!(client.kernel.secrets("peer"), [(2, "send".to_owned())]);
    });
}

#[test]
fn events_that_ask_for_a_new_secret_get_one_from_either_end() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        client.event(Event::EpochsLow, Some(1)).await;
        both_send(&client, &server, 2).await;
        client.event(Event::PacketsReached, Some(2)).await;
        both_send(&client, &server, 3).await;
        // The server cannot dial; it closes the session, and the client dials.
        server.event(Event::KeysWiped, None).await;
        both_send(&client, &server, 4).await;
        // What concerns an older generation is not asked for again.
        client.event(Event::Exhausted, Some(1)).await;
        sleep(Duration::from_millis(500)).await;
        assert_eq!(client.kernel.sending("peer"), Some(4));
    });
}

#[test]
fn an_option_that_authenticates_stands_for_a_lost_m5() {
    logs::checked(|| {
        use pdmv2::clock::since_boot;
        use pdmv2::daemon::keeper::Keeper;
        use pdmv2::negotiate::{Negotiated, Purpose, Role};
        use pdmv2::secret::Secret;

        let kernel = MemoryKernel::default();
        let config = config(2, 1, None, "");
        let mut keeper = Keeper::start(Box::new(kernel.clone()), &config, public(2), None).unwrap();
        let peer = keeper.named("peer").unwrap();
        let negotiated = Negotiated {
            role: Role::Server,
            purpose: Purpose::Pair,
            suite: pdmv2_proto::suite::Suite::DEFAULT,
            profile: pdmv2_proto::uapi::Profile::V2,
            generation: 4,
            lifetime: 1000,
            peer_idle: 60,
            salt: Secret::new(vec![1; 32]),
            shared_secret: Secret::new(vec![2; 32]),
        };
        let now = since_boot();
        keeper.install(peer, &negotiated, now).unwrap();
        assert_eq!(kernel.secrets("peer"), [(4, "receive".to_owned())]);
        let mut notice = Notice {
            event: Some(Event::Authenticated),
            association: Some("peer".into()),
            generation: Some(3),
            flow: None,
            reason: None,
            count: None,
        };
        assert!(keeper.event(&notice, now).is_empty());
        assert_eq!(kernel.sending("peer"), None);
        notice.generation = Some(4);
        assert!(keeper.event(&notice, now).is_empty());
        assert_eq!(kernel.sending("peer"), Some(4));
        // m5 may still come; it changes nothing.
        keeper.activate(peer, 4, now).unwrap();

        // A second one: the older is accepted for a while, then wiped; the newer is renewed before its end, and ends.
        keeper
            .install(peer, &Negotiated { generation: 5, shared_secret: Secret::new(vec![3; 32]), ..negotiated }, now)
            .unwrap();
        keeper.activate(peer, 5, now).unwrap();
        assert_eq!(kernel.secrets("peer"), [(4, "retired".to_owned()), (5, "send".to_owned())]);
        assert!(keeper.tick(now + Duration::from_secs(59)).is_empty());
        assert_eq!(kernel.secrets("peer").len(), 2);
        assert!(keeper.tick(now + Duration::from_secs(60)).is_empty());
        assert_eq!(kernel.secrets("peer"), [(5, "send".to_owned())]);
        assert!(keeper.tick(now + Duration::from_secs(899)).is_empty());
        assert_eq!(keeper.tick(now + Duration::from_secs(901)), [peer]);
        assert!(keeper.tick(now + Duration::from_secs(902)).is_empty());
        assert_eq!(keeper.tick(now + Duration::from_secs(1000)), [peer]);
        assert_eq!(kernel.secrets("peer"), []);
    });
}

#[test]
fn a_secret_that_was_sent_under_before_is_not_used() {
    logs::checked(|| {
        use pdmv2::daemon::keeper::{Keeper, KeeperError};
        use pdmv2::negotiate::{Negotiated, Purpose, Role};
        use pdmv2::secret::Secret;

        let kernel = MemoryKernel::default();
        let config = config(2, 1, None, "");
        let mut keeper = Keeper::start(Box::new(kernel.clone()), &config, public(2), None).unwrap();
        let peer = keeper.named("peer").unwrap();
        let negotiated = Negotiated {
            role: Role::Server,
            purpose: Purpose::Pair,
            suite: pdmv2_proto::suite::Suite::DEFAULT,
            profile: pdmv2_proto::uapi::Profile::V2,
            generation: 1,
            lifetime: 1000,
            peer_idle: 60,
            salt: Secret::new(vec![1; 32]),
            shared_secret: Secret::new(vec![2; 32]),
        };
        keeper.install(peer, &negotiated, Duration::ZERO).unwrap();
        keeper.activate(peer, 1, Duration::ZERO).unwrap();
        let again = Negotiated { generation: 2, ..negotiated };
        assert!(matches!(keeper.install(peer, &again, Duration::ZERO), Err(KeeperError::SentBefore(2))));
        assert_eq!(kernel.secrets("peer"), [(1, "send".to_owned())]);
    });
}

#[test]
fn a_clean_exit_deletes_the_secrets_and_leaves_the_policy() {
    run(async {
        let (client, server) = pair("").await;
        both_send(&client, &server, 1).await;
        let kernel = client.stop().await;
        assert_eq!(kernel.secrets("peer"), []);
        assert_eq!(kernel.state().policy.rules.len(), 1);
        drop(server);
    });
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    logs::checked(|| {
        let kernel = MemoryKernel::default();
        kernel.state().refuse = Some("second".into());
        let key = public(3);
        let more = format!(
            "[[peer]]\nname = \"second\"\npublic-key = \"{key}\"\nlocal = [\"fd00::1\"]\nremote = [\"fd00::3\"]"
        );
        assert!(Daemon::new(config(1, 2, None, &more), common::key(1), Box::new(kernel.clone())).is_err());
        assert!(kernel.state().associations.is_empty());
        assert!(kernel.state().policy.rules.is_empty());
    });
}

#[test]
fn associations_that_are_not_configured_are_removed() {
    logs::checked(|| {
        let kernel = MemoryKernel::default();
        drop(Daemon::new(config(1, 2, None, ""), key(1), Box::new(kernel.clone())).unwrap());
        let renamed = parse(
        Path::new("t"),
        &format!(
            "[host]\nprivate-key-file = \"x\"\n[[peer]]\nname = \"new\"\npublic-key = \"{}\"\nlocal = [\"::1\"]\nremote = [\"::2\"]\n",
            public(2)
        ),
    );
        drop(Daemon::new(renamed.unwrap(), key(1), Box::new(kernel.clone())).unwrap());
        let names: Vec<_> = kernel.state().associations.iter().map(|known| known.name.clone()).collect();
        assert_eq!(names, ["new"]);
    });
}

#[test]
fn ones_own_key_is_no_peers() {
    logs::checked(|| {
        let error =
            Daemon::new(config(1, 1, None, ""), key(1), Box::new(MemoryKernel::default())).map(drop).unwrap_err();
        assert!(matches!(error, DaemonError::OwnKey(_)), "{error}");
    });
}

#[test]
fn a_stranger_gets_nothing_beyond_tls() {
    run(async {
        let (two, port) = listener().await;
        let server = start(2, config(2, 1, None, ""), two, MemoryKernel::default());
        // Host 3 knows host 2's key, but host 2 does not know host 3.
        let connector =
            tokio_rustls::TlsConnector::from(std::sync::Arc::new(pdmv2::tls::client(&key(3), public(2)).unwrap()));
        let tcp = tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
        let mut received = Vec::new();
        if let Ok(mut stream) = connector.connect(pdmv2::tls::server_name(), tcp).await {
            assert!(stream.read_to_end(&mut received).await.is_err());
        }
        assert!(received.is_empty());
        // And one that speaks no TLS gets no more than an alert.
        let mut tcp = tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let _ = tcp.read_to_end(&mut received).await;
        assert!(received.len() <= 7, "{received:?}");
        assert_eq!(server.kernel.secrets("peer"), []);
    });
}

/// What was added to a module so far.
fn added(kernel: &MemoryKernel) -> Vec<Done> {
    kernel.state().log.iter().filter(|done| matches!(done, Done::Add(..))).cloned().collect()
}

/// Somebody on the path records all that a client sends, and sends it again, byte for byte.
#[test]
fn a_whole_recorded_connection_replayed_installs_nothing() {
    run(async {
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let (path, path_port) = listener().await;
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&recorded);
        tokio::spawn(async move {
            let (client, _) = path.accept().await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let server = TcpStream::connect(("::1", port)).await.unwrap();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
                record.lock().unwrap().extend_from_slice(&buffer[..len]);
                to_server.write_all(&buffer[..len]).await.unwrap();
            }
        });
        let server = start(2, config(2, 1, None, ""), two, MemoryKernel::default());
        let client = start(1, config(1, 2, Some(path_port), ""), one, MemoryKernel::default());
        both_send(&client, &server, 1).await;
        let recorded = recorded.lock().unwrap().clone();
        assert!(recorded.len() > 1000, "{}", recorded.len());

        let mut again = TcpStream::connect(("::1", port)).await.unwrap();
        again.write_all(&recorded).await.unwrap();
        // The server ends it by itself: what was recorded belongs to other keys.
        let mut answer = Vec::new();
        let _ = timeout(3 * UNFINISHED, again.read_to_end(&mut answer)).await.expect("it is still open");
        assert_eq!(added(&server.kernel), [Done::Add("peer".into(), 1)]);
        assert_eq!(server.kernel.sending("peer"), Some(1));
        // Nor does it end the session that there is.
        assert_eq!((client.kernel.sending("peer"), added(&client.kernel).len()), (Some(1), 1));
    });
}

/// Where the peer is dialled, somebody else answers, who knows this host's public key.
#[test]
fn an_impostor_at_the_peers_endpoint_gets_nothing() {
    run(async {
        let (one, _) = listener().await;
        let (three, port) = listener().await;
        let impostor = start(3, config(3, 1, None, ""), three, MemoryKernel::default());
        let client = start(1, config(1, 2, Some(port), ""), one, MemoryKernel::default());
        sleep(Duration::from_millis(1500)).await;
        assert_eq!((added(&client.kernel), added(&impostor.kernel)), (vec![], vec![]));
    });
}

/// "Prefixes come only from local configuration for that identity."
#[test]
fn a_peer_that_claims_prefixes_not_its_own_gets_no_keys_for_them() {
    run(async {
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let mut claiming = config(1, 2, Some(port), "");
        claiming.peers[0].local = vec!["::/0".parse().unwrap()];
        let server = start(2, config(2, 1, None, ""), two, MemoryKernel::default());
        let client = start(1, claiming, one, MemoryKernel::default());
        both_send(&client, &server, 1).await;
        let known = server.kernel.state().associations[0].clone();
        assert_eq!((known.remote, known.local), (vec!["fd00::1".parse().unwrap()], vec!["fd00::2".parse().unwrap()]));
        for direction in [KeyDirection::Receive, KeyDirection::Send] {
            server.told.send(Told::Acquire(acquire(flow(2, 9), direction, 1, 0))).await.unwrap();
        }
        server.told.send(Told::Acquire(acquire(flow(2, 1), KeyDirection::Receive, 1, 0))).await.unwrap();
        until("the key of its own address", || !server.kernel.state().keys.is_empty()).await;
        let keys: Vec<_> = server.kernel.state().keys.iter().map(|(name, _)| name.flow).collect();
        assert_eq!(keys, [flow(2, 1)]);
    });
}

#[test]
fn the_key_log_has_the_same_secret_on_both_ends() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let log = |host: u8| dir.path().join(format!("{host}.keys"));
        let logged = |own, other, port| {
            let mut config = config(own, other, port, "");
            config.host.key_log = Some(log(own));
            config
        };
        let (one, _) = listener().await;
        let (two, port) = listener().await;
        let server = start(2, logged(2, 1, None), two, MemoryKernel::default());
        let client = start(1, logged(1, 2, Some(port)), one, MemoryKernel::default());
        both_send(&client, &server, 1).await;
        let fields = |host| {
            let text = std::fs::read_to_string(log(host)).unwrap();
            logs::read_key_log(&text);
            assert_eq!(text.lines().count(), 1);
            text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let (ours, theirs) = (fields(1), fields(2));
        assert_eq!(ours[..9], theirs[..9]);
        assert_eq!(ours[..6], ["PDMV2_SHARED_SECRET", "peer", "647a", "0001", "0001", "v2"]);
        assert_eq!((ours[6].len(), ours[7].len(), ours[8].as_str()), (64, 64, "1"));
        assert_eq!((ours[9].as_str(), ours[10].as_str()), ("fd00::1", "fd00::2"));
    });
}

/// What the other tests rely on.
#[test]
fn a_secret_in_a_log_is_found_in_every_spelling() {
    use base64::Engine;
    use pdmv2::hex;

    let bytes: Vec<u8> = (0..32).map(|at| at * 7 + 3).collect();
    let hex = hex::encode(&bytes);
    let base64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let shows: [&dyn Fn(); 7] = [
        &|| tracing::trace!("{hex}"),
        &|| tracing::error!(key = hex.to_uppercase()),
        &|| tracing::info!("... {} ...", &hex[20..36]),
        &|| tracing::debug!("{bytes:?}"),
        &|| tracing::debug!("{:02x?}", &bytes[5..25]),
        &|| tracing::debug!(base64, "x"),
        &|| tracing::debug!("{}", base64.trim_end_matches('=')),
    ];
    for (number, show) in shows.iter().enumerate() {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            logs::checked(|| {
                logs::secret(&bytes);
                show();
            })
        }));
        assert!(found.is_err(), "{number}");
    }
    logs::checked(|| {
        logs::secret(&bytes);
        tracing::info!("nothing of it");
    });
}
