// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! TLS 1.3 between two helpers (docs/protocol.md, section 9): raw public keys both ways (RFC 7250), each pinned; no
//! tickets, no resumption, no early data, no server name.

pub mod allowed;
pub mod config;
pub mod verifier;

pub use allowed::Allowed;
pub use config::{client, provider, server, TlsError};

use rustls::pki_types::ServerName;

/// Label of the exporter that binds a negotiation to its TLS session.
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL-pdmv2";

/// The name the TLS library asks for; it is neither sent nor checked, since peers are named by their keys.
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv6Addr::UNSPECIFIED.into())
}
