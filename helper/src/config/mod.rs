// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The daemon's configuration, one TOML file, and policy files.
//!
//! Whatever is wrong is told with file, line and key, before anything is changed.

pub mod error;
pub mod examine;
mod locate;
mod peer;
mod raw;
mod rule;
mod suite;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::{KeyMode, OnFailure, Profile};
use toml::Spanned;

pub use error::ConfigError;
use locate::Source;
pub use peer::overlap;
pub use suite::Preference;

use crate::control::DEFAULT_SOCKET;
use crate::daemon::admission::{DEFAULT_RATE, RATE_MAX};
use crate::identity::Identity;
use crate::negotiate::IDLE_MAX;
use crate::netlink::policy::Policy;
use crate::prefix::Prefix;
use crate::tls::CertificateFiles;

/// The port helpers listen on and are dialled at, unless the configuration says otherwise.
pub const DEFAULT_PORT: u16 = 4480;

/// Seconds after which an idle flow may be dropped, unless the configuration says otherwise.
pub const DEFAULT_IDLE: u32 = 600;

/// Seconds a secret lives, unless the configuration says otherwise.
pub const DEFAULT_LIFETIME: u32 = 86_400;

/// Everything the daemon is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// This host.
    pub host: Host,
    /// The others.
    pub peers: Vec<Peer>,
    /// What is measured.
    pub policy: Policy,
}

/// This host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// File of the private key.
    pub private_key_file: PathBuf,
    /// This host's certificate and the private CA's; `None` where every peer's key is pinned.
    pub certificates: Option<CertificateFiles>,
    /// Where peers may dial.
    pub listen: SocketAddr,
    /// Connections a second that peers, or strangers, may open from one IPv4 address or IPv6 /64.
    pub rate: u32,
    /// Seconds after which an idle flow may be dropped.
    pub idle: u32,
    /// Where pair secrets are logged; `None`, the default, for nowhere.
    pub key_log: Option<PathBuf>,
    /// Where commands reach the daemon, if it is told.
    pub control_socket: Option<PathBuf>,
    /// KEMs, KDFs and AEADs to negotiate with peers that say nothing else.
    pub preference: Preference,
}

impl Host {
    /// Where commands reach the daemon.
    pub fn control_socket(&self) -> &Path {
        self.control_socket.as_deref().unwrap_or_else(|| Path::new(DEFAULT_SOCKET))
    }
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name here, and that of its association.
    pub name: String,
    /// Its identity.
    pub identity: Identity,
    /// Where to dial it; without, it dials.
    pub endpoint: Option<SocketAddr>,
    /// Interface its link-local addresses are on.
    pub interface: Option<String>,
    /// VRF its other addresses are in; `None` for no VRF.
    pub vrf: Option<String>,
    /// This host's addresses that it may measure.
    pub local: Vec<Prefix>,
    /// Its addresses.
    pub remote: Vec<Prefix>,
    /// Wire profile that is preferred in a negotiation; the other will do.
    pub profile: Profile,
    /// Who derives flow keys.
    pub key_mode: KeyMode,
    /// What becomes of packets whose option fails authentication.
    pub on_failure: OnFailure,
    /// Seconds a secret lives that this host's negotiation made.
    pub lifetime: u32,
    /// Options after which an epoch ends; `None` for as many as there are PSNs.
    pub epoch_packets: Option<u32>,
    /// Seconds after which an epoch ends; `None` for never.
    pub epoch_seconds: Option<u32>,
    /// Options sealed under a secret after which another is negotiated; `None` for any number.
    pub renew_packets: Option<u64>,
    /// Suites to negotiate, best first.
    pub suites: Vec<Suite>,
}

/// The text of a file.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Reads the daemon's configuration.
///
/// # Errors
/// A file that cannot be read; the first thing in it that is wrong.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    parse(path, &read(path)?)
}

/// Reads a file of rules alone, as `pdmv2 policy set` takes it; tables of the daemon's other settings are allowed and left
/// aside, so that the daemon's own file can be given.
///
/// # Errors
/// As for [`load`].
pub fn load_policy(path: &Path) -> Result<Policy, ConfigError> {
    parse_policy(path, &read(path)?)
}

/// [`load`], of a text.
///
/// # Errors
/// As for [`load`].
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    check(path, text).map_err(first)
}

