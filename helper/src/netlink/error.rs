// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What can go wrong between here and the module.

use std::io;

/// Bytes that are not what the specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink message")]
pub struct Malformed;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The family is not there.
    #[error("the pdmv2 module is not loaded; run: modprobe pdmv2 (or: insmod pdmv2.ko)")]
    NotLoaded,
    /// CAP_NET_ADMIN in the namespace's user namespace is missing.
    #[error("{request}: not permitted; this needs root, or CAP_NET_ADMIN in this network namespace")]
    Denied {
        /// What was asked.
        request: &'static str,
    },
    /// The module refused.
    #[error("{request}: {}", refusal(.errno, .message, .attribute))]
    Refused {
        /// What was asked.
        request: &'static str,
        /// The errno, positive.
        errno: i32,
        /// What the module said of it.
        message: Option<String>,
        /// The attribute it is about.
        attribute: Option<String>,
    },
    /// The socket failed.
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    /// The answer could not be read.
    #[error("the module's answer is malformed; do the module's and this program's versions agree?")]
    Malformed(#[from] Malformed),
}

impl Error {
    /// Whether the module refused with this errno.
    pub fn is_errno(&self, expected: rustix::io::Errno) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == expected.raw_os_error())
    }
}

fn refusal(errno: &i32, message: &Option<String>, attribute: &Option<String>) -> String {
    let mut text = String::new();
    if let Some(attribute) = attribute {
        text.push_str(attribute);
        text.push_str(": ");
    }
    if let Some(message) = message {
        text.push_str(message);
        text.push_str(" (");
    }
    text.push_str(&io::Error::from_raw_os_error(*errno).to_string());
    if message.is_some() {
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_attribute() {
        let error = Error::Refused {
            request: "policy-set",
            errno: 34,
            message: Some("integer out of range".into()),
            attribute: Some("rule[2].send".into()),
        };
        assert_eq!(
            error.to_string(),
            "policy-set: rule[2].send: integer out of range (Numerical result out of range (os error 34))"
        );
        let error = Error::Refused { request: "secret-activate", errno: 114, message: None, attribute: None };
        assert!(error.to_string().starts_with("secret-activate: Operation already in progress"));
        assert!(error.is_errno(rustix::io::Errno::ALREADY));
    }
}
