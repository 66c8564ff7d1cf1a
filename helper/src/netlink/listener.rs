// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What the module tells unasked: keys it needs, and events.

use netlink_packet_core::NetlinkPayload;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use pdmv2_proto::uapi::cmd;
use rustix::io::Errno;

use super::acquire;
use super::client::Family;
use super::error::Error;
use super::key::KeyName;
use super::message::{split, Message};
use super::notice::Notice;

/// Receive buffer asked for, bytes; what does not fit is lost and repeated by the module.
const BUFFER: usize = 1 << 20;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The module needs a key.
    Acquire(KeyName),
    /// Something happened.
    Event(Notice),
    /// Messages were lost as this program was too slow.
    Lost,
}

/// A member of multicast groups.
pub struct Listener {
    socket: TokioSocket,
    family: Family,
}

impl Listener {
    /// Joins groups of the family, by their numbers on this kernel.
    ///
    /// # Errors
    /// [`Error::Denied`] without CAP_NET_ADMIN.
    pub fn join(family: Family, groups: &[u32]) -> Result<Self, Error> {
        let mut socket = TokioSocket::new(NETLINK_GENERIC)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        // A smaller buffer does as well, only sooner.
        let _ = socket.socket_ref().set_rx_buf_sz(BUFFER as i32);
        for group in groups {
            socket.socket_mut().add_membership(*group).map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::PERM) => Error::Denied { request: "joining the module's multicast groups" },
                _ => Error::Io(error),
            })?;
        }
        Ok(Self { socket, family })
    }

    /// Waits for the next messages. What cannot be read is left out.
    ///
    /// # Errors
    /// A socket that failed.
    pub async fn next(&mut self) -> Result<Vec<Told>, Error> {
        match self.socket.recv_from_full().await {
            Ok((bytes, _)) => Ok(split(&bytes).filter_map(|message| self.read(message)).collect()),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => Ok(vec![Told::Lost]),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self, message: &[u8]) -> Option<Told> {
        let message = Message::deserialize(message).ok()?;
        if message.header.message_type != self.family.id {
            return None;
        }
        let NetlinkPayload::InnerMessage(inner) = message.payload else { return None };
        match inner.payload.command {
            cmd::ACQUIRE => acquire::decode(&inner.payload.attributes).ok().map(Told::Acquire),
            cmd::EVENT => Notice::decode(&inner.payload.attributes).ok().map(Told::Event),
            _ => None,
        }
    }
}
