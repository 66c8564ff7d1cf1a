// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The command line: a file for each subcommand.

mod check_config;
mod daemon;
mod events;
mod flow;
mod genkey;
mod policy;
mod pubkey;
mod rekey;
mod show;
mod status;
mod sync;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::ConfigError;
use crate::control::client::ControlError;
use crate::daemon::DaemonError;
use crate::files::FileError;
use crate::identity::KeyError;
use crate::logging::LogError;
use crate::netlink::Error;
use crate::output::Format;

/// Measure round-trip time, server delay and loss of IPv6 flows with PDMv2 options, encrypted between hosts that negotiate.
#[derive(Debug, Parser)]
#[command(name = "pdmv2", version, max_term_width = 100)]
pub struct Cli {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a private key.
    Genkey(genkey::Args),
    /// Print the public key of a private key.
    Pubkey(pubkey::Args),
    /// Negotiate secrets with the configured peers and give the module its keys, until SIGTERM or SIGINT.
    Daemon(daemon::Args),
    /// Say all that is wrong with a daemon's configuration, and where; warn of what does not fit this host.
    CheckConfig(check_config::Args),
    /// Have a daemon that runs bring another configuration into force: all of it, or nothing.
    Sync(sync::Args),
    /// Have a daemon that runs negotiate new secrets now; the old ones are in force until then.
    Rekey(rekey::Args),
    /// Show the sessions of a daemon that runs.
    Status(status::Args),
    /// Show associations, flows and what was measured on them; so does `pdmv2` alone.
    Show,
    /// Show the policy, replace or clear it, or change limits.
    Policy(policy::Args),
    /// List flows, or drop them all.
    Flow(flow::Args),
    /// Print what the module tells, a line each, from now until interrupted: anomalies, and what concerns secrets.
    Events,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}: {1}")]
    Key(String, KeyError),
    #[error(transparent)]
    Netlink(#[from] Error),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("{0}: {1} wrong")]
    Wrong(String, usize),
    #[error("the daemon's answer is to another question")]
    Answer,
    #[error("{0}")]
    Rekey(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = if cli.json { Format::Json } else { Format::Table };
    let result = match cli.command.unwrap_or(Command::Show) {
        Command::Genkey(args) => genkey::run(&args),
        Command::Pubkey(args) => pubkey::run(&args),
        Command::Daemon(args) => daemon::run(&args),
        Command::CheckConfig(args) => check_config::run(&args, format),
        Command::Sync(args) => sync::run(&args, format),
        Command::Rekey(args) => rekey::run(&args, format),
        Command::Status(args) => status::run(&args, format),
        Command::Show => show::run(format),
        Command::Policy(args) => policy::run(&args, format),
        Command::Flow(args) => flow::run(&args, format),
        Command::Events => events::run(format),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(CliError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pdmv2: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole command tree, for help texts and tests.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Writes to standard output; unlike `println!` it does not panic when nobody reads.
fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    Ok(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())?)
}
