// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 sync`

use std::path::PathBuf;

use super::{print, CliError};
use crate::config;
use crate::control::{client, Command, Outcome};
use crate::daemon::keeper::apply::Report;
use crate::output::{json, Format};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    file: PathBuf,

    /// The daemon's control socket, if it is another than the configuration says.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub fn run(args: &Args, format: Format) -> Result<(), CliError> {
    // What was read here is what the daemon is given, whatever becomes of the file meanwhile.
    let text = config::read(&args.file)?;
    let config = config::parse(&args.file, &text)?;
    let socket = args.socket.as_deref().or(config.host.control_socket.as_deref());
    let path = std::path::absolute(&args.file)?;
    let Outcome::Applied(report) = client::ask(socket, Command::Sync { path, text })? else {
        return Err(CliError::Answer);
    };
    print(&match format {
        Format::Table => text_of(&report),
        Format::Json => json::render(&report)?,
    })
}

fn text_of(report: &Report) -> String {
    let mut out = String::new();
    for peer in &report.added {
        out.push_str(&format!("added: {peer}\n"));
    }
    for peer in &report.removed {
        out.push_str(&format!("removed: {peer}\n"));
    }
    for changed in &report.changed {
        out.push_str(&format!("changed: {} ({})\n", changed.peer, changed.keys.join(", ")));
    }
    out.push_str(&format!("unchanged: {}\n", report.unchanged.len()));
    out
}
