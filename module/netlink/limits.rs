// SPDX-License-Identifier: GPL-2.0-only

//! `limits-set`, and the limits that `policy-set` takes along.

use super::attributes::Attributes;
use crate::limits::Limit;
use crate::namespace::Namespace;
use crate::proto::uapi::{attr::policy as attr, cmd, Rule as Bounds};
use crate::sys::genl::{Do, Request};
use kernel::prelude::*;

/// `limits-set`.
pub(super) struct Set;

/// Sets the limits that are there; each other stays as it is. Nothing changes where this fails.
pub(super) fn set(namespace: &Namespace, attributes: &Attributes<'_>) -> Result {
    if let (Some(pending), Some(table)) = (attributes.get(attr::PENDING_MAX), namespace.table()) {
        table.resize_pending(pending.u32())?;
    }
    for (limit, attribute, _) in Limit::ALL {
        if let Some(value) = attributes.get(attribute) {
            namespace.limits.set(limit, value.u32());
        }
    }
    if let Some(memory) = attributes.get(attr::MEMORY) {
        namespace.account.set_most(memory.u64());
    }
    Ok(())
}

impl Do for Set {
    const CMD: u8 = cmd::LIMITS_SET;
    const RULES: &'static [Bounds] = &attr::RULES;

    fn run(namespace: &Namespace, request: &Request<'_>) -> Result {
        let attributes = Attributes::of(request, &attr::RULES)?;
        for number in [attr::RULE, attr::FORBID_PLAIN] {
            if let Some(other) = attributes.get(number) {
                return Err(other.wrong(format_args!("not a limit: it is part of the policy")));
            }
        }
        set(namespace, &attributes)
    }
}
