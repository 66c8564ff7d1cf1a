// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! docs/protocol.md, section 15: Primaries and Secondaries on a simulated network.
//!
//! ```text
//!        PC <---------> PS            fd00:c::/32 clients
//!       /  \           /  \           fd00:5::/32 servers
//!    SC1    SC2     SS1    SS2
//! ```
//!
//! Each test is named after the requirement it shows. Whatever a test does, `Network` checks that no two installations of a
//! secret send in one epoch.

#[path = "common/network.rs"]
mod network;

#[path = "registration/hostile.rs"]
mod hostile;
#[path = "registration/isolation.rs"]
mod isolation;
#[path = "registration/leases.rs"]
mod leases;
#[path = "registration/modes.rs"]
mod modes;
#[path = "registration/random.rs"]
mod random;
#[path = "registration/renewal.rs"]
mod renewal;
#[path = "registration/revocation.rs"]
mod revocation;
#[path = "registration/store.rs"]
mod store;

use std::net::Ipv6Addr;

use network::{a, host, Network};
use pdmv2::identity::PublicKey;
use pdmv2::registration::group::{Mode, Side};

pub const PC: u8 = 1;
pub const PS: u8 = 2;
pub const SC: [u8; 2] = [11, 12];
pub const SS: [u8; 2] = [21, 22];

pub const BY_CLIENT: Mode = Mode::AsymmetricPoll { poller: Side::Client };
pub const BY_SERVER: Mode = Mode::AsymmetricPoll { poller: Side::Server };
pub const DERIVED: [Mode; 3] = [Mode::TrustedServers, BY_CLIENT, BY_SERVER];

pub fn client(n: usize) -> (PublicKey, Ipv6Addr) {
    (host(SC[n]), a(&format!("fd00:c::{}", n + 1)))
}

pub fn server(n: usize) -> (PublicKey, Ipv6Addr) {
    (host(SS[n]), a(&format!("fd00:5::{}", n + 1)))
}

/// The topology above, everything listed by single addresses and connected, in one group of this mode.
pub fn topology(seed: u64, mode: Mode) -> Network {
    let mut network = Network::new(seed);
    network.add_primary(host(PC));
    network.add_primary(host(PS));
    network.pair(host(PC), host(PS));
    network.set_group(host(PS), host(PC), "web", mode);
    network.change_servers(host(PS), host(PC), "web", &[], &["fd00:5::1", "fd00:5::2"]);
    network.change_clients(host(PC), host(PS), &[], &["fd00:c::1", "fd00:c::2"]);
    for n in 0..2 {
        network.add_secondary(client(n).0, 16);
        network.enrol(client(n).0, host(PC), &[client(n).1]);
        network.add_secondary(server(n).0, 16);
        network.enrol(server(n).0, host(PS), &[server(n).1]);
    }
    network.pass(30);
    network
}

/// Every pair measures in both directions.
pub fn all_open(network: &Network) -> bool {
    (0..2).all(|c| (0..2).all(|s| pair_opens(network, c, s)))
}

pub fn pair_opens(network: &Network, c: usize, s: usize) -> bool {
    network.opens(client(c), server(s)) && network.opens(server(s), client(c))
}
