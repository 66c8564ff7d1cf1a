// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The module's generic netlink family, as `docs/netlink/pdmv2.yaml` describes it.
//!
//! Numbers come from `pdmv2_proto::uapi`, which is generated from that file. Requests are made one at a time on a blocking
//! socket: the module carries them out within the system call, so that the answer is there when it returns.

pub mod acquire;
pub mod association;
pub mod attribute;
pub mod client;
pub mod error;
pub mod ext_ack;
pub mod flow;
pub mod flow_id;
pub mod kernel;
pub mod key;
pub mod listener;
pub mod message;
pub mod notice;
pub mod policy;
pub mod secret;
pub mod stats;

pub use client::Client;
pub use error::Error;
pub use kernel::Kernel;

/// An interface's number.
///
/// # Errors
/// There is none of this name.
pub fn interface_number(name: &str) -> std::io::Result<u32> {
    use rustix::net::{netdevice, socket, AddressFamily, SocketType};
    let any = socket(AddressFamily::INET6, SocketType::DGRAM, None)?;
    Ok(netdevice::name_to_index(any, name)?)
}
