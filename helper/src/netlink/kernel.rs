// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What the daemon and the commands ask of the module, one method a command.

use pdmv2_proto::uapi::cmd;

use super::association::{Association, AssociationInfo};
use super::attribute::{Attributes, Builder};
use super::client::Client;
use super::error::{Error, Malformed};
use super::flow::Flow;
use super::key::KeyName;
use super::policy::{Limits, Policy};
use super::secret::{encode_name, HeldSecret, NewSecret};
use super::stats::Stats;
use crate::keys::schedule::FlowKey;
use pdmv2_proto::uapi::attr::association::NAME;
use pdmv2_proto::uapi::attr::secret::EPOCH_LAST;

/// The module, or what stands for it in tests. Every method fails as [`Client::request`] does.
#[allow(clippy::missing_errors_doc)]
pub trait Kernel: Send {
    /// Whether the module was loaded anew since the last call: it has nothing then of what it was told.
    fn is_new(&mut self) -> Result<bool, Error>;
    /// Replaces the policy.
    fn policy_set(&mut self, policy: &Policy) -> Result<(), Error>;
    /// Changes limits; what is absent stays.
    fn limits_set(&mut self, limits: Limits) -> Result<(), Error>;
    /// The policy in force.
    fn policy_get(&mut self) -> Result<Policy, Error>;
    /// Makes or changes an association.
    fn association_set(&mut self, association: &Association) -> Result<(), Error>;
    /// Removes an association with its secrets.
    fn association_del(&mut self, name: &str) -> Result<(), Error>;
    /// All associations.
    fn associations(&mut self) -> Result<Vec<AssociationInfo>, Error>;
    /// Gives an association a new generation; whether it may be sent under.
    fn secret_add(&mut self, secret: &NewSecret) -> Result<bool, Error>;
    /// Sends under a generation.
    fn secret_activate(&mut self, association: &str, generation: u64) -> Result<(), Error>;
    /// Lets a generation be sent under in further epochs, up to a last one.
    fn secret_extend(&mut self, association: &str, generation: u64, last_epoch: u32) -> Result<(), Error>;
    /// Wipes a generation.
    fn secret_del(&mut self, association: &str, generation: u64) -> Result<(), Error>;
    /// Installs a key.
    fn key_add(&mut self, name: &KeyName, key: &FlowKey) -> Result<(), Error>;
    /// All flows.
    fn flows(&mut self) -> Result<Vec<Flow>, Error>;
    /// Drops all flows.
    fn flow_flush(&mut self) -> Result<(), Error>;
    /// The namespace's counters.
    fn stats(&mut self) -> Result<Stats, Error>;
}

impl Kernel for Client {
    fn is_new(&mut self) -> Result<bool, Error> {
        self.look_again()
    }

    fn policy_set(&mut self, policy: &Policy) -> Result<(), Error> {
        self.request(cmd::POLICY_SET, policy.encode()).map(drop)
    }

    fn limits_set(&mut self, limits: Limits) -> Result<(), Error> {
        self.request(cmd::LIMITS_SET, limits.encode()).map(drop)
    }

    fn policy_get(&mut self) -> Result<Policy, Error> {
        let answers = self.request(cmd::POLICY_GET, Builder::default())?;
        Ok(Policy::decode(answers.first().ok_or(Malformed)?)?)
    }

    fn association_set(&mut self, association: &Association) -> Result<(), Error> {
        self.request(cmd::ASSOCIATION_SET, association.encode()).map(drop)
    }

    fn association_del(&mut self, name: &str) -> Result<(), Error> {
        let mut attributes = Builder::default();
        attributes.text(NAME, name);
        self.request(cmd::ASSOCIATION_DEL, attributes).map(drop)
    }

    fn associations(&mut self) -> Result<Vec<AssociationInfo>, Error> {
        let answers = self.dump(cmd::ASSOCIATION_GET)?;
        answers.iter().map(|answer| Ok(AssociationInfo::decode(answer)?)).collect()
    }

    fn secret_add(&mut self, secret: &NewSecret) -> Result<bool, Error> {
        let answers = self.request(cmd::SECRET_ADD, secret.encode())?;
        Ok(HeldSecret::decode(Attributes(answers.first().ok_or(Malformed)?))?.may_send)
    }

    fn secret_activate(&mut self, association: &str, generation: u64) -> Result<(), Error> {
        self.request(cmd::SECRET_ACTIVATE, encode_name(association, generation)).map(drop)
    }

    fn secret_extend(&mut self, association: &str, generation: u64, last_epoch: u32) -> Result<(), Error> {
        let mut attributes = encode_name(association, generation);
        attributes.u32(EPOCH_LAST, last_epoch);
        self.request(cmd::SECRET_EXTEND, attributes).map(drop)
    }

    fn secret_del(&mut self, association: &str, generation: u64) -> Result<(), Error> {
        self.request(cmd::SECRET_DEL, encode_name(association, generation)).map(drop)
    }

    fn key_add(&mut self, name: &KeyName, key: &FlowKey) -> Result<(), Error> {
        self.request(cmd::KEY_ADD, name.encode(key)).map(drop)
    }

    fn flows(&mut self) -> Result<Vec<Flow>, Error> {
        let answers = self.dump(cmd::FLOW_GET)?;
        answers.iter().map(|answer| Ok(Flow::decode(answer)?)).collect()
    }

    fn flow_flush(&mut self) -> Result<(), Error> {
        self.request(cmd::FLOW_FLUSH, Builder::default()).map(drop)
    }

    fn stats(&mut self) -> Result<Stats, Error> {
        let answers = self.dump(cmd::STATS_GET)?;
        Ok(Stats::decode(answers.first().ok_or(Malformed)?)?)
    }
}
