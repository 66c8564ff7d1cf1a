// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Who may speak now.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::identity::PublicKey;

/// Keys whose holders may speak. Clones share them, so that verifiers follow when they change.
#[derive(Clone, Debug, Default)]
pub struct Allowed(Arc<RwLock<BTreeSet<PublicKey>>>);

impl Allowed {
    /// Whether this key's holder may.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// These alone may from now on.
    pub fn replace(&self, keys: impl IntoIterator<Item = PublicKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into_iter().collect();
    }
}

impl From<Vec<PublicKey>> for Allowed {
    fn from(keys: Vec<PublicKey>) -> Self {
        let allowed = Self::default();
        allowed.replace(keys);
        allowed
    }
}
