// SPDX-License-Identifier: GPL-2.0-only

//! A negotiated secret of an association: what is sent and accepted under it, and the epochs that may not come again.

use crate::account::Payer;
use crate::key::FlowKey;
use crate::proto::flow_id::FlowId;
use crate::proto::kri::CLOSED;
use crate::proto::prefix::Prefix;
use crate::proto::receive::last_epoch;
use crate::proto::suite::Suite;
use crate::proto::uapi::{Event, Profile, SecretState, SECRET_ID_LEN};
use crate::remembered::{extend, remember};
use crate::sys::counters::CpuCount;
use crate::sys::errno;
use crate::sys::hash::HashKey;
use crate::sys::hmac::Prk;
use crate::sys::lock::{self, BhLock, Class};
use crate::sys::time::SECOND;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, AtomicFlag, Full, Relaxed, Release};
use kernel::sync::Arc;

/// Floors of a secret, indexed by a keyed hash of the 5-tuple (docs/protocol.md, section 4: at least 1024).
const FLOORS: usize = 1024;
/// A flow keeps its state at least for this part of its secret's lifetime.
const AGE_DIVISOR: u64 = 2048;
/// How often it is told that a secret runs out of epochs, ns.
const TELL_AGAIN: u64 = 5 * SECOND;
/// "... or when the projected rate leaves under two minutes", ns.
const TOO_SOON: u64 = 120 * SECOND;
/// Least time that a rate is taken over, ns.
const RATE_OVER: u64 = SECOND;
/// Which of a secret's floors a flow falls on.
#[derive(Clone, Copy)]
pub(crate) struct Floor(u16);

/// One generation of an association's secret.
pub(crate) struct Secret {
    /// Generation, at least 1.
    pub(crate) generation: u64,
    /// Public identifier.
    pub(crate) id: [u8; SECRET_ID_LEN],
    /// Cipher suite.
    pub(crate) suite: Suite,
    /// Wire profile of what is sealed under it.
    pub(crate) profile: Profile,
    /// Time since boot, suspend included, at which it ends, ns.
    pub(crate) ends_at: u64,
    /// Seconds it lives in all.
    pub(crate) lifetime: u32,
    prk: Option<KBox<Prk>>,
    hash: HashKey,
    floors: KVec<Atomic<u32>>,
    /// The epochs, or Kri, that may be sent in: the first and, for now, the last.
    first_epoch: u32,
    last_epoch: Atomic<u32>,
    highest_epoch: Atomic<u32>,
    sealed: CpuCount,
    /// The highest epoch when it was looked at last, and when that was.
    seen_epoch: Atomic<u32>,
    seen_at: Atomic<u64>,
    first_authenticated: AtomicFlag,
    exhausted: AtomicFlag,
    /// What was told last, an [`Event`], and when.
    told: Atomic<u32>,
    told_at: Atomic<u64>,
}

