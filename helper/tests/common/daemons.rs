// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Daemons on the loopback interface, each with a module in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pdmv2::config::{parse, Config};
use pdmv2::daemon::{Daemon, DaemonError, Shared};
use pdmv2::netlink::listener::Told;
use pdmv2::netlink::notice::Notice;
use pdmv2_proto::uapi::Event;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::kernel::MemoryKernel;
use super::{key, logs, public};

/// A daemon that runs.
pub struct Running {
    pub shared: Arc<Shared>,
    pub kernel: MemoryKernel,
    pub told: mpsc::Sender<Told>,
    pub stop: oneshot::Sender<()>,
    pub task: JoinHandle<Result<(), DaemonError>>,
}

impl Running {
    pub async fn stop(self) -> MemoryKernel {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        self.kernel
    }

    pub async fn event(&self, event: Event, generation: Option<u64>) {
        let notice = Notice {
            event: Some(event),
            association: Some("peer".into()),
            generation,
            flow: None,
            reason: None,
            count: None,
        };
        self.told.send(Told::Event(notice)).await.unwrap();
    }
}

/// Host `own` at fd00::own, with one peer `other`, named "peer".
pub fn config(own: u8, other: u8, endpoint: Option<u16>, more: &str) -> Config {
    let endpoint = endpoint.map_or(String::new(), |port| format!("endpoint = \"[::1]:{port}\"\n"));
    let key = public(other);
    let text = format!(
        "[host]\nprivate-key-file = \"unused\"\n[[peer]]\nname = \"peer\"\npublic-key = \"{key}\"\n{endpoint}\
         local = [\"fd00::{own}\"]\nremote = [\"fd00::{other}\"]\n{more}\n[[rule]]\nsend = \"v2-encrypted\"\n"
    );
    parse(Path::new("test.toml"), &text).unwrap()
}

pub fn start(own: u8, mut config: Config, listener: TcpListener, kernel: MemoryKernel) -> Running {
    config.host.key_log.get_or_insert_with(logs::key_log);
    let daemon = Daemon::new(config, key(own), Box::new(kernel.clone())).unwrap();
    let shared = Arc::clone(daemon.shared());
    let (told, receiver) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        daemon
            .serve(listener, receiver, async {
                let _ = stopped.await;
            })
            .await
    });
    Running { shared, kernel, told, stop, task }
}

pub async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Host 1 dials host 2.
pub async fn pair(more: &str) -> (Running, Running) {
    let (one, _) = listener().await;
    let (two, port) = listener().await;
    let server = start(2, config(2, 1, None, more), two, MemoryKernel::default());
    let client = start(1, config(1, 2, Some(port), more), one, MemoryKernel::default());
    (client, server)
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub async fn both_send(a: &Running, b: &Running, generation: u64) {
    until(&format!("both send under {generation}"), || {
        a.kernel.sending("peer") == Some(generation) && b.kernel.sending("peer") == Some(generation)
    })
    .await;
}
