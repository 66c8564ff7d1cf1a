// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Certificates and revocation lists: of peers in DER, of files in PEM.

use pdmv2::identity::Authenticated;
use pdmv2::tls::authority::{certificates, Authority, Usage};
use pdmv2::tls::certificate::holder;
use pdmv2::tls::{authenticated, provider};
use rustls::pki_types::{CertificateDer, UnixTime};

/// What a peer shows: a certificate, or a raw key. It is trusted by nobody whose only CA is itself.
pub fn presented(input: &[u8]) {
    let certificate = CertificateDer::from(input);
    let found = authenticated(&certificate);
    if let Ok(holder) = holder(&certificate) {
        assert_eq!(found.as_ref(), Some(&holder));
    }
    if let Some(Authenticated::Certificate { subjects, .. }) = found {
        for subject in subjects {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
    }
}

/// A file of certificates and lists, read as either; then the first certificate is verified by what was read.
pub fn files(input: &[u8]) {
    let algorithms = provider().signature_verification_algorithms;
    let found = certificates(input);
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(2_000_000_000));
    for lists in [None, Some(input)] {
        let Ok(authority) = Authority::new(input, lists, algorithms) else { continue };
        let Some((first, more)) = found.as_ref().ok().and_then(|found| found.split_first()) else { continue };
        for usage in [Usage::Client, Usage::Server] {
            let _ = authority.verify(first, more, now, usage);
        }
    }
}
