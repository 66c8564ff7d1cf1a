// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Reading a certificate: its key and its names. Whether it is to be trusted is another question ([`super::authority`]).

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::identity::{Authenticated, PublicKey};
use crate::subject::Subject;

/// Why a certificate is none of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not X.509 version 3 in DER.
    #[error("not a certificate")]
    Malformed,
    /// A key of another kind.
    #[error("the certificate's key is not an Ed25519 key")]
    NotEd25519,
}

/// Who a certificate says its holder is.
///
/// # Errors
/// What is no certificate, or one of a key that is not Ed25519.
pub fn holder(certificate: &CertificateDer<'_>) -> Result<Authenticated, CertificateError> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::Malformed)?;
    let key = PublicKey::from_spki(&certificate.subject_public_key_info()).ok_or(CertificateError::NotEd25519)?;
    let dns = certificate.valid_dns_names().filter_map(Subject::dns);
    let subjects = dns.chain(certificate.valid_uri_names().filter_map(Subject::uri)).collect();
    Ok(Authenticated::Certificate { key, subjects })
}

/// Who the first certificate or raw key of a session belongs to, once the handshake has verified it.
pub fn authenticated(presented: &CertificateDer<'_>) -> Option<Authenticated> {
    PublicKey::from_spki(presented).map(Authenticated::Key).or_else(|| holder(presented).ok())
}
