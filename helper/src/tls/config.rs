// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Settings of both ends of a TLS session.

use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{aws_lc_rs, CryptoProvider};
use rustls::pki_types::CertificateDer;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, CertificateType, ClientHello, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CipherSuite, ClientConfig, ServerConfig};

use super::allowed::Allowed;
use super::pinned::Pinned;
use crate::identity::{KeyError, PrivateKey, PublicKey};

/// Why no TLS settings could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// This host's key is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The library refused the settings.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// The cryptography: key exchange by X25519MLKEM768, or X25519 where the peer has no better; AEADs of TLS 1.3.
pub fn provider() -> Arc<CryptoProvider> {
    let default = aws_lc_rs::default_provider();
    let cipher_suites = default.cipher_suites.into_iter().filter(|suite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_256_GCM_SHA384
                | CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        )
    });
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites.collect(),
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
        ..default
    })
}

/// No resumption, no early data, no server name.
pub(super) fn closed_client(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    config
}

/// No tickets, no resumption, no early data.
pub(super) fn closed_server(mut config: ServerConfig) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

/// How sessions that others open are served: with raw keys, or with certificates where this host has one.
pub struct ServerConfigs {
    /// For peers whose keys are pinned.
    pub raw: Arc<ServerConfig>,
    /// For peers whom the private CA certifies.
    pub certified: Option<Arc<ServerConfig>>,
}

impl ServerConfigs {
    /// By what the client can do (RFC 7250 section 4.1): whoever can show and read raw keys means that. Who is a peer has no
    /// part in it.
    pub fn choose(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let raw = |types: Option<&[CertificateType]>| types.is_some_and(|t| t.contains(&CertificateType::RawPublicKey));
        let certified = self.certified.as_ref();
        let certified = certified.filter(|_| !raw(hello.client_cert_types()) || !raw(hello.server_cert_types()));
        Arc::clone(certified.unwrap_or(&self.raw))
    }
}

fn certified(own: &PrivateKey) -> Result<Arc<CertifiedKey>, TlsError> {
    let spki = CertificateDer::from(own.public()?.spki().as_ref().to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![spki], own.signing_key()?)))
}

/// For opening a session to one peer.
///
/// # Errors
/// An unusable key.
pub fn client(own: &PrivateKey, peer: PublicKey) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Pinned::verifier(vec![peer].into(), provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(own)?)));
    Ok(closed_client(config))
}

/// For sessions that any of the peers opens, whoever they are by then.
///
/// # Errors
/// An unusable key.
pub fn server(own: &PrivateKey, peers: impl Into<Allowed>) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let verifier = Pinned::verifier(peers.into(), provider.signature_verification_algorithms);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(own)?)));
    Ok(closed_server(config))
}
