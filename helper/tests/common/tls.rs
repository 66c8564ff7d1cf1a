// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! TLS sessions in memory: the real library, no sockets.

use std::sync::Arc;

use pdmv2::identity::{PrivateKey, PublicKey};
use pdmv2::negotiate::{Exporter, Failure};
use pdmv2::secret::Secret;
use pdmv2::tls::{self, EXPORTER_LABEL};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

/// Both ends of an established session.
pub struct Session {
    pub client: ClientConnection,
    pub server: ServerConnection,
}

/// Runs a handshake; the error is that of the end that refused first.
pub fn handshake(client: ClientConfig, server: ServerConfig) -> Result<Session, rustls::Error> {
    let mut client = ClientConnection::new(Arc::new(client), tls::server_name())?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut read = wire.as_slice();
        while !read.is_empty() {
            server.read_tls(&mut read).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut read = wire.as_slice();
        while !read.is_empty() {
            client.read_tls(&mut read).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Session { client, server })
}

/// A session between two hosts that know each other.
pub fn session(client: &PrivateKey, server: &PrivateKey) -> Session {
    let peers: Vec<PublicKey> = vec![client.public().unwrap()];
    let server_config = tls::server(server, peers).unwrap();
    handshake(tls::client(client, server.public().unwrap()).unwrap(), server_config).unwrap()
}

/// One end's exporter.
pub struct ClientExporter<'a>(pub &'a ClientConnection);

impl Exporter for ClientExporter<'_> {
    fn export(&self, context: &[u8]) -> Result<Secret, Failure> {
        let out = self.0.export_keying_material([0; 32], EXPORTER_LABEL, Some(context));
        out.map(|bytes| Secret::new(bytes.to_vec())).map_err(|_| Failure::Exporter)
    }
}

/// The other's.
pub struct ServerExporter<'a>(pub &'a ServerConnection);

impl Exporter for ServerExporter<'_> {
    fn export(&self, context: &[u8]) -> Result<Secret, Failure> {
        let out = self.0.export_keying_material([0; 32], EXPORTER_LABEL, Some(context));
        out.map(|bytes| Secret::new(bytes.to_vec())).map_err(|_| Failure::Exporter)
    }
}
