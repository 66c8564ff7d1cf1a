// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How a pairing is kept in the store.
//!
//! | key | value |
//! |---|---|
//! | `pair/` peer | group_gen u32, last generation of a PairMasterSecret u64, validity period u32 |
//! | `group/` peer, name | mode u8, polling side u8 or 255, group_gen u32 |
//! | `list/` peer, length u8 and name of the group (0 for clients), length u8 and address of a prefix | empty |

use std::net::Ipv6Addr;

use super::super::group::{GroupName, Mode};
use super::super::store::{Change, Entry, StoreError};
use crate::identity::{PublicKey, KEY_LEN};
use crate::prefix::Prefix;

const PAIR: &[u8] = b"pair/";
const GROUP: &[u8] = b"group/";
const LIST: &[u8] = b"list/";

/// In place of the polling side, where no side polls.
const NO_POLLER: u8 = 255;

/// Start of the keys of a pairing's groups.
pub fn groups_of(peer: &PublicKey) -> Vec<u8> {
    [GROUP, &peer.0].concat()
}

/// Start of the keys of a pairing's lists.
pub fn lists_of(peer: &PublicKey) -> Vec<u8> {
    [LIST, &peer.0].concat()
}

/// Key of a pairing's record.
pub fn pair_of(peer: &PublicKey) -> Vec<u8> {
    [PAIR, &peer.0].concat()
}

/// What a pairing's record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairRecord {
    /// The greatest group_gen so far.
    pub group_gen: u32,
    /// The greatest generation of a PairMasterSecret so far.
    pub last_generation: u64,
    /// The present validity period of Identity Based.
    pub period: u32,
}

/// A pairing's record.
pub fn put_pair(peer: &PublicKey, record: PairRecord) -> Change {
    let PairRecord { group_gen, last_generation, period } = record;
    let value = [group_gen.to_be_bytes().as_slice(), &last_generation.to_be_bytes(), &period.to_be_bytes()].concat();
    Change::Put(pair_of(peer), value)
}

/// Reads a pairing's record.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_pair(value: &[u8]) -> Result<PairRecord, StoreError> {
    let read = || {
        let (group_gen, rest) = value.split_first_chunk::<4>()?;
        let (last_generation, period) = rest.split_first_chunk::<8>()?;
        Some(PairRecord {
            group_gen: u32::from_be_bytes(*group_gen),
            last_generation: u64::from_be_bytes(*last_generation),
            period: u32::from_be_bytes(period.try_into().ok()?),
        })
    };
    read().ok_or(StoreError::Damaged)
}

fn group_key(peer: &PublicKey, name: &GroupName) -> Vec<u8> {
    [&groups_of(peer), name.as_str().as_bytes()].concat()
}

/// A group's record.
pub fn put_group(peer: &PublicKey, name: &GroupName, mode: Mode, group_gen: u32) -> Change {
    let poller = mode.poller().map_or(NO_POLLER, |side| side as u8);
    let value = [[mode.number(), poller].as_slice(), &group_gen.to_be_bytes()].concat();
    Change::Put(group_key(peer, name), value)
}

/// A group is gone.
pub fn delete_group(peer: &PublicKey, name: &GroupName) -> Change {
    Change::Delete(group_key(peer, name))
}

/// A group's name, mode and generation.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_group((key, value): &Entry) -> Result<(GroupName, Mode, u32), StoreError> {
    let name = key.get(GROUP.len() + KEY_LEN..).and_then(name_of).ok_or(StoreError::Damaged)?;
    match value.as_slice() {
        [mode, poller, a, b, c, d] => {
            let poller = (*poller != NO_POLLER).then_some(*poller);
            let mode = Mode::from_numbers(*mode, poller).ok_or(StoreError::Damaged)?;
            Ok((name, mode, u32::from_be_bytes([*a, *b, *c, *d])))
        }
        _ => Err(StoreError::Damaged),
    }
}

