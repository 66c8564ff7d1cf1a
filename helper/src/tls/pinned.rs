// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Who may speak, where peers are known by their public keys alone.
//!
//! A pinned key proves nothing by itself, as anyone can copy it: the handshake's signature under it is verified too, and
//! before anything tells whether the key is pinned.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls13_signature_with_raw_key, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error};

use super::allowed::Allowed;
use super::authority::Usage;
use super::verifier::{Check, Verifier};
use crate::identity::PublicKey;

/// Accepts the holders of some private keys, and nobody else.
#[derive(Debug)]
pub struct Pinned {
    allowed: Allowed,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    /// Whoever holds one of these keys at the time of a handshake may speak.
    pub fn verifier(allowed: Allowed, algorithms: WebPkiSupportedAlgorithms) -> Verifier<Self> {
        Verifier(Self { allowed, algorithms })
    }
}

impl Check for Pinned {
    const RAW: bool = true;

    /// Only that it is one key: a peer's that was copied is told apart from a stranger's by nobody who cannot sign.
    fn shown(
        &self,
        end_entity: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
        _: Usage,
    ) -> Result<(), Error> {
        match PublicKey::from_spki(end_entity) {
            Some(_) if more.is_empty() => Ok(()),
            _ => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn proved(
        &self,
        message: &[u8],
        end_entity: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(end_entity.as_ref());
        let valid = verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)?;
        match PublicKey::from_spki(end_entity).is_some_and(|key| self.allowed.has(&key)) {
            true => Ok(valid),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }
}
