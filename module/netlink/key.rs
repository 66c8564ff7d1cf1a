// SPDX-License-Identifier: GPL-2.0-only

//! `key-add`.

use super::association::named;
use super::attributes::{flow_id, Attributes};
use crate::flow::Flow;
use crate::key::FlowKey;
use crate::namespace::Namespace;
use crate::proto::receive::{last_epoch, KeyName};
use crate::proto::uapi::{attr, cmd, KeyDirection, KeyMode, Rule, SecretState, NONCE_LEN};
use crate::sys::errno;
use crate::sys::genl::{Do, Request};
use crate::sys::time;
use attr::key::*;
use kernel::prelude::*;
use kernel::sync::rcu;

/// `key-add`.
pub(super) struct Add;

impl Do for Add {
    const CMD: u8 = cmd::KEY_ADD;
    const RULES: &'static [Rule] = &RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &RULES)?;
        let association_attribute = attributes.need(ASSOCIATION)?;
        let association = named(namespace, &association_attribute)?;
        if association.key_mode != KeyMode::Helper {
            return Err(association_attribute.wrong(format_args!("the module derives the keys of this association")));
        }
        let generation = attributes.need(GENERATION)?;
        let held = association.secrets.get(generation.u64()).ok_or_else(|| {
            generation.wrong(format_args!("no such generation"));
            ENOENT
        })?;
        let direction = attributes.need(DIRECTION)?;
        let direction = KeyDirection::from_u8(direction.u8()).ok_or(EINVAL)?;
        let flow_attribute = attributes.need(FLOW)?;
        let id = flow_id(&flow_attribute)?;
        let epoch = attributes.need(EPOCH)?;
        let name = KeyName { generation: generation.u64(), epoch: epoch.u32() };
        let last = last_epoch(held.secret.profile);
        if name.epoch > last {
            return Err(epoch.wrong(format_args!("the last epoch is {last}")));
        }
        let raw = attributes.need(KEY)?;
        if Some(raw.bytes().len()) != held.secret.suite.key_len() {
            return Err(raw.wrong(format_args!("not as long as the keys of the suite")));
        }
        let base_nonce: [u8; NONCE_LEN] = attributes.need(BASE_NONCE)?.array()?;

        let ahead = held.state == SecretState::Receive;
        let section = rcu::read_lock();
        let table = namespace.table().ok_or(ENOENT)?;
        let install = |flow: &mut Flow| {
            let (protection, counter, payer) = flow.protect()?;
            let scope = protection.scope();
            let covering = protection.association(scope, &id, counter, namespace, &section);
            if covering.is_none_or(|covering| covering.name != association.name) {
                flow_attribute.wrong(format_args!("the association does not cover this flow"));
                return Err(EINVAL);
            }
            let key = FlowKey::new(held.secret.suite, raw.bytes(), &base_nonce, payer)?;
            match direction {
                KeyDirection::Receive => protection.install_receiving(name, key, payer),
                KeyDirection::Send if protection.install_sending(counter, name, key, ahead, payer)? => Ok(()),
                KeyDirection::Send => {
                    generation.wrong(format_args!("the flow sends neither in this epoch nor will it next"));
                    Err(errno::estale())
                }
            }
        };
        if let Some(mut flow) = table.find(&section, &id) {
            return install(&mut flow);
        }
        let mut slot = table.pending(&section).and_then(|pending| pending.slot(&id)).ok_or(ENOENT)?;
        if let Some(mut flow) = table.find(&section, &id) {
            // It became a flow between the two looks.
            drop(slot);
            return install(&mut flow);
        }
        match slot.entry(&id, time::now()) {
            // What is known from unauthenticated packets alone is never sent on.
            Some(flow) if direction == KeyDirection::Receive => install(flow),
            _ => {
                flow_attribute.wrong(format_args!("no such flow"));
                Err(ENOENT)
            }
        }
    }
}
