// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What is wrong with a configuration.

use std::io;
use std::path::PathBuf;

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}:{column}: {key}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, in characters from 1.
        column: usize,
        /// The key, such as `peer[2].remote`.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}
