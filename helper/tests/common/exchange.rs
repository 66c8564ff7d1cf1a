// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Negotiations between two ends over TLS sessions in memory, with somebody between them.

use pdmv2::negotiate::message::Message;
use pdmv2::negotiate::{system_entropy, Client, Failure, Local, Negotiated, Server, Step};

use super::tls::{session, ClientExporter, ServerExporter, Session};
use super::{key, public};

/// Number of the client's key.
pub const CLIENT: u8 = 1;
/// Number of the server's key.
pub const SERVER: u8 = 2;

/// What became of a negotiation.
#[derive(Debug, Default)]
pub struct Outcome {
    pub client_installed: Option<Negotiated>,
    pub server_installed: Option<Negotiated>,
    pub server_activated: bool,
    pub client_done: bool,
    pub client_failure: Option<Failure>,
    pub server_failure: Option<Failure>,
    pub messages: Vec<Vec<u8>>,
}

pub fn client_local() -> Local {
    Local { idle: 300, lifetime: 7200, ..Local::new(public(CLIENT), public(SERVER)) }
}

pub fn server_local() -> Local {
    Local { idle: 900, ..Local::new(public(SERVER), public(CLIENT)) }
}

/// Runs a negotiation; `tamper` sees each message with its place in the exchange, from 1, and may change it.
pub fn run(
    client: Local,
    server: Local,
    client_tls: &Session,
    server_tls: &Session,
    mut tamper: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
) -> Outcome {
    let (client_tls, server_tls) = (ClientExporter(&client_tls.client), ServerExporter(&server_tls.server));
    let mut rng = system_entropy();
    let mut outcome = Outcome::default();
    let (mut client, m1) = Client::start(client, &mut rng);
    let mut server = Server::new(server);
    let (mut to_server, mut to_client) = (vec![m1], Vec::new());
    while !to_server.is_empty() || !to_client.is_empty() {
        for message in std::mem::take(&mut to_server) {
            let message = tamper(outcome.messages.len() + 1, message);
            outcome.messages.push(message.clone());
            match server.receive(&message, &server_tls, &mut rng) {
                Ok(Step::Send(answer)) => to_client.push(answer),
                Ok(Step::Install(negotiated)) => {
                    outcome.server_installed = Some(*negotiated);
                    to_client.push(server.installed().unwrap());
                }
                Ok(Step::Activate(answer)) => {
                    outcome.server_activated = true;
                    to_client.push(answer);
                }
                Ok(Step::Done) => unreachable!(),
                Err(failure) => {
                    outcome.server_failure = Some(failure);
                    to_client.extend(Server::refusal(failure));
                }
            }
        }
        for message in std::mem::take(&mut to_client) {
            let message = tamper(outcome.messages.len() + 1, message);
            outcome.messages.push(message.clone());
            match client.receive(&message, &client_tls, &mut rng) {
                Ok(Step::Send(answer)) => to_server.push(answer),
                Ok(Step::Install(negotiated)) => {
                    outcome.client_installed = Some(*negotiated);
                    to_server.push(client.installed().unwrap());
                }
                Ok(Step::Activate(_)) => unreachable!(),
                Ok(Step::Done) => outcome.client_done = true,
                Err(failure) => outcome.client_failure = Some(failure),
            }
        }
    }
    outcome
}

pub fn tampered(tamper: impl FnMut(usize, Vec<u8>) -> Vec<u8>) -> Outcome {
    let tls = session(&key(CLIENT), &key(SERVER));
    run(client_local(), server_local(), &tls, &tls, tamper)
}

/// Changes one message by its decoded form.
pub fn edit(place: usize, change: impl Fn(&mut Message)) -> impl FnMut(usize, Vec<u8>) -> Vec<u8> {
    move |at, bytes| {
        if at != place {
            return bytes;
        }
        let mut message = Message::decode(&bytes).unwrap();
        change(&mut message);
        message.encode()
    }
}

impl Outcome {
    /// Neither end may install anything.
    pub fn installs_nothing(&self) -> &Self {
        assert!(self.client_installed.is_none() && self.server_installed.is_none(), "{self:?}");
        assert!(!self.server_activated && !self.client_done, "{self:?}");
        self
    }

    /// How the two ends failed.
    pub fn fails(&self, client: Option<Failure>, server: Option<Failure>) {
        assert_eq!((self.client_failure, self.server_failure), (client, server));
    }
}
