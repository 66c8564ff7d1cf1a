// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Names that certificates give hosts: a dNSName or a uniformResourceIdentifier of the subjectAltName (RFC 5280 section
//! 4.2.1.6), as IKE and meshes of services use them. The common name says nothing (RFC 9525 section 2).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// Longest URI, bytes: that of a SPIFFE ID.
const URI_MAX: usize = 2048;

/// Not a name of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a DNS name such as \"web.example\" nor a URI such as \"spiffe://example/web\"")]
pub struct SubjectError;

/// A name. A host is named as a whole: there are no wildcards, and nothing but case is left aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A dNSName, in lower case.
    Dns(String),
    /// A uniformResourceIdentifier, byte for byte.
    Uri(String),
}

impl Subject {
    /// A dNSName of a certificate; `None` for one that names no single host.
    pub fn dns(name: &str) -> Option<Self> {
        let address = name.parse::<IpAddr>().is_ok();
        let plain = !address && !name.ends_with('.') && DnsName::try_from(name).is_ok();
        plain.then(|| Self::Dns(name.to_ascii_lowercase()))
    }

    /// A uniformResourceIdentifier of a certificate; `None` for what is none.
    pub fn uri(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(plain);
        // With an authority, or a URN: what else has a colon is more likely an address with a port.
        let (_, name) = rest.split_once("//").filter(|(before, _)| before.is_empty()).unwrap_or(("", rest));
        let whole = !name.is_empty() && (name.len() < rest.len() || scheme.eq_ignore_ascii_case("urn"));
        let shown = whole && rest.bytes().all(|c| c.is_ascii_graphic());
        (named && shown && text.len() <= URI_MAX).then(|| Self::Uri(text.to_owned()))
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        match text.contains(':') {
            true => Self::uri(text),
            false => Self::dns(text),
        }
        .ok_or(SubjectError)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts() {
        let dns = |name: &str| Some(Subject::Dns(name.into()));
        let uri = |text: &str| Some(Subject::Uri(text.into()));
        let long = format!("urn:{}", "a".repeat(URI_MAX));
        let table = [
            ("web.example", dns("web.example")),
            ("WEB.Example", dns("web.example")),
            ("web", dns("web")),
            ("_x.example", dns("_x.example")),
            ("spiffe://example/Web", uri("spiffe://example/Web")),
            ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", uri("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),
            // More than one host, and no host.
            ("*.example", None),
            ("web.example.", None),
            ("", None),
            ("a b", None),
            ("web..example", None),
            ("2001:db8::1", None),
            ("fd00::1", None),
            ("192.0.2.1", None),
            ("web.example:4480", None),
            ("spiffe://", None),
            ("://example", None),
            ("spiffe:", None),
            ("spiffe://exa mple", None),
            ("spiffe://ex\u{e4}mple", None),
            (&long, None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse().ok(), expected, "{text}");
            if let Some(subject) = expected {
                assert_eq!(subject.to_string().parse(), Ok(subject));
            }
        }
    }
}
