// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 status`

use std::path::PathBuf;

use super::{print, CliError};
use crate::control::{client, Command, Outcome, DEFAULT_SOCKET};
use crate::output::{json, table, Format};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

pub fn run(args: &Args, format: Format) -> Result<(), CliError> {
    let Outcome::Status(status) = client::ask(&args.socket, Command::Status {})? else {
        return Err(CliError::Answer);
    };
    print(&match format {
        Format::Table => table::status(&status),
        Format::Json => json::render(&status)?,
    })
}
