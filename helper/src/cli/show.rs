// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 show`

use super::{print, CliError};
use crate::netlink::{Client, Kernel};
use crate::output::view::Overview;
use crate::output::{json, table, Format};

pub fn run(format: Format) -> Result<(), CliError> {
    let mut client = Client::open()?;
    let view = Overview {
        associations: client.associations()?,
        flows: client.flows()?,
        statistics: client.stats()?,
        rules: client.policy_get()?.rules.len(),
    };
    print(&match format {
        Format::Table => table::overview(&view),
        Format::Json => json::render(&view)?,
    })
}
