// SPDX-License-Identifier: GPL-2.0-only

//! Pairs of address sets that share secrets, by name.

use crate::proto::flow_id::FlowId;
use crate::proto::prefix::{is_link_local, Prefix};
use crate::proto::uapi::{KeyMode, OnFailure, Profile, NAME_MAX};
use crate::secret::Secrets;
use kernel::prelude::*;
use kernel::sync::Arc;

/// An association's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    bytes: [u8; NAME_MAX],
    len: usize,
}

impl Name {
    /// A name of 1 to [`NAME_MAX`] bytes of UTF-8.
    pub(crate) fn new(text: &[u8]) -> Option<Self> {
        core::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
        let mut bytes = [0; NAME_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes, len: text.len() })
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

/// Where a flow's addresses mean this peer: "an association is bound to one scope: an interface for link-local addresses, a
/// VRF otherwise", by the number of its device.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scope(u32);

impl Scope {
    /// The scope of a flow whose packets use this interface and this VRF (0 for none), of which one is asked for.
    #[inline]
    pub(crate) fn of(id: &FlowId, ifindex: impl FnOnce() -> u32, vrf: impl FnOnce() -> u32) -> Self {
        Self(if is_link_local(&id.remote) { ifindex() } else { vrf() })
    }
}

/// When an epoch ends before its PSNs are used up; 0 is never.
#[derive(Clone, Copy, Default)]
pub(crate) struct EpochEnd {
    /// After this many options.
    pub(crate) packets: u16,
    /// After this many seconds.
    pub(crate) seconds: u32,
}

impl EpochEnd {
    /// Whether any is set.
    pub(crate) const fn is_early(self) -> bool {
        self.packets != 0 || self.seconds != 0
    }
}

/// An association. Its configuration is replaced as a whole; its secrets go over to the new one.
pub(crate) struct Association {
    /// Its name.
    pub(crate) name: Name,
    /// Wire profile of its options.
    pub(crate) profile: Profile,
    /// Who derives its keys.
    pub(crate) key_mode: KeyMode,
    /// What becomes of packets that fail authentication.
    pub(crate) on_failure: OnFailure,
    /// The interface its link-local addresses are bound to, or 0.
    pub(crate) ifindex: u32,
    /// The VRF its other addresses are bound to, or 0 for those that are in none.
    pub(crate) vrf: u32,
    /// This host's addresses.
    pub(crate) local: KVec<Prefix>,
    /// The peer's addresses.
    pub(crate) remote: KVec<Prefix>,
    /// Seconds after which the peer forgets an idle flow.
    pub(crate) peer_idle: u32,
    /// When epochs end before their PSNs are used up.
    pub(crate) epochs: EpochEnd,
    /// Options sealed under a secret after which another is asked for; 0 for any number.
    pub(crate) renew_packets: u64,
    /// Its secrets.
    pub(crate) secrets: Arc<Secrets>,
}

impl Association {
    /// What it is bound to as for a flow's addresses.
    fn scope(&self, id: &FlowId) -> Scope {
        Scope::of(id, || self.ifindex, || self.vrf)
    }

    /// How well it covers a flow: the lengths of the longest remote and local prefix, bits. `None` if it does not.
    fn covers(&self, id: &FlowId) -> Option<(u8, u8)> {
        let longest =
            |prefixes: &[Prefix], address| prefixes.iter().filter(|p| p.contains(address)).map(Prefix::len).max();
        Some((longest(&self.remote, &id.remote)?, longest(&self.local, &id.local)?))
    }
}

/// The associations of a namespace.
pub(crate) struct Associations(pub(crate) KVec<Arc<Association>>);

impl Associations {
    /// The association of a flow in its scope: "the longest remote prefix, then the longest local one".
    pub(crate) fn of(&self, id: &FlowId, scope: Scope) -> Option<&Arc<Association>> {
        let here = self.0.iter().filter(|a| a.scope(id) == scope);
        here.filter_map(|a| Some((a.covers(id)?, a))).max_by_key(|(quality, _)| *quality).map(|(_, a)| a)
    }

    /// An association by name.
    pub(crate) fn named(&self, name: &Name) -> Option<&Arc<Association>> {
        self.0.iter().find(|a| a.name == *name)
    }
}
