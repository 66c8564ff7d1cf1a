// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Netlink attributes: building and reading, with bounds checked.

use netlink_packet_core::{NlaBuffer, NLA_F_NESTED, NLA_TYPE_MASK};
use zeroize::Zeroizing;

use super::error::Malformed;

/// Bytes of an attribute's length and type.
const HEADER_LEN: usize = 4;

/// Attributes being built. They may hold keys, so the bytes are wiped when dropped.
#[derive(Default)]
pub struct Builder(Zeroizing<Vec<u8>>);

impl Builder {
    /// Room for `capacity` bytes at once, so that growing leaves no copies of keys behind.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    /// The bytes.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// An attribute of bytes. One over 65,531 bytes, which no attribute of this family is, is left out.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        if let Ok(length) = u16::try_from(HEADER_LEN + value.len()) {
            self.0.extend_from_slice(&length.to_ne_bytes());
            self.0.extend_from_slice(&kind.to_ne_bytes());
            self.0.extend_from_slice(value);
            let padded = self.0.len().next_multiple_of(4);
            self.0.resize(padded, 0);
        }
        self
    }

    /// An attribute without a value.
    pub fn flag(&mut self, kind: u16, set: bool) -> &mut Self {
        if set {
            self.bytes(kind, &[]);
        }
        self
    }

    /// An integer of 8 bits.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// An integer of 16 bits.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// An integer of 32 bits.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// An integer of 64 bits.
    pub fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Text, with the zero byte that ends it.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Attributes of another set.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::with_capacity(256);
        fill(&mut inner);
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }
}

/// One attribute being read.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// Its number in its set.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// An integer of 8 bits.
    ///
    /// # Errors
    /// Another length.
    pub fn u8(&self) -> Result<u8, Malformed> {
        self.array().map(u8::from_ne_bytes)
    }

    /// An integer of 16 bits.
    ///
    /// # Errors
    /// Another length.
    pub fn u16(&self) -> Result<u16, Malformed> {
        self.array().map(u16::from_ne_bytes)
    }

    /// An integer of 32 bits.
    ///
    /// # Errors
    /// Another length.
    pub fn u32(&self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }

    /// An integer of 64 bits, or of 32: `uint` of the specification is either.
    ///
    /// # Errors
    /// Another length.
    pub fn uint(&self) -> Result<u64, Malformed> {
        match self.value.len() {
            4 => self.u32().map(u64::from),
            _ => self.array().map(u64::from_ne_bytes),
        }
    }

    /// Exactly `N` bytes.
    ///
    /// # Errors
    /// Another length.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], Malformed> {
        self.value.try_into().map_err(|_| Malformed)
    }

    /// Text, ended by a zero byte or by the attribute.
    ///
    /// # Errors
    /// What is not UTF-8.
    pub fn text(&self) -> Result<String, Malformed> {
        let text = self.value.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8(text.to_vec()).map_err(|_| Malformed)
    }

    /// Attributes of another set.
    pub fn nest(&self) -> Attributes<'a> {
        Attributes(self.value)
    }
}

/// Attributes one after another.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let Ok(buffer) = NlaBuffer::new_checked(bytes) else { return Some(Err(Malformed)) };
        let length = usize::from(buffer.length());
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        let value = bytes.get(HEADER_LEN..length).ok_or(Malformed);
        Some(value.map(|value| Attribute { kind: buffer.kind() & NLA_TYPE_MASK, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout() {
        let mut builder = Builder::default();
        builder.u8(1, 7).text(2, "ab").nest(3, |nest| {
            nest.flag(1, true).flag(2, false);
        });
        let bytes = builder.into_bytes();
        let expected: Vec<u8> = [
            &5u16.to_ne_bytes()[..],
            &1u16.to_ne_bytes(),
            &[7, 0, 0, 0],
            &7u16.to_ne_bytes(),
            &2u16.to_ne_bytes(),
            b"ab\0\0",
            &8u16.to_ne_bytes(),
            &0x8003u16.to_ne_bytes(),
            &4u16.to_ne_bytes(),
            &1u16.to_ne_bytes(),
        ]
        .concat();
        assert_eq!(*bytes, expected);
        let read: Vec<_> = Attributes(&bytes).map(Result::unwrap).collect();
        assert_eq!(read[0].u8(), Ok(7));
        assert_eq!(read[1].text().as_deref(), Ok("ab"));
        assert_eq!(read[2].kind, 3);
        assert_eq!(read[2].nest().count(), 1);
    }

    #[test]
    fn uint_has_two_lengths() {
        let mut builder = Builder::default();
        builder.u32(1, 7).u64(1, u64::MAX).u16(1, 1);
        let bytes = builder.into_bytes();
        let read: Vec<_> = Attributes(&bytes).map(|a| a.unwrap().uint()).collect();
        assert_eq!(read, [Ok(7), Ok(u64::MAX), Err(Malformed)]);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for attribute in Attributes(&bytes).flatten() {
                let _ = (attribute.u8(), attribute.u16(), attribute.uint(), attribute.text());
                let _ = attribute.nest().count();
            }
        }
    }
}
