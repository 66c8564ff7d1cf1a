// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Kbuild compiles this file as a module of pdmv2.ko and Cargo as a crate; `CONFIG_RUST` is set only by Kbuild.
#![cfg_attr(not(CONFIG_RUST), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(any(CONFIG_RUST, test)),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

//! The PDMv2 protocol: wire formats, time scaling, flow state, replay windows, key schedule inputs and policy.
//!
//! Nothing here does I/O, reads a clock or allocates: it takes bytes and the time in nanoseconds, and returns what to do.
//! Nothing here can panic on any input; indexes are checked and arithmetic is checked, saturating or wrapping.

pub mod classifier;
pub mod delay;
pub mod flow;
pub mod flow_id;
pub mod headers;
pub mod histogram;
pub mod kri;
pub mod kri_receive;
pub mod missing;
pub mod mss;
pub mod never;
pub mod placement;
pub mod policy;
pub mod prefix;
pub mod psn;
pub mod random15;
pub mod receive;
pub mod recent;
pub mod schedule;
pub mod send_times;
pub mod sequence;
pub mod suite;
pub mod time;
#[rustfmt::skip]
pub mod uapi;
pub mod window;
pub mod wire;
pub mod wire_kri;
