// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The secrets that follow from a PairMasterSecret (docs/protocol.md, section 15).
//!
//! ```text
//! prk(PMS) = LabeledExtract(salt, "pdmv2_prk", PMS)
//! d        = mode u8 || group_gen u32 || holder u8
//! PSS      = LabeledExpand(prk(PMS), "pdmv2_pss",  d || len u8 || group name, Nh)
//! PCS      = LabeledExpand(PSS,      "pdmv2_pcs",  client address, Nh)
//! S        = LabeledExpand(prk(PMS), "pdmv2_own",  d || own address, Nh)
//! pair     = LabeledExpand(S,        "pdmv2_pair", poller's address, Nh)
//! ```
//!
//! Each is a type of its own, that only the one before it gives, so that none can stand in another's place. All are wiped
//! when they are dropped, and none is ever printed.

use std::net::Ipv6Addr;

use pdmv2_proto::suite::Suite;

use super::group::{GroupName, Mode, Side};
use crate::keys::schedule::{labeled_expand, Prk, SecretId, UnknownSuite};
use crate::secret::Secret;

const LABEL_PSS: &[u8] = b"pdmv2_pss";
const LABEL_PCS: &[u8] = b"pdmv2_pcs";
const LABEL_OWN: &[u8] = b"pdmv2_own";
const LABEL_PAIR: &[u8] = b"pdmv2_pair";

/// prk(PMS): what two Primaries hold of a PairMasterSecret. It leaves neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairMaster(Prk);

/// PairServerSecret: what every Secondary Server of a group with trusted servers holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSecret {
    suite: Suite,
    bytes: Secret,
}

/// PairClientSecret: what one Secondary Client shares with every server of a group with trusted servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecret {
    suite: Suite,
    bytes: Secret,
}

/// S: what a Secondary of the side that does not poll holds for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSecret {
    suite: Suite,
    bytes: Secret,
}

/// What two Secondaries share in AsymmetricPoll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSecret {
    suite: Suite,
    bytes: Secret,
}

macro_rules! carried {
    ($($name:ident),*) => {$(
        impl $name {
            /// Takes the secret over from a message.
            ///
            /// # Errors
            /// Bytes that are not Nh many.
            pub fn from_message(suite: Suite, bytes: Secret) -> Result<Self, UnknownSuite> {
                match suite.hash_len() {
                    Some(len) if len == bytes.as_bytes().len() => Ok(Self { suite, bytes }),
                    _ => Err(UnknownSuite),
                }
            }

            /// The secret for a message.
            pub fn to_message(&self) -> Secret {
                self.bytes.clone()
            }
        }
    )*};
}

carried!(ServerSecret, ClientSecret, OwnSecret, PairSecret);

/// What two Secondaries share is a SharedSecret of section 4, with an empty salt.
macro_rules! shared {
    ($($name:ident),*) => {$(
        impl $name {
            /// The pseudo-random key of the pair's flows.
            ///
            /// # Errors
            /// An unknown KDF.
            pub fn prk(&self) -> Result<Prk, UnknownSuite> {
                Prk::extract(self.suite, &[], &self.bytes)
            }

            /// The SharedSecret itself, for the key log.
            pub fn shared_secret(&self) -> &Secret {
                &self.bytes
            }
        }
    )*};
}

shared!(ClientSecret, PairSecret);

/// `d`: what secrets of a group are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    mode: Mode,
    group_gen: u32,
}

impl Binding {
    /// Of a group in this mode and generation; `None` for a mode without derived secrets.
    pub fn new(mode: Mode, group_gen: u32) -> Option<Self> {
        matches!(mode, Mode::TrustedServers | Mode::AsymmetricPoll { .. }).then_some(Self { mode, group_gen })
    }

    fn holder(self, side: Side) -> [u8; 6] {
        let [a, b, c, d] = self.group_gen.to_be_bytes();
        [self.mode.number(), a, b, c, d, side as u8]
    }
}

impl PairMaster {
    /// `LabeledExtract(salt, "pdmv2_prk", PMS)`.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn extract(suite: Suite, salt: &[u8], pms: &Secret) -> Result<Self, UnknownSuite> {
        Prk::extract(suite, salt, pms).map(Self)
    }

    /// The public identifier of the PairMasterSecret, as section 4 derives it.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn id(&self) -> Result<SecretId, UnknownSuite> {
        self.0.secret_id()
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.0.suite()
    }

    /// PSS of a group in TrustedServers; its holders are servers.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn server_secret(&self, binding: Binding, group: &GroupName) -> Result<ServerSecret, UnknownSuite> {
        let name = group.as_str().as_bytes();
        let length = u8::try_from(name.len()).map_err(|_| UnknownSuite)?;
        let info = [binding.holder(Side::Server).as_slice(), &[length], name].concat();
        self.expand(LABEL_PSS, &info).map(|bytes| ServerSecret { suite: self.suite(), bytes })
    }

    /// S of a Secondary of the side that does not poll.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn own_secret(&self, binding: Binding, holder: Side, own: Ipv6Addr) -> Result<OwnSecret, UnknownSuite> {
        let info = [binding.holder(holder).as_slice(), &own.octets()].concat();
        self.expand(LABEL_OWN, &info).map(|bytes| OwnSecret { suite: self.suite(), bytes })
    }

    fn expand(&self, label: &[u8], info: &[u8]) -> Result<Secret, UnknownSuite> {
        expand_nh(self.suite(), self.0.secret(), label, info)
    }
}

