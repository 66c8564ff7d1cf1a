// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The configuration as the file writes it, before its values are looked at.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::Spanned;

use super::locate::Source;
use super::suite::Names;

/// The daemon's file.
pub struct Config {
    pub host: Option<Host>,
    pub peer: Vec<Peer>,
    pub policy: Policy,
    pub rule: Vec<Rule>,
}

impl Config {
    /// Reads it table by table, so that something wrong with one does not hide what is wrong with another. `None` if it is
    /// no TOML.
    pub fn read(source: &Source<'_>) -> Option<Self> {
        let (document, errors) = DeTable::parse_recoverable(source.text());
        let problems: Vec<_> = errors.iter().map(|error| source.syntax(error)).collect();
        if !problems.is_empty() {
            problems.into_iter().for_each(|problem| source.complain(problem));
            return None;
        }
        let mut config = Self { host: None, peer: Vec::new(), policy: Policy::default(), rule: Vec::new() };
        let mut has_host = false;
        for (key, value) in document.into_inner() {
            match key.get_ref().as_ref() {
                "host" => (has_host, config.host) = (true, table(source, value)),
                "peer" => config.peer = tables(source, value),
                "policy" => config.policy = table(source, value).unwrap_or_default(),
                "rule" => config.rule = tables(source, value),
                other => {
                    let message = format!("unknown field `{other}`, expected one of `host`, `peer`, `policy`, `rule`");
                    source.complain(source.wrong(key.span(), message));
                }
            }
        }
        if !has_host {
            source.complain(source.wrong(0..0, "missing field `host`"));
        }
        Some(config)
    }
}

fn table<T: DeserializeOwned>(source: &Source<'_>, value: Spanned<DeValue<'_>>) -> Option<T> {
    source.note(T::deserialize(ValueDeserializer::from(value)).map_err(|error| source.syntax(&error)))
}

fn tables<T: DeserializeOwned>(source: &Source<'_>, value: Spanned<DeValue<'_>>) -> Vec<T> {
    match value.get_ref() {
        DeValue::Array(_) => {}
        _ => return table(source, value).unwrap_or_default(),
    }
    let DeValue::Array(array) = value.into_inner() else { return Vec::new() };
    array.into_iter().filter_map(|value| table(source, value)).collect()
}

/// A file of rules, or the daemon's file read for its rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyFile {
    #[serde(default)]
    #[allow(dead_code)]
    pub host: Option<toml::Table>,
    #[serde(default)]
    #[allow(dead_code)]
    pub peer: Vec<toml::Table>,
    #[serde(default)]
    pub policy: Policy,
    #[serde(default)]
    pub rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Host {
    pub private_key_file: PathBuf,
    pub certificate_file: Option<Spanned<PathBuf>>,
    pub ca_file: Option<Spanned<PathBuf>>,
    pub crl_file: Option<Spanned<PathBuf>>,
    pub listen: Option<Spanned<String>>,
    pub handshake_rate: Option<Spanned<u32>>,
    pub idle: Option<Spanned<u32>>,
    pub key_log: Option<PathBuf>,
    pub control_socket: Option<PathBuf>,
    pub kem: Names,
    pub kdf: Names,
    pub aead: Names,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Peer {
    pub name: Spanned<String>,
    pub public_key: Option<Spanned<String>>,
    pub subject: Option<Spanned<String>>,
    pub endpoint: Option<Spanned<String>>,
    pub interface: Option<Spanned<String>>,
    pub vrf: Option<String>,
    pub local: Spanned<Vec<Spanned<String>>>,
    pub remote: Spanned<Vec<Spanned<String>>>,
    pub profile: Option<Spanned<String>>,
    pub key_mode: Option<Spanned<String>>,
    pub on_failure: Option<Spanned<String>>,
    pub lifetime: Option<Spanned<u32>>,
    pub epoch_packets: Option<Spanned<u32>>,
    pub epoch_seconds: Option<Spanned<u32>>,
    pub renew_packets: Option<Spanned<u64>>,
    pub kem: Names,
    pub kdf: Names,
    pub aead: Names,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    pub forbid_plain: bool,
    pub flows_max: Option<Spanned<u32>>,
    pub rest: Option<Spanned<u32>>,
    pub memory: Option<u64>,
    pub associations_max: Option<Spanned<u32>>,
    pub pending_max: Option<Spanned<u32>>,
    pub acquire_rate: Option<Spanned<u32>>,
    pub event_rate: Option<Spanned<u32>>,
    pub stranger_rate: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    pub local: Option<Spanned<String>>,
    pub remote: Option<Spanned<String>>,
    pub protocol: Option<Spanned<OneOrMany<NumberOrText>>>,
    pub local_ports: Option<Spanned<NumberOrText>>,
    pub remote_ports: Option<Spanned<NumberOrText>>,
    pub direction: Option<Spanned<String>>,
    pub send: Spanned<String>,
    pub profile: Option<Spanned<String>>,
    pub accept: Option<Spanned<OneOrMany<String>>>,
    pub sample: Option<Spanned<u32>>,
    #[serde(default)]
    pub mirror: bool,
    pub expiry: Option<u32>,
}

/// A value or a list of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a value or a list of them")]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A number or a name.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number from 0 to 65535 or a text")]
pub enum NumberOrText {
    Number(u16),
    Text(String),
}
