// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What the keeper holds for one peer.

use std::net::Ipv6Addr;
use std::time::Duration;

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::uapi::{Profile, SecretState};

use super::KeeperError;
use crate::config::Peer;
use crate::keys::schedule::Prk;
use crate::netlink::association::Association;
use crate::netlink::interface_number;
use crate::prefix::Prefix;

/// A generation of a pair's secret. Its key is wiped when it is dropped.
pub(super) struct Held {
    pub(super) generation: u64,
    pub(super) profile: Profile,
    pub(super) prk: Prk,
    pub(super) state: SecretState,
    pub(super) expires: Duration,
    pub(super) renew: Option<Duration>,
    pub(super) retires: Option<Duration>,
}

/// Numbers of the interfaces that a peer's addresses are bound to, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Devices {
    pub(super) ifindex: u32,
    pub(super) vrf: u32,
}

impl Devices {
    /// # Errors
    /// [`KeeperError::Interface`].
    pub(super) fn of(peer: &Peer) -> Result<Self, KeeperError> {
        let number = |device: &Option<String>| {
            device.as_ref().map_or(Ok(0), |interface| {
                let (peer, interface) = (peer.name.clone(), interface.clone());
                interface_number(&interface).map_err(|source| KeeperError::Interface { peer, interface, source })
            })
        };
        Ok(Self { ifindex: number(&peer.interface)?, vrf: number(&peer.vrf)? })
    }
}

/// What is held for one peer.
pub(super) struct Pair {
    pub(super) peer: Peer,
    /// It is of the configuration; another came otherwise, and goes so.
    pub(super) configured: bool,
    /// Wire profile of the secrets that are held, or of those that are to come.
    pub(super) profile: Profile,
    pub(super) devices: Devices,
    pub(super) last_generation: u64,
    pub(super) peer_idle: Option<u32>,
    pub(super) held: Vec<Held>,
    /// Generations that the module holds from an earlier daemon; nobody has their keys any more.
    pub(super) inherited: Vec<u64>,
    /// When they are deleted, once a newer one is sent under.
    pub(super) inherited_until: Option<Duration>,
}

impl Pair {
    /// A peer with which nothing was negotiated yet.
    ///
    /// # Errors
    /// [`KeeperError::Interface`].
    pub(super) fn new(peer: &Peer, configured: bool) -> Result<Self, KeeperError> {
        Ok(Self {
            peer: peer.clone(),
            configured,
            profile: peer.profile,
            devices: Devices::of(peer)?,
            last_generation: 0,
            peer_idle: None,
            held: Vec::new(),
            inherited: Vec::new(),
            inherited_until: None,
        })
    }

    /// What the module is told of it.
    pub(super) fn association(&self) -> Association {
        self.association_as(&self.peer, self.devices)
    }

    /// [`Self::association`], were the peer defined so.
    pub(super) fn association_as(&self, peer: &Peer, devices: Devices) -> Association {
        Association {
            name: peer.name.clone(),
            profile: self.profile,
            key_mode: peer.key_mode,
            on_failure: peer.on_failure,
            ifindex: devices.ifindex,
            vrf: devices.vrf,
            local: peer.local.clone(),
            remote: peer.remote.clone(),
            peer_idle: self.peer_idle,
            epoch_packets: peer.epoch_packets,
            epoch_seconds: peer.epoch_seconds,
            renew_packets: peer.renew_packets,
        }
    }

    /// Whether the module may hold a secret of it.
    pub(super) fn has_secrets(&self) -> bool {
        !self.held.is_empty() || !self.inherited.is_empty()
    }

    /// Nothing is held any more.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.inherited.clear();
        self.inherited_until = None;
    }

    pub(super) fn covers(&self, flow: &FlowId) -> bool {
        let within = |prefixes: &[Prefix], address: [u8; 16]| {
            prefixes.iter().any(|prefix| prefix.contains(Ipv6Addr::from(address)))
        };
        within(&self.peer.local, flow.local) && within(&self.peer.remote, flow.remote)
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.held.iter().map(|held| held.generation).max()
    }

    /// The generation that is sent under.
    pub(super) fn sending(&self) -> Option<&Held> {
        self.held.iter().find(|held| held.state == SecretState::Send)
    }
}
