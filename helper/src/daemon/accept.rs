// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Sessions that peers open.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{interval, sleep, sleep_until, timeout, Instant};
use tokio_rustls::LazyConfigAcceptor;
use tracing::{debug, warn};

use super::admission::{Admission, Counts, Source, Ticket, Verdict};
use super::channel::{Channel, ChannelError};
use super::dial::tune;
use super::id::PeerId;
use super::session::{self, SessionError};
use super::Shared;
use crate::clock::since_boot;
use crate::tls::ServerConfigs;

/// Longest time from a connection to its finished negotiation, however far it came.
pub const UNFINISHED: Duration = Duration::from_secs(20);

/// Longest time for closing a session in order.
const CLOSE: Duration = Duration::from_secs(2);

/// How often it is told what was refused.
const REPORT: Duration = Duration::from_secs(10);

/// Failures between two reports that are told each.
const TOLD_MAX: u64 = 5;

/// Where connections are let in, or not.
struct Door {
    state: Mutex<State>,
}

struct State {
    admission: Admission,
    /// Ends each unfinished negotiation when another takes its place.
    inside: HashMap<Ticket, Arc<Notify>>,
    /// Negotiations that failed.
    failed: u64,
    /// What was reported last.
    reported: (Counts, u64),
}

impl Door {
    fn new(rate: u32) -> Arc<Self> {
        let (admission, inside) = (Admission::new(rate), HashMap::new());
        Arc::new(Self { state: Mutex::new(State { admission, inside, failed: 0, reported: Default::default() }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection came: its place, if it may go on.
    fn arrives(self: &Arc<Self>, from: SocketAddr, rate: u32) -> Option<Place> {
        let mut state = self.lock();
        state.admission.set_rate(rate);
        let Verdict::Admitted { ticket, instead_of } = state.admission.arrives(Source::of(from), since_boot()) else {
            return None;
        };
        if let Some(gone) = instead_of.and_then(|gone| state.inside.remove(&gone)) {
            gone.notify_one();
        }
        let gives_way = Arc::new(Notify::new());
        state.inside.insert(ticket, Arc::clone(&gives_way));
        Some(Place { door: Arc::clone(self), ticket, gives_way, until: Instant::now() + UNFINISHED })
    }

    /// A negotiation failed; whether that is told of it alone.
    fn failed(&self) -> bool {
        let mut state = self.lock();
        state.failed += 1;
        state.failed - state.reported.1 <= TOLD_MAX
    }

    /// Tells what there is to tell since the last time.
    fn report(&self) {
        let mut state = self.lock();
        let (now, failed) = (state.admission.counts(), state.failed);
        let (before, failed_before) = std::mem::replace(&mut state.reported, (now, failed));
        let unfinished = state.admission.unfinished();
        drop(state);
        let (too_fast, too_many) = (now.too_fast - before.too_fast, now.too_many - before.too_many);
        let (gave_way, failed) = (now.gave_way - before.gave_way, failed - failed_before);
        if too_fast + too_many + gave_way > 0 || failed > TOLD_MAX {
            warn!(too_fast, too_many, gave_way, failed, unfinished, "connections that were not negotiated");
        }
    }
}

/// The place of an unfinished negotiation, free again when this is dropped.
struct Place {
    door: Arc<Door>,
    ticket: Ticket,
    gives_way: Arc<Notify>,
    until: Instant,
}

impl Place {
    /// Waits until the negotiation has had its time, or another takes its place.
    async fn over(&self) -> SessionError {
        tokio::select! {
            () = sleep_until(self.until) => SessionError::Late,
            () = self.gives_way.notified() => SessionError::GaveWay,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.door.lock();
        state.admission.leaves(self.ticket);
        state.inside.remove(&self.ticket);
    }
}

/// Takes connections, from another socket as soon as there is one; never ends. Those that are refused are closed before a
/// byte of theirs is read.
pub async fn accept_all(shared: Arc<Shared>, listener: TcpListener, configs: ServerConfigs) {
    let (door, configs) = (Door::new(shared.rate()), Arc::new(configs));
    let mut listener = Arc::new(listener);
    let mut others = shared.listeners();
    let mut report = interval(REPORT);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Ok(()) = others.changed() => {
                if let Some(other) = &*others.borrow_and_update() {
                    listener = Arc::clone(other);
                }
                continue;
            }
            _ = report.tick() => {
                door.report();
                continue;
            }
        };
        match accepted {
            Ok((tcp, from)) => {
                let Some(place) = door.arrives(from, shared.rate()) else {
                    refuse(&tcp);
                    continue;
                };
                let (shared, configs, door) = (Arc::clone(&shared), Arc::clone(&configs), Arc::clone(&door));
                tokio::spawn(async move {
                    match serve(&shared, tcp, &configs, place).await {
                        Ok((id, channel, server)) => {
                            let cancel = shared.established(id);
                            session::live(&shared, id, channel, Some(server), cancel).await;
                        }
                        Err(SessionError::Crossed) => debug!(%from, "gave way to this host's own negotiation"),
                        Err(error) if door.failed() => warn!(%from, "{error}"),
                        Err(error) => debug!(%from, "{error}"),
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, or the like: the next attempt may fare better.
                warn!("accept: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Has the connection reset when it is closed, so that nothing of it stays in the kernel.
fn refuse(tcp: &TcpStream) {
    use rustix::net::sockopt::set_socket_linger;
    // If that fails, it is closed in order.
    let _ = set_socket_linger(tcp, Some(Duration::ZERO));
}

/// Runs the negotiation of a connection, and gives its place back.
async fn serve(
    shared: &Shared,
    tcp: TcpStream,
    configs: &ServerConfigs,
    place: Place,
) -> Result<(PeerId, Channel<TcpStream>, crate::negotiate::Server), SessionError> {
    tune(&tcp);
    let over = place.over();
    tokio::pin!(over);
    let io = |error| SessionError::Channel(ChannelError::Io(error));
    let handshake = async {
        let start = LazyConfigAcceptor::new(Default::default(), tcp).await?;
        let config = configs.choose(&start.client_hello());
        start.into_stream(config).await
    };
    let stream = tokio::select! {
        stream = handshake => stream.map_err(io)?,
        over = &mut over => return Err(over),
    };
    let mut channel = Channel::new(stream);
    let id = channel.peer().and_then(|peer| shared.peer_of(&peer)).ok_or(SessionError::Stranger)?;
    let answered = tokio::select! {
        answered = session::answer(shared, id, &mut channel, over.as_mut()) => answered,
        () = shared.links.gone(id) => Err(SessionError::Removed),
    };
    match answered {
        Ok(server) => Ok((id, channel, server)),
        Err(error) => {
            if !matches!(error, SessionError::Crossed) {
                shared.links.failed(id, error.to_string());
            }
            // Whoever has had its time gets no more.
            if !matches!(error, SessionError::Late | SessionError::GaveWay) {
                let _ = timeout(CLOSE, channel.close()).await;
            }
            Err(error)
        }
    }
}