fn name_of(bytes: &[u8]) -> Option<GroupName> {
    std::str::from_utf8(bytes).ok().and_then(GroupName::new)
}

fn prefix_key(peer: &PublicKey, group: Option<&GroupName>, prefix: &Prefix) -> Vec<u8> {
    let name = group.map_or("", GroupName::as_str).as_bytes();
    // A name has at most 63 bytes.
    let length = [name.len() as u8];
    [lists_of(peer).as_slice(), &length, name, &[prefix.length()], &prefix.address().octets()].concat()
}

/// A prefix comes to the list of a group, or of the clients.
pub fn put_prefix(peer: &PublicKey, group: Option<&GroupName>, prefix: &Prefix) -> Change {
    Change::Put(prefix_key(peer, group, prefix), Vec::new())
}

/// A prefix goes.
pub fn delete_prefix(peer: &PublicKey, group: Option<&GroupName>, prefix: &Prefix) -> Change {
    Change::Delete(prefix_key(peer, group, prefix))
}

/// The group, `None` for the clients, and the prefix.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_prefix((key, _): &Entry) -> Result<(Option<GroupName>, Prefix), StoreError> {
    let read = || {
        let (length, rest) = key.get(LIST.len() + KEY_LEN..)?.split_first()?;
        let (name, prefix) = rest.split_at_checked(usize::from(*length))?;
        let (length, address) = prefix.split_first()?;
        let prefix = Prefix::new(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?), *length).ok()?;
        match name {
            [] => Some((None, prefix)),
            name => Some((Some(name_of(name)?), prefix)),
        }
    };
    read().ok_or(StoreError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::super::super::group::Side;
    use super::*;

    fn entry(change: Change) -> Entry {
        match change {
            Change::Put(key, value) => (key, value),
            Change::Delete(_) => unreachable!("only what is put is read"),
        }
    }

    #[test]
    fn what_is_put_is_read() {
        let (peer, name) = (PublicKey([0xff; 32]), GroupName::new("web").unwrap());
        let record = PairRecord { group_gen: 7, last_generation: u64::MAX, period: 9 };
        assert_eq!(read_pair(&entry(put_pair(&peer, record)).1), Ok(record));
        for mode in [Mode::NoProtection, Mode::AsymmetricPoll { poller: Side::Client }, Mode::IdentityBased] {
            assert_eq!(read_group(&entry(put_group(&peer, &name, mode, 9))), Ok((name.clone(), mode, 9)));
        }
        for group in [None, Some(&name)] {
            let prefix = "fd00::/9".parse().unwrap();
            let put = entry(put_prefix(&peer, group, &prefix));
            assert!(put.0.starts_with(&lists_of(&peer)));
            assert_eq!(read_prefix(&put), Ok((group.cloned(), prefix)));
            assert_eq!(Change::Delete(put.0), delete_prefix(&peer, group, &prefix));
        }
    }

    #[test]
    fn what_is_damaged_is_noticed() {
        let (peer, name) = (PublicKey([1; 32]), GroupName::new("web").unwrap());
        let (key, value) = entry(put_group(&peer, &name, Mode::NoProtection, 9));
        for value in [&value[1..], &[9, 255, 0, 0, 0, 1], &[2, 255, 0, 0, 0, 1], &[]] {
            assert_eq!(read_group(&(key.clone(), value.to_vec())), Err(StoreError::Damaged));
        }
        assert_eq!(read_group(&(key[..37].to_vec(), value.clone())).unwrap_err(), StoreError::Damaged);
        assert_eq!(read_pair(&[0; 15]), Err(StoreError::Damaged));
        let (key, _) = entry(put_prefix(&peer, Some(&name), &"fd00::".parse().unwrap()));
        for len in 0..key.len() {
            assert_eq!(read_prefix(&(key[..len].to_vec(), Vec::new())), Err(StoreError::Damaged), "{len}");
        }
    }
}
