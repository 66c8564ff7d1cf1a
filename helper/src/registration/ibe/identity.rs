// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The identities of Secondaries: what a key generator extracts private keys for.

use std::net::Ipv6Addr;

use super::bf::Parameters;

/// Start of every identity.
const PREFIX: &[u8; 8] = b"pdmv2-id";

/// Bytes of an identity.
pub const ID_LEN: usize = PREFIX.len() + 32 + 1 + 16 + 4;

/// What a Secondary is to its peer, as its Primaries' lists say. It says nothing about who opens an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Secondary Client: its Primary is a Primary Client.
    Client = 0,
    /// Secondary Server.
    Server = 1,
}

impl Role {
    /// The role of a number on the wire.
    pub fn from_u8(value: u8) -> Option<Self> {
        [Self::Client, Self::Server].into_iter().find(|role| *role as u8 == value)
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// `ID = "pdmv2-id" || SHA-256(public parameters) || role u8 || address || validity period u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity([u8; ID_LEN]);

impl Identity {
    /// The identity, under the parameters of the generator that extracts its private key.
    pub fn new(parameters: &Parameters, role: Role, address: Ipv6Addr, period: u32) -> Self {
        let mut id = [0; ID_LEN];
        let parts = PREFIX.iter().chain(parameters.digest());
        let (role, address, period) = ([role as u8], address.octets(), period.to_be_bytes());
        for (to, from) in id.iter_mut().zip(parts.chain(&role).chain(&address).chain(&period)) {
            *to = *from;
        }
        Self(id)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; ID_LEN] {
        &self.0
    }
}
