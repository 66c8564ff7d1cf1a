// SPDX-License-Identifier: GPL-2.0-only

//! The generic netlink family `pdmv2`, as `docs/netlink/pdmv2.yaml` describes it. One file for each noun.

mod association;
mod attributes;
mod flow;
mod key;
mod limits;
mod policy;
mod secret;
mod stats;
pub(crate) mod write;

use crate::sys::genl::Commands;
use kernel::prelude::*;

/// The commands, in the order of their numbers.
pub(crate) fn commands() -> Result<Commands> {
    Commands::new()
        .does::<policy::Set>()?
        .does::<policy::Get>()?
        .does::<association::Set>()?
        .does::<association::Del>()?
        .dumps::<association::Get>()?
        .does::<secret::Add>()?
        .does::<secret::Activate>()?
        .does::<secret::Del>()?
        .does::<key::Add>()?
        .dumps::<flow::Get>()?
        .does::<flow::Flush>()?
        .dumps::<stats::Get>()?
        .does::<limits::Set>()?
        .does::<secret::Extend>()
}
