// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How things are shown: a file for each format.

pub mod event;
pub mod histogram;
pub mod json;
pub mod protocol;
pub mod table;
pub mod view;

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text in columns, for people.
    Table,
    /// JSON, for programs.
    Json,
}