/// [`parse`], but all that is wrong is told, from the first line on: what is no TOML, or else everything that can be told
/// apart.
///
/// # Errors
/// As for [`load`].
pub fn check(path: &Path, text: &str) -> Result<Config, Vec<ConfigError>> {
    let source = Source::new(path, text);
    let config = raw::Config::read(&source).and_then(|raw| {
        let host = raw.host.and_then(|raw| host(&source, raw));
        let peers = peer::peers(&source, raw.peer, host.as_ref());
        let mut policy = rule::policy(&source, raw.policy, raw.rule);
        let host = host?;
        policy.limits.idle.get_or_insert(host.idle);
        Some(Config { host, peers, policy })
    });
    all_or_problems(source, config)
}

/// [`load_policy`], of a text.
///
/// # Errors
/// As for [`load`].
pub fn parse_policy(path: &Path, text: &str) -> Result<Policy, ConfigError> {
    let source = Source::new(path, text);
    let raw = toml::from_str::<raw::PolicyFile>(text).map_err(|error| source.syntax(&error))?;
    let policy = rule::policy(&source, raw.policy, raw.rule);
    all_or_problems(source, Some(policy)).map_err(first)
}

/// What was read, if nothing is wrong with any of it.
fn all_or_problems<T>(source: Source<'_>, read: Option<T>) -> Result<T, Vec<ConfigError>> {
    match (source.problems(), read) {
        (problems, Some(read)) if problems.is_empty() => Ok(read),
        (problems, _) => Err(problems),
    }
}

/// The first of several problems, of which there is one at least.
fn first(problems: Vec<ConfigError>) -> ConfigError {
    let none = || ConfigError::Read { path: PathBuf::new(), source: std::io::Error::other("nothing was read") };
    problems.into_iter().next().unwrap_or_else(none)
}

fn host(source: &Source<'_>, raw: raw::Host) -> Option<Host> {
    let listen = match raw.listen {
        Some(text) => source.note(parsed(source, &text, "an address and port such as \"[::]:4480\"")),
        None => Some(SocketAddr::from(([0u16; 8], DEFAULT_PORT))),
    };
    let certificates = source.note(certificates(source, raw.certificate_file, raw.ca_file, raw.crl_file));
    let rate = source.note(within(source, raw.handshake_rate, 1, RATE_MAX));
    let idle = source.note(within(source, raw.idle, 1, IDLE_MAX));
    let preference = source.note(Preference::default().with(source, &raw.kem, &raw.kdf, &raw.aead));
    Some(Host {
        private_key_file: raw.private_key_file,
        certificates: certificates?,
        listen: listen?,
        rate: rate?.unwrap_or(DEFAULT_RATE),
        idle: idle?.unwrap_or(DEFAULT_IDLE),
        key_log: raw.key_log,
        control_socket: raw.control_socket,
        preference: preference?,
    })
}

/// A certificate and the CA go together; revocation lists are the CA's.
fn certificates(
    source: &Source<'_>,
    certificate: Option<Spanned<PathBuf>>,
    ca: Option<Spanned<PathBuf>>,
    crl: Option<Spanned<PathBuf>>,
) -> Result<Option<CertificateFiles>, ConfigError> {
    match (certificate, ca, crl) {
        (Some(certificate), Some(ca), crl) => Ok(Some(CertificateFiles {
            certificate: certificate.into_inner(),
            ca: ca.into_inner(),
            crl: crl.map(Spanned::into_inner),
        })),
        (Some(certificate), None, _) => Err(source.wrong(certificate.span(), "`ca-file` is missing beside it")),
        (None, Some(other), _) | (None, None, Some(other)) => {
            Err(source.wrong(other.span(), "`certificate-file` is missing beside it"))
        }
        (None, None, None) => Ok(None),
    }
}

/// A text that is read by its type's own rules.
fn parsed<T: std::str::FromStr>(source: &Source<'_>, text: &Spanned<String>, expected: &str) -> Result<T, ConfigError> {
    text.get_ref().parse().map_err(|_| source.wrong(text.span(), format!("`{}` is not {expected}", text.get_ref())))
}

/// A number within bounds.
fn within<T: Copy + PartialOrd + std::fmt::Display>(
    source: &Source<'_>,
    value: Option<Spanned<T>>,
    least: T,
    most: T,
) -> Result<Option<T>, ConfigError> {
    match value {
        Some(value) if (least..=most).contains(value.get_ref()) => Ok(Some(value.into_inner())),
        Some(value) => Err(source.wrong(value.span(), format!("{} is not within {least} to {most}", value.get_ref()))),
        None => Ok(None),
    }
}

/// One of some names.
fn one_of<T: Copy>(
    source: &Source<'_>,
    value: &Spanned<String>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, ConfigError> {
    all.iter().copied().find(|one| name(*one) == value.get_ref()).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        source.wrong(value.span(), format!("`{}` is not one of: {}", value.get_ref(), names.join(", ")))
    })
}
