// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How the project's own types are written in CBOR.

use std::net::Ipv6Addr;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use super::super::group::{GroupName, Pairing, Side};
use super::super::lease::Range;
use crate::identity::{PublicKey, KEY_LEN};
use crate::prefix::Prefix;
use crate::secret::Secret;

/// `bstr .size 32`.
impl<C> Encode<C> for PublicKey {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for PublicKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let bytes: [u8; KEY_LEN] = d.bytes()?.try_into().map_err(|_| DecodeError::message("length of a key"))?;
        Ok(Self(bytes))
    }
}

/// `[pc, ps]`.
impl<C> Encode<C> for Pairing {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        (self.client, self.server).encode(e, c)
    }
}

impl<'b, C> Decode<'b, C> for Pairing {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        let (client, server) = Decode::decode(d, c)?;
        Ok(Self { client, server })
    }
}

impl<C> Encode<C> for Side {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.u8(*self as u8)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Side {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        Self::from_u8(d.u8()?).ok_or_else(|| DecodeError::message("side"))
    }
}

/// `tstr`.
impl<C> Encode<C> for GroupName {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for GroupName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        Self::new(d.str()?).ok_or_else(|| DecodeError::message("name of a group"))
    }
}

/// `bstr`: the length in bits, and as many bytes of the address as it needs.
impl<C> Encode<C> for Prefix {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        let needed = usize::from(self.length().div_ceil(8));
        let (mut bytes, address) = ([0; 17], self.address().octets());
        if let Some((length, rest)) = bytes.split_first_mut() {
            *length = self.length();
            rest.copy_from_slice(&address);
        }
        e.bytes(bytes.get(..1 + needed).unwrap_or_default())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Prefix {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let malformed = || DecodeError::message("prefix");
        let (length, bytes) = d.bytes()?.split_first().ok_or_else(malformed)?;
        let mut address = [0; 16];
        if bytes.len() != usize::from(length.div_ceil(8)) {
            return Err(malformed());
        }
        address.get_mut(..bytes.len()).ok_or_else(malformed)?.copy_from_slice(bytes);
        Self::new(Ipv6Addr::from(address), *length).map_err(|_| malformed())
    }
}

/// `[start, end]`.
impl<C> Encode<C> for Range {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        (self.start, self.end).encode(e, c)
    }
}

impl<'b, C> Decode<'b, C> for Range {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        let (start, end) = Decode::decode(d, c)?;
        Self::new(start, end).ok_or_else(|| DecodeError::message("range of epochs"))
    }
}

/// Longest secret in a message, bytes: Nh of HKDF-SHA512, and what an identity-based key may take.
pub const SECRET_MAX: usize = 256;

/// `bstr`.
impl<C> Encode<C> for Secret {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let bytes = d.bytes()?;
        if bytes.is_empty() || bytes.len() > SECRET_MAX {
            return Err(DecodeError::message("length of a secret"));
        }
        Ok(Self::new(bytes.to_vec()))
    }
}
