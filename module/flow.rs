// SPDX-License-Identifier: GPL-2.0-only

//! One flow: its measurements, its keys and its counters.

use crate::acquire::{Outstanding, Question, Questions};
use crate::association::Association;
use crate::event::{Notice, Notices, BURST};
use crate::key::FlowKey;
use crate::namespace::Namespace;
use crate::proto::flow::Flow as Measured;
use crate::proto::flow_id::FlowId;
use crate::proto::psn::SendCounter;
use crate::proto::receive::{KeyName, Receiver};
use crate::proto::uapi::{Event, KeyDirection, Mechanism, Refusal, Skip, EPOCH_MAX};
use crate::secret::Secret;
use crate::sys::random;
use crate::sys::time::SECOND;
use kernel::prelude::*;
use kernel::sync::{rcu, Arc};

/// PSNs before the end of an epoch at which the next epoch's key is asked for.
pub(crate) const ASK_AHEAD: u16 = 16384;

/// What a flow sends under.
struct Sending {
    secret: Arc<Secret>,
    key: Option<(u16, KBox<FlowKey>)>,
    next: Option<(u16, KBox<FlowKey>)>,
}

/// A flow. Dropping it, in whatever way, closes the epochs it used.
pub(crate) struct Flow {
    /// Its 5-tuple.
    pub(crate) id: FlowId,
    /// The first packet this host saw was its own.
    pub(crate) outbound: bool,
    /// What it measures.
    pub(crate) measured: Measured,
    /// Receive keys; made when the first is needed, as plain flows have none.
    receive: Option<KBox<Receiver<KBox<FlowKey>>>>,
    sending: Option<Sending>,
    association: Option<Arc<Association>>,
    association_version: u64,
    asked_send: Outstanding,
    asked_receive: Outstanding,
    /// What this host last sent.
    pub(crate) mechanism: Mechanism,
    /// What the peer last sent.
    pub(crate) peer_mechanism: Mechanism,
    /// Packets sent, with an option or without.
    pub(crate) packets_out: u64,
    /// Packets received, likewise.
    pub(crate) packets_in: u64,
    /// Options sent.
    pub(crate) options_out: u64,
    /// Options received, accepted or not.
    pub(crate) options_in: u64,
    /// Options accepted.
    pub(crate) accepted: u64,
    /// Options refused, by reason.
    pub(crate) refused: [u32; Refusal::ALL.len()],
    /// Packets sent without, by reason.
    pub(crate) skipped: [u32; Skip::ALL.len()],
    /// Monotonic time of the last packet, ns.
    pub(crate) last_packet_at: u64,
}

// A kmalloc bucket of its own size class; keys are outside.
const _: () = assert!(core::mem::size_of::<Flow>() <= 2048);

impl Flow {
    /// A flow seen for the first time. `outbound` if by a packet of this host.
    pub(crate) fn new(id: FlowId, outbound: bool, now: u64) -> Result<KBox<Self>> {
        let flow = Self {
            id,
            outbound,
            // "PSNTP starts at a random 16-bit value per flow."
            measured: Measured::new(SendCounter::new(random::u16(), 0)),
            receive: None,
            sending: None,
            association: None,
            association_version: 0,
            asked_send: Outstanding::default(),
            asked_receive: Outstanding::default(),
            mechanism: Mechanism::None,
            peer_mechanism: Mechanism::None,
            packets_out: 0,
            packets_in: 0,
            options_out: 0,
            options_in: 0,
            accepted: 0,
            refused: [0; Refusal::ALL.len()],
            skipped: [0; Skip::ALL.len()],
            last_packet_at: now,
        };
        Ok(KBox::new(flow, GFP_ATOMIC)?)
    }

