// SPDX-License-Identifier: GPL-2.0-only

//! What a flow needs for encrypted options: its association, the secret and key it sends under, its receive keys.
//!
//! What only a flow in use needs is apart, and given up when the flow rests: prepared ciphers, keys beside those in use,
//! outstanding questions.

use crate::account::{PaidBox, Payer};
use crate::acquire::{Outstanding, Question, Questions};
use crate::association::{Association, EpochEnd, Scope};
use crate::key::FlowKey;
use crate::namespace::Namespace;
use crate::proto::flow_id::FlowId;
use crate::proto::kri::{KriCounter, KriStamp};
use crate::proto::kri_receive::KriSearch;
use crate::proto::psn::SendCounter;
use crate::proto::receive::{KeyName, Keys, Others, Receiver};
use crate::proto::uapi::{KeyDirection, Profile, Skip};
use crate::proto::wire::{AAD_LEN, SEALED_LEN, V2_INTERIOR_LEN};
use crate::secret::{Floor, Secret};
use crate::sys::random;
use crate::sys::time::SECOND;
use kernel::prelude::*;
use kernel::sync::{rcu, Arc};

/// PSNs before the end of an epoch at which the next epoch's key is asked for.
pub(crate) const ASK_AHEAD: u16 = 16384;
/// Where epochs end early, the next epoch's key is asked for once this part of one is left.
const AHEAD_PART: u32 = 2;

/// The key of an epoch, or Kri.
type EpochKey = (u32, FlowKey);

/// What a flow sends under.
struct Sending {
    secret: Arc<Secret>,
    key: Option<EpochKey>,
    /// In profile `v2-kri`; in `v2` epochs come from the flow's own counter.
    kri: Option<PaidBox<KriCounter>>,
    floor: Floor,
    /// The PSN the epoch began with, and when it began, seconds.
    began_psn: u16,
    began_at: u32,
}

/// How near the end of an epoch is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Far,
    Near,
    Reached,
}

impl Sending {
    /// The epoch, or Kri, of the next option; `None` once all are used.
    fn epoch(&self, counter: &SendCounter) -> Option<u32> {
        match &self.kri {
            None => counter.peek().epoch.map(u32::from),
            Some(kri) => kri.kri(),
        }
    }

    /// The one that a step leads to.
    fn after(&self, counter: &SendCounter) -> u32 {
        match &self.kri {
            None => counter.floor(),
            Some(kri) => kri.after(),
        }
    }

    fn step(&mut self, counter: &mut SendCounter) {
        match &mut self.kri {
            None => counter.step(),
            Some(kri) => kri.step(),
        }
    }

    /// Options left before it ends by itself.
    fn left(&self, counter: &SendCounter) -> u32 {
        match &self.kri {
            None => counter.left_in_epoch(),
            Some(kri) => u32::from(kri.left_in_kri()),
        }
    }

    /// Ends sending under the secret: what was used does not come again.
    fn leave(&self, counter: &SendCounter) {
        let floor = self.kri.as_ref().map_or(counter.floor(), |kri| kri.floor());
        self.secret.leave(self.floor, floor);
    }

    /// "MAY step earlier by time or count."
    fn early_end(&self, epochs: EpochEnd, psn: u16, now: u64) -> End {
        let used = u32::from(psn.wrapping_sub(self.began_psn));
        let age = seconds(now).wrapping_sub(self.began_at);
        let end = |limit: u32, reached: u32| match limit {
            0 => End::Far,
            limit if reached >= limit => End::Reached,
            limit if limit.saturating_sub(reached) <= (limit / AHEAD_PART).max(1) => End::Near,
            _ => End::Far,
        };
        match (end(u32::from(epochs.packets), used), end(epochs.seconds, age)) {
            (End::Reached, _) | (_, End::Reached) => End::Reached,
            (End::Far, End::Far) => End::Far,
            _ => End::Near,
        }
    }
}

/// A monotonic time in seconds.
fn seconds(now: u64) -> u32 {
    (now / SECOND) as u32
}

