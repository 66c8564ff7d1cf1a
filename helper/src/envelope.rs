// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What all messages between helpers have in common: `[version, number, body]` in CBOR (RFC 8949), and nothing behind it.

use minicbor::{Decoder, Encoder};

/// Version of the messages.
pub const VERSION: u8 = 1;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Longer than a message may be, or of no length at all.
    Length(usize),
    /// A version other than [`VERSION`].
    Version(u8),
    /// Not that CBOR.
    Malformed,
}

/// Begins a message of this number; its body follows.
pub fn begin(bytes: &mut Vec<u8>, number: u8) {
    // Writing to a vector cannot fail.
    let _ = Encoder::new(bytes).array(3).and_then(|e| e.u8(VERSION)).and_then(|e| e.u8(number)).map(drop);
}

/// The number of a message of at most `most` bytes, and what reads its body.
///
/// # Errors
/// [`EnvelopeError::Length`], then [`EnvelopeError::Version`] before anything else of it is looked at.
pub fn open(bytes: &[u8], most: usize) -> Result<(u8, Decoder<'_>), EnvelopeError> {
    if bytes.is_empty() || bytes.len() > most {
        return Err(EnvelopeError::Length(bytes.len()));
    }
    let mut decoder = Decoder::new(bytes);
    let malformed = |_| EnvelopeError::Malformed;
    if decoder.array().map_err(malformed)? != Some(3) {
        return Err(EnvelopeError::Malformed);
    }
    match decoder.u8().map_err(malformed)? {
        VERSION => {}
        version => return Err(EnvelopeError::Version(version)),
    }
    let number = decoder.u8().map_err(malformed)?;
    Ok((number, decoder))
}

/// Whether all of a message was read.
pub fn is_read(decoder: &Decoder<'_>) -> bool {
    decoder.position() == decoder.input().len()
}
