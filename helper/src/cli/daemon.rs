// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 daemon`

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use super::CliError;
use crate::{config, daemon};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Least level that is logged to standard error: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: tracing::Level,
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let config = config::load(&args.config)?;
    tracing_subscriber::fmt()
        .with_max_level(args.log)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(daemon::run(config)?)
}
