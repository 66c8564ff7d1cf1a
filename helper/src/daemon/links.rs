// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Sessions with peers: which one counts, who is to dial, and what happens when two negotiations cross.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::Peer;
use crate::identity::PublicKey;

/// Ends a task when told.
pub type Cancel = Arc<Notify>;

#[derive(Default)]
struct Link {
    peer: Option<PublicKey>,
    wanted: bool,
    wake: Arc<Notify>,
    client: Option<Cancel>,
    server: Option<Cancel>,
    session: Option<Cancel>,
}

/// The links of all peers, by index.
pub struct Links {
    own: PublicKey,
    links: Mutex<Vec<Link>>,
}

impl Links {
    /// No sessions; every peer with an endpoint is to be dialled.
    pub fn new(own: PublicKey, peers: &[Peer]) -> Self {
        let link =
            |peer: &Peer| Link { peer: Some(peer.public_key), wanted: peer.endpoint.is_some(), ..Link::default() };
        Self { own, links: Mutex::new(peers.iter().map(link).collect()) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, index: usize, act: impl FnOnce(&mut Link) -> T) -> Option<T> {
        self.lock().get_mut(index).map(act)
    }

    /// Asks for a new negotiation.
    pub fn want(&self, index: usize) {
        self.with(index, |link| {
            link.wanted = true;
            link.wake.notify_one();
        });
    }

    /// Waits until a negotiation is asked for.
    pub async fn wanted(&self, index: usize) {
        loop {
            let Some((wanted, wake)) = self.with(index, |link| (link.wanted, Arc::clone(&link.wake))) else {
                return std::future::pending().await;
            };
            if wanted {
                return;
            }
            wake.notified().await;
        }
    }

    /// This host opens a negotiation: what ends it when it has to give way.
    pub fn client_begins(&self, index: usize) -> Cancel {
        let cancel = Cancel::default();
        self.with(index, |link| link.client = Some(Arc::clone(&cancel)));
        cancel
    }

    /// It is over.
    pub fn client_ends(&self, index: usize, cancel: &Cancel) {
        self.with(index, |link| link.client.take_if(|held| Arc::ptr_eq(held, cancel)));
    }

    /// The peer opens a negotiation. If this host's own is under way, the one opened by the bytewise lower identity key
    /// stands: `None` when that is this host's; otherwise what ends the peer's when it opens another.
    pub fn server_begins(&self, index: usize) -> Option<Cancel> {
        self.with(index, |link| {
            if let Some(client) = &link.client {
                if link.peer.is_some_and(|peer| self.own < peer) {
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
    pub fn server_ends(&self, index: usize, cancel: &Cancel) {
        self.with(index, |link| link.server.take_if(|held| Arc::ptr_eq(held, cancel)));
    }

    /// A negotiation succeeded: its session is the peer's from now on, and an older one ends.
    pub fn established(&self, index: usize) -> Cancel {
        let cancel = Cancel::default();
        self.with(index, |link| {
            link.wanted = false;
            if let Some(older) = link.session.replace(Arc::clone(&cancel)) {
                older.notify_one();
            }
        });
        cancel
    }

    /// A session ended; whether it was the one that counts.
    pub fn session_ends(&self, index: usize, cancel: &Cancel) -> bool {
        self.with(index, |link| link.session.take_if(|held| Arc::ptr_eq(held, cancel)).is_some()).unwrap_or(false)
    }

    /// Closes every session.
    pub fn close_all(&self) {
        for session in self.lock().iter().filter_map(|link| link.session.as_ref()) {
            session.notify_one();
        }
    }

    /// Closes the peer's session, if it has one.
    pub fn close_session(&self, index: usize) {
        self.with(index, |link| {
            if let Some(session) = &link.session {
                session.notify_one();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pdmv2_proto::uapi::{KeyMode, OnFailure, Profile};

    fn peer(key: u8) -> Peer {
        Peer {
            name: "b".into(),
            public_key: PublicKey([key; 32]),
            endpoint: None,
            interface: None,
            vrf: None,
            local: vec![],
            remote: vec![],
            profile: Profile::V2,
            key_mode: KeyMode::Helper,
            on_failure: OnFailure::Deliver,
            lifetime: 60,
            epoch_packets: None,
            epoch_seconds: None,
            renew_packets: None,
            suites: vec![],
        }
    }

    #[test]
    fn of_two_crossing_negotiations_the_lower_keys_stands() {
        for (own, theirs, mine_stands) in [(1, 2, true), (2, 1, false)] {
            let links = Links::new(PublicKey([own; 32]), &[peer(theirs)]);
            let _mine = links.client_begins(0);
            assert_eq!(links.server_begins(0).is_none(), mine_stands);
            assert_eq!(links.lock()[0].client.is_some(), mine_stands);
        }
    }

    #[test]
    fn without_crossing_every_negotiation_stands() {
        let links = Links::new(PublicKey([1; 32]), &[peer(2)]);
        let mine = links.client_begins(0);
        links.client_ends(0, &mine);
        assert!(links.server_begins(0).is_some());
        assert!(links.server_begins(1).is_none());
    }

    #[test]
    fn a_newer_session_replaces_an_older() {
        let links = Links::new(PublicKey([1; 32]), &[peer(2)]);
        let older = links.established(0);
        let newer = links.established(0);
        assert!(!links.session_ends(0, &older));
        assert!(links.session_ends(0, &newer));
    }
}
