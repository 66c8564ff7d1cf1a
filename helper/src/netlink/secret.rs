// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Generations of an association's pair secret.

use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::attr::secret as attr;
use pdmv2_proto::uapi::SecretState;
use serde::Serialize;

use super::association::named;
use super::attribute::{Attributes, Builder};
use super::error::Malformed;
use crate::hex;
use crate::keys::schedule::SecretId;
use crate::secret::Secret;

/// What secret-add takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSecret {
    /// Name of the association.
    pub association: String,
    /// Generation.
    pub generation: u64,
    /// The secret's public identifier.
    pub id: SecretId,
    /// Suite.
    pub suite: Suite,
    /// The first and the last epoch it may be sent under in, where it may not in all.
    pub epochs: Option<(u32, u32)>,
    /// Seconds it lives.
    pub lifetime: u32,
    /// For key mode `kernel`.
    pub prk: Option<Secret>,
}

impl NewSecret {
    /// The request's attributes.
    pub fn encode(&self) -> Builder {
        let mut builder = Builder::with_capacity(256);
        builder
            .text(attr::ASSOCIATION, &self.association)
            .u64(attr::GENERATION, self.generation)
            .bytes(attr::ID, &self.id)
            .u16(attr::KEM, self.suite.kem)
            .u16(attr::KDF, self.suite.kdf)
            .u16(attr::AEAD, self.suite.aead)
            .u32(attr::LIFETIME, self.lifetime);
        if let Some((first, last)) = self.epochs {
            builder.u32(attr::EPOCH_FIRST, first).u32(attr::EPOCH_LAST, last);
        }
        if let Some(prk) = &self.prk {
            builder.bytes(attr::PRK, prk.as_bytes());
        }
        builder
    }
}

/// The attributes that name a generation.
pub fn encode_name(association: &str, generation: u64) -> Builder {
    let mut builder = Builder::default();
    builder.text(attr::ASSOCIATION, association).u64(attr::GENERATION, generation);
    builder
}

/// What the module tells of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldSecret {
    /// Generation.
    pub generation: u64,
    /// Public identifier, hexadecimal.
    pub id: String,
    /// Suite, by the names of its KEM, KDF and AEAD.
    pub suite: String,
    /// Seconds it lives.
    pub lifetime: Option<u32>,
    /// `receive`, `send` or `retired`.
    pub state: String,
    /// It was never sent under since the module was loaded.
    pub may_send: bool,
    /// Highest epoch, or Kri, sent under so far, over all flows.
    pub highest_epoch: Option<u32>,
    /// Options sealed under it.
    pub options_out: Option<u64>,
    /// The first epoch it may be sent under in; `None` where that is every one.
    pub epoch_first: Option<u32>,
    /// The last one; likewise.
    pub epoch_last: Option<u32>,
}

impl HeldSecret {
    /// Reads an answer.
    ///
    /// # Errors
    /// An attribute of a wrong length.
    pub fn decode(attributes: Attributes<'_>) -> Result<Self, Malformed> {
        let mut held = Self::default();
        let (mut kem, mut kdf, mut aead) = (0, 0, 0);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                attr::GENERATION => held.generation = attribute.uint()?,
                attr::ID => held.id = hex::encode(attribute.value),
                attr::KEM => kem = attribute.u16()?,
                attr::KDF => kdf = attribute.u16()?,
                attr::AEAD => aead = attribute.u16()?,
                attr::LIFETIME => held.lifetime = Some(attribute.u32()?),
                attr::STATE => {
                    held.state = named(attribute.u8()?, |value| SecretState::from_u8(value).map(SecretState::name))
                }
                attr::MAY_SEND => held.may_send = true,
                attr::HIGHEST_EPOCH => held.highest_epoch = Some(attribute.u32()?),
                attr::OPTIONS_OUT => held.options_out = Some(attribute.uint()?),
                attr::EPOCH_FIRST => held.epoch_first = Some(attribute.u32()?),
                attr::EPOCH_LAST => held.epoch_last = Some(attribute.u32()?),
                _ => {}
            }
        }
        held.suite = Suite { kem, kdf, aead }.to_string();
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_reads_back_without_its_key() {
        let secret = NewSecret {
            association: "b".into(),
            generation: u64::MAX,
            id: [7; 8],
            suite: Suite::DEFAULT,
            epochs: Some((3, 64)),
            lifetime: 86_400,
            prk: Some(Secret::new(vec![9; 32])),
        };
        let bytes = secret.encode().into_bytes();
        assert!(bytes.windows(32).any(|window| window == [9; 32]));
        let held = HeldSecret::decode(Attributes(&bytes)).unwrap();
        assert_eq!(held.generation, u64::MAX);
        assert_eq!(held.id, "0707070707070707");
        assert_eq!(held.suite, "x25519/hkdf-sha256/aes-128-gcm");
        assert!(!held.may_send);
        assert_eq!((held.epoch_first, held.epoch_last), (Some(3), Some(64)));
        let without = NewSecret { prk: None, epochs: None, ..secret }.encode().into_bytes();
        let absent = [attr::PRK, attr::EPOCH_FIRST, attr::EPOCH_LAST];
        assert!(!Attributes(&without).any(|a| absent.contains(&a.unwrap().kind)));
    }
}
