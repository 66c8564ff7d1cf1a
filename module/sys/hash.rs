// SPDX-License-Identifier: GPL-2.0-only

//! SipHash under a random key, so that nobody outside can aim at a bucket.

use super::random;
use crate::bindings;
use crate::proto::flow_id::FlowId;

/// A secret hash key.
pub(crate) struct HashKey(bindings::siphash_key_t);

impl HashKey {
    /// A fresh random key.
    pub(crate) fn random() -> Self {
        Self(bindings::siphash_key_t { key: [random::u64(), random::u64()] })
    }

    /// The hash of a flow.
    pub(crate) fn flow(&self, id: &FlowId) -> u64 {
        let [a, b, c, d, e] = id.words();
        // SAFETY: plain integers and a pointer to a valid key.
        unsafe { bindings::siphash_2u64(bindings::siphash_4u64(a, b, c, d, &self.0), e, &self.0) }
    }
}
