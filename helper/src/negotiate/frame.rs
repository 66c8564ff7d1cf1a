// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Messages in a byte stream: a u32 length in network byte order, then that many bytes.

use super::error::Failure;

/// Longest message, bytes.
pub const MESSAGE_MAX: usize = 16 * 1024;

/// Bytes of the length.
const HEADER_LEN: usize = 4;

/// The message with its length before it.
pub fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

/// Cuts a byte stream into messages; holds at most one message and what came with it.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8>,
}

impl Deframer {
    /// Takes bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there.
    ///
    /// # Errors
    /// An empty message, or one over [`MESSAGE_MAX`]: the stream is of no more use.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MESSAGE_MAX {
            return Err(Failure::Length(length));
        }
        let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.buffer.drain(..HEADER_LEN + length);
        Ok(Some(message))
    }

    /// Whether a message has begun and not ended.
    pub fn is_mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for length in [0, MESSAGE_MAX as u32 + 1, u32::MAX] {
            let mut deframer = Deframer::default();
            deframer.push(&length.to_be_bytes());
            assert_eq!(deframer.next_message(), Err(Failure::Length(length as usize)));
        }
    }

    #[test]
    fn a_truncated_message_is_waited_for() {
        let mut deframer = Deframer::default();
        deframer.push(&[0, 0, 0, 2, 7]);
        assert_eq!(deframer.next_message(), Ok(None));
        assert!(deframer.is_mid_message());
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_messages(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..6),
            cut in 1usize..50,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            for piece in stream.chunks(cut) {
                deframer.push(piece);
                while let Some(message) = deframer.next_message().unwrap() {
                    got.push(message);
                }
            }
            prop_assert_eq!(got, messages);
            prop_assert!(!deframer.is_mid_message());
        }
    }
}
