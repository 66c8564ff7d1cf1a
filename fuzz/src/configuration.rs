// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What an administrator writes.

use std::path::Path;

use pdmv2::config::{parse, parse_policy, ConfigError};
use pdmv2::prefix::Prefix;

/// The daemon's file, and the same text as a file of rules: read, or refused with a line of it.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("input.toml");
    for error in [parse(path, text).map(drop), parse_policy(path, text).map(drop)].into_iter().filter_map(Result::err) {
        match error {
            ConfigError::Wrong { line, key, message, .. } => {
                assert!((1..=text.matches('\n').count() + 1).contains(&line), "line {line}");
                assert!(!key.is_empty() && !message.is_empty());
            }
            ConfigError::Read { .. } => unreachable!("nothing is read from a file"),
        }
    }
}

/// A prefix: what is read is written so that it is read again.
pub fn prefix(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(prefix) = text.parse::<Prefix>() {
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
        assert!(prefix.contains(prefix.address()) && prefix.overlaps(&prefix));
    }
}
