// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Where the option stands in a packet (RFC 8250 section 3.3.2; docs/protocol.md, section 1).
//!
//! Alone, it stands at offset 4 of its Destination Options header, behind a 2-byte PadN, so that the 32-bit field is
//! naturally aligned and the header is exactly 16 (`pdm`), 24 (`v2`) or 40 (`v2` encrypted) bytes:
//!
//! ```text
//! +---------------+---------------+---------------+---------------+
//! |  Next Header  |  Hdr Ext Len  |   PadN (1)    |    len 0      |
//! +---------------+---------------+---------------+---------------+
//! |  Option Type  | Option Length |  body ...                     |
//! ```

use super::uapi::Mechanism;
use super::wire::{body_len, OPTION_HEADER_LEN};

/// Longest Destination Options header this produces, bytes; longer ones are lost on the Internet.
pub const HEADER_MAX: usize = 48;
/// Where options begin in a header: behind Next Header and Hdr Ext Len.
const OPTIONS_AT: usize = 2;
/// Options Linux takes in one header by default (`max_dst_opts_number`).
const OPTIONS_MAX: usize = 8;
/// Bytes of padding in a row Linux takes (`ip6_parse_tlv`).
const PAD_MAX: usize = 7;

const PAD1: u8 = 0;
const PADN: u8 = 1;

/// What a Destination Options header holds, by the rules the kernel itself applies to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Options other than padding.
    pub options: usize,
    /// Behind the last option other than padding; 2 in a header of padding alone.
    pub end: usize,
    /// Options of the type looked for.
    pub found: usize,
    /// The body of the first of them: offset and length.
    pub body: Option<(usize, usize)>,
}

/// Walks a Destination Options header. `None` if the kernel would drop the packet for it: options that overrun it, more
/// than seven bytes of padding in a row, padding that is not zero, too many options.
pub fn scan(header: &[u8], option_type: u8) -> Option<Scan> {
    let mut scan = Scan { options: 0, end: OPTIONS_AT, found: 0, body: None };
    let (mut at, mut padding) = (OPTIONS_AT, 0usize);
    while at < header.len() {
        match header.get(at..)? {
            [PAD1, ..] => {
                padding = padding.checked_add(1)?;
                at = at.checked_add(1)?;
            }
            [kind, len, ..] => {
                let len = usize::from(*len);
                let body_at = at.checked_add(OPTION_HEADER_LEN)?;
                let next = body_at.checked_add(len)?;
                let body = header.get(body_at..next)?;
                if *kind == PADN {
                    padding = padding.checked_add(OPTION_HEADER_LEN)?.checked_add(len)?;
                    if body.iter().any(|byte| *byte != 0) {
                        return None;
                    }
                } else {
                    padding = 0;
                    scan.options = scan.options.checked_add(1)?;
                    if *kind == option_type {
                        scan.found = scan.found.checked_add(1)?;
                        scan.body = scan.body.or(Some((body_at, len)));
                    }
                    scan.end = next;
                }
                at = next;
            }
            _ => return None,
        }
        if padding > PAD_MAX || scan.options > OPTIONS_MAX {
            return None;
        }
    }
    Some(scan)
}

/// Bytes a mechanism's own Destination Options header has; 0 for no option.
pub const fn new_header_len(mechanism: Mechanism) -> usize {
    match body_len(mechanism) {
        0 => 0,
        len => 4 + OPTION_HEADER_LEN + len,
    }
}

/// A Destination Options header that holds the option, to be written over the existing one or before the upper layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    bytes: [u8; HEADER_MAX],
    len: usize,
    option_at: usize,
    /// Bytes of the header it replaces; 0 for a new one.
    pub replaces: usize,
}

/// Writes `len` bytes of padding at the start of `room`.
fn pad(room: &mut [u8], len: usize) {
    let Some(room) = room.get_mut(..len) else { return };
    room.fill(0);
    if let [kind, n, rest @ ..] = room {
        *kind = PADN;
        *n = rest.len() as u8;
    }
}

impl Placement {
    /// Plans a header for an option of this mechanism. `existing` is the packet's final Destination Options header, if it
    /// has one; `next_header` the upper-layer protocol. `None` if the result would not be delivered.
    pub fn plan(existing: Option<&[u8]>, next_header: u8, option_type: u8, mechanism: Mechanism) -> Option<Self> {
        let mut plan = Self { bytes: [0; HEADER_MAX], len: 0, option_at: 0, replaces: 0 };
        match existing {
            None => plan.place(OPTIONS_AT, next_header, option_type, mechanism)?,
            Some(old) => {
                let scan = scan(old, option_type)?;
                if scan.found > 0 || scan.options >= OPTIONS_MAX {
                    return None;
                }
                plan.bytes.get_mut(..scan.end)?.copy_from_slice(old.get(..scan.end)?);
                plan.replaces = old.len();
                plan.place(scan.end, next_header, option_type, mechanism)?;
            }
        }
        Some(plan)
    }

