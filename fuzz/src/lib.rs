// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What each target does with its input. `fuzz_targets/` runs them under libFuzzer, `helper/tests/fuzz.rs` over the
//! corpora in the ordinary tests, so that they cannot rot.
//!
//! No input may make one panic. Where a decoder has an encoder, what was read is written and read again, and is the same.

mod certificate;
mod configuration;
mod identity;
mod negotiation;
mod netlink;
mod option;

/// A target: its name, which is that of its corpus and of its file in `fuzz_targets/`, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. What decodes the messages of another exchange goes into a file of its own beside these.
pub const TARGETS: &[Target] = &[
    ("certificate", certificate::presented),
    ("certificate_files", certificate::files),
    ("configuration", configuration::configuration),
    ("deframer", negotiation::deframer),
    ("headers", option::headers),
    ("key", identity::key),
    ("negotiation_client", negotiation::client),
    ("negotiation_message", negotiation::message),
    ("negotiation_server", negotiation::server),
    ("netlink_attributes", netlink::attributes),
    ("netlink_datagram", netlink::datagram),
    ("netlink_ext_ack", netlink::ext_ack),
    ("option", option::option),
    ("prefix", configuration::prefix),
];

/// Runs the target of a name.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("no target `{name}`")).1(input);
}
