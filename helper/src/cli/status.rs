// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 status`

use std::path::PathBuf;

use super::{print, CliError};
use crate::control::{client, Command, Outcome};
use crate::output::{json, table, Format};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The daemon's control socket, if its configuration names one.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub fn run(args: &Args, format: Format) -> Result<(), CliError> {
    let Outcome::Status(status) = client::ask(args.socket.as_deref(), Command::Status {})? else {
        return Err(CliError::Answer);
    };
    print(&match format {
        Format::Table => table::status(&status),
        Format::Json => json::render(&status)?,
    })
}
