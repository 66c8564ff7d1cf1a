// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Groups of Secondary Servers, and who is client and who server for two addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use super::lists::List;
use crate::identity::PublicKey;
use crate::prefix::Prefix;

/// Longest name of a group, bytes.
pub const NAME_MAX: usize = 63;

/// Most groups of a pairing.
pub const GROUPS_MAX: usize = 64;

/// One side of a pairing: of its two Primaries, and of their Secondaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Side {
    /// Primary Client and Secondary Clients.
    Client = 0,
    /// Primary Server and Secondary Servers.
    Server = 1,
}

impl Side {
    /// The side of a number on the wire.
    pub fn from_u8(value: u8) -> Option<Self> {
        [Self::Client, Self::Server].into_iter().find(|side| *side as u8 == value)
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// SecMoP: a group's security mode of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The lists are an access list; flows use `pdm`, never PDMv2.
    NoProtection,
    /// Every server of the group knows every client's secret.
    TrustedServers,
    /// Each two Secondaries have a secret of their own, that one side asks its Primary for.
    AsymmetricPoll {
        /// The side that asks.
        poller: Side,
    },
    /// Each two Secondaries agree on a secret by themselves.
    IdentityBased,
}

impl Mode {
    /// Its number on the wire and in derivations.
    pub fn number(self) -> u8 {
        match self {
            Self::NoProtection => 0,
            Self::TrustedServers => 1,
            Self::AsymmetricPoll { .. } => 2,
            Self::IdentityBased => 3,
        }
    }

    /// The mode of a number and, of AsymmetricPoll, of the polling side's.
    pub fn from_numbers(number: u8, poller: Option<u8>) -> Option<Self> {
        match (number, poller) {
            (0, None) => Some(Self::NoProtection),
            (1, None) => Some(Self::TrustedServers),
            (2, Some(poller)) => Side::from_u8(poller).map(|poller| Self::AsymmetricPoll { poller }),
            (3, None) => Some(Self::IdentityBased),
            _ => None,
        }
    }

    /// The side that polls.
    pub fn poller(self) -> Option<Side> {
        match self {
            Self::AsymmetricPoll { poller } => Some(poller),
            _ => None,
        }
    }
}

/// A group's name: 1 to [`NAME_MAX`] visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

impl GroupName {
    /// The name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && !text.is_empty() && text.len() <= NAME_MAX).then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Two Primaries that hold a PairMasterSecret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pairing {
    /// The Primary Client's key.
    pub client: PublicKey,
    /// The Primary Server's key.
    pub server: PublicKey,
}

impl Pairing {
    /// The side of one of the two.
    pub fn side_of(&self, primary: &PublicKey) -> Option<Side> {
        if *primary == self.client {
            Some(Side::Client)
        } else {
            (*primary == self.server).then_some(Side::Server)
        }
    }
}

/// Servers that are of one mode and share a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How its pairs get their secrets.
    pub mode: Mode,
    /// group_gen; it only rises, and no two groups of a pairing ever have the same.
    pub group_gen: u32,
    /// Its servers.
    pub servers: Arc<List>,
}

/// The lists of a pairing: PC's clients, and PS's servers in groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// PC's list.
    pub clients: Arc<List>,
    /// PS's lists.
    pub groups: BTreeMap<GroupName, Group>,
}

/// What the lists say of two addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The client.
    pub client: Ipv6Addr,
    /// The server.
    pub server: Ipv6Addr,
    /// The longest prefix of PC's list around the client.
    pub client_prefix: Prefix,
    /// The longest prefix of the group's list around the server.
    pub server_prefix: Prefix,
    /// The server's group.
    pub name: &'a GroupName,
    /// And what it is like.
    pub group: &'a Group,
}

impl Roster {
    /// The group of a server: the one with the longest prefix around it (PS keeps its lists apart, so that there is one only;
    /// while an address moves from one list to the other, the first by name).
    pub fn group_of(&self, server: Ipv6Addr) -> Option<(&GroupName, &Group, Prefix)> {
        let around = |(name, group): (_, &Group)| group.servers.longest(server).map(|prefix| (name, prefix));
        let (name, prefix) =
            self.groups.iter().filter_map(around).reduce(|a, b| if b.1.length() > a.1.length() { b } else { a })?;
        self.groups.get_key_value(name).map(|(name, group)| (name, group, prefix))
    }