    /// Places the option behind `kept` bytes. Most packets have no header of their own, so that `kept` is known.
    #[inline(always)]
    fn place(&mut self, kept: usize, next_header: u8, option_type: u8, mechanism: Mechanism) -> Option<()> {
        let body = body_len(mechanism);
        let option_at = kept.checked_next_multiple_of(4)?;
        let option_end = option_at.checked_add(OPTION_HEADER_LEN)?.checked_add(body)?;
        let len = option_end.checked_next_multiple_of(8)?.max(self.replaces);
        let padding = len.checked_sub(option_end)?;
        if len > HEADER_MAX || padding > PAD_MAX || self.replaces > HEADER_MAX {
            return None;
        }
        let bytes = &mut self.bytes;
        pad(bytes.get_mut(kept..)?, option_at.checked_sub(kept)?);
        if let Some([kind, n]) = bytes.get_mut(option_at..option_at.checked_add(OPTION_HEADER_LEN)?) {
            (*kind, *n) = (option_type, body as u8);
        }
        pad(bytes.get_mut(option_end..)?, padding);
        let [next, words, ..] = bytes;
        (*next, *words) = (next_header, (len / 8).saturating_sub(1) as u8);
        (self.len, self.option_at) = (len, option_at);
        Some(())
    }

    /// Bytes by which the packet grows.
    pub const fn growth(&self) -> usize {
        self.len.saturating_sub(self.replaces)
    }

    /// The option's body, to be filled in before [`Self::header`] is written.
    pub fn body_mut(&mut self) -> &mut [u8] {
        let body = self.bytes.get_mut(self.option_at..).and_then(|option| match option {
            [_, len, rest @ ..] => rest.get_mut(..usize::from(*len)),
            _ => None,
        });
        body.unwrap_or(&mut [])
    }

    /// The whole header.
    pub fn header(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    extern crate std;

    const KIND: u8 = 0x0f;

    #[test]
    fn alone_the_header_is_16_24_or_40_bytes() {
        for (mechanism, len) in [(Mechanism::Pdm, 16), (Mechanism::V2, 24), (Mechanism::V2Encrypted, 40)] {
            let mut p = Placement::plan(None, 17, KIND, mechanism).unwrap();
            assert_eq!((p.growth(), p.header().len(), new_header_len(mechanism)), (len, len, len));
            assert_eq!(p.header()[..6], [17, (len / 8 - 1) as u8, 1, 0, KIND, (len - 6) as u8]);
            assert_eq!(p.body_mut().len(), len - 6);
        }
    }

    #[test]
    fn behind_other_options() {
        let tunnel_limit = [17, 0, 4, 1, 9, 1, 1, 0];
        let p = Placement::plan(Some(&tunnel_limit), 17, KIND, Mechanism::Pdm).unwrap();
        assert_eq!(p.header()[..10], [17, 2, 4, 1, 9, 1, 1, 0, KIND, 10][..]);
        assert_eq!((p.growth(), p.header().len()), (16, 24));
        assert_eq!(p.header()[20..], [1, 2, 0, 0]);
    }

    #[test]
    fn refused_rather_than_lost() {
        let long: Vec<u8> = [&[17u8, 1, 0x1e, 12][..], &[1; 12]].concat();
        let mut eight = Vec::from([17u8, 1]);
        (0..7).for_each(|_| eight.extend([0x1e, 0]));
        let mine = Placement::plan(None, 17, KIND, Mechanism::Pdm).unwrap();
        let table: [(&str, &[u8], Mechanism, bool); 5] = [
            ("above 48 bytes", &long, Mechanism::V2Encrypted, false),
            ("within 48 bytes", &long, Mechanism::V2, true),
            ("seven options", &eight, Mechanism::Pdm, true),
            ("already there", mine.header(), Mechanism::Pdm, false),
            ("damaged", &[17, 0, 0x1e, 9, 0, 0, 0, 0], Mechanism::Pdm, false),
        ];
        for (name, old, mechanism, fits) in table {
            assert_eq!(Placement::plan(Some(old), 17, KIND, mechanism).is_some(), fits, "{name}");
        }
    }

    #[test]
    fn scanning_follows_the_kernel() {
        let table: [(&str, &[u8], Option<(usize, usize)>); 6] = [
            ("found", &[17, 0, KIND, 4, 1, 2, 3, 4], Some((1, 1))),
            ("twice", &[17, 1, KIND, 4, 1, 2, 3, 4, KIND, 6, 1, 2, 3, 4, 5, 6], Some((2, 2))),
            ("overrun", &[17, 0, KIND, 5, 1, 2, 3, 4], None),
            ("padding not zero", &[17, 0, 1, 4, 0, 1, 0, 0], None),
            ("eight bytes of padding", &[17, 1, KIND, 4, 1, 2, 3, 4, 1, 6, 0, 0, 0, 0, 0, 0], None),
            ("seven bytes of padding", &[17, 1, KIND, 5, 1, 2, 3, 4, 5, 1, 5, 0, 0, 0, 0, 0], Some((1, 1))),
        ];
        for (name, header, want) in table {
            assert_eq!(scan(header, KIND).map(|s| (s.found, s.options)), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_planned_scans_again(
            rest in proptest::collection::vec(any::<u8>(), 0..46),
            mechanism in prop::sample::select(std::vec![Mechanism::Pdm, Mechanism::V2, Mechanism::V2Encrypted]),
        ) {
            let mut old = std::vec![17, 0];
            old.extend(&rest);
            old.resize(old.len().next_multiple_of(8), 0);
            if let Some(p) = Placement::plan(Some(&old), 17, KIND, mechanism) {
                let again = scan(p.header(), KIND).unwrap();
                prop_assert_eq!(again.found, 1);
                prop_assert_eq!(again.body.unwrap().1, body_len(mechanism));
                prop_assert_eq!((again.body.unwrap().0 - 2) % 4, 0);
                prop_assert_eq!(p.header().len() % 8, 0);
            }
        }
    }
}
