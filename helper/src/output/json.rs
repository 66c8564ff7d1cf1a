// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! JSON: names as in `docs/netlink/pdmv2.yaml`, delays in nanoseconds.

use serde::Serialize;

/// The value, indented, with a line end.
///
/// # Errors
/// None for the types of this program.
pub fn render<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}
