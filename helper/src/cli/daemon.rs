// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 daemon`

use std::path::PathBuf;

use tracing_subscriber::filter::Targets;

use super::CliError;
use crate::logging::{self, LogFormat};
use crate::{config, daemon};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Least level that is logged: error, warn, info, debug, trace or off; or one for each part of the program, such as
    /// `info,pdmv2::daemon::dial=debug`. Without it, the variable PDMV2_LOG says so, or else it is info.
    #[arg(long, alias = "log", value_name = "LEVELS")]
    log_level: Option<Targets>,

    /// Form of the log: text or JSON on standard error, or the journal with a field for each thing.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let config = config::load(&args.config)?;
    logging::start(args.log_level.as_ref(), args.log_format)?;
    Ok(daemon::run(config, &args.config)?)
}
