// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The option on the wire (RFC 8250 section 3.2; draft-ietf-ippm-encrypted-pdmv2 section 6.3; docs/protocol.md,
//! section 1). Every integer is big-endian.
//!
//! `pdm`, option length 0x0A:
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+---------------+---------------+
//! |  Option Type  | Option Length |   ScaleDTLR   |   ScaleDTLS   |
//! +---------------+---------------+---------------+---------------+
//! |             PSNTP             |             PSNLR             |
//! +-------------------------------+-------------------------------+
//! |             DTLR              |             DTLS              |
//! +-------------------------------+-------------------------------+
//! ```
//!
//! `v2`, option length 0x12 in clear; in the encrypted form, length 0x22, the 14 bytes from Reserved on are sealed and
//! a tag of 16 bytes follows:
//!
//! ```text
//! +---------------+---------------+-------+-----------------------+
//! |  Option Type  | Option Length | Vrsn  |         Epoch         |
//! +---------------+---------------+-------+-----------------------+
//! |             PSNTP             |           Reserved            |
//! +-------------------------------+-------------------------------+
//! |                           GLOBALPTR                           |
//! +---------------+---------------+-------------------------------+
//! |   ScaleDTLR   |   ScaleDTLS   |             PSNLR             |
//! +---------------+---------------+-------------------------------+
//! |             DTLR              |             DTLS              |
//! +-------------------------------+-------------------------------+
//! ```

use super::suite::TAG_LEN;
use super::time::Delta;
use super::uapi::Mechanism;

/// Option type of RFC 8250, used unless the module is told another.
pub const OPTION_TYPE: u8 = 0x0F;
/// Bytes of an option's type and length.
pub const OPTION_HEADER_LEN: usize = 2;
/// Bytes of the `pdm` body.
pub const PDM_LEN: usize = 10;
/// Bytes of the part of a `v2` body that is always in clear: version, epoch, PSNTP.
pub const V2_CLEAR_LEN: usize = 4;
/// Bytes of the part of a `v2` body that may be sealed.
pub const V2_INTERIOR_LEN: usize = 14;
/// Bytes of the plain `v2` body.
pub const V2_LEN: usize = V2_CLEAR_LEN + V2_INTERIOR_LEN;
/// Bytes of the sealed interior with its tag.
pub const SEALED_LEN: usize = V2_INTERIOR_LEN + TAG_LEN;
/// Bytes of the encrypted `v2` body.
pub const V2_ENCRYPTED_LEN: usize = V2_CLEAR_LEN + SEALED_LEN;
/// Bytes of the additional authenticated data: the option from its type to PSNTP.
pub const AAD_LEN: usize = OPTION_HEADER_LEN + V2_CLEAR_LEN;
/// The version this implements.
pub const VERSION: u8 = 2;

/// Option types no setting may choose: assigned to other options of the registry of RFC 8200, or with bits that ask
/// routers to change the option or hosts to drop the packet.
pub const fn option_type_is_usable(kind: u8) -> bool {
    // Pad1, PadN, Tunnel Encapsulation Limit, Router Alert, CALIPSO, SMF_DPD, IOAM, AltMark: those of the registry whose
    // action is to skip and whose data stays as it is.
    !matches!(kind, 0x00 | 0x01 | 0x04 | 0x05 | 0x07 | 0x08 | 0x11 | 0x12) && kind & 0xE0 == 0
}

/// Bytes of a mechanism's option body; 0 for no option.
pub const fn body_len(mechanism: Mechanism) -> usize {
    match mechanism {
        Mechanism::None => 0,
        Mechanism::Pdm => PDM_LEN,
        Mechanism::V2 => V2_LEN,
        Mechanism::V2Encrypted => V2_ENCRYPTED_LEN,
    }
}

