// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Where the daemon's log goes, and in which form. Fields such as the peer and the generation are kept apart where the form
//! has a place for them. No secret is in any of them: `tests/common/logs.rs` looks for each.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

/// Names the levels, where no option does.
pub const VARIABLE: &str = "PDMV2_LOG";

/// What is logged where nothing is said.
const DEFAULT: &str = "info";

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people, on standard error.
    #[default]
    Text,
    /// An object a line, on standard error.
    Json,
    /// The journal's own protocol.
    Journal,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A level that is none.
    #[error("{VARIABLE}: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// No journal.
    #[error("the journal cannot be reached: {0}")]
    Journal(io::Error),
    /// There is one already.
    #[error("{0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Begins the log of this process.
///
/// # Errors
/// A journal that is not there; levels in the environment that are none.
pub fn start(levels: Option<&Targets>, format: LogFormat) -> Result<(), LogError> {
    let levels = match (levels, std::env::var(VARIABLE)) {
        (Some(levels), _) => levels.clone(),
        (None, Ok(text)) => text.parse()?,
        (None, Err(_)) => DEFAULT.parse()?,
    };
    let registry = tracing_subscriber::registry().with(levels);
    let lines = || layer().with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => registry.with(lines().with_ansi(io::stderr().is_terminal())).try_init()?,
        LogFormat::Json => registry.with(lines().json()).try_init()?,
        LogFormat::Journal => {
            // PEER=, GENERATION= and so on, as people name a journal's fields.
            let journal = tracing_journald::layer().map_err(LogError::Journal)?.with_field_prefix(None);
            registry.with(journal).try_init()?;
        }
    }
    Ok(())
}
