// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Requests to the module that are taken back when a later one is refused.

use crate::netlink::association::Association;
use crate::netlink::policy::{Limits, Policy};
use crate::netlink::{Error, Kernel};

/// What puts a step back.
enum Undo {
    Limits(Limits),
    Policy(Policy),
    Set(Association),
    Delete(String),
}

/// A request that the module refused, and what it was about.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) what: String,
    pub(super) source: Error,
}

/// Names the request in its refusal.
fn about<T>(what: impl FnOnce() -> String, result: Result<T, Error>) -> Result<T, Refused> {
    result.map_err(|source| Refused { what: what(), source })
}

/// Steps taken so far.
pub(super) struct Steps<'a> {
    kernel: &'a mut dyn Kernel,
    undo: Vec<Undo>,
    deleted: Vec<String>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(kernel: &'a mut dyn Kernel) -> Self {
        Self { kernel, undo: Vec::new(), deleted: Vec::new() }
    }

    /// The policy in force.
    pub(super) fn policy(&mut self) -> Result<Policy, Refused> {
        about(|| "policy".into(), self.kernel.policy_get())
    }

    /// Names of the module's associations.
    pub(super) fn associations(&mut self) -> Result<Vec<String>, Refused> {
        let known = about(|| "associations".into(), self.kernel.associations())?;
        Ok(known.into_iter().map(|known| known.name).collect())
    }

    /// Changes limits.
    pub(super) fn set_limits(&mut self, limits: Limits, before: Limits) -> Result<(), Refused> {
        about(|| "limits".into(), self.kernel.limits_set(limits))?;
        self.undo.push(Undo::Limits(before));
        Ok(())
    }

    /// Replaces the policy. `before` is as policy-get told it.
    pub(super) fn set_policy(&mut self, policy: &Policy, before: Policy) -> Result<(), Refused> {
        // Limits may be in force already when the rules are refused.
        self.undo.push(Undo::Limits(before.limits));
        about(|| "policy".into(), self.kernel.policy_set(policy))?;
        self.undo.push(Undo::Policy(to_set_again(before)));
        Ok(())
    }

    /// Changes an association, which keeps its secrets.
    pub(super) fn change(&mut self, association: &Association, before: Association) -> Result<(), Refused> {
        about(|| peer(&association.name), self.kernel.association_set(association))?;
        self.undo.push(Undo::Set(before));
        Ok(())
    }

    /// Makes an association.
    pub(super) fn make(&mut self, association: &Association) -> Result<(), Refused> {
        about(|| peer(&association.name), self.kernel.association_set(association))?;
        self.undo.push(Undo::Delete(association.name.clone()));
        Ok(())
    }

    /// Removes an association with its secrets: these do not come back, should it be made again.
    pub(super) fn delete(&mut self, name: &str) -> Result<(), Refused> {
        about(|| peer(name), self.kernel.association_del(name))?;
        self.deleted.push(name.to_owned());
        Ok(())
    }

    /// Takes every step back, the last one first. Names of associations that were deleted, and have no secret any more; and
    /// the first thing that was refused.
    pub(super) fn put_back(self) -> (Vec<String>, Option<Error>) {
        let mut first = None;
        for undo in self.undo.into_iter().rev() {
            let outcome = match undo {
                Undo::Limits(limits) => self.kernel.limits_set(limits),
                Undo::Policy(policy) => self.kernel.policy_set(&policy),
                Undo::Set(association) => self.kernel.association_set(&association),
                Undo::Delete(name) => self.kernel.association_del(&name),
            };
            first = first.or(outcome.err());
        }
        (self.deleted, first)
    }
}

fn peer(name: &str) -> String {
    format!("peer `{name}`")
}

/// A policy as policy-get tells it, such that policy-set brings it back: there, a rule without expiry never stops, and one
/// with no second left has stopped.
fn to_set_again(mut told: Policy) -> Policy {
    told.rules.retain(|rule| rule.expiry != Some(0));
    for rule in &mut told.rules {
        rule.expiry.get_or_insert(0);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::policy::Rule;
    use pdmv2_proto::uapi::Mechanism;

    #[test]
    fn rules_that_never_stop_do_not_stop_when_set_again_and_those_that_stopped_do_not_start() {
        let rule = |expiry| Rule { expiry, ..Rule::sending(Mechanism::V2) };
        let told = Policy { rules: vec![rule(None), rule(Some(0)), rule(Some(7))], ..Policy::default() };
        let again: Vec<_> = to_set_again(told).rules.into_iter().map(|rule| rule.expiry).collect();
        assert_eq!(again, [Some(0), Some(7)]);
    }
}
