// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Who may speak (docs/protocol.md, section 9): raw public keys, pinned, both ways, at the level of TLS.

mod common;

use std::sync::Arc;

use common::tls::{handshake, session, told_handshake};
use common::{key, public};
use pdmv2::identity::{PrivateKey, PublicKey};
use pdmv2::tls;
use pdmv2::tls::pinned::Pinned;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::pki_types::CertificateDer;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, NamedGroup, ProtocolVersion};

#[test]
fn hosts_that_know_each_other_may_speak() {
    let session = session(&key(1), &key(2));
    assert_eq!(session.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.client.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(PublicKey::from_spki(&session.server.peer_certificates().unwrap()[0]), Some(public(1)));
    assert_eq!(PublicKey::from_spki(&session.client.peer_certificates().unwrap()[0]), Some(public(2)));
}

#[test]
fn nothing_is_resumed() {
    let session = session(&key(1), &key(2));
    assert_eq!(session.client.tls13_tickets_received(), 0);
    let again = common::tls::session(&key(1), &key(2));
    assert_eq!(again.client.handshake_kind(), Some(rustls::HandshakeKind::Full));
}

#[test]
fn an_unknown_client_is_refused() {
    let server = tls::server(&key(2), vec![public(1)]).unwrap();
    assert!(handshake(tls::client(&key(3), public(2)).unwrap(), server).is_err());
    let nobody = tls::server(&key(2), vec![]).unwrap();
    assert!(handshake(tls::client(&key(1), public(2)).unwrap(), nobody).is_err());
}

#[test]
fn another_server_than_the_one_meant_is_refused() {
    let server = tls::server(&key(3), vec![public(1)]).unwrap();
    assert!(handshake(tls::client(&key(1), public(2)).unwrap(), server).is_err());
}

/// A public key that was copied, with another private key behind it.
fn copied(public: PublicKey, private: &PrivateKey) -> Arc<CertifiedKey> {
    let spki = CertificateDer::from(public.spki().as_ref().to_vec());
    Arc::new(CertifiedKey::new(vec![spki], private.signing_key().unwrap()))
}

#[test]
fn a_copied_public_key_without_its_private_key_is_refused() {
    // A client that shows host 1's key, but signs with host 3's.
    let mut client = tls::client(&key(3), public(2)).unwrap();
    client.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(copied(public(1), &key(3))));
    let server = tls::server(&key(2), vec![public(1)]).unwrap();
    assert!(handshake(client, server).is_err());

    // A server that shows host 2's key, but signs with host 3's.
    let client = tls::client(&key(1), public(2)).unwrap();
    let mut server = tls::server(&key(3), vec![public(1)]).unwrap();
    server.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(copied(public(2), &key(3))));
    assert!(handshake(client, server).is_err());

    // With the right private key the same construction passes.
    let mut client = tls::client(&key(3), public(2)).unwrap();
    client.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(copied(public(1), &key(1))));
    let server = tls::server(&key(2), vec![public(1)]).unwrap();
    assert!(handshake(client, server).is_ok());
}

/// "Nothing a stranger gets may differ in a way that tells which peers exist": whoever cannot sign for a key is told the same
/// whether or not it is a peer's, and at either end.
#[test]
fn a_copied_key_does_not_tell_whether_it_is_a_peers() {
    for copy in [public(1), public(4)] {
        let mut client = tls::client(&key(3), public(2)).unwrap();
        client.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(copied(copy, &key(3))));
        let refusal = told_handshake(client, tls::server(&key(2), vec![public(1)]).unwrap()).err().unwrap();
        assert_eq!(refusal.alert, Some(AlertDescription::DecryptError), "{copy}: {refusal:?}");

        let mut server = tls::server(&key(3), vec![public(2)]).unwrap();
        server.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(copied(copy, &key(3))));
        let refusal = told_handshake(tls::client(&key(2), public(1)).unwrap(), server).err().unwrap();
        assert_eq!(refusal.alert, Some(AlertDescription::DecryptError), "{copy}: {refusal:?}");
    }
    // Whoever can is told that it is no peer.
    let server = tls::server(&key(2), vec![public(1)]).unwrap();
    let refusal = told_handshake(tls::client(&key(3), public(2)).unwrap(), server).err().unwrap();
    assert_eq!(refusal.alert, Some(AlertDescription::AccessDenied));
}

#[test]
fn a_client_without_a_key_is_refused() {
    let provider = tls::provider();
    let verifier = Pinned::verifier(vec![public(2)].into(), provider.signature_verification_algorithms);
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    assert!(handshake(client, tls::server(&key(2), vec![public(1)]).unwrap()).is_err());
}

/// Whoever is removed is refused from the next handshake on, with the same settings.
#[test]
fn who_may_speak_is_looked_up_at_each_handshake() {
    let allowed = tls::Allowed::from(vec![public(1)]);
    let server = tls::server(&key(2), allowed.clone()).unwrap();
    let dial = |number: u8| handshake(tls::client(&key(number), public(2)).unwrap(), server.clone());
    assert!(dial(1).is_ok() && dial(3).is_err());
    allowed.replace([public(3)]);
    assert!(dial(1).is_err() && dial(3).is_ok());
    allowed.replace([]);
    assert!(dial(1).is_err() && dial(3).is_err());
}
