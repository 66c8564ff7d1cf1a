// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! TLS 1.3 between two helpers (docs/protocol.md, section 9): raw public keys both ways (RFC 7250), each pinned, or
//! certificates of a private CA both ways; no tickets, no resumption, no early data, no server name.
//!
//! - [`config`]: settings of both ends; [`verifier`]: what the library asks of both
//! - [`pinned`]: pinned keys, of [`allowed`]
//! - [`x509`]: certificates; [`certificate`] reads one, [`authority`] says whether it is to be trusted, [`trust`] keeps files

pub mod allowed;
pub mod authority;
pub mod certificate;
pub mod config;
pub mod pinned;
pub mod trust;
pub mod verifier;
pub mod x509;

pub use allowed::Allowed;
pub use certificate::authenticated;
pub use config::{client, provider, server, ServerConfigs, TlsError};
pub use trust::{CertificateFiles, Trust, TrustError};

use rustls::pki_types::ServerName;

/// Label of the exporter that binds a negotiation to its TLS session.
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL-pdmv2";

/// The name the TLS library asks for; it is neither sent nor checked, since peers are named by their keys, or by
/// names that their certificates carry besides.
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv6Addr::UNSPECIFIED.into())
}

/// What is wrong with a handshake, with the reason for which a certificate was refused: the library shows that as code.
pub fn words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(reason)) => {
            format!("the peer's certificate is refused: {reason}")
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure) => {
            "whoever is at the other end is no peer".to_owned()
        }
        other => other.to_string(),
    }
}
