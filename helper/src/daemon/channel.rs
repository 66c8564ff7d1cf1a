// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Whole messages over a TLS session.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsStream;

use crate::identity::Authenticated;
use crate::negotiate::frame::{frame, Deframer};
use crate::negotiate::{Exporter, Failure};
use crate::secret::Secret;
use crate::tls::{authenticated, words, EXPORTER_LABEL};

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The session ended.
    #[error("the session ended")]
    Closed,
    /// The connection or its TLS failed.
    #[error("{}", failure(.0))]
    Io(#[from] io::Error),
    /// A message out of bounds.
    #[error(transparent)]
    Message(#[from] Failure),
}

/// What failed, in words.
fn failure(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map_or_else(|| error.to_string(), words)
}

/// A TLS session that carries messages.
pub struct Channel<IO> {
    stream: TlsStream<IO>,
    deframer: Deframer,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Channel<IO> {
    /// Takes an established session.
    pub fn new(stream: impl Into<TlsStream<IO>>) -> Self {
        Self { stream: stream.into(), deframer: Deframer::default() }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Option<Authenticated> {
        self.stream.get_ref().1.peer_certificates().and_then(|presented| authenticated(presented.first()?))
    }

    /// The next message. Waiting may be given up and taken up again.
    ///
    /// # Errors
    /// The session's end; a message out of bounds.
    pub async fn receive(&mut self) -> Result<Vec<u8>, ChannelError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.deframer.next_message()? {
                return Ok(message);
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(len) => self.deframer.push(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ChannelError::Closed),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// A connection that failed.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        self.stream.write_all(&frame(message)).await?;
        Ok(self.stream.flush().await?)
    }

    /// Closes the session in order; errors do not matter any more.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }
}

impl<IO> Exporter for Channel<IO> {
    fn export(&self, context: &[u8]) -> Result<Secret, Failure> {
        let out = [0; 32];
        let exported = match &self.stream {
            TlsStream::Client(stream) => stream.get_ref().1.export_keying_material(out, EXPORTER_LABEL, Some(context)),
            TlsStream::Server(stream) => stream.get_ref().1.export_keying_material(out, EXPORTER_LABEL, Some(context)),
        };
        exported.map(|bytes| Secret::new(bytes.to_vec())).map_err(|_| Failure::Exporter)
    }
}