/// The mechanism an option body of this length belongs to, if any.
pub const fn mechanism_of_len(len: usize) -> Option<Mechanism> {
    match len {
        PDM_LEN => Some(Mechanism::Pdm),
        V2_LEN => Some(Mechanism::V2),
        V2_ENCRYPTED_LEN => Some(Mechanism::V2Encrypted),
        _ => None,
    }
}

/// What one packet tells about the last received one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// PSN of the last packet received on the flow.
    pub psnlr: u16,
    /// Time from that packet's arrival to the sending of this one.
    pub dtlr: Delta,
    /// Time from the packet sent last before that arrival to that arrival.
    pub dtls: Delta,
}

/// A `pdm` body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pdm {
    /// PSN of this packet.
    pub psntp: u16,
    /// What it tells of the last received.
    pub echo: Echo,
}

impl Pdm {
    /// Reads a body.
    pub const fn parse(b: &[u8; PDM_LEN]) -> Self {
        let &[r, s, p0, p1, l0, l1, r0, r1, s0, s1] = b;
        Self {
            psntp: u16::from_be_bytes([p0, p1]),
            echo: Echo {
                psnlr: u16::from_be_bytes([l0, l1]),
                dtlr: Delta { value: u16::from_be_bytes([r0, r1]), scale: r },
                dtls: Delta { value: u16::from_be_bytes([s0, s1]), scale: s },
            },
        }
    }

    /// Writes a body.
    pub const fn emit(&self) -> [u8; PDM_LEN] {
        let p = self.psntp.to_be_bytes();
        let l = self.echo.psnlr.to_be_bytes();
        let r = self.echo.dtlr.value.to_be_bytes();
        let s = self.echo.dtls.value.to_be_bytes();
        [self.echo.dtlr.scale, self.echo.dtls.scale, p[0], p[1], l[0], l[1], r[0], r[1], s[0], s[1]]
    }
}

/// The first four bytes of a `v2` body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V2Clear {
    /// 4 bits; [`VERSION`].
    pub version: u8,
    /// 12 bits; 0 in clear options.
    pub epoch: u16,
    /// PSN of this packet.
    pub psntp: u16,
}

impl V2Clear {
    /// Reads the four bytes.
    pub const fn parse(b: &[u8; V2_CLEAR_LEN]) -> Self {
        let word = u16::from_be_bytes([b[0], b[1]]);
        Self { version: (word >> 12) as u8, epoch: word & 0x0FFF, psntp: u16::from_be_bytes([b[2], b[3]]) }
    }

    /// Writes the four bytes; bits beyond a field's width are cut off.
    pub const fn emit(&self) -> [u8; V2_CLEAR_LEN] {
        let word = (((self.version & 0x0F) as u16) << 12) | (self.epoch & 0x0FFF);
        let (w, p) = (word.to_be_bytes(), self.psntp.to_be_bytes());
        [w[0], w[1], p[0], p[1]]
    }

    /// The additional authenticated data of the option these bytes belong to.
    pub const fn aad(&self, option_type: u8) -> [u8; AAD_LEN] {
        let c = self.emit();
        [option_type, V2_ENCRYPTED_LEN as u8, c[0], c[1], c[2], c[3]]
    }
}

/// The rest of a `v2` body, sealed in the encrypted form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V2Interior {
    /// Packets this host sent from sources of this type, this one included.
    pub global_ptr: u32,
    /// What the packet tells of the last received.
    pub echo: Echo,
}

impl V2Interior {
    /// Reads the interior; reserved bits are ignored.
    pub const fn parse(b: &[u8; V2_INTERIOR_LEN]) -> Self {
        let &[_, _, g0, g1, g2, g3, r, s, l0, l1, r0, r1, s0, s1] = b;
        Self {
            global_ptr: u32::from_be_bytes([g0, g1, g2, g3]),
            echo: Echo {
                psnlr: u16::from_be_bytes([l0, l1]),
                dtlr: Delta { value: u16::from_be_bytes([r0, r1]), scale: r },
                dtls: Delta { value: u16::from_be_bytes([s0, s1]), scale: s },
            },
        }
    }