/// What only a flow in use needs.
#[derive(Default)]
struct InUse {
    /// The key sent under next.
    next: Option<EpochKey>,
    /// The first key of the secret sent under next.
    successor: Option<(KeyName, FlowKey)>,
    receive: Others<FlowKey>,
    asked_send: Outstanding,
    asked_receive: Outstanding,
}

/// A flow's protection.
#[derive(Default)]
pub(crate) struct Protection {
    association: Option<Arc<Association>>,
    association_version: u32,
    scope: Scope,
    sending: Option<Sending>,
    receiver: Receiver<FlowKey>,
    in_use: Option<PaidBox<InUse>>,
}

// "at most 640 [bytes for an idle flow] encrypted": the flow, this, and the material of two keys.
const _: () = assert!(core::mem::size_of::<Protection>() <= 256);

impl Protection {
    /// The association that covers the flow in a scope, looked up anew when the namespace's associations changed. The same
    /// 5-tuple may be used in several scopes. What was once sent or authenticated binds the flow to its own, so that no
    /// packet of another's, which anybody may send, takes its keys and windows from it; in another it has none.
    pub(crate) fn association(
        &mut self,
        scope: Scope,
        id: &FlowId,
        counter: &SendCounter,
        namespace: &Namespace,
        section: &rcu::Guard,
    ) -> Option<&Arc<Association>> {
        let version = namespace.association_version();
        let moves = scope != self.scope && self.sending.is_none() && self.receive_name().is_none();
        if version != self.association_version || moves {
            if moves {
                self.scope = scope;
            }
            let found = namespace.associations.read(section).and_then(|all| all.of(id, self.scope)).cloned();
            let same = match (&self.association, &found) {
                (Some(old), Some(new)) => Arc::ptr_eq(&old.secrets, &new.secrets),
                (None, None) => true,
                _ => false,
            };
            if !same {
                self.close_sending(counter);
                self.receiver = Receiver::default();
                self.in_use = None;
            }
            self.association = found;
            self.association_version = version;
        }
        self.association.as_ref().filter(|_| self.scope == scope)
    }

    /// The scope the flow is bound to.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// The association found last.
    pub(crate) fn last_association(&self) -> Option<&Arc<Association>> {
        self.association.as_ref()
    }

    /// Generation and epoch of the key sent under.
    pub(crate) fn send_name(&self) -> Option<KeyName> {
        let sending = self.sending.as_ref()?;
        Some(KeyName { generation: sending.secret.generation, epoch: sending.key.as_ref()?.0 })
    }

    /// Generation and epoch of the newest key an option authenticated under.
    pub(crate) fn receive_name(&self) -> Option<KeyName> {
        self.receiver.current()
    }

    /// Ends sending under a secret: its key is wiped, and the epochs used do not come again.
    pub(crate) fn close_sending(&mut self, counter: &SendCounter) {
        if let Some(sending) = self.sending.take() {
            sending.leave(counter);
        }
        if let Some(in_use) = &mut self.in_use {
            in_use.next = None;
            in_use.successor = None;
        }
    }

    /// Wipes what is held under a generation.
    pub(crate) fn forget(&mut self, secret: &Arc<Secret>, counter: &SendCounter) {
        self.receive_keys().forget(secret.generation);
        if let Some(in_use) = &mut self.in_use {
            in_use.successor.take_if(|(name, _)| name.generation == secret.generation);
        }
        if self.sending.as_ref().is_some_and(|s| Arc::ptr_eq(&s.secret, secret)) {
            self.close_sending(counter);
        }
    }

