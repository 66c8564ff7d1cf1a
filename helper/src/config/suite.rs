// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Which suites are negotiated, and which of them first.

use pdmv2_proto::suite::{Aead, Kdf, Kem, Suite};
use toml::Spanned;

use super::error::ConfigError;
use super::locate::Source;
use super::one_of;
use crate::negotiate::suites;

/// A list of names, as the file writes it.
pub type Names = Option<Spanned<Vec<Spanned<String>>>>;

/// KEMs, KDFs and AEADs, each best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    kems: Vec<Kem>,
    kdfs: Vec<Kdf>,
    aeads: Vec<Aead>,
}

impl Default for Preference {
    fn default() -> Self {
        Self { kems: Kem::ALL.to_vec(), kdfs: Kdf::ALL.to_vec(), aeads: Aead::ALL.to_vec() }
    }
}

impl Preference {
    /// What the keys `kem`, `kdf` and `aead` of a table say; as before where they say nothing.
    ///
    /// # Errors
    /// A list that is empty, a name that is unknown or comes twice.
    pub fn with(&self, source: &Source<'_>, kem: &Names, kdf: &Names, aead: &Names) -> Result<Self, ConfigError> {
        Ok(Self {
            kems: named(source, kem, &self.kems, &Kem::ALL, Kem::name)?,
            kdfs: named(source, kdf, &self.kdfs, &Kdf::ALL, Kdf::name)?,
            aeads: named(source, aead, &self.aeads, &Aead::ALL, Aead::name)?,
        })
    }

    /// The suites, best first.
    pub fn suites(&self) -> Vec<Suite> {
        suites::of(&self.kems, &self.kdfs, &self.aeads)
    }
}

fn named<T: Copy + PartialEq>(
    source: &Source<'_>,
    list: &Names,
    unless_said: &[T],
    all: &[T],
    name: impl Fn(T) -> &'static str + Copy,
) -> Result<Vec<T>, ConfigError> {
    let Some(list) = list else { return Ok(unless_said.to_vec()) };
    let mut found = Vec::with_capacity(all.len());
    for text in list.get_ref() {
        let one = one_of(source, text, all, name)?;
        if found.contains(&one) {
            return Err(source.wrong(text.span(), format!("`{}` comes twice", text.get_ref())));
        }
        found.push(one);
    }
    if found.is_empty() {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        return Err(source.wrong(list.span(), format!("at least one expected of: {}", names.join(", "))));
    }
    Ok(found)
}
