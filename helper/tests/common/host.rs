// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A daemon on the loopback interface with a module in memory, by the text of its configuration.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pdmv2::config::parse;
use pdmv2::daemon::{Daemon, DaemonError, Shared};
use pdmv2::identity::PrivateKey;
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::kernel::{Done, MemoryKernel};

/// A daemon that runs.
pub struct Host {
    pub shared: Arc<Shared>,
    pub kernel: MemoryKernel,
    pub port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), DaemonError>>,
}

impl Host {
    /// Starts one that listens on a port of its own, on every address.
    pub async fn start(key: PrivateKey, text: &str) -> Self {
        // Room for all that connect at once: whoever the kernel forgets would wait for an answer.
        let socket = TcpSocket::new_v6().unwrap();
        socket.bind("[::]:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let port = listener.local_addr().unwrap().port();
        let kernel = MemoryKernel::default();
        let config = parse(Path::new("test.toml"), text).unwrap();
        let daemon = Daemon::new(config, key, Box::new(kernel.clone())).unwrap();
        let shared = Arc::clone(daemon.shared());
        // Nothing is told by a module in memory, but the channel stays open.
        let (told, receiver) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let _told = told;
            let end = async {
                let _ = stopped.await;
            };
            daemon.serve(listener, receiver, end).await
        });
        Self { shared, kernel, port, stop, task }
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// The secrets that its module was given.
    pub fn installed(&self) -> Vec<Done> {
        self.kernel.state().log.iter().filter(|done| matches!(done, Done::Add(..))).cloned().collect()
    }
}

/// A table of a peer, with something that names it.
pub fn peer(name: &str, named: &str, endpoint: Option<u16>, own: u8, other: u8) -> String {
    let endpoint = endpoint.map_or(String::new(), |port| format!("endpoint = \"[::1]:{port}\"\n"));
    format!("[[peer]]\nname = \"{name}\"\n{named}\n{endpoint}local = [\"fd00::{own}\"]\nremote = [\"fd00::{other}\"]\n")
}

/// Waits for something that is to happen.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
