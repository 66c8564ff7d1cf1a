// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 rekey`

use std::path::PathBuf;

use super::{print, CliError};
use crate::control::{client, Command, Outcome};
use crate::output::{json, Format};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Peers by their names; all if none is given.
    peers: Vec<String>,

    /// The daemon's control socket, if its configuration names one.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub fn run(args: &Args, format: Format) -> Result<(), CliError> {
    let Outcome::Rekeyed(all) = client::ask(args.socket.as_deref(), Command::Rekey { peers: args.peers.clone() })?
    else {
        return Err(CliError::Answer);
    };
    let (mut done, mut failed) = (String::new(), Vec::new());
    for one in &all {
        match (one.generation, &one.error) {
            (Some(generation), _) => done.push_str(&format!("{}: generation {generation}\n", one.peer)),
            (None, error) => failed.push(format!("{}: {}", one.peer, error.as_deref().unwrap_or("no secret"))),
        }
    }
    print(&match format {
        Format::Table => done,
        Format::Json => json::render(&all)?,
    })?;
    match failed.is_empty() {
        true => Ok(()),
        false => Err(CliError::Rekey(failed.join("\npdmv2: "))),
    }
}
