// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Upper-layer protocols by name.

use pdmv2_proto::flow_id::{DCCP, ICMPV6, SCTP, TCP, UDP, UDPLITE};

const ESP: u8 = 50;

const NAMES: [(&str, u8); 7] = [
    ("tcp", TCP),
    ("udp", UDP),
    ("icmpv6", ICMPV6),
    ("sctp", SCTP),
    ("dccp", DCCP),
    ("udplite", UDPLITE),
    ("esp", ESP),
];

/// The number of a name.
pub fn number(name: &str) -> Option<u8> {
    NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number)
}

/// The name of a number, or the number itself.
pub fn name(number: u8) -> String {
    let known = NAMES.into_iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| name.to_owned())
}

/// All names, for messages.
pub fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

/// The number of a name or of a number's digits.
///
/// # Errors
/// Anything else.
pub fn parse(text: &str) -> Result<u8, String> {
    number(text).or_else(|| text.parse().ok()).ok_or_else(|| format!("not one of: {}, or a number", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(parse("tcp"), Ok(6));
        assert_eq!(parse("47"), Ok(47));
        assert!(parse("256").is_err());
        assert_eq!(name(58), "icmpv6");
        assert_eq!(name(47), "47");
    }
}
