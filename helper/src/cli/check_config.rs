// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 check-config`

use std::path::PathBuf;

use serde::Serialize;

use super::{print, CliError};
use crate::config::examine::{examine, Finding, Severity};
use crate::config::{self, ConfigError};
use crate::output::{json, Format};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    file: PathBuf,
}

/// A finding, as JSON tells it.
#[derive(Serialize)]
struct Told<'a> {
    severity: Severity,
    line: Option<usize>,
    column: Option<usize>,
    key: Option<&'a str>,
    message: String,
}

pub fn run(args: &Args, format: Format) -> Result<(), CliError> {
    let found = examine(&args.file, &config::read(&args.file)?);
    print(&match format {
        Format::Table => found.iter().map(text).collect::<String>(),
        Format::Json => json::render(&found.iter().map(told).collect::<Vec<_>>())?,
    })?;
    match found.iter().filter(|finding| finding.severity == Severity::Error).count() {
        0 => Ok(()),
        errors => Err(CliError::Wrong(args.file.display().to_string(), errors)),
    }
}

fn text(finding: &Finding) -> String {
    match finding.severity {
        Severity::Error => format!("{}\n", finding.problem),
        Severity::Warning => format!("{} (warning)\n", finding.problem),
    }
}

fn told(finding: &Finding) -> Told<'_> {
    let severity = finding.severity;
    match &finding.problem {
        ConfigError::Wrong { line, column, key, message, .. } => {
            Told { severity, line: Some(*line), column: Some(*column), key: Some(key), message: message.clone() }
        }
        other => Told { severity, line: None, column: None, key: None, message: other.to_string() },
    }
}
