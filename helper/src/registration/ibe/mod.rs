// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Identity Based (docs/protocol.md, "Identity Based"), without I/O and without a clock: private keys that Primaries extract for
//! the addresses of their Secondaries, and keys encapsulated to those.

pub mod bf;
pub mod generator;
pub mod hash;
pub mod identity;

pub use bf::Parameters;
pub use generator::{Generator, Keys};
pub use identity::{Identity, Role};
