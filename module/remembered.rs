// SPDX-License-Identifier: GPL-2.0-only

//! The secrets that were sent under, and from where: remembered until the module is unloaded, for all namespaces alike,
//! so that none is ever sent under a second time.
//!
//! Nothing is ever forgotten to make room. Where there is none, a secret is not sent under: what one user's namespaces
//! fill is bounded, and leaves room for other users and for the machine's own.

use crate::proto::prefix::Prefix;
use crate::proto::uapi::SECRET_ID_LEN;
use crate::sys::errno;
use kernel::prelude::*;

/// Secrets and address ranges that can be remembered.
const MOST: usize = 1 << 17;
/// Of these, what the namespaces of other user namespaces than the initial one can fill together, ...
const FOREIGN_MOST: usize = MOST / 2;
/// ... and what those of one user can.
const USER_MOST: usize = FOREIGN_MOST / 8;

/// A secret that was sent under, and an address range it was sent from. The key of a flow depends on its source address,
/// so that the two ends of one secret, in two namespaces of one machine, do not share a key.
#[derive(Clone, Copy)]
struct SentUnder {
    id: [u8; SECRET_ID_LEN],
    from: Prefix,
    /// The highest epoch it may have been sent in; a later one may be.
    last: u32,
    /// Whose share it fills; `None` in the initial user namespace.
    user: Option<u32>,
}

kernel::sync::global_lock! {
    // SAFETY: initialised at the start of module initialisation.
    unsafe(uninit) static REMEMBERED: Mutex<KVVec<SentUnder>> = KVVec::new();
}

/// Makes the memory usable.
///
/// # Safety
///
/// Called once, before anything else of this file.
pub(crate) unsafe fn init() {
    // SAFETY: see above.
    unsafe { REMEMBERED.init() };
}

/// Forgets everything, as the module is unloaded.
pub(crate) fn forget() {
    *REMEMBERED.lock() = KVVec::new();
}

/// Where a secret is in the list, which is sorted by identifier.
fn entries<'a>(remembered: &'a mut [SentUnder], id: &[u8; SECRET_ID_LEN]) -> &'a mut [SentUnder] {
    let first = remembered.partition_point(|r| r.id < *id);
    let same = remembered.get_mut(first..).unwrap_or_default();
    let count = same.partition_point(|r| r.id == *id);
    same.get_mut(..count).unwrap_or_default()
}

/// Whether this secret was sent under from any of these addresses, in an epoch that is not below `first`.
fn overlaps(entries: &[SentUnder], from: &[Prefix], first: u32) -> bool {
    entries.iter().any(|r| r.last >= first && from.iter().any(|prefix| prefix.overlaps(&r.from)))
}

/// Whether this secret may have been sent under from any of these addresses, from an epoch on, since the module was loaded.
pub(crate) fn was_sent_under(id: &[u8; SECRET_ID_LEN], from: &[Prefix], first: u32) -> bool {
    overlaps(entries(&mut REMEMBERED.lock(), id), from, first)
}

/// Remembers until unload that this secret is sent under from these addresses, in epochs `first` to `last`, on behalf of a
/// user of another user namespace than the initial one if there is one. Fails if it may have been in any of these or later,
/// in whatever namespace (EALREADY), if the user's share is full (EDQUOT), or if no more can be remembered (ENOSPC).
pub(crate) fn remember(
    id: &[u8; SECRET_ID_LEN],
    from: &[Prefix],
    (first, last): (u32, u32),
    user: Option<u32>,
) -> Result {
    let mut remembered = REMEMBERED.lock();
    let held = entries(&mut remembered, id);
    if overlaps(held, from, first) {
        return Err(errno::ealready());
    }
    // In later epochs from the same addresses: that takes no more room.
    if from.iter().all(|prefix| held.iter().any(|r| r.from == *prefix)) {
        held.iter_mut().filter(|r| from.contains(&r.from)).for_each(|r| r.last = last);
        return Ok(());
    }
    let fits = |held: usize, most: usize| held.saturating_add(from.len()) <= most;
    if user.is_some() {
        let (mut own, mut foreign) = (0usize, 0usize);
        for r in remembered.iter() {
            own = own.saturating_add(usize::from(r.user == user));
            foreign = foreign.saturating_add(usize::from(r.user.is_some()));
        }
        if !fits(own, USER_MOST) {
            return Err(errno::edquot());
        }
        if !fits(foreign, FOREIGN_MOST) {
            return Err(ENOSPC);
        }
    }
    if !fits(remembered.len(), MOST) {
        return Err(ENOSPC);
    }
    remembered.reserve(from.len(), GFP_KERNEL)?;
    let place = remembered.partition_point(|r| r.id < *id);
    for prefix in from {
        remembered.push_within_capacity(SentUnder { id: *id, from: *prefix, last, user }).map_err(|_| ENOMEM)?;
    }
    // What was added stands at the end: it goes to its place in one move.
    if let Some(behind) = remembered.get_mut(place..) {
        behind.rotate_right(from.len().min(behind.len()));
    }
    Ok(())
}

/// Remembers that a secret that is sent under from these addresses, up to now in epochs up to `before`, may be in further
/// ones, up to `last`. Fails if it may have been in any of these already, as in another namespace (EALREADY).
pub(crate) fn extend(id: &[u8; SECRET_ID_LEN], from: &[Prefix], before: u32, last: u32) -> Result {
    let mut remembered = REMEMBERED.lock();
    let held = entries(&mut remembered, id);
    if overlaps(held, from, before.saturating_add(1)) {
        return Err(errno::ealready());
    }
    held.iter_mut().filter(|r| from.contains(&r.from)).for_each(|r| r.last = r.last.max(last));
    Ok(())
}
