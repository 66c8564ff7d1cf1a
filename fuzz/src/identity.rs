// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Keys and names, as files and peers show them.

use pdmv2::identity::{PrivateKey, PublicKey};
use pdmv2::subject::Subject;

/// A key as text (base64, PEM) and as SubjectPublicKeyInfo; a subject.
pub fn key(input: &[u8]) {
    if let Some(key) = PublicKey::from_spki(input) {
        assert_eq!(key.spki().as_ref(), input);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = PrivateKey::from_text(text) {
        for written in [key.to_base64(), key.to_pem()] {
            let again = PrivateKey::from_text(&written).expect("what was written is read");
            assert_eq!(again.public(), key.public());
        }
    }
    if let Ok(subject) = text.parse::<Subject>() {
        assert_eq!(subject.to_string().parse(), Ok(subject));
    }
}