impl Secret {
    /// A secret that nothing was sent under yet, to be sent under in `epochs`, the first and the last, or in all.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        generation: u64,
        id: [u8; SECRET_ID_LEN],
        suite: Suite,
        profile: Profile,
        epochs: Option<(u32, u32)>,
        lifetime: u32,
        prk: Option<KBox<Prk>>,
        now: u64,
    ) -> Result<Arc<Self>> {
        let mut floors = KVec::with_capacity(FLOORS, GFP_KERNEL_ACCOUNT)?;
        let (first_epoch, last) = epochs.unwrap_or((0, last_epoch(profile)));
        for _ in 0..FLOORS {
            floors.push(Atomic::new(first_epoch), GFP_KERNEL_ACCOUNT)?;
        }
        let secret = Self {
            generation,
            id,
            suite,
            profile,
            ends_at: now.saturating_add(u64::from(lifetime).saturating_mul(SECOND)),
            lifetime,
            prk,
            hash: HashKey::random(),
            floors,
            first_epoch,
            last_epoch: Atomic::new(last),
            highest_epoch: Atomic::new(first_epoch),
            sealed: CpuCount::new()?,
            seen_epoch: Atomic::new(first_epoch),
            seen_at: Atomic::new(0),
            first_authenticated: AtomicFlag::new(true),
            exhausted: AtomicFlag::new(false),
            told: Atomic::new(u32::MAX),
            told_at: Atomic::new(0),
        };
        Ok(Arc::new(secret, GFP_KERNEL_ACCOUNT)?)
    }

    fn floor(&self, floor: Floor) -> Option<&Atomic<u32>> {
        self.floors.get(usize::from(floor.0))
    }

    /// The bucket of a flow, and its floor. In `v2` that is the epoch the flow starts in; in `v2-kri` it is 0, or the bucket
    /// is closed.
    pub(crate) fn enter(&self, id: &FlowId) -> (Floor, u32) {
        let floor = Floor((self.hash.flow(id) % FLOORS as u64) as u16);
        (floor, self.floor(floor).map_or(CLOSED, |floor| floor.load(Relaxed)))
    }

    /// A flow ends: "Dropping a flow raises its bucket's floor to the flow's epoch + 1", or closes the bucket.
    pub(crate) fn leave(&self, floor: Floor, raised: u32) {
        let Some(floor) = self.floor(floor) else { return };
        let mut seen = floor.load(Relaxed);
        while seen < raised {
            match floor.cmpxchg(seen, raised, Full) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Derives a flow's key, if the prk is here. `sender` has the packet's source as its local side.
    pub(crate) fn derive(&self, epoch: u32, sender: &FlowId, payer: Payer<'_>) -> Option<FlowKey> {
        FlowKey::derive(self.prk.as_deref()?, self.suite, self.profile, epoch, sender, payer).ok()
    }

    /// Whether this host derives the keys of this secret itself.
    pub(crate) fn derives(&self) -> bool {
        self.prk.is_some()
    }

    /// Notes an epoch, or Kri, that is sent in.
    pub(crate) fn used_epoch(&self, epoch: u32) {
        let mut seen = self.highest_epoch.load(Relaxed);
        while epoch > seen {
            match self.highest_epoch.cmpxchg(seen, epoch, Full) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Notes that a flow has used every epoch, or fell on a bucket where none is left.
    pub(crate) fn exhausted(&self) {
        self.exhausted.store(true, Relaxed);
    }

    /// Counts an option that was sealed under it.
    pub(crate) fn sealed_one(&self) {
        self.sealed.add_one();
    }

    /// Options sealed under it.
    pub(crate) fn options_out(&self) -> u64 {
        self.sealed.get()
    }

    /// The epochs, or Kri, that may be sent in: the first and the last.
    pub(crate) fn epochs(&self) -> (u32, u32) {
        (self.first_epoch, self.last_epoch.load(Relaxed))
    }

    /// Whether it may be sent under in some epochs only.
    pub(crate) fn is_leased(&self) -> bool {
        self.epochs() != (0, last_epoch(self.profile))
    }

    /// Lets it be sent under in further epochs.
    fn extend(&self, last: u32) {
        self.last_epoch.store(last, Relaxed);
        self.exhausted.store(false, Relaxed);
    }

    /// Whether epochs run low: "at half the epochs (or when the projected rate leaves under two minutes)"; of those that it
    /// may be sent in for now, at three quarters.
    fn runs_low(&self, now: u64) -> bool {
        let (highest, (first, last)) = (self.highest_epoch(), self.epochs());
        let enough = if self.is_leased() { first + (last - first) / 4 * 3 } else { last / 2 };
        let (seen, since) = (self.seen_epoch.load(Relaxed), now.saturating_sub(self.seen_at.load(Relaxed)));
        if since < RATE_OVER {
            return highest >= enough;
        }
        let first_look = self.seen_at.xchg(now, Relaxed) == 0;
        self.seen_epoch.store(highest, Relaxed);
        let used = if first_look { 0 } else { u64::from(highest.saturating_sub(seen)) };
        let left = u64::from(last.saturating_sub(highest));
        highest >= enough || left.saturating_mul(since) < used.saturating_mul(TOO_SOON)
    }

    /// What the helper should be told again, as messages may be lost: that epochs are used up or run low, or that as many
    /// options as `most` (0 for any number) were sealed.
    pub(crate) fn notice(&self, most: u64, now: u64) -> Option<Event> {
        let low = self.runs_low(now);
        let event = if self.exhausted.load(Relaxed) {
            Event::Exhausted
        } else if low {
            Event::EpochsLow
        } else if most != 0 && self.options_out() >= most {
            Event::PacketsReached
        } else {
            return None;
        };
        let news = self.told.xchg(event as u32, Relaxed) != event as u32;
        if !news && now.saturating_sub(self.told_at.load(Relaxed)) < TELL_AGAIN {
            return None;
        }
        self.told_at.store(now, Relaxed);
        Some(event)
    }

    /// Highest epoch, or Kri, sent in over all flows.
    pub(crate) fn highest_epoch(&self) -> u32 {
        self.highest_epoch.load(Relaxed)
    }

    /// True for the first caller: nothing authenticated under this secret before.
    pub(crate) fn first_authenticated(&self) -> bool {
        self.first_authenticated.load(Relaxed) && self.first_authenticated.xchg(false, Full)
    }

    /// Least time a flow keeps its state after its last packet, ns.
    pub(crate) fn least_age(&self) -> u64 {
        u64::from(self.lifetime).saturating_mul(SECOND) / AGE_DIVISOR
    }
}

/// A secret and what it is used for now.
#[derive(Clone)]
pub(crate) struct Held {
    /// The secret.
    pub(crate) secret: Arc<Secret>,
    /// What it is used for.
    pub(crate) state: SecretState,
}

/// The secrets of an association, at most two.
pub(crate) struct Secrets {
    held: KBox<BhLock<[Option<Held>; 2]>>,
    /// Generation sent under, 0 for none; a hint that saves packets the lock.
    sending: Atomic<u64>,
    /// Generation an option authenticated under last; likewise.
    authenticated: Atomic<u64>,
    /// Generations accepted, newest first, 0 for none; likewise.
    accepted: [Atomic<u64>; 2],
}

impl Secrets {
    /// None yet.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            held: lock::boxed(Class::Secrets, [None, None])?,
            sending: Atomic::new(0),
            authenticated: Atomic::new(0),
            accepted: [Atomic::new(0), Atomic::new(0)],
        })
    }

    /// Every secret held.
    pub(crate) fn all(&self) -> [Option<Held>; 2] {
        self.held.lock().clone()
    }

    /// The generation sent under, 0 for none.
    pub(crate) fn sending_generation(&self) -> u64 {
        self.sending.load(Acquire)
    }

    /// The generations accepted, newest first; 0 for none.
    pub(crate) fn accepted_generations(&self) -> [u64; 2] {
        [self.accepted[0].load(Acquire), self.accepted[1].load(Acquire)]
    }

    /// The secret sent under.
    pub(crate) fn sending(&self) -> Option<Arc<Secret>> {
        let held = self.held.lock();
        held.iter().flatten().find(|h| h.state == SecretState::Send).map(|h| h.secret.clone())
    }

    /// True once for each generation: for the first option that authenticated under it.
    pub(crate) fn first_authenticated(&self, generation: u64) -> bool {
        // A hint that saves packets the lock.
        self.authenticated.load(Relaxed) != generation
            && self.get(generation).is_some_and(|held| {
                self.authenticated.store(generation, Relaxed);
                held.secret.first_authenticated()
            })
    }

    /// A secret by generation.
    pub(crate) fn get(&self, generation: u64) -> Option<Held> {
        self.held.lock().iter().flatten().find(|h| h.secret.generation == generation).cloned()
    }

    fn publish(&self, held: &[Option<Held>; 2]) {
        let generation = |h: &Option<Held>| h.as_ref().map_or(0, |h| h.secret.generation);
        let (a, b) = (generation(&held[0]), generation(&held[1]));
        let sending = held.iter().flatten().find(|h| h.state == SecretState::Send);
        self.accepted[0].store(a.max(b), Release);
        self.accepted[1].store(a.min(b), Release);
        self.sending.store(sending.map_or(0, |h| h.secret.generation), Release);
    }

    /// Adds a generation for receiving. It must be newer than those held, of which there may be one.
    pub(crate) fn add(&self, secret: Arc<Secret>) -> Result {
        let mut held = self.held.lock();
        if held.iter().flatten().any(|h| h.secret.generation >= secret.generation || h.secret.id == secret.id) {
            return Err(EEXIST);
        }
        let place = held.iter_mut().find(|h| h.is_none()).ok_or(ENOSPC)?;
        *place = Some(Held { secret, state: SecretState::Receive });
        self.publish(&held);
        Ok(())
    }

    /// Sends under a generation from these addresses from now on, and retires the other. One that was retired, perhaps as
    /// this machine may be one of two now, is never sent under again. It is remembered on behalf of `user`.
    pub(crate) fn activate(&self, generation: u64, from: &[Prefix], user: Option<u32>) -> Result {
        let chosen = self.get(generation).ok_or(ENOENT)?;
        match chosen.state {
            SecretState::Send => return Ok(()),
            SecretState::Retired => return Err(errno::ealready()),
            SecretState::Receive => {
                // What is not leased is never sent under again, in whatever epoch.
                let (first, last) = chosen.secret.epochs();
                let last = if chosen.secret.is_leased() { last } else { u32::MAX };
                remember(&chosen.secret.id, from, (first, last), user)?;
            }
        }
        let mut held = self.held.lock();
        // Remembering sleeps: the secret may have been retired or have ended meanwhile.
        let waits = |h: &Held| h.secret.generation == generation && h.state == SecretState::Receive;
        if !held.iter().flatten().any(waits) {
            return Err(errno::ealready());
        }
        for h in held.iter_mut().flatten() {
            h.state = if h.secret.generation == generation { SecretState::Send } else { SecretState::Retired };
        }
        self.publish(&held);
        Ok(())
    }

    /// Lets a generation be sent under in further epochs, from these addresses.
    pub(crate) fn extend(&self, generation: u64, last: u32, from: &[Prefix]) -> Result {
        let held = self.get(generation).ok_or(ENOENT)?;
        if held.state == SecretState::Retired {
            return Err(errno::ealready());
        }
        let before = held.secret.epochs().1;
        if last < before {
            return Err(EINVAL);
        }
        // Requests come one at a time. What lets it be is remembered before it is.
        if held.state == SecretState::Send && last > before {
            extend(&held.secret.id, from, before, last)?;
        }
        held.secret.extend(last);
        Ok(())
    }

    /// Whether the time of any is over.
    pub(crate) fn any_ended(&self, since_boot: u64) -> bool {
        self.held.lock().iter().flatten().any(|held| since_boot >= held.secret.ends_at)
    }

    /// Takes generations out, those that `which` names. The caller then wipes the keys under them.
    pub(crate) fn remove(&self, which: impl Fn(&Held) -> bool) -> [Option<Held>; 2] {
        let mut held = self.held.lock();
        let mut out = [None, None];
        for (slot, gone) in held.iter_mut().zip(out.iter_mut()) {
            if slot.as_ref().is_some_and(&which) {
                *gone = slot.take();
            }
        }
        self.publish(&held);
        out
    }

    /// Stops sending under any.
    pub(crate) fn retire(&self) {
        let mut held = self.held.lock();
        for h in held.iter_mut().flatten() {
            h.state = SecretState::Retired;
        }
        self.publish(&held);
    }
}
