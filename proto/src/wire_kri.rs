// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The option of profile `v2-kri` on the wire (draft-ietf-ippm-encrypted-pdmv2 with registration, PDMv2 Layout;
//! docs/protocol.md, section 1). Every integer is big-endian. Its lengths are those of profile `v2`, and nothing on the
//! wire tells the two apart: whoever parses knows the profile from the association, or for plain options from the policy.
//!
//! Option length 0x12 in clear; in the encrypted form, length 0x22, the 14 bytes from ScaleDTLR on are sealed and a tag
//! of 16 bytes follows:
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------+-----------------------+
//! |  Option Type  | Option Length | Vrsn  |       Reserved        |
//! +---------------+-------------+-+-------+-------+---------------+
//! |      Random Number          |F|   ScaleDTLR   |   ScaleDTLS   |
//! +-----------------------------+-+---------------+---------------+
//! |                           GLOBALPTR                           |
//! +-------------------------------+-------------------------------+
//! |             PSNTP             |             PSNLR             |
//! +-------------------------------+-------------------------------+
//! |             DTLR              |             DTLS              |
//! +-------------------------------+-------------------------------+
//! ```

use super::time::Delta;
use super::uapi::Mechanism;
use super::wire::{Echo, AAD_LEN, SEALED_LEN, V2_CLEAR_LEN, V2_ENCRYPTED_LEN, V2_INTERIOR_LEN};

/// The first four bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KriClear {
    /// 4 bits; [`super::wire::VERSION`].
    pub version: u8,
    /// 12 bits: "sent as 0, ignored on receipt, and authenticated as received".
    pub reserved: u16,
    /// 15 bits: the packet's place in the pseudo-random sequence of its Kri.
    pub random: u16,
    /// "F = Kri mod 2".
    pub flag: bool,
}

impl KriClear {
    /// Reads the four bytes.
    pub const fn parse(b: &[u8; V2_CLEAR_LEN]) -> Self {
        let (first, second) = (u16::from_be_bytes([b[0], b[1]]), u16::from_be_bytes([b[2], b[3]]));
        Self { version: (first >> 12) as u8, reserved: first & 0x0FFF, random: second >> 1, flag: second & 1 == 1 }
    }

    /// Writes the four bytes; bits beyond a field's width are cut off.
    pub const fn emit(&self) -> [u8; V2_CLEAR_LEN] {
        let first = (((self.version & 0x0F) as u16) << 12) | (self.reserved & 0x0FFF);
        let (first, second) = (first.to_be_bytes(), ((self.random << 1) | self.flag as u16).to_be_bytes());
        [first[0], first[1], second[0], second[1]]
    }

    /// The additional authenticated data of the option these bytes belong to.
    pub const fn aad(&self, option_type: u8) -> [u8; AAD_LEN] {
        let c = self.emit();
        [option_type, V2_ENCRYPTED_LEN as u8, c[0], c[1], c[2], c[3]]
    }
}

/// The rest of a body, sealed in the encrypted form: PSNTP is part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KriInterior {
    /// Packets this host sent from sources of this type, this one included.
    pub global_ptr: u32,
    /// PSN of this packet.
    pub psntp: u16,
    /// What the packet tells of the last received.
    pub echo: Echo,
}

impl KriInterior {
    /// Reads the interior.
    pub const fn parse(b: &[u8; V2_INTERIOR_LEN]) -> Self {
        let &[r, s, g0, g1, g2, g3, p0, p1, l0, l1, r0, r1, s0, s1] = b;
        Self {
            global_ptr: u32::from_be_bytes([g0, g1, g2, g3]),
            psntp: u16::from_be_bytes([p0, p1]),
            echo: Echo {
                psnlr: u16::from_be_bytes([l0, l1]),
                dtlr: Delta { value: u16::from_be_bytes([r0, r1]), scale: r },
                dtls: Delta { value: u16::from_be_bytes([s0, s1]), scale: s },
            },
        }
    }

