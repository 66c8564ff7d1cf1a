// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What follows from the two encapsulated keys: the pair's secret and the confirmations of an exchange.
//!
//! ```text
//! SharedSecret = LabeledExtract(k_c, "pdmv2_ibc", k_s || SHA-256(ID_c || ID_s || ct_c || ct_s))
//! T            = SHA-256(initiator's role u8 || session || last generation u64 || generation u64
//!                        || ID_c || ID_s || ct_c || ct_s)
//! confirm(n)   = LabeledExpand(SharedSecret, "pdmv2_ibc_confirm", n u8 || T, 32)
//! ```

use pdmv2_proto::suite::Suite;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::bf::Ciphertext;
use super::error::Refusal;
use super::identity::{Identity, Role};
use super::message::{Session, CONFIRM_LEN};
use crate::keys::schedule::{labeled_expand, labeled_extract};
use crate::secret::Secret;

const LABEL_SECRET: &[u8] = b"pdmv2_ibc";
const LABEL_CONFIRM: &[u8] = b"pdmv2_ibc_confirm";

/// What one exchange agreed on. `c` is what is encapsulated to the Secondary Client, `s` to the Secondary Server.
pub struct Agreement<'a> {
    /// Suite; its KEM is 0xFF01.
    pub suite: Suite,
    /// Of who opened the exchange.
    pub initiator: Role,
    /// Who opened it drew this.
    pub session: &'a Session,
    /// The greatest generation that the initiator knew of.
    pub last_generation: u64,
    /// The new one.
    pub generation: u64,
    /// Identities.
    pub ids: [&'a Identity; 2],
    /// Encapsulations.
    pub ciphertexts: [&'a Ciphertext; 2],
}

/// Confirmations of m3, m4 and m5: secret until they are sent.
pub struct Confirmations {
    /// Of the answer, by who answers.
    pub answer: [u8; CONFIRM_LEN],
    /// Of who opened the exchange.
    pub confirm: [u8; CONFIRM_LEN],
    /// Of who answers, once it installed.
    pub installed: [u8; CONFIRM_LEN],
}

impl Drop for Confirmations {
    fn drop(&mut self) {
        self.answer.zeroize();
        self.confirm.zeroize();
        self.installed.zeroize();
    }
}

impl Agreement<'_> {
    /// SharedSecret, and what confirms it. `k_c` and `k_s` are the encapsulated keys.
    ///
    /// # Errors
    /// [`Refusal::Suite`] for a KDF that this implementation does not have.
    pub fn derive(&self, k_c: &Secret, k_s: &Secret) -> Result<(Secret, Confirmations), Refusal> {
        let ([id_c, id_s], [ct_c, ct_s]) = (self.ids, self.ciphertexts);
        let bound = Sha256::new()
            .chain_update(id_c.as_bytes())
            .chain_update(id_s.as_bytes())
            .chain_update(ct_c)
            .chain_update(ct_s)
            .finalize();
        let ikm = Secret::new([k_s.as_bytes(), &bound].concat());
        let secret = labeled_extract(self.suite, k_c, LABEL_SECRET, &ikm).map_err(|_| Refusal::Suite)?;
        let t = Sha256::new()
            .chain_update([self.initiator as u8])
            .chain_update(self.session)
            .chain_update(self.last_generation.to_be_bytes())
            .chain_update(self.generation.to_be_bytes())
            .chain_update(id_c.as_bytes())
            .chain_update(id_s.as_bytes())
            .chain_update(ct_c)
            .chain_update(ct_s)
            .finalize();
        let confirm = |number: u8| {
            let info = [&[number], t.as_slice()].concat();
            let expanded = labeled_expand(self.suite, &secret, LABEL_CONFIRM, &info, CONFIRM_LEN).ok();
            expanded.and_then(|bytes| bytes.as_bytes().try_into().ok()).ok_or(Refusal::Suite)
        };
        let confirmations = Confirmations { answer: confirm(3)?, confirm: confirm(4)?, installed: confirm(5)? };
        Ok((secret, confirmations))
    }
}
