// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 policy`

use std::path::PathBuf;

use super::{print, CliError};
use crate::config;
use crate::netlink::policy::{Limits, Policy};
use crate::netlink::{Client, Kernel};
use crate::output::view::PolicyView;
use crate::output::{json, table, Format};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the policy in force; so does `pdmv2 policy` alone.
    Show,
    /// Replace the whole policy by the rules of a file; when any is wrong, nothing changes.
    Set {
        /// TOML file with a table `rule` for each rule, as in the daemon's configuration.
        file: PathBuf,
    },
    /// Change limits of this network namespace, and leave its rules as they are.
    Limit(Limits),
    /// Remove all rules: nothing is measured in this network namespace any more.
    Clear,
}

pub fn run(args: &Args, format: Format) -> Result<(), CliError> {
    match &args.command {
        None | Some(Command::Show) => {
            let policy = Client::open()?.policy_get()?;
            let view = PolicyView::from(&policy);
            print(&match format {
                Format::Table => table::policy(&view),
                Format::Json => json::render(&view)?,
            })
        }
        Some(Command::Set { file }) => {
            let policy = config::load_policy(file)?;
            Ok(Client::open()?.policy_set(&policy)?)
        }
        Some(Command::Limit(limits)) => Ok(Client::open()?.limits_set(*limits)?),
        Some(Command::Clear) => Ok(Client::open()?.policy_set(&Policy::default())?),
    }
}