    /// Writes the interior.
    pub const fn emit(&self) -> [u8; V2_INTERIOR_LEN] {
        let g = self.global_ptr.to_be_bytes();
        let p = self.psntp.to_be_bytes();
        let l = self.echo.psnlr.to_be_bytes();
        let r = self.echo.dtlr.value.to_be_bytes();
        let s = self.echo.dtls.value.to_be_bytes();
        let (scale_r, scale_s) = (self.echo.dtlr.scale, self.echo.dtls.scale);
        [scale_r, scale_s, g[0], g[1], g[2], g[3], p[0], p[1], l[0], l[1], r[0], r[1], s[0], s[1]]
    }
}

/// A received option's body, of a flow whose profile is `v2-kri`, before any check of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KriBody<'a> {
    /// In clear.
    Plain(KriClear, KriInterior),
    /// With its interior sealed.
    Encrypted(KriClear, &'a [u8; SEALED_LEN]),
}

impl<'a> KriBody<'a> {
    /// Reads an option body; `None` for a length that this profile does not have (that of `pdm` is no profile's).
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (clear, rest) = body.split_first_chunk::<V2_CLEAR_LEN>()?;
        let clear = KriClear::parse(clear);
        if let Ok(b) = <&[u8; V2_INTERIOR_LEN]>::try_from(rest) {
            return Some(Self::Plain(clear, KriInterior::parse(b)));
        }
        Some(Self::Encrypted(clear, <&[u8; SEALED_LEN]>::try_from(rest).ok()?))
    }

    /// The body's mechanism, which is of either profile.
    pub const fn mechanism(&self) -> Mechanism {
        match self {
            Self::Plain(..) => Mechanism::V2,
            Self::Encrypted(..) => Mechanism::V2Encrypted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{mechanism_of_len, OPTION_TYPE, PDM_LEN, VERSION};
    use super::*;
    use proptest::prelude::*;

    /// The rows of docs/test-vectors/key-schedule.json of this profile: aad and body.
    #[test]
    fn layout() {
        let table = [
            (0x1234, false, [0x0f, 0x22, 0x20, 0x00, 0x24, 0x68]),
            (0x0001, false, [0x0f, 0x22, 0x20, 0x00, 0x00, 0x02]),
            (0x7fff, true, [0x0f, 0x22, 0x20, 0x00, 0xff, 0xff]),
            (0x4000, false, [0x0f, 0x22, 0x20, 0x00, 0x80, 0x00]),
        ];
        for (random, flag, aad) in table {
            assert_eq!(KriClear { version: VERSION, reserved: 0, random, flag }.aad(OPTION_TYPE), aad, "{random:#x}");
        }
        let interior = KriInterior {
            global_ptr: 1,
            psntp: 0x1234,
            echo: Echo { psnlr: 7, dtlr: Delta { value: 8, scale: 0x0a }, dtls: Delta { value: 9, scale: 0x14 } },
        };
        assert_eq!(interior.emit(), [0x0a, 0x14, 0, 0, 0, 1, 0x12, 0x34, 0, 7, 0, 8, 0, 9]);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let want = mechanism_of_len(body.len()).filter(|_| body.len() != PDM_LEN);
            prop_assert_eq!(KriBody::parse(&body).map(|b| b.mechanism()), want);
        }

        /// Reserved bits too, as they are authenticated as received.
        #[test]
        fn clear_round_trip(b: [u8; V2_CLEAR_LEN]) {
            prop_assert_eq!(KriClear::parse(&b).emit(), b);
            prop_assert_eq!(&KriClear::parse(&b).aad(OPTION_TYPE)[2..], &b[..]);
        }

        #[test]
        fn interior_round_trip(b: [u8; V2_INTERIOR_LEN]) {
            prop_assert_eq!(KriInterior::parse(&b).emit(), b);
        }
    }
}
