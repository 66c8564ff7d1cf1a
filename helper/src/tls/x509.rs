// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Sessions between hosts that a private CA has certified. As with raw keys there are no tickets, no resumption, no early
//! data, no server name, and the handshake's signature must be one of Ed25519.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls13_signature, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, ServerConfig};

use super::authority::Usage;
use super::certificate::holder;
use super::config::{closed_client, closed_server, provider, TlsError};
use super::trust::Trust;
use super::verifier::{Check, Verifier};
use crate::identity::{Authenticated, Identity};

/// Whether somebody is a peer, asked at each handshake.
pub type Known = Arc<dyn Fn(&Authenticated) -> bool + Send + Sync>;

/// For opening a session to one peer.
///
/// # Errors
/// What the library refuses.
pub fn client(trust: &Arc<Trust>, peer: Identity) -> Result<ClientConfig, TlsError> {
    let verifier = Certified::verifier(trust, Arc::new(move |found: &Authenticated| peer.is(found)));
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::<Trust>::clone(trust));
    Ok(closed_client(config))
}

/// For sessions that any peer opens.
///
/// # Errors
/// What the library refuses.
pub fn server(trust: &Arc<Trust>, known: Known) -> Result<ServerConfig, TlsError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Certified::verifier(trust, known)))
        .with_cert_resolver(Arc::<Trust>::clone(trust));
    Ok(closed_server(config))
}

/// Accepts peers whom the private CA has certified, and nobody else.
struct Certified {
    trust: Arc<Trust>,
    known: Known,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Certified {
    fn verifier(trust: &Arc<Trust>, known: Known) -> Verifier<Self> {
        let algorithms = provider().signature_verification_algorithms;
        Verifier(Self { trust: Arc::clone(trust), known, algorithms })
    }
}

impl Check for Certified {
    const RAW: bool = false;

    /// The chain. Whatever is wrong with it, the other end gets the same alert: the reason is for this host's log.
    fn shown(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), Error> {
        let refused = |error| Error::InvalidCertificate(CertificateError::Other(OtherError(error)));
        self.trust.verify(certificate, intermediates, now, usage).map_err(|error| refused(Arc::new(error)))?;
        holder(certificate).map(drop).map_err(|error| refused(Arc::new(error)))
    }

    /// The handshake's signature, and only then whether its holder is a peer: a copied certificate does not tell who is.
    fn proved(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = verify_tls13_signature(message, certificate, dss, &self.algorithms)?;
        let found = holder(certificate).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        match found.key() != self.trust.own().key() && (self.known)(&found) {
            true => Ok(valid),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }
}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certified(..)")
    }
}
