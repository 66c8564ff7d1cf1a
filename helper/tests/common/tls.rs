// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! TLS sessions in memory: the real library, no sockets.

use std::ops::DerefMut;
use std::sync::Arc;

use pdmv2::identity::{PrivateKey, PublicKey};
use pdmv2::negotiate::{Exporter, Failure};
use pdmv2::secret::Secret;
use pdmv2::tls::{self, EXPORTER_LABEL};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData,
};

/// Both ends of an established session.
pub struct Session {
    pub client: ClientConnection,
    pub server: ServerConnection,
}

/// Why a handshake came to nothing: what the end that refused says for itself, and what it told the other, if anything.
#[derive(Debug)]
pub struct Refusal {
    pub error: rustls::Error,
    pub alert: Option<AlertDescription>,
}

/// Runs a handshake; the error is that of the end that refused first.
pub fn handshake(client: ClientConfig, server: ServerConfig) -> Result<Session, rustls::Error> {
    told_handshake(client, server).map_err(|refusal| refusal.error)
}

/// Runs a handshake; on a refusal, takes what is told of it across.
pub fn told_handshake(client: ClientConfig, server: ServerConfig) -> Result<Session, Refusal> {
    let mut client = ClientConnection::new(Arc::new(client), tls::server_name()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        if let Err(error) = carry(&mut client, &mut server) {
            return Err(Refusal { error, alert: alert(carry(&mut server, &mut client)) });
        }
        if let Err(error) = carry(&mut server, &mut client) {
            return Err(Refusal { error, alert: alert(carry(&mut client, &mut server)) });
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Session { client, server })
}

fn alert(outcome: Result<(), rustls::Error>) -> Option<AlertDescription> {
    match outcome {
        Err(rustls::Error::AlertReceived(alert)) => Some(alert),
        _ => None,
    }
}

/// Takes all that one end has to say to the other.
pub fn carry<A, B, C, D>(from: &mut A, to: &mut B) -> Result<(), rustls::Error>
where
    A: DerefMut<Target = ConnectionCommon<C>>,
    B: DerefMut<Target = ConnectionCommon<D>>,
    C: SideData,
    D: SideData,
{
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut read = wire.as_slice();
    while !read.is_empty() {
        to.read_tls(&mut read).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
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