    /// The receive keys.
    pub(crate) fn receive_keys(&mut self) -> Keys<'_, FlowKey> {
        let profile = self.association.as_ref().map_or(Profile::V2, |association| association.profile);
        self.receiver.with(self.in_use.as_deref_mut().map(|in_use| &mut in_use.receive), profile)
    }

    /// Where the search for the peer's Kri stands.
    pub(crate) fn search(&mut self) -> &mut KriSearch {
        &mut self.receiver.search
    }

    /// Whether a receive key was asked for, so that to want it once more is no other attempt.
    pub(crate) fn waits_for(&self, name: KeyName, now: u64) -> bool {
        self.in_use.as_deref().is_some_and(|in_use| in_use.asked_receive.waits_for(name, now))
    }

    /// Whether an attempt at a receive key not held is within the flow's budget.
    pub(crate) fn may_attempt(&mut self, now: u64) -> bool {
        self.receiver.may_attempt(now)
    }

    /// The attempt succeeded.
    pub(crate) fn refund_attempt(&mut self) {
        self.receiver.refund_attempt();
    }

    fn in_use(&mut self, payer: Payer<'_>) -> Result<&mut InUse> {
        if self.in_use.is_none() {
            self.in_use = Some(PaidBox::new(InUse::default(), payer)?);
        }
        self.in_use.as_deref_mut().ok_or(ENOMEM)
    }

    /// Makes certain that the next packet can be sealed, or says why not and asks for what is missing.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn prepare_sending(
        &mut self,
        id: &FlowId,
        counter: &mut SendCounter,
        scope: Scope,
        namespace: &Namespace,
        section: &rcu::Guard,
        now: u64,
        payer: Payer<'_>,
        questions: &mut Questions,
    ) -> Result<(), Skip> {
        self.association(scope, id, counter, namespace, section).ok_or(Skip::NoAssociation)?;
        let association = self.association.as_ref().ok_or(Skip::NoAssociation)?;
        let (generation, epochs) = (association.secrets.sending_generation(), association.epochs);
        if self.sending.as_ref().is_none_or(|s| s.secret.generation != generation) {
            let secret = association.secrets.sending();
            let successor = self.in_use.as_mut().and_then(|in_use| in_use.successor.take());
            self.close_sending(counter);
            let secret = secret.ok_or(Skip::NoKey)?;
            let (bucket, floor) = secret.enter(id);
            let kri = match secret.profile {
                Profile::V2 => {
                    counter.enter_secret(floor);
                    None
                }
                Profile::V2Kri => {
                    let kri = KriCounter::new(random::u64(), floor);
                    Some(PaidBox::new(kri, payer).map_err(|_| Skip::NoMemory)?)
                }
            };
            self.sending = Some(Sending { secret, key: None, kri, floor: bucket, began_psn: 0, began_at: 0 });
            if let (Some((name, key)), Some(in_use)) = (successor, self.in_use.as_mut()) {
                in_use.next = (name.generation == generation).then_some((name.epoch, key));
            }
        }
        let end = match &self.sending {
            Some(sending) if epochs.is_early() && sending.key.is_some() => {
                sending.early_end(epochs, counter.peek().psn, now)
            }
            _ => End::Far,
        };
        let steps = end == End::Reached && self.has_key_after(counter);
        let Some(sending) = &mut self.sending else { return Err(Skip::NoKey) };
        if steps {
            sending.step(counter);
        }
        let Some(epoch) = sending.epoch(counter).filter(|epoch| *epoch <= sending.secret.epochs().1) else {
            sending.secret.exhausted();
            return Err(Skip::Exhausted);
        };
        match &mut sending.key {
            Some((held, key)) if *held == epoch => key.prepare().map_err(|_| Skip::NoMemory)?,
            _ => self.next_key(epoch, counter.peek().psn, id, now, payer, questions)?,
        }
        let Some(sending) = &self.sending else { return Err(Skip::NoKey) };
        sending.secret.used_epoch(epoch);
        if end != End::Far || sending.left(counter) < u32::from(ASK_AHEAD) {
            self.ask_ahead(epoch, id, now, payer, questions);
        }
        Ok(())
    }

    /// Whether the epoch may end: the next one's key is held, or derived when it is needed. (At the last epoch the secret is
    /// used up one way or the other.)
    fn has_key_after(&self, counter: &SendCounter) -> bool {
        let Some(sending) = &self.sending else { return false };
        let Some(Some((held, _))) = self.in_use.as_ref().map(|in_use| &in_use.next) else {
            return sending.secret.derives();
        };
        *held == sending.after(counter)
    }

    /// The key of an epoch that begins: the one held ahead, one derived now, or none yet, and a question for it.
    fn next_key(
        &mut self,
        epoch: u32,
        psn: u16,
        id: &FlowId,
        now: u64,
        payer: Payer<'_>,
        questions: &mut Questions,
    ) -> Result<(), Skip> {
        let next = self.in_use.as_mut().and_then(|in_use| in_use.next.take()).filter(|(e, _)| *e == epoch);
        let nothing_received = self.receive_keys().is_empty();
        let Some(sending) = &mut self.sending else { return Err(Skip::NoKey) };
        sending.key = next.or_else(|| sending.secret.derive(epoch, id, payer).map(|key| (epoch, key)));
        (sending.began_psn, sending.began_at) = (psn, seconds(now));
        if let Some((_, key)) = &mut sending.key {
            return key.prepare().map_err(|_| Skip::NoMemory);
        }
        if sending.secret.derives() {
            return Err(Skip::NoMemory);
        }
        let generation = sending.secret.generation;
        let association = self.association.clone().ok_or(Skip::NoAssociation)?;
        let in_use = self.in_use(payer).map_err(|_| Skip::NoMemory)?;
        let question = |epoch, direction| Question {
            association: association.clone(),
            name: KeyName { generation, epoch },
            direction,
            flow: *id,
            stranger: false,
        };
        if in_use.asked_send.asks(KeyName { generation, epoch }, now) {
            questions.add(question(epoch, KeyDirection::Send));
        }
        // The peer will send under its own first epoch soon: have that key before it is needed.
        if nothing_received && in_use.asked_receive.asks(KeyName { generation, epoch: 0 }, now) {
            questions.add(question(0, KeyDirection::Receive));
        }
        Err(Skip::NoKey)
    }

    /// The epoch ends soon: asks for the key of the next one, if it has to be asked for and is not held.
    fn ask_ahead(&mut self, epoch: u32, id: &FlowId, now: u64, payer: Payer<'_>, questions: &mut Questions) {
        let Some(sending) = self.sending.as_ref().filter(|s| !s.secret.derives()) else { return };
        let (generation, (_, last)) = (sending.secret.generation, sending.secret.epochs());
        let Some(next) = epoch.checked_add(1).filter(|next| *next <= last) else { return };
        let Some(association) = self.association.clone() else { return };
        let Ok(in_use) = self.in_use(payer) else { return };
        let name = KeyName { generation, epoch: next };
        if in_use.next.is_none() && in_use.asked_send.asks(name, now) {
            questions.add(Question { association, name, direction: KeyDirection::Send, flow: *id, stranger: false });
        }
    }

    /// The profile of what is sealed.
    pub(crate) fn send_profile(&self) -> Option<Profile> {
        self.sending.as_ref().map(|sending| sending.secret.profile)
    }

    /// The Kri of the next option, of which nothing is used up by looking.
    pub(crate) fn next_kri(&self) -> Option<u32> {
        self.sending.as_ref()?.kri.as_ref()?.kri()
    }

    /// Hands out the Kri and the 15-bit field for a packet that is certain to be sent.
    pub(crate) fn take_kri(&mut self) -> Option<KriStamp> {
        Some(self.sending.as_mut()?.kri.as_mut()?.take())
    }

    /// What is sent under in an epoch, if that is the epoch in use.
    fn in_epoch(&self, epoch: u32) -> Option<(&Secret, &FlowKey)> {
        let sending = self.sending.as_ref()?;
        let (held, key) = sending.key.as_ref()?;
        (*held == epoch).then_some((&*sending.secret, key))
    }

    /// Whether the epoch is in use.
    pub(crate) fn may_seal(&self, epoch: u32) -> bool {
        self.in_epoch(epoch).is_some()
    }

    /// Seals an option in an epoch, and counts it.
    pub(crate) fn seal(
        &self,
        epoch: u32,
        counter: u16,
        aad: &[u8; AAD_LEN],
        interior: &[u8; V2_INTERIOR_LEN],
    ) -> Result<[u8; SEALED_LEN], Skip> {
        let (secret, key) = self.in_epoch(epoch).ok_or(Skip::NoKey)?;
        let sealed = key.seal(counter, aad, interior).map_err(|_| Skip::NoKey)?;
        secret.sealed_one();
        Ok(sealed)
    }

    /// Holds a sending key that the helper installed, if it is for the epoch the flow is in or the next one; or, of a secret
    /// that was not sent under yet (`ahead`), for when it is. One that is held already changes nothing. False if the flow has
    /// no use for it.
    pub(crate) fn install_sending(
        &mut self,
        counter: &SendCounter,
        name: KeyName,
        key: FlowKey,
        ahead: bool,
        payer: Payer<'_>,
    ) -> Result<bool> {
        let Some(sending) = self.sending.as_mut().filter(|s| s.secret.generation == name.generation) else {
            if ahead {
                let successor = &mut self.in_use(payer)?.successor;
                if successor.as_ref().is_none_or(|(held, _)| *held != name) {
                    *successor = Some((name, key));
                }
            }
            return Ok(ahead);
        };
        let Some(current) = sending.epoch(counter) else { return Ok(false) };
        let held = |slot: &Option<EpochKey>| slot.as_ref().is_some_and(|(epoch, _)| *epoch == name.epoch);
        if held(&sending.key) {
            return Ok(true);
        }
        if name.epoch == current {
            sending.key = Some((name.epoch, key));
        } else if Some(name.epoch) == current.checked_add(1) {
            let in_use = self.in_use(payer)?;
            if !held(&in_use.next) {
                in_use.next = Some((name.epoch, key));
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Holds a receive key. One that is held already, or too old, changes nothing.
    pub(crate) fn install_receiving(&mut self, name: KeyName, key: FlowKey, payer: Payer<'_>) -> Result {
        self.in_use(payer)?;
        // What is not taken is wiped here.
        let _ = self.receive_keys().install(name, key);
        Ok(())
    }

    /// A receive key is needed: derives it, or asks for it. True if it is held now.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn want_receive(
        &mut self,
        association: &Arc<Association>,
        name: KeyName,
        id: &FlowId,
        now: u64,
        stranger: bool,
        payer: Payer<'_>,
        questions: &mut Questions,
    ) -> bool {
        let Some(key) = self.probe(association, name, id, now, stranger, payer, questions) else { return false };
        self.install_receiving(name, key, payer).is_ok() && self.receive_keys().holds(name)
    }

    /// A receive key that is tried once and held only if it opens something: derived for the moment, or asked for.
    pub(crate) fn probe(
        &mut self,
        association: &Arc<Association>,
        name: KeyName,
        id: &FlowId,
        now: u64,
        stranger: bool,
        payer: Payer<'_>,
        questions: &mut Questions,
    ) -> Option<FlowKey> {
        let held = association.secrets.get(name.generation)?;
        if held.secret.derives() {
            return held.secret.derive(name.epoch, &id.reversed(), payer);
        }
        if self.in_use(payer).ok()?.asked_receive.asks(name, now) {
            let (association, direction) = (association.clone(), KeyDirection::Receive);
            questions.add(Question { association, name, direction, flow: *id, stranger });
        }
        None
    }

    /// The flow rests: prepared ciphers go, and keys beside those in use, unless one is held for a switch to come.
    pub(crate) fn rest(&mut self) {
        if self.in_use.is_some() && !self.receive_keys().is_ahead() {
            self.receiver.close();
            self.in_use = None;
        }
        if let Some((_, key)) = self.sending.as_mut().and_then(|sending| sending.key.as_mut()) {
            key.rest();
        }
        if let Some(key) = self.receiver.current_key() {
            key.rest();
        }
    }

    /// Least time the flow keeps its state after its last packet, ns.
    pub(crate) fn least_age(&self) -> u64 {
        self.sending.as_ref().map_or(0, |s| s.secret.least_age())
    }
}