    /// Who of two addresses is the client: "the client is on PC's list; if both addresses are on both lists, the lower address
    /// is the client". `None` where they have nothing to do with each other.
    pub fn relation(&self, x: Ipv6Addr, y: Ipv6Addr) -> Option<Relation<'_>> {
        let one_way = |client: Ipv6Addr, server: Ipv6Addr| {
            let client_prefix = self.clients.longest(client)?;
            let (name, group, server_prefix) = self.group_of(server)?;
            Some(Relation { client, server, client_prefix, server_prefix, name, group })
        };
        if x == y {
            return None;
        }
        let (lower, higher) = (x.min(y), x.max(y));
        one_way(lower, higher).or_else(|| one_way(higher, lower))
    }

    /// Whether plain `pdm` may be used between two addresses: both are listed, in a group without protection. All else is
    /// refused.
    pub fn permits_plain(&self, x: Ipv6Addr, y: Ipv6Addr) -> bool {
        self.relation(x, y).is_some_and(|relation| relation.group.mode == Mode::NoProtection)
    }

    /// The remote prefixes that an own address may use plain `pdm` with, as one of this side: those of groups without
    /// protection, but for those in which some address may have a protected relation with it the other way around, so that
    /// nothing protected is ever sent in plain.
    pub fn plain_prefixes(&self, own: Ipv6Addr, side: Side) -> Vec<Prefix> {
        let none = |group: &Group| group.mode == Mode::NoProtection;
        let own_group = self.group_of(own).map(|(_, group, _)| group);
        let protects = self.groups.values().filter(|group| !none(group));
        match side {
            Side::Server => match own_group {
                Some(group) if none(group) => {
                    let clash = |prefix: &Prefix| {
                        self.clients.longest(own).is_some() && protects.clone().any(|g| g.servers.overlaps(prefix))
                    };
                    self.clients.iter().filter(|prefix| !clash(prefix)).copied().collect()
                }
                _ => Vec::new(),
            },
            Side::Client if self.clients.longest(own).is_some() => {
                let own_protected = own_group.is_some_and(|group| !none(group));
                let clash = |prefix: &Prefix| {
                    (own_protected && self.clients.overlaps(prefix))
                        || protects.clone().any(|group| group.servers.overlaps(prefix))
                };
                let plain = self.groups.values().filter(|group| none(group));
                plain.flat_map(|group| group.servers.iter()).filter(|prefix| !clash(prefix)).copied().collect()
            }
            Side::Client => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn list(texts: &[&str]) -> Arc<List> {
        Arc::new(List::of(texts.iter().map(|text| text.parse().unwrap())).unwrap())
    }

    fn roster(clients: &[&str], groups: &[(&str, Mode, &[&str])]) -> Roster {
        let groups = groups.iter().zip(1..).map(|((name, mode, servers), group_gen)| {
            (GroupName::new(name).unwrap(), Group { mode: *mode, group_gen, servers: list(servers) })
        });
        Roster { clients: list(clients), groups: groups.collect() }
    }

    #[test]
    fn the_client_is_on_pcs_list_and_of_two_on_both_the_lower() {
        let trusted = Mode::TrustedServers;
        let one = roster(&["fd00:c::/32", "fd00:b::/64"], &[("web", trusted, &["fd00:5::/32", "fd00:b::/64"])]);
        let table = [
            ("fd00:c::1", "fd00:5::1", Some(("fd00:c::1", "fd00:5::1"))),
            ("fd00:5::1", "fd00:c::1", Some(("fd00:c::1", "fd00:5::1"))),
            // On both lists is only one of the two.
            ("fd00:c::1", "fd00:b::1", Some(("fd00:c::1", "fd00:b::1"))),
            ("fd00:5::1", "fd00:b::1", Some(("fd00:b::1", "fd00:5::1"))),
            // Both are.
            ("fd00:b::2", "fd00:b::1", Some(("fd00:b::1", "fd00:b::2"))),
            ("fd00:b::1", "fd00:b::2", Some(("fd00:b::1", "fd00:b::2"))),
            // Two clients, two servers, a stranger, itself.
            ("fd00:c::1", "fd00:c::2", None),
            ("fd00:5::1", "fd00:5::2", None),
            ("fd00:c::1", "fd00:9::1", None),
            ("fd00:b::1", "fd00:b::1", None),
        ];
        for (x, y, expected) in table {
            let relation = one.relation(a(x), a(y)).map(|relation| (relation.client, relation.server));
            assert_eq!(relation, expected.map(|(client, server)| (a(client), a(server))), "{x} {y}");
        }
    }

    #[test]
    fn no_protection_is_an_access_list() {
        let none = Mode::NoProtection;
        let lists = roster(
            &["fd00:c::/32", "fd00:b::/64"],
            &[("open", none, &["fd00:5::/32"]), ("shut", Mode::TrustedServers, &["fd00:6::/32", "fd00:b::/64"])],
        );
        for (x, y, may) in [
            ("fd00:c::1", "fd00:5::1", true),
            ("fd00:5::1", "fd00:c::1", true),
            ("fd00:c::1", "fd00:6::1", false),
            ("fd00:c::1", "fd00:c::2", false),
            ("fd00:9::1", "fd00:5::1", false),
        ] {
            assert_eq!(lists.permits_plain(a(x), a(y)), may, "{x} {y}");
        }
        let prefixes = |own, side| lists.plain_prefixes(a(own), side).iter().map(Prefix::to_string).collect::<Vec<_>>();
        assert_eq!(prefixes("fd00:c::1", Side::Client), ["fd00:5::/32"]);
        assert_eq!(prefixes("fd00:5::1", Side::Server), ["fd00:b::/64", "fd00:c::/32"]);
        assert!(prefixes("fd00:6::1", Side::Server).is_empty());
        assert!(prefixes("fd00:9::1", Side::Client).is_empty());
    }

    /// What is permitted by prefix is permitted by address too, wherever lists overlap.
    #[test]
    fn access_by_prefix_never_exceeds_access_by_address() {
        let (none, trusted) = (Mode::NoProtection, Mode::TrustedServers);
        let all = ["fd00::1", "fd00::2", "fd00::3", "fd00::4"];
        let mut permitted = 0;
        for bits in 0u32..1 << 12 {
            let pick = |shift: u32| -> Vec<&str> {
                all.iter()
                    .enumerate()
                    .filter(|(at, _)| bits >> (shift + *at as u32) & 1 == 1)
                    .map(|(_, t)| *t)
                    .collect()
            };
            let (clients, open) = (pick(0), pick(4));
            let shut: Vec<&str> = pick(8).into_iter().filter(|text| !open.contains(text)).collect();
            let lists = roster(&clients, &[("open", none, &open), ("shut", trusted, &shut)]);
            for own in all {
                for side in [Side::Client, Side::Server] {
                    for prefix in lists.plain_prefixes(a(own), side) {
                        let remote = prefix.address();
                        assert!(remote == a(own) || lists.permits_plain(a(own), remote), "{own} {remote} {lists:?}");
                        permitted += 1;
                    }
                }
            }
        }
        assert!(permitted > 1000);
    }

    #[test]
    fn a_server_that_moves_is_of_one_group_at_a_time() {
        let trusted = Mode::TrustedServers;
        let lists = roster(&[], &[("a", trusted, &["fd00::/64"]), ("b", trusted, &["fd00::/64", "fd00::1"])]);
        assert_eq!(lists.group_of(a("fd00::1")).unwrap().0.as_str(), "b");
        assert_eq!(lists.group_of(a("fd00::2")).unwrap().0.as_str(), "a");
    }

    #[test]
    fn names() {
        let long = "a".repeat(NAME_MAX);
        for (text, is_one) in
            [("web", true), (long.as_str(), true), ("", false), ("a b", false), ("é", false), ("a\n", false)]
        {
            assert_eq!(GroupName::new(text).is_some(), is_one, "{text:?}");
        }
        assert!(GroupName::new(&"a".repeat(NAME_MAX + 1)).is_none());
    }

    #[test]
    fn modes_have_their_numbers() {
        for number in 0..=255 {
            for poller in [None, Some(0), Some(1), Some(2)] {
                if let Some(mode) = Mode::from_numbers(number, poller) {
                    assert_eq!((mode.number(), mode.poller().map(|side| side as u8)), (number, poller));
                }
            }
        }
        let all = (0..=255).filter(|number| Mode::from_numbers(*number, None).is_some());
        assert_eq!(all.collect::<Vec<_>>(), [0, 1, 3]);
    }
}
