// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Messages of a negotiation (docs/protocol.md, section 9).

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};
use pdmv2::identity::PublicKey;
use pdmv2::negotiate::frame::{frame, Deframer};
use pdmv2::negotiate::message::Message;
use pdmv2::negotiate::{Client, Exporter, Failure, Local, Server, Step};
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;

/// One message: what is read is written so that it is read again.
pub fn message(input: &[u8]) {
    if let Ok(message) = Message::decode(input) {
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

/// A stream that comes in pieces, of the size that the first byte says, holds the messages that it holds in one piece.
pub fn deframer(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let messages = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut deframer, mut messages) = (Deframer::default(), Vec::new());
        for piece in pieces {
            deframer.push(piece);
            loop {
                match deframer.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(failure) => return (messages, Some(failure)),
                }
            }
        }
        (messages, None)
    };
    let in_pieces = messages(&mut stream.chunks(usize::from(*size).max(1)));
    assert_eq!(in_pieces, messages(&mut std::iter::once(stream)));
    let framed: Vec<u8> = in_pieces.0.iter().flat_map(|message| frame(message)).collect();
    assert!(stream.starts_with(&framed));
}

/// The messages of a stream.
fn each(stream: &[u8], mut take: impl FnMut(&[u8]) -> bool) {
    let mut deframer = Deframer::default();
    deframer.push(stream);
    while let Ok(Some(message)) = deframer.next_message() {
        if !take(&message) {
            return;
        }
    }
}

/// A server takes whatever a client says, in any order. Nobody without the client's part of the secret has it install.
pub fn server(input: &[u8]) {
    let mut server = Server::new(local(2, 1));
    each(input, |message| match server.receive(message, &Session, &mut Drawn(0)) {
        Ok(Step::Send(_)) => true,
        Ok(step) => panic!("{step:?}"),
        Err(failure) => {
            let _ = Server::refusal(failure);
            false
        }
    });
    assert!(server.installed().is_none());
}

/// A client likewise.
pub fn client(input: &[u8]) {
    let (mut client, _) = Client::start(local(1, 2), &mut Drawn(0));
    each(input, |message| match client.receive(message, &Session, &mut Drawn(1)) {
        Ok(Step::Send(_)) => true,
        Ok(step) => panic!("{step:?}"),
        Err(_) => false,
    });
    assert!(client.installed().is_none());
}

/// Identities that nobody has; one suite, as the others differ in cost only.
fn local(own: u8, peer: u8) -> Local {
    Local { suites: vec![Suite::DEFAULT], ..Local::new(PublicKey([own; 32]), PublicKey([peer; 32])) }
}

/// A TLS session that exports the same for everything.
struct Session;

impl Exporter for Session {
    fn export(&self, _context: &[u8]) -> Result<Secret, Failure> {
        Ok(Secret::new(vec![7; 32]))
    }
}

/// Numbers that are the same in every run.
struct Drawn(u8);

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0 = self.0.wrapping_add(1);
        Ok(self.0.into())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(1);
        Ok(self.0.into())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}