impl ServerSecret {
    /// PCS of a client.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn client_secret(&self, client: Ipv6Addr) -> Result<ClientSecret, UnknownSuite> {
        let bytes = expand_nh(self.suite, &self.bytes, LABEL_PCS, &client.octets())?;
        Ok(ClientSecret { suite: self.suite, bytes })
    }
}

impl OwnSecret {
    /// What the holder shares with a Secondary of the side that polls.
    ///
    /// # Errors
    /// An unknown KDF.
    pub fn pair_secret(&self, poller: Ipv6Addr) -> Result<PairSecret, UnknownSuite> {
        let bytes = expand_nh(self.suite, &self.bytes, LABEL_PAIR, &poller.octets())?;
        Ok(PairSecret { suite: self.suite, bytes })
    }
}

fn expand_nh(suite: Suite, key: &Secret, label: &[u8], info: &[u8]) -> Result<Secret, UnknownSuite> {
    labeled_expand(suite, key, label, info, suite.hash_len().ok_or(UnknownSuite)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn master(pms: u8) -> PairMaster {
        PairMaster::extract(Suite::DEFAULT, &[1; 32], &Secret::new(vec![pms; 32])).unwrap()
    }

    const POLL: Mode = Mode::AsymmetricPoll { poller: Side::Client };

    #[test]
    fn no_secret_is_printed() {
        let name = GroupName::new("web").unwrap();
        let binding = Binding::new(Mode::TrustedServers, 1).unwrap();
        let pss = master(2).server_secret(binding, &name).unwrap();
        let shown = format!("{:?} {:?} {:?}", master(2), pss, pss.client_secret(a("fd00::1")).unwrap());
        assert_eq!(shown.matches("Secret(..)").count(), 3, "{shown}");
    }

    /// Whatever enters a derivation changes what comes out.
    #[test]
    fn every_input_counts() {
        let name = |text| GroupName::new(text).unwrap();
        let trusted = |gen| Binding::new(Mode::TrustedServers, gen).unwrap();
        let poll = |gen| Binding::new(POLL, gen).unwrap();
        let (one, two) = (a("fd00::1"), a("fd00::2"));
        let pss = |pms, gen, group| master(pms).server_secret(trusted(gen), &name(group)).unwrap();
        let own = |pms, gen, side, own| master(pms).own_secret(poll(gen), side, own).unwrap();
        let mut seen = vec![
            pss(2, 1, "a").to_message(),
            pss(3, 1, "a").to_message(),
            pss(2, 2, "a").to_message(),
            pss(2, 1, "b").to_message(),
            pss(2, 1, "ab").to_message(),
            pss(2, 1, "a").client_secret(one).unwrap().to_message(),
            pss(2, 1, "a").client_secret(two).unwrap().to_message(),
            own(2, 1, Side::Server, one).to_message(),
            own(3, 1, Side::Server, one).to_message(),
            own(2, 2, Side::Server, one).to_message(),
            own(2, 1, Side::Client, one).to_message(),
            own(2, 1, Side::Server, two).to_message(),
            own(2, 1, Side::Server, one).pair_secret(one).unwrap().to_message(),
            own(2, 1, Side::Server, one).pair_secret(two).unwrap().to_message(),
        ];
        let all = seen.len();
        seen.sort_by(|x, y| x.as_bytes().cmp(y.as_bytes()));
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn modes_without_derived_secrets_bind_nothing() {
        for (mode, binds) in [
            (Mode::NoProtection, false),
            (Mode::TrustedServers, true),
            (POLL, true),
            (Mode::AsymmetricPoll { poller: Side::Server }, true),
            (Mode::IdentityBased, false),
        ] {
            assert_eq!(Binding::new(mode, 1).is_some(), binds, "{mode:?}");
        }
    }

    #[test]
    fn lengths_other_than_nh_are_refused() {
        let long = Suite { kdf: 3, ..Suite::DEFAULT };
        for (suite, len, taken) in [
            (Suite::DEFAULT, 32, true),
            (Suite::DEFAULT, 31, false),
            (Suite::DEFAULT, 64, false),
            (long, 64, true),
            (long, 32, false),
            (Suite { kdf: 9, ..long }, 32, false),
            (Suite::DEFAULT, 0, false),
        ] {
            assert_eq!(PairSecret::from_message(suite, Secret::zeroed(len)).is_ok(), taken, "{suite} {len}");
        }
    }
}