    /// The association that covers the flow, looked up anew when the namespace's associations changed.
    pub(crate) fn association(&mut self, namespace: &Namespace, section: &rcu::Guard) -> Option<&Arc<Association>> {
        let version = namespace.association_version();
        if version != self.association_version {
            let found = namespace.associations.read(section).and_then(|all| all.of(&self.id)).cloned();
            let same = match (&self.association, &found) {
                (Some(old), Some(new)) => Arc::ptr_eq(&old.secrets, &new.secrets),
                (None, None) => true,
                _ => false,
            };
            if !same {
                self.close_sending();
                self.receive = None;
            }
            self.association = found;
            self.association_version = version;
        }
        self.association.as_ref()
    }

    /// Likewise, for a packet on this interface.
    pub(crate) fn association_on(
        &mut self,
        ifindex: u32,
        namespace: &Namespace,
        section: &rcu::Guard,
    ) -> Option<Arc<Association>> {
        let id = self.id;
        self.association(namespace, section).filter(|a| a.is_bound_to(&id, ifindex)).cloned()
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

    /// Ends sending under a secret: its key is wiped, and the epochs used do not come again.
    fn close_sending(&mut self) {
        if let Some(sending) = self.sending.take() {
            sending.secret.leave(&self.id, &self.measured.counter);
        }
    }

    /// Wipes what is held under a generation.
    pub(crate) fn forget(&mut self, secret: &Arc<Secret>) {
        if let Some(receive) = &mut self.receive {
            receive.forget(secret.generation);
        }
        if self.sending.as_ref().is_some_and(|s| Arc::ptr_eq(&s.secret, secret)) {
            self.close_sending();
        }
    }

    /// Wipes every sending key.
    pub(crate) fn stop_sending(&mut self) {
        self.close_sending();
    }

    /// Makes certain that the next packet can be sealed, or says why not and asks for what is missing.
    pub(crate) fn prepare_sending(
        &mut self,
        ifindex: u32,
        namespace: &Namespace,
        section: &rcu::Guard,
        now: u64,
        questions: &mut Questions,
    ) -> Result<(), Skip> {
        let association = self.association_on(ifindex, namespace, section).ok_or(Skip::NoAssociation)?;
        let generation = association.secrets.sending_generation();
        if self.sending.as_ref().is_none_or(|s| s.secret.generation != generation) {
            self.close_sending();
            let secret = association.secrets.sending().ok_or(Skip::NoKey)?;
            self.measured.counter.enter_secret(secret.floor(&self.id));
            self.sending = Some(Sending { secret, key: None, next: None });
        }
        let Some(sending) = &mut self.sending else { return Err(Skip::NoKey) };
        let secret = &sending.secret;
        let name = |epoch| KeyName { generation: secret.generation, epoch };
        let question = |name, direction| Question {
            association: association.name,
            name,
            direction,
            flow: self.id,
            stranger: false,
        };

        let Some(epoch) = self.measured.counter.peek().epoch else {
            secret.exhausted();
            return Err(Skip::Exhausted);
        };
        if sending.key.as_ref().is_none_or(|(e, _)| *e != epoch) {
            sending.key = sending.next.take().filter(|(e, _)| *e == epoch);
            if sending.key.is_none() {
                sending.key = secret.derive(epoch, &self.id).map(|key| (epoch, key));
            }
            if sending.key.is_none() {
                if !secret.derives() {
                    if self.asked_send.asks(name(epoch), now) {
                        questions.add(question(name(epoch), KeyDirection::Send));
                    }
                    // The peer will send under its own first epoch soon: have that key before it is needed.
                    if self.receive.as_ref().is_none_or(|r| r.is_empty()) && self.asked_receive.asks(name(0), now) {
                        questions.add(question(name(0), KeyDirection::Receive));
                    }
                }
                return Err(Skip::NoKey);
            }
        }
        secret.used_epoch(epoch);
        let ahead = !secret.derives()
            && sending.next.is_none()
            && usize::from(epoch) < EPOCH_MAX
            && self.measured.counter.left_in_epoch() < u32::from(ASK_AHEAD);
        if ahead && self.asked_send.asks(name(epoch + 1), now) {
            questions.add(question(name(epoch + 1), KeyDirection::Send));
        }
        Ok(())
    }

    /// The key for the pair the counter will hand out next, after [`Self::prepare_sending`].
    pub(crate) fn sending_key(&self) -> Option<&FlowKey> {
        self.key_of_epoch(self.measured.counter.peek().epoch?)
    }

    /// The key sent under in an epoch, if that is the epoch in use.
    pub(crate) fn key_of_epoch(&self, epoch: u16) -> Option<&FlowKey> {
        let (held, key) = self.sending.as_ref()?.key.as_ref()?;
        (*held == epoch).then_some(&**key)
    }

    /// Holds a sending key that the helper installed, if it is for the epoch the flow is in or the next one. One that is
    /// held already changes nothing. False if the flow has no use for it.
    pub(crate) fn install_sending(&mut self, name: KeyName, key: KBox<FlowKey>) -> bool {
        let current = self.measured.counter.peek().epoch;
        let Some(sending) = &mut self.sending else { return false };
        let Some(current) = current else { return false };
        if sending.secret.generation != name.generation {
            return false;
        }
        let held = |slot: &Option<(u16, KBox<FlowKey>)>| slot.as_ref().is_some_and(|(e, _)| *e == name.epoch);
        if held(&sending.key) || held(&sending.next) {
            return true;
        }
        if name.epoch == current {
            sending.key = Some((name.epoch, key));
        } else if name.epoch == current.saturating_add(1) {
            sending.next = Some((name.epoch, key));
        } else {
            return false;
        }
        true
    }

    /// The receive keys.
    pub(crate) fn receiver(&mut self) -> Result<&mut Receiver<KBox<FlowKey>>> {
        if self.receive.is_none() {
            self.receive = Some(KBox::new(Receiver::default(), GFP_ATOMIC)?);
        }
        self.receive.as_deref_mut().ok_or(ENOMEM)
    }

    /// Generation and epoch of the newest key an option authenticated under.
    pub(crate) fn receive_name(&self) -> Option<KeyName> {
        self.receive.as_ref()?.current()
    }

    /// A receive key is needed: derives it, or asks for it. True if it is held now.
    pub(crate) fn want_receive(
        &mut self,
        association: &Association,
        name: KeyName,
        now: u64,
        stranger: bool,
        questions: &mut Questions,
    ) -> bool {
        let Some(held) = association.secrets.get(name.generation) else { return false };
        if held.secret.derives() {
            return held
                .secret
                .derive(name.epoch, &self.id.reversed())
                .is_some_and(|key| self.receiver().is_ok_and(|receive| receive.install(name, key).is_ok()));
        }
        if self.asked_receive.asks(name, now) {
            questions.add(Question {
                association: association.name,
                name,
                direction: KeyDirection::Receive,
                flow: self.id,
                stranger,
            });
        }
        false
    }

    /// Counts a refusal; a burst of one reason is told.
    pub(crate) fn refuse(&mut self, reason: Refusal, notices: &mut Notices) {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count = count.saturating_add(1);
            if *count % BURST == 0 {
                notices.add(Notice {
                    flow: Some(self.id),
                    refused: Some((reason, *count)),
                    ..Notice::of(Event::Refused)
                });
            }
        }
    }

    /// Counts packets sent without an option.
    pub(crate) fn skip(&mut self, reason: Skip, packets: u32) {
        if let Some(count) = self.skipped.get_mut(reason as usize) {
            *count = count.saturating_add(packets);
        }
    }

    /// Whether the flow may be dropped: idle for the namespace's time, for twice the peer's, and for the least age of
    /// its secret.
    pub(crate) fn is_idle(&self, idle: u32, now: u64) -> bool {
        let peer = self.association.as_ref().map_or(0, |a| a.peer_idle.saturating_mul(2));
        let age = self.sending.as_ref().map_or(0, |s| s.secret.least_age());
        let least = u64::from(idle.max(peer)).saturating_mul(SECOND).max(age);
        now.saturating_sub(self.last_packet_at) > least
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.close_sending();
    }
}
