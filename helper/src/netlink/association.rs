// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Associations: which addresses of which peer a pair secret may speak for.

use pdmv2_proto::uapi::attr::association as attr;
use pdmv2_proto::uapi::{KeyMode, OnFailure, Profile};
use serde::Serialize;

use super::attribute::{Attributes, Builder};
use super::error::Malformed;
use super::flow_id::{get_prefix, put_prefix};
use super::secret::HeldSecret;
use crate::prefix::Prefix;

/// What association-set takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// Name, 1 to 63 bytes.
    pub name: String,
    /// Wire profile.
    pub profile: Profile,
    /// Who derives the flow keys.
    pub key_mode: KeyMode,
    /// What becomes of a packet whose option fails authentication.
    pub on_failure: OnFailure,
    /// Interface of link-local addresses, or 0.
    pub ifindex: u32,
    /// VRF of other addresses, or 0.
    pub vrf: u32,
    /// This host's addresses.
    pub local: Vec<Prefix>,
    /// The peer's addresses.
    pub remote: Vec<Prefix>,
    /// Seconds after which the peer forgets an idle flow, once it told.
    pub peer_idle: Option<u32>,
    /// Options after which an epoch ends, if before its PSNs are used up.
    pub epoch_packets: Option<u32>,
    /// Seconds after which an epoch ends.
    pub epoch_seconds: Option<u32>,
    /// Options sealed under a secret after which another is due.
    pub renew_packets: Option<u64>,
}

impl Association {
    /// The request's attributes.
    pub fn encode(&self) -> Builder {
        let mut builder = Builder::default();
        builder
            .text(attr::NAME, &self.name)
            .u8(attr::PROFILE, self.profile as u8)
            .u8(attr::KEY_MODE, self.key_mode as u8)
            .u8(attr::ON_FAILURE, self.on_failure as u8)
            .u32(attr::IFINDEX, self.ifindex)
            .u32(attr::VRF, self.vrf);
        self.local.iter().for_each(|prefix| put_prefix(&mut builder, attr::LOCAL, prefix));
        self.remote.iter().for_each(|prefix| put_prefix(&mut builder, attr::REMOTE, prefix));
        let numbers = [
            (attr::PEER_IDLE, self.peer_idle),
            (attr::EPOCH_PACKETS, self.epoch_packets),
            (attr::EPOCH_SECONDS, self.epoch_seconds),
        ];
        for (kind, number) in numbers {
            if let Some(number) = number {
                builder.u32(kind, number);
            }
        }
        if let Some(number) = self.renew_packets {
            builder.u64(attr::RENEW_PACKETS, number);
        }
        builder
    }
}

/// What association-get tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AssociationInfo {
    /// Name.
    pub name: String,
    /// Wire profile, by the specification's name.
    pub profile: String,
    /// Who derives the flow keys.
    pub key_mode: String,
    /// What becomes of a packet whose option fails authentication.
    pub on_failure: String,
    /// Interface of link-local addresses, or 0.
    pub ifindex: u32,
    /// VRF of other addresses, or 0.
    pub vrf: u32,
    /// This host's addresses.
    pub local: Vec<Prefix>,
    /// The peer's addresses.
    pub remote: Vec<Prefix>,
    /// Seconds after which the peer forgets an idle flow, once it told.
    pub peer_idle: Option<u32>,
    /// Options after which an epoch ends, if before its PSNs are used up.
    pub epoch_packets: Option<u32>,
    /// Seconds after which an epoch ends.
    pub epoch_seconds: Option<u32>,
    /// Options sealed under a secret after which another is due.
    pub renew_packets: Option<u64>,
    /// The secrets held now, without any key.
    pub secrets: Vec<HeldSecret>,
}

impl AssociationInfo {
    /// Reads an answer.
    ///
    /// # Errors
    /// An attribute of a wrong length, or no name.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut info = Self::default();
        for attribute in Attributes(bytes) {
            let attribute = attribute?;
            match attribute.kind {
                attr::NAME => info.name = attribute.text()?,
                attr::PROFILE => {
                    info.profile = named(attribute.u8()?, |value| Profile::from_u8(value).map(Profile::name))
                }
                attr::KEY_MODE => {
                    info.key_mode = named(attribute.u8()?, |value| KeyMode::from_u8(value).map(KeyMode::name))
                }
                attr::ON_FAILURE => {
                    info.on_failure = named(attribute.u8()?, |value| OnFailure::from_u8(value).map(OnFailure::name))
                }
                attr::IFINDEX => info.ifindex = attribute.u32()?,
                attr::VRF => info.vrf = attribute.u32()?,
                attr::LOCAL => info.local.push(get_prefix(attribute.nest())?),
                attr::REMOTE => info.remote.push(get_prefix(attribute.nest())?),
                attr::PEER_IDLE => info.peer_idle = Some(attribute.u32()?),
                attr::EPOCH_PACKETS => info.epoch_packets = Some(attribute.u32()?),
                attr::EPOCH_SECONDS => info.epoch_seconds = Some(attribute.u32()?),
                attr::RENEW_PACKETS => info.renew_packets = Some(attribute.uint()?),
                attr::SECRET => info.secrets.push(HeldSecret::decode(attribute.nest())?),
                _ => {}
            }
        }
        if info.name.is_empty() {
            Err(Malformed)
        } else {
            Ok(info)
        }
    }
}

/// The specification's name of a value, or `unknown-N` for one that is newer than this program.
pub fn named<T: Copy + Into<u64>>(value: T, name: impl FnOnce(T) -> Option<&'static str>) -> String {
    name(value).map_or_else(|| format!("unknown-{}", value.into()), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_reads_back() {
        let association = Association {
            name: "b".into(),
            profile: Profile::V2,
            key_mode: KeyMode::Kernel,
            on_failure: OnFailure::Drop,
            ifindex: 3,
            vrf: 4,
            local: vec!["fd00::1".parse().unwrap()],
            remote: vec!["fd00::2".parse().unwrap(), "fd01::/64".parse().unwrap()],
            peer_idle: Some(600),
            epoch_packets: Some(1000),
            epoch_seconds: Some(60),
            renew_packets: Some(1 << 40),
        };
        let info = AssociationInfo::decode(&association.encode().into_bytes()).unwrap();
        assert_eq!(info.name, "b");
        assert_eq!((info.profile.as_str(), info.key_mode.as_str(), info.on_failure.as_str()), ("v2", "kernel", "drop"));
        assert_eq!((info.ifindex, info.vrf, info.peer_idle), (3, 4, Some(600)));
        assert_eq!((info.epoch_packets, info.epoch_seconds), (Some(1000), Some(60)));
        assert_eq!(info.renew_packets, Some(1 << 40));
        assert_eq!((info.local, info.remote), (association.local, association.remote));
    }

    #[test]
    fn unknown_values_keep_their_number() {
        assert_eq!(named(9u8, |value| Profile::from_u8(value).map(Profile::name)), "unknown-9");
    }
}