    /// Writes the interior with reserved bits 0.
    pub const fn emit(&self) -> [u8; V2_INTERIOR_LEN] {
        let g = self.global_ptr.to_be_bytes();
        let l = self.echo.psnlr.to_be_bytes();
        let r = self.echo.dtlr.value.to_be_bytes();
        let s = self.echo.dtls.value.to_be_bytes();
        [0, 0, g[0], g[1], g[2], g[3], self.echo.dtlr.scale, self.echo.dtls.scale, l[0], l[1], r[0], r[1], s[0], s[1]]
    }
}

/// A received option's body, by mechanism, before any check of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// RFC 8250.
    Pdm(Pdm),
    /// PDMv2 in clear.
    V2(V2Clear, V2Interior),
    /// PDMv2 with its interior sealed.
    V2Encrypted(V2Clear, &'a [u8; SEALED_LEN]),
}

impl<'a> Body<'a> {
    /// Reads an option body; `None` for a length that no mechanism has.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        if let Ok(b) = <&[u8; PDM_LEN]>::try_from(body) {
            return Some(Self::Pdm(Pdm::parse(b)));
        }
        let (clear, rest) = body.split_first_chunk::<V2_CLEAR_LEN>()?;
        let clear = V2Clear::parse(clear);
        if let Ok(b) = <&[u8; V2_INTERIOR_LEN]>::try_from(rest) {
            return Some(Self::V2(clear, V2Interior::parse(b)));
        }
        Some(Self::V2Encrypted(clear, <&[u8; SEALED_LEN]>::try_from(rest).ok()?))
    }

    /// The body's mechanism.
    pub const fn mechanism(&self) -> Mechanism {
        match self {
            Self::Pdm(_) => Mechanism::Pdm,
            Self::V2(..) => Mechanism::V2,
            Self::V2Encrypted(..) => Mechanism::V2Encrypted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_those_of_the_table() {
        assert_eq!([PDM_LEN, V2_LEN, V2_ENCRYPTED_LEN], [0x0A, 0x12, 0x22]);
    }

    #[test]
    fn option_types() {
        let table =
            [(0x0F, true), (0x1E, true), (0x00, false), (0x01, false), (0x05, false), (0x8F, false), (0x2F, false)];
        for (kind, usable) in table {
            assert_eq!(option_type_is_usable(kind), usable, "{kind:#04x}");
        }
    }

    /// docs/protocol.md, section 4, vectors (a): aad and body.
    #[test]
    fn v2_layout() {
        let clear = V2Clear { version: VERSION, epoch: 0, psntp: 0x1234 };
        assert_eq!(clear.aad(OPTION_TYPE), [0x0f, 0x22, 0x20, 0x00, 0x12, 0x34]);
        let interior = V2Interior {
            global_ptr: 1,
            echo: Echo { psnlr: 7, dtlr: Delta { value: 8, scale: 0x0a }, dtls: Delta { value: 9, scale: 0x14 } },
        };
        assert_eq!(interior.emit(), [0, 0, 0, 0, 0, 1, 0x0a, 0x14, 0, 7, 0, 8, 0, 9]);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let parsed = Body::parse(&body);
            prop_assert_eq!(parsed.map(|b| b.mechanism()), mechanism_of_len(body.len()));
        }

        #[test]
        fn pdm_round_trip(b: [u8; PDM_LEN]) {
            prop_assert_eq!(Pdm::parse(&b).emit(), b);
        }

        #[test]
        fn v2_round_trip(c: [u8; V2_CLEAR_LEN], b: [u8; V2_INTERIOR_LEN]) {
            prop_assert_eq!(V2Clear::parse(&c).emit(), c);
            let out = V2Interior::parse(&b).emit();
            prop_assert_eq!(&out[2..], &b[2..]);
            prop_assert_eq!(&out[..2], &[0u8, 0]);
        }
    }
}
