// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A Primary's key generator, and the private keys that a Secondary has from it.
//!
//! Primary Client and Primary Server each run one and tell each other its public parameters, inside of their TLS
//! session; neither master key leaves its host. So neither can open what is encapsulated to the other's Secondaries.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use super::bf::{MasterKey, Parameters, PrivateKey, Refused};
use super::identity::{Identity, Role};
use crate::negotiate::Entropy;
use crate::secret::Secret;

/// How far the validity periods of two hosts may lie apart.
pub const PERIOD_SKEW: u32 = 1;

/// Whether a validity period can be used while another is the present one.
pub fn is_near(period: u32, present: u32) -> bool {
    period.abs_diff(present) <= PERIOD_SKEW
}

/// The validity period asked for is neither the present nor the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("private keys are extracted for the present and the next validity period only")]
pub struct NotNow;

/// The key generator of a Primary Client, or of a Primary Server.
pub struct Generator {
    role: Role,
    master: MasterKey,
    parameters: Parameters,
}

impl Generator {
    /// A new one. `role` is that of the Secondaries it extracts keys for: a Primary Client's are Secondary Clients.
    ///
    /// # Errors
    /// None with a master key that the system's randomness gives.
    pub fn generate(role: Role, entropy: &mut impl Entropy) -> Result<Self, Refused> {
        Ok(Self::of(role, MasterKey::generate(entropy)?))
    }

    /// One whose master key was stored.
    ///
    /// # Errors
    /// [`Refused::Scalar`].
    pub fn restore(role: Role, master: &Secret) -> Result<Self, Refused> {
        Ok(Self::of(role, MasterKey::decode(master)?))
    }

    fn of(role: Role, master: MasterKey) -> Self {
        let parameters = master.parameters();
        Self { role, master, parameters }
    }

    /// The master key, to be stored encrypted.
    pub fn master(&self) -> Secret {
        self.master.encode()
    }

    /// What the other Primary and the Secondaries of both are told.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The private key of a Secondary for one validity period. `address` is the one that this Primary has on record for
    /// the Secondary that it authenticated, never one that a request brings.
    ///
    /// # Errors
    /// A period that is neither `present` nor the next.
    pub fn extract(&self, address: Ipv6Addr, period: u32, present: u32) -> Result<PrivateKey, NotNow> {
        if period != present && Some(period) != present.checked_add(1) {
            return Err(NotNow);
        }
        let id = Identity::new(&self.parameters, self.role, address, period);
        Ok(self.master.extract(id.as_bytes()))
    }
}

/// The private keys of one address under one generator, by validity period: the previous, the present and the next.
#[derive(Default)]
pub struct Keys(BTreeMap<u32, PrivateKey>);

impl Keys {
    /// Takes a key in, as the generator's Primary sent it, once it is shown to be this identity's.
    ///
    /// # Errors
    /// What [`PrivateKey::decode`] refuses.
    pub fn add(
        &mut self,
        key: &Secret,
        parameters: &Parameters,
        role: Role,
        address: Ipv6Addr,
        period: u32,
    ) -> Result<(), Refused> {
        let id = Identity::new(parameters, role, address, period);
        self.0.insert(period, PrivateKey::decode(key, parameters, id.as_bytes())?);
        Ok(())
    }

    /// Wipes what can no more be used, or not yet.
    pub fn advance(&mut self, present: u32) {
        self.0.retain(|period, _| is_near(*period, present));
    }

    /// The key of a period.
    pub fn get(&self, period: u32) -> Option<&PrivateKey> {
        self.0.get(&period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiate::system_entropy;

    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

    fn generator(role: Role) -> Generator {
        Generator::generate(role, &mut system_entropy()).unwrap()
    }

    #[test]
    fn keys_are_of_this_period_and_the_next() {
        let generator = generator(Role::Client);
        let table = [
            (7, 7, true),
            (8, 7, true),
            (6, 7, false),
            (9, 7, false),
            (0, 7, false),
            (u32::MAX, u32::MAX, true),
            (0, u32::MAX, false),
            (0, 0, true),
        ];
        for (period, present, given) in table {
            assert_eq!(generator.extract(ADDRESS, period, present).is_ok(), given, "{period} at {present}");
        }
    }

    #[test]
    fn a_stored_generator_is_the_same() {
        let first = generator(Role::Server);
        let second = Generator::restore(Role::Server, &first.master()).unwrap();
        assert_eq!(first.parameters(), second.parameters());
        let key = |generator: &Generator| generator.extract(ADDRESS, 1, 1).unwrap().encode();
        assert_eq!(key(&first), key(&second));
    }

    #[test]
    fn a_key_is_taken_for_what_it_is_alone() {
        let (client, other) = (generator(Role::Client), generator(Role::Client));
        let server = Generator::restore(Role::Server, &client.master()).unwrap();
        let key = |of: &Generator, address, period| of.extract(address, period, period).unwrap().encode();
        let add = |key: &Secret| Keys::default().add(key, client.parameters(), Role::Client, ADDRESS, 5);
        assert_eq!(add(&key(&client, ADDRESS, 5)), Ok(()));
        let table = [
            ("another period", key(&client, ADDRESS, 4)),
            ("another address", key(&client, Ipv6Addr::LOCALHOST, 5)),
            ("another role", key(&server, ADDRESS, 5)),
            ("another generator", key(&other, ADDRESS, 5)),
        ];
        for (name, key) in table {
            assert_eq!(add(&key), Err(Refused::NotItsKey), "{name}");
        }
    }

    #[test]
    fn keys_go_with_their_period() {
        let generator = generator(Role::Client);
        let mut keys = Keys::default();
        for period in 3..=8 {
            let key = generator.extract(ADDRESS, period, period).unwrap().encode();
            keys.add(&key, generator.parameters(), Role::Client, ADDRESS, period).unwrap();
        }
        keys.advance(6);
        let left: Vec<_> = (0..20).filter(|period| keys.get(*period).is_some()).collect();
        assert_eq!(left, [5, 6, 7]);
    }
}
