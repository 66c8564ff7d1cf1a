// SPDX-License-Identifier: GPL-2.0-only OR MIT
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

//! The helper of PDMv2 for Linux: it negotiates pair secrets with other hosts, keeps them, gives the module the keys it
//! asks for, and shows what the module measured.
//!
//! - [`negotiate`]: the negotiation, without I/O (docs/protocol.md, section 9)
//! - [`registration`]: Primaries and Secondaries, likewise (docs/protocol.md, section 15)
//! - [`keys`]: the key schedule and the key log (docs/protocol.md, sections 4 and 10)
//! - [`tls`]: the session it runs in, with pinned raw public keys
//! - [`netlink`]: the module's family `pdmv2`, as `docs/netlink/pdmv2.yaml` describes it
//! - [`daemon`]: what ties these together
//! - [`control`], [`notify`], [`logging`]: how it is run as a service
//! - [`config`], [`cli`], [`output`]: what a person meets

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod envelope;
pub mod files;
pub mod hex;
pub mod identity;
pub mod keys;
pub mod logging;
pub mod negotiate;
pub mod netlink;
pub mod notify;
pub mod output;
pub mod prefix;
pub mod registration;
pub mod secret;
pub mod subject;
pub mod tls;
