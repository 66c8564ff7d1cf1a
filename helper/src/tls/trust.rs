// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! This host's certificate and the CA it trusts, as files hold them; files that change are read again, so that certificates
//! may be short-lived and revocation lists fresh without a restart.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::SignatureScheme;

use super::authority::{certificates, Authority, AuthorityError, Untrusted, Usage};
use super::certificate::{holder, CertificateError};
use super::config::provider;
use crate::identity::{Authenticated, KeyError, PrivateKey, PublicKey};

/// Longest file that is read, bytes.
const FILE_MAX: u64 = 16 << 20;

/// Where certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// This host's certificate, then those of the CAs between it and the private CA.
    pub certificate: PathBuf,
    /// The private CA's certificate, or those of several.
    pub ca: PathBuf,
    /// Their revocation lists; `None` for none.
    pub crl: Option<PathBuf>,
}

/// Why certificates were refused.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// This host's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of something else.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: AuthorityError,
    },
    /// This host's certificate.
    #[error("{path}: {source}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// This host's certificate is another's.
    #[error("{0}: the certificate is not that of this host's private key")]
    OtherKey(PathBuf),
}

impl TrustError {
    /// The setting that names the file.
    pub fn setting(&self, files: &CertificateFiles) -> &'static str {
        let path = match self {
            Self::Key(_) => return "host.private-key-file",
            Self::Read { path, .. }
            | Self::File { path, .. }
            | Self::Certificate { path, .. }
            | Self::OtherKey(path) => path,
        };
        match path {
            path if *path == files.ca => "host.ca-file",
            path if Some(path) == files.crl.as_ref() => "host.crl-file",
            _ => "host.certificate-file",
        }
    }
}

/// What the files held when they were last read.
#[derive(Debug)]
struct Held {
    certified: Arc<CertifiedKey>,
    own: Authenticated,
    authority: Authority,
}

/// A file's version: device, number, length, and time of change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// This host's certificate, and the CA that certifies its peers.
#[derive(Debug)]
pub struct Trust {
    files: CertificateFiles,
    public: PublicKey,
    signing: Arc<dyn SigningKey>,
    held: RwLock<Arc<Held>>,
    /// Of each file, as it was looked at last.
    stamps: Mutex<Vec<Stamp>>,
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be used; a certificate of another key than this host's.
    pub fn load(files: CertificateFiles, own: &PrivateKey) -> Result<Self, TrustError> {
        let (public, signing) = (own.public()?, own.signing_key()?);
        let stamps = Mutex::new(stamps(&files));
        let held = RwLock::new(Arc::new(read_all(&files, public, &signing)?));
        Ok(Self { files, public, signing, held, stamps })
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again if one of them has changed, and says whether it did.
    ///
    /// # Errors
    /// As for [`Trust::load`]; then what was held before stays, and nothing is read until a file changes once more.
    pub fn look_again(&self) -> Result<bool, TrustError> {
        // Before they are read: a change meanwhile is seen the next time.
        let now = stamps(&self.files);
        let mut known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return Ok(false);
        }
        *known = now;
        let held = Arc::new(read_all(&self.files, self.public, &self.signing)?);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(true)
    }

    /// Who this host's certificate says it is.
    pub fn own(&self) -> Authenticated {
        self.held().own.clone()
    }

    /// What others would say to this host's certificate now, if they trust the same CA.
    ///
    /// # Errors
    /// As for [`Authority::verify`].
    pub fn own_is_valid(&self, now: UnixTime) -> Result<(), Untrusted> {
        let held = self.held();
        let (own, more) = held.certified.cert.split_first().ok_or(webpki::Error::BadDer)?;
        held.authority.verify(own, more, now, Usage::Client)?;
        held.authority.verify(own, more, now, Usage::Server)
    }

    /// [`Authority::verify`], by what the files hold now.
    ///
    /// # Errors
    /// As for [`Authority::verify`].
    pub fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), Untrusted> {
        self.held().authority.verify(certificate, intermediates, now, usage)
    }
}

impl ResolvesServerCert for Trust {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.held().certified))
    }
}

impl ResolvesClientCert for Trust {
    fn resolve(&self, _cas: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.held().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn stamps(files: &CertificateFiles) -> Vec<Stamp> {
    let stamp = |meta: Metadata| (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    let paths = [Some(&files.certificate), Some(&files.ca), files.crl.as_ref()];
    paths.into_iter().flatten().map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    let read = read.and_then(|_| match bytes.len() as u64 > FILE_MAX {
        true => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        false => Ok(bytes),
    });
    read.map_err(|source| TrustError::Read { path: path.to_owned(), source })
}

fn read_all(files: &CertificateFiles, public: PublicKey, signing: &Arc<dyn SigningKey>) -> Result<Held, TrustError> {
    let wrong = |path: &Path, source| TrustError::File { path: path.to_owned(), source };
    let chain = certificates(&read(&files.certificate)?).map_err(|error| wrong(&files.certificate, error))?;
    let own = chain.first().ok_or(CertificateError::Malformed).and_then(holder);
    let own = own.map_err(|source| TrustError::Certificate { path: files.certificate.clone(), source })?;
    if own.key() != public {
        return Err(TrustError::OtherKey(files.certificate.clone()));
    }
    let cas = read(&files.ca)?;
    // What is wrong with the lists is told as theirs: the CAs alone are read first.
    let algorithms = provider().signature_verification_algorithms;
    let authority = Authority::new(&cas, None, algorithms).map_err(|error| wrong(&files.ca, error))?;
    let authority = match &files.crl {
        Some(path) => Authority::new(&cas, Some(&read(path)?), algorithms).map_err(|error| wrong(path, error))?,
        None => authority,
    };
    Ok(Held { certified: Arc::new(CertifiedKey::new(chain, Arc::clone(signing))), own, authority })
}
