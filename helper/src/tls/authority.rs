// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The private CA: which certificates are trusted, and which of them are revoked (RFC 5280).
//!
//! Only the CAs of the file are; the system's are not asked. A CA of the file is a name, a key and its name constraints: its
//! own validity is not looked at (section 6.1.1 d), it is trusted for as long as the file names it.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use webpki::{
    anchor_from_trusted_cert, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder,
};

/// Why a file of the CA was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Not PEM.
    #[error("not PEM: {0}")]
    Pem(String),
    /// PEM, but nothing of the kind that is wanted in it.
    #[error("no {0} in it")]
    Empty(&'static str),
    /// A certificate or list that cannot be used.
    #[error("{what} {number}: {source}")]
    Unusable {
        /// What it is.
        what: &'static str,
        /// Which one of the file, from 1.
        number: usize,
        /// What is wrong with it.
        source: Untrusted,
    },
}

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", words(.0))]
pub struct Untrusted(pub webpki::Error);

impl From<webpki::Error> for Untrusted {
    fn from(error: webpki::Error) -> Self {
        Self(error)
    }
}

fn words(error: &webpki::Error) -> String {
    use webpki::Error as E;
    let text = match error {
        E::UnknownIssuer => "it leads to none of the trusted CAs",
        E::CertExpired { .. } => "it, or that of a CA it leads to, has expired",
        E::CertNotValidYet { .. } => "it, or that of a CA it leads to, is not valid yet; is this host's clock right?",
        E::CertRevoked => "it, or that of a CA it leads to, was revoked",
        E::CrlExpired { .. } => "the revocation list of a CA it leads to is out of date",
        E::UnknownRevocationStatus => "there is no revocation list of a CA it leads to",
        E::CaUsedAsEndEntity => "it is that of a CA",
        E::EndEntityUsedAsCa => "it was signed by a host that is no CA",
        E::PathLenConstraintViolated => "more CAs lie between than one of them allows",
        E::NameConstraintViolation => "a CA may not give it these names",
        E::MalformedExtensions => "its extensions cannot be read, or it is a revocation list without any",
        E::RequiredEkuNotFoundContext(_) => "it may not be used at this end of a session (extended key usage)",
        other => return format!("it cannot be used: {other}"),
    };
    text.to_owned()
}

/// What a peer uses its certificate as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It opened the session.
    Client,
    /// It was dialled.
    Server,
}

impl Usage {
    /// id-kp-clientAuth or id-kp-serverAuth; a certificate without extended key usage may be used as either.
    fn key_usage(self) -> KeyUsage {
        match self {
            Self::Client => KeyUsage::client_auth(),
            Self::Server => KeyUsage::server_auth(),
        }
    }
}

/// The certificates of a PEM file, the first first.
///
/// # Errors
/// What is not PEM; no certificate.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| AuthorityError::Pem(error.to_string()))?;
    match found.is_empty() {
        true => Err(AuthorityError::Empty("certificate")),
        false => Ok(found),
    }
}

/// CAs and what they have revoked.
#[derive(Debug)]
pub struct Authority {
    anchors: Vec<TrustAnchor<'static>>,
    /// `None`: nothing is looked up.
    revoked: Option<Vec<CertRevocationList<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Authority {
    /// Reads PEM files: the CAs' certificates, and their revocation lists if there is such a file.
    ///
    /// # Errors
    /// What is not PEM; a file without what is wanted in it; what cannot be used.
    pub fn new(
        cas: &[u8],
        revocation_lists: Option<&[u8]>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, AuthorityError> {
        let unusable = |what, at: usize| {
            move |source| AuthorityError::Unusable { what, number: at + 1, source: Untrusted(source) }
        };
        let mut anchors = Vec::new();
        for (at, certificate) in certificates(cas)?.iter().enumerate() {
            let anchor = anchor_from_trusted_cert(certificate).map_err(unusable("certificate", at))?;
            anchors.push(anchor.to_owned());
        }
        let revoked = revocation_lists.map(|pem| {
            let mut lists = Vec::new();
            for (at, list) in CertificateRevocationListDer::pem_slice_iter(pem).enumerate() {
                let list = list.map_err(|error| AuthorityError::Pem(error.to_string()))?;
                let list = OwnedCertRevocationList::from_der(&list).map_err(unusable("revocation list", at))?;
                lists.push(CertRevocationList::from(list));
            }
            match lists.is_empty() {
                true => Err(AuthorityError::Empty("revocation list")),
                false => Ok(lists),
            }
        });
        Ok(Self { anchors, revoked: revoked.transpose()?, algorithms })
    }

    /// Whether a certificate leads to one of the CAs, at a time and for a usage: signatures, validity, path lengths, name
    /// constraints, key usage, and that nothing on the way is revoked. With a file of revocation lists, each CA on the way
    /// must have one there that is not out of date.
    ///
    /// # Errors
    /// The first thing that is wrong with the path that came farthest.
    pub fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), Untrusted> {
        let end_entity = EndEntityCert::try_from(certificate)?;
        let lists: Vec<_> = self.revoked.iter().flatten().collect();
        // Without lists there is nothing to build.
        let revocation = RevocationOptionsBuilder::new(&lists)
            .ok()
            .map(|builder| builder.with_expiration_policy(ExpirationPolicy::Enforce).build());
        let verified = end_entity.verify_for_usage(
            self.algorithms.all,
            &self.anchors,
            intermediates,
            now,
            usage.key_usage(),
            revocation,
            None,
        );
        Ok(verified.map(drop)?)
    }
}
