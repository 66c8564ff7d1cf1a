// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Room for the option in TCP segments (docs/protocol.md, section 5): MSS = min(MSS, path MTU - 60) - own header size.
//!
//! Only received SYN and SYN-ACK are lowered, each end for what it will send itself, so that two ends never subtract twice.

use super::placement::new_header_len;
use super::uapi::Mechanism;

/// Bytes of an IPv6 and a TCP header without options.
const HEADERS: u32 = 60;
/// No MSS below this is written: the least IPv6 MTU leaves 1220 (RFC 8200 section 5).
const LEAST: u16 = 536;

/// Offset of the options in a TCP header.
pub const OPTIONS_AT: usize = 20;

const OPT_END: u8 = 0;
const OPT_NOP: u8 = 1;
const OPT_MSS: u8 = 2;
const OPT_AO: u8 = 29;

/// The MSS the peer should be believed to have announced, given what it announced and the path MTU towards it, bytes.
pub fn lowered(announced: u16, path_mtu: u32, mechanism: Mechanism) -> u16 {
    let most = u16::try_from(path_mtu.saturating_sub(HEADERS)).unwrap_or(u16::MAX);
    let own = new_header_len(mechanism) as u16;
    announced.min(most).saturating_sub(own).max(LEAST.min(announced))
}

/// The options of the TCP header of `header_len` bytes at `tcp_at` in a packet.
pub fn options(packet: &[u8], tcp_at: usize, header_len: usize) -> Option<&[u8]> {
    packet.get(tcp_at.checked_add(OPTIONS_AT)?..tcp_at.checked_add(header_len)?)
}

/// Finds the MSS option among TCP options: the offset of its 2-byte value and the value. `None` also where TCP-AO
/// authenticates the options (RFC 5925 section 5.1), which then have to stay as they are.
pub fn find(options: &[u8]) -> Option<(usize, u16)> {
    let (mut at, mut found) = (0usize, None);
    loop {
        match options.get(at..).unwrap_or(&[]) {
            [OPT_NOP, ..] => at = at.checked_add(1)?,
            [OPT_END, ..] | [] => return found,
            [OPT_AO, ..] => return None,
            [kind, len, rest @ ..] if *len >= 2 => {
                if let (OPT_MSS, 4, [high, low, ..]) = (*kind, *len, rest) {
                    found = Some((at.checked_add(2)?, u16::from_be_bytes([*high, *low])));
                }
                at = at.checked_add(usize::from(*len))?;
            }
            // What is damaged ends the list, as it does for TCP.
            _ => return found,
        }
    }
}

/// Whether TCP-AO signs a segment with these TCP options.
pub fn is_signed(options: &[u8]) -> bool {
    let mut at = 0usize;
    loop {
        let len = match options.get(at..).unwrap_or(&[]) {
            [OPT_NOP, ..] => 1,
            [OPT_AO, ..] => return true,
            [OPT_END, ..] | [] => return false,
            [_, len, ..] if *len >= 2 => usize::from(*len),
            _ => return false,
        };
        at = at.saturating_add(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rule() {
        let table = [
            (1440, 1500, Mechanism::V2Encrypted, 1400),
            (1440, 1500, Mechanism::V2, 1416),
            (1440, 1500, Mechanism::Pdm, 1424),
            (1440, 1280, Mechanism::V2Encrypted, 1180),
            (65476, 65536, Mechanism::V2Encrypted, 65436),
            (300, 1500, Mechanism::V2Encrypted, 300),
        ];
        for (announced, mtu, mechanism, want) in table {
            assert_eq!(lowered(announced, mtu, mechanism), want);
        }
    }

    #[test]
    fn finding() {
        assert_eq!(find(&[2, 4, 5, 160, 1, 3]), Some((2, 1440)));
        assert_eq!(find(&[1, 1, 4, 2, 2, 4, 5, 160]), Some((6, 1440)));
        assert_eq!(find(&[0, 2, 4, 5, 160]), None);
        assert_eq!(find(&[8, 0, 2, 4, 5, 160]), None);
        assert_eq!(find(&[2, 4, 5]), None);
        assert_eq!(find(&[2, 4, 5, 160, 29, 4, 1, 2]), None, "TCP-AO signs the options");
    }

    #[test]
    fn signatures() {
        assert!(is_signed(&[2, 4, 5, 160, 29, 16, 1, 2]));
        assert!(is_signed(&[1, 1, 29, 4, 0, 0]));
        for unsigned in [&[2u8, 4, 5, 29][..], &[], &[0, 29, 4, 0], &[8, 0, 29, 4], &[8]] {
            assert!(!is_signed(unsigned), "{unsigned:?}");
        }
    }

    proptest! {
        #[test]
        fn any_options_are_walked_without_panic(o in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (find(&o), is_signed(&o));
        }
    }
}
