// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Sessions with peers: which one counts, who is to dial, and what happens when two negotiations cross.
//!
//! A peer has its link from when it comes until it goes; whatever runs on its behalf ends with that ([`Links::gone`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{watch, Notify};

use super::id::PeerId;
use crate::identity::PublicKey;

/// Ends a task when told.
pub type Cancel = Arc<Notify>;

/// What became of negotiations with a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Negotiations that succeeded or failed so far.
    pub attempts: u64,
    /// The last one's generation, or why it failed.
    pub last: Option<Result<u64, String>>,
    /// Since when there is a session.
    pub session_since: Option<Duration>,
    /// When the peer is dialled again, if that waits.
    pub dials_at: Option<Duration>,
}

struct Link {
    wanted: bool,
    wake: Arc<Notify>,
    hurry: Arc<Notify>,
    client: Option<Cancel>,
    server: Option<Cancel>,
    session: Option<Cancel>,
    /// It goes with the link, which its receivers notice.
    progress: watch::Sender<Progress>,
}

/// The links of all peers.
pub struct Links {
    own: PublicKey,
    links: Mutex<BTreeMap<PeerId, Link>>,
}

impl Links {
    /// No peers.
    pub fn new(own: PublicKey) -> Self {
        Self { own, links: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, id: PeerId, act: impl FnOnce(&mut Link) -> T) -> Option<T> {
        self.lock().get_mut(&id).map(act)
    }

    /// A peer came, without a session; whether it is to be dialled.
    pub fn add(&self, id: PeerId, wanted: bool) {
        let link = Link {
            wanted,
            wake: Arc::default(),
            hurry: Arc::default(),
            client: None,
            server: None,
            session: None,
            progress: watch::Sender::default(),
        };
        self.lock().insert(id, link);
    }

    /// A peer went: its session and negotiations end at once.
    pub fn remove(&self, id: PeerId) {
        self.lock().remove(&id);
    }

    /// All went.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Waits until the peer has gone.
    pub async fn gone(&self, id: PeerId) {
        if let Some(mut progress) = self.progress(id) {
            while progress.changed().await.is_ok() {}
        }
    }

    /// What becomes of negotiations with a peer, from now on; it ends when the peer has gone.
    pub fn progress(&self, id: PeerId) -> Option<watch::Receiver<Progress>> {
        self.with(id, |link| link.progress.subscribe())
    }

    /// Asks for a new negotiation.
    pub fn want(&self, id: PeerId) {
        self.with(id, |link| {
            link.wanted = true;
            link.wake.notify_one();
        });
    }

    /// It cannot be had: there is nowhere to dial.
    pub fn want_no_more(&self, id: PeerId) {
        self.with(id, |link| link.wanted = false);
    }

    /// Waits until a negotiation is asked for.
    pub async fn wanted(&self, id: PeerId) {
        loop {
            let Some((wanted, wake)) = self.with(id, |link| (link.wanted, Arc::clone(&link.wake))) else {
                return std::future::pending().await;
            };
            if wanted {
                return;
            }
            wake.notified().await;
        }
    }

    /// Ends the wait before the next attempt, if there is one.
    pub fn hurry(&self, id: PeerId) {
        self.with(id, |link| link.hurry.notify_waiters());
    }

    /// Waits before the next attempt, unless it is hurried.
    pub async fn pause(&self, id: PeerId, wait: Duration, now: Duration) {
        let Some(hurry) = self.with(id, |link| {
            link.progress.send_modify(|progress| progress.dials_at = Some(now + wait));
            Arc::clone(&link.hurry)
        }) else {
            return;
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = hurry.notified() => {}
        }
        self.with(id, |link| link.progress.send_modify(|progress| progress.dials_at = None));
    }

    /// This host opens a negotiation: what ends it when it has to give way.
    pub fn client_begins(&self, id: PeerId) -> Cancel {
        let cancel = Cancel::default();
        self.with(id, |link| link.client = Some(Arc::clone(&cancel)));
        cancel
    }

    /// It is over.
    pub fn client_ends(&self, id: PeerId, cancel: &Cancel) {
        self.with(id, |link| link.client.take_if(|held| Arc::ptr_eq(held, cancel)));
    }

    /// The peer opens a negotiation, authenticated by a key. If this host's own is under way, the one opened by the bytewise
    /// lower identity key stands: `None` when that is this host's; otherwise what ends the peer's when it opens another.
    pub fn server_begins(&self, id: PeerId, peer: PublicKey) -> Option<Cancel> {
        self.with(id, |link| {
            if let Some(client) = &link.client {
                if self.own < peer {
                    return None;
                }
                client.notify_one();
                link.client = None;
            }
            let cancel = Cancel::default();
            if let Some(older) = link.server.replace(Arc::clone(&cancel)) {
                older.notify_one();
            }
            Some(cancel)
        })
        .flatten()
    }

    /// It is over.
    pub fn server_ends(&self, id: PeerId, cancel: &Cancel) {
        self.with(id, |link| link.server.take_if(|held| Arc::ptr_eq(held, cancel)));
    }

    /// A negotiation succeeded: its session is the peer's from now on, and an older one ends.
    pub fn established(&self, id: PeerId, generation: u64, now: Duration) -> Cancel {
        let cancel = Cancel::default();
        self.with(id, |link| {
            link.wanted = false;
            if let Some(older) = link.session.replace(Arc::clone(&cancel)) {
                older.notify_one();
            }
            link.progress.send_modify(|progress| {
                progress.attempts += 1;
                progress.last = Some(Ok(generation));
                progress.session_since = Some(now);
            });
        });
        cancel
    }

    /// A negotiation failed.
    pub fn failed(&self, id: PeerId, why: String) {
        self.with(id, |link| {
            link.progress.send_modify(|progress| {
                progress.attempts += 1;
                progress.last = Some(Err(why));
            });
        });
    }

    /// A session ended; whether it was the one that counts.
    pub fn session_ends(&self, id: PeerId, cancel: &Cancel) -> bool {
        self.with(id, |link| {
            let counts = link.session.take_if(|held| Arc::ptr_eq(held, cancel)).is_some();
            if counts {
                link.progress.send_modify(|progress| progress.session_since = None);
            }
            counts
        })
        .unwrap_or(false)
    }

    /// Closes the peer's session, if it has one.
    pub fn close_session(&self, id: PeerId) {
        self.with(id, |link| {
            if let Some(session) = &link.session {
                session.notify_one();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(own: u8) -> (Links, PeerId) {
        let (links, id) = (Links::new(PublicKey([own; 32])), PeerId::default());
        links.add(id, false);
        (links, id)
    }

    #[test]
    fn of_two_crossing_negotiations_the_lower_keys_stands() {
        for (own, theirs, mine_stands) in [(1, 2, true), (2, 1, false)] {
            let (links, id) = links(own);
            let _mine = links.client_begins(id);
            assert_eq!(links.server_begins(id, PublicKey([theirs; 32])).is_none(), mine_stands);
            assert_eq!(links.lock()[&id].client.is_some(), mine_stands);
        }
    }

    #[test]
    fn without_crossing_every_negotiation_stands() {
        let (links, id) = links(1);
        let mine = links.client_begins(id);
        links.client_ends(id, &mine);
        assert!(links.server_begins(id, PublicKey([2; 32])).is_some());
        links.remove(id);
        assert!(links.server_begins(id, PublicKey([2; 32])).is_none());
    }

    #[test]
    fn a_newer_session_replaces_an_older() {
        let (links, id) = links(1);
        let older = links.established(id, 1, Duration::ZERO);
        let newer = links.established(id, 2, Duration::ZERO);
        assert!(!links.session_ends(id, &older));
        assert_eq!(links.progress(id).unwrap().borrow().session_since, Some(Duration::ZERO));
        assert!(links.session_ends(id, &newer));
        assert_eq!(links.progress(id).unwrap().borrow().session_since, None);
    }

    #[test]
    fn a_peer_that_goes_is_noticed_and_a_number_is_never_given_twice() {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let (links, id) = links(1);
            let mut progress = links.progress(id).unwrap();
            links.failed(id, "why".into());
            assert!(progress.changed().await.is_ok());
            assert_eq!(progress.borrow_and_update().last, Some(Err("why".into())));
            links.remove(id);
            assert!(progress.changed().await.is_err());
            links.gone(id).await;
            assert!(links.progress(id).is_none());
        });
        let mut next = PeerId::default();
        assert!(next.take() < next.take());
    }
}
