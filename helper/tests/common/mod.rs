// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What several tests need: a module in memory, TLS sessions and negotiations in memory, logs
//! without secrets, and keys.
#![allow(dead_code)]

pub mod ca;
pub mod daemons;
pub mod exchange;
pub mod host;
pub mod kernel;
pub mod logs;
pub mod tls;

use pdmv2::identity::{PrivateKey, PublicKey};

/// A fixed key for each number.
pub fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed([number; 32])
}

/// Its public half.
pub fn public(number: u8) -> PublicKey {
    key(number).public().unwrap()
}
