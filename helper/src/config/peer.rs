// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Peers of a configuration, and the rules they keep among themselves.

use pdmv2_proto::uapi::{KeyMode, OnFailure, Profile, EPOCH_PACKETS_MAX, EPOCH_SECONDS_MAX, NAME_MAX, PREFIXES_MAX};
use toml::Spanned;

use super::error::ConfigError;
use super::locate::Source;
use super::{one_of, parsed, raw, within, Host, Peer, DEFAULT_LIFETIME};
use crate::identity::Identity;
use crate::negotiate::LIFETIME_MAX;
use crate::prefix::{Prefix, PrefixError};

/// Reads all peers, of a host if its own table could be read. Remote prefixes of two peers must not overlap: an address
/// belongs to one identity.
pub fn peers(source: &Source<'_>, raw: Vec<raw::Peer>, host: Option<&Host>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::with_capacity(raw.len());
    for raw in raw {
        let remote_span = raw.remote.span();
        let name_span = raw.name.span();
        let identity_span = raw.public_key.as_ref().or(raw.subject.as_ref()).map_or(name_span.clone(), Spanned::span);
        let Some(peer) = peer(source, raw, host) else { continue };
        let wrong = |span, message| source.complain(source.wrong(span, message));
        for other in &peers {
            if other.name == peer.name {
                wrong(name_span.clone(), format!("another peer is named `{}`", peer.name));
            }
            if other.identity == peer.identity {
                let what = if matches!(peer.identity, Identity::Key(_)) { "key" } else { "subject" };
                wrong(identity_span.clone(), format!("peer `{}` has this {what}", other.name));
            }
            if let Some((mine, theirs)) = overlap(&peer, other) {
                let whose = format!("overlaps {theirs} of peer `{}`; an address belongs to one peer", other.name);
                wrong(remote_span.clone(), format!("{mine} {whose}"));
            }
        }
        peers.push(peer);
    }
    peers
}

/// Addresses that two peers have in common: a prefix of each.
pub fn overlap(peer: &Peer, other: &Peer) -> Option<(Prefix, Prefix)> {
    let pairs = peer.remote.iter().flat_map(|mine| other.remote.iter().map(move |theirs| (*mine, *theirs)));
    // The same link-local address on two interfaces is two addresses, and so is any other in two VRFs.
    let apart = |mine: &Prefix, theirs: &Prefix| match (mine.is_link_local(), theirs.is_link_local()) {
        (true, true) => peer.interface != other.interface,
        _ => peer.vrf != other.vrf,
    };
    pairs.into_iter().find(|(mine, theirs)| mine.overlaps(theirs) && !apart(mine, theirs))
}

/// Every key is looked at, whatever is wrong with another.
fn peer(source: &Source<'_>, raw: raw::Peer, host: Option<&Host>) -> Option<Peer> {
    let name = source.note(name(source, &raw.name));
    let identity = source.note(identity(source, &raw, host));
    let endpoint = raw
        .endpoint
        .as_ref()
        .map(|text| source.note(parsed(source, text, "an address and port such as \"[fd00::2]:4480\"")));
    let local = source.note(prefixes(source, &raw.local, raw.interface.as_ref()));
    let remote = source.note(prefixes(source, &raw.remote, raw.interface.as_ref()));
    let profile = match &raw.profile {
        Some(value) => source.note(one_of(source, value, &Profile::ALL, Profile::name)),
        None => Some(Profile::V2),
    };
    let key_mode = match &raw.key_mode {
        Some(value) => source.note(one_of(source, value, &KeyMode::ALL, KeyMode::name)),
        None => Some(KeyMode::Helper),
    };
    let on_failure = match &raw.on_failure {
        Some(value) => source.note(one_of(source, value, &OnFailure::ALL, OnFailure::name)),
        None => Some(OnFailure::Deliver),
    };
    let lifetime = source.note(within(source, raw.lifetime, 60, LIFETIME_MAX));
    let epoch_packets = source.note(within(source, raw.epoch_packets, 1, EPOCH_PACKETS_MAX as u32));
    let epoch_seconds = source.note(within(source, raw.epoch_seconds, 1, EPOCH_SECONDS_MAX as u32));
    let renew_packets = source.note(within(source, raw.renew_packets, 1, i64::MAX as u64));
    let preference = host.map(|host| host.preference.clone()).unwrap_or_default();
    let preference = source.note(preference.with(source, &raw.kem, &raw.kdf, &raw.aead));
    Some(Peer {
        name: name?,
        identity: identity?,
        endpoint: match endpoint {
            Some(endpoint) => Some(endpoint?),
            None => None,
        },
        interface: raw.interface.map(Spanned::into_inner),
        vrf: raw.vrf,
        local: local?,
        remote: remote?,
        profile: profile?,
        key_mode: key_mode?,
        on_failure: on_failure?,
        lifetime: lifetime?.unwrap_or(DEFAULT_LIFETIME),
        epoch_packets: epoch_packets?,
        epoch_seconds: epoch_seconds?,
        renew_packets: renew_packets?,
        suites: preference?.suites(),
    })
}

fn name(source: &Source<'_>, name: &Spanned<String>) -> Result<String, ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text = name.get_ref();
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(plain) {
        let message = format!("a name is 1 to {NAME_MAX} letters, digits, dots, hyphens and underscores");
        return Err(source.wrong(name.span(), message));
    }
    Ok(text.clone())
}

/// A pinned key or a certified name, one of the two.
fn identity(source: &Source<'_>, raw: &raw::Peer, host: Option<&Host>) -> Result<Identity, ConfigError> {
    match (&raw.public_key, &raw.subject) {
        (Some(key), None) => parsed(source, key, "a public key (32 bytes in base64)").map(Identity::Key),
        // Where [host] is wrong, that is told.
        (None, Some(subject)) if host.is_some_and(|host| host.certificates.is_none()) => {
            Err(source.wrong(subject.span(), "`certificate-file` and `ca-file` are missing in [host]"))
        }
        (None, Some(subject)) => {
            let expected =
                "a name that a certificate can carry: \"web.example\", or a URI such as \"spiffe://example/web\"";
            parsed(source, subject, expected).map(Identity::Subject)
        }
        (Some(_), Some(subject)) => {
            Err(source.wrong(subject.span(), "a peer is named by `public-key` or by `subject`, not by both"))
        }
        (None, None) => Err(source.wrong(raw.name.span(), "`public-key` or `subject` is missing")),
    }
}

fn prefixes(
    source: &Source<'_>,
    list: &Spanned<Vec<Spanned<String>>>,
    interface: Option<&Spanned<String>>,
) -> Result<Vec<Prefix>, ConfigError> {
    if list.get_ref().is_empty() || list.get_ref().len() > PREFIXES_MAX {
        return Err(source.wrong(list.span(), format!("1 to {PREFIXES_MAX} prefixes expected")));
    }
    list.get_ref()
        .iter()
        .map(|text| {
            let prefix = prefix(source, text)?;
            if prefix.is_link_local() && interface.is_none() {
                return Err(
                    source.wrong(text.span(), format!("{prefix} is link-local: say which `interface` it is on"))
                );
            }
            Ok(prefix)
        })
        .collect()
}

/// A prefix.
pub fn prefix(source: &Source<'_>, text: &Spanned<String>) -> Result<Prefix, ConfigError> {
    text.get_ref()
        .parse()
        .map_err(|error: PrefixError| source.wrong(text.span(), format!("`{}`: {error}", text.get_ref())))
}
