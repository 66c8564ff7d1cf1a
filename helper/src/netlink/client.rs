// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Requests to the module.

use std::io;

use netlink_packet_core::{NetlinkPayload, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use pdmv2_proto::uapi::{self, cmd};
use rustix::io::Errno;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::attribute::{Attributes, Builder};
use super::error::{Error, Malformed};
use super::ext_ack::ExtAck;
use super::message::{encode, split, Message, Payload};

/// GENL_ID_CTRL of linux/genetlink.h.
const CONTROLLER: u16 = 0x10;
/// CTRL_CMD_GETFAMILY.
const GET_FAMILY: u8 = 3;
/// CTRL_ATTR_FAMILY_ID.
const FAMILY_ID: u16 = 1;
/// CTRL_ATTR_FAMILY_NAME.
const FAMILY_NAME: u16 = 2;
/// CTRL_ATTR_MCAST_GROUPS.
const MCAST_GROUPS: u16 = 7;
/// CTRL_ATTR_MCAST_GRP_NAME.
const GROUP_NAME: u16 = 1;
/// CTRL_ATTR_MCAST_GRP_ID.
const GROUP_ID: u16 = 2;

/// The family's numbers on this kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// Message type.
    pub id: u16,
    /// Multicast groups, in the order of `uapi::group::NAMES`.
    pub groups: [u32; uapi::group::NAMES.len()],
}

/// The attributes of each answer to a request.
pub type Answers = Vec<Zeroizing<Vec<u8>>>;

/// A socket in the namespace the program runs in.
pub struct Client {
    socket: Socket,
    /// Changes when the module is loaded anew.
    family: watch::Sender<Family>,
    sequence: u32,
}

impl Client {
    /// Finds the module.
    ///
    /// # Errors
    /// [`Error::NotLoaded`]; a socket that cannot be made.
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Kernels before 4.12 lack them; the messages are merely shorter then.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let mut client = Self { socket, family: watch::Sender::default(), sequence: 0 };
        client.look_again()?;
        Ok(client)
    }

    /// The family's numbers.
    pub fn family(&self) -> Family {
        *self.family.borrow()
    }

    /// The family's numbers now and later, for whoever listens to its groups.
    pub fn families(&self) -> watch::Receiver<Family> {
        self.family.subscribe()
    }

    /// Looks whether the module was loaded anew since the last look, and finds it there: each time the kernel gives the
    /// family another number.
    ///
    /// # Errors
    /// [`Error::NotLoaded`].
    pub fn look_again(&mut self) -> Result<bool, Error> {
        let found = self.resolve()?;
        Ok(self.family.send_if_modified(|family| std::mem::replace(family, found) != found))
    }

    fn resolve(&mut self) -> Result<Family, Error> {
        let mut attributes = Builder::default();
        attributes.text(FAMILY_NAME, uapi::FAMILY);
        let payload = Payload { command: GET_FAMILY, attributes: attributes.into_bytes() };
        match self.exchange(CONTROLLER, "getfamily", NLM_F_REQUEST | NLM_F_ACK, payload) {
            Ok(answers) => Ok(parse_family(answers.first().ok_or(Malformed)?)?),
            Err(error) if error.is_errno(Errno::NOENT) => Err(Error::NotLoaded),
            Err(error) => Err(error),
        }
    }

    /// A request that changes something or asks for one thing; the answers' attributes, if any.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Refused`], [`Error::NotLoaded`] when the module went away.
    pub fn request(&mut self, command: u8, attributes: Builder) -> Result<Answers, Error> {
        let payload = Payload { command, attributes: attributes.into_bytes() };
        let result = self.exchange(self.family().id, name(command), NLM_F_REQUEST | NLM_F_ACK, payload);
        self.explain(result)
    }

    /// A request for everything of a kind; the attributes of each answer.
    ///
    /// # Errors
    /// As for [`Client::request`].
    pub fn dump(&mut self, command: u8) -> Result<Answers, Error> {
        let payload = Payload { command, attributes: Builder::default().into_bytes() };
        let result = self.exchange(self.family().id, name(command), NLM_F_REQUEST | NLM_F_DUMP, payload);
        self.explain(result)
    }

    /// A family that went away answers ENOENT without a word, as the module may: ask which it is.
    fn explain(&mut self, result: Result<Answers, Error>) -> Result<Answers, Error> {
        match result {
            Err(error @ Error::Refused { message: None, .. }) if error.is_errno(Errno::NOENT) => match self.resolve() {
                Err(Error::NotLoaded) => Err(Error::NotLoaded),
                _ => Err(error),
            },
            other => other,
        }
    }

    fn exchange(&mut self, family: u16, request: &'static str, flags: u16, payload: Payload) -> Result<Answers, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = encode(family, flags, self.sequence, payload);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (received, _) = match self.socket.recv_from_full() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let received = Zeroizing::new(received);
            if received.is_empty() {
                return Err(Malformed.into());
            }
            for message in split(&received) {
                let message = Message::deserialize(message).map_err(|_| Malformed)?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                let (errno, ack) = match message.payload {
                    NetlinkPayload::InnerMessage(inner) => {
                        answers.push(inner.payload.attributes);
                        continue;
                    }
                    NetlinkPayload::Error(error) => {
                        (error.raw_code(), ExtAck::parse(message.header.flags, &error.header, &bytes))
                    }
                    NetlinkPayload::Done(done) => {
                        (done.code.min(0), ExtAck::parse_attributes(&done.extended_ack, &bytes))
                    }
                    _ => continue,
                };
                return match errno {
                    0 => Ok(answers),
                    errno => Err(refused(request, errno.saturating_neg(), ack)),
                };
            }
        }
    }
}

fn refused(request: &'static str, errno: i32, ack: ExtAck) -> Error {
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => Error::Denied { request },
        _ => Error::Refused { request, errno, message: ack.message, attribute: ack.attribute },
    }
}

fn parse_family(attributes: &[u8]) -> Result<Family, Malformed> {
    let mut family = Family::default();
    for attribute in Attributes(attributes) {
        let attribute = attribute?;
        match attribute.kind {
            FAMILY_ID => family.id = attribute.u16()?,
            MCAST_GROUPS => {
                for group in attribute.nest() {
                    let (mut group_name, mut id) = (String::new(), 0);
                    for field in group?.nest() {
                        let field = field?;
                        match field.kind {
                            GROUP_NAME => group_name = field.text()?,
                            GROUP_ID => id = field.u32()?,
                            _ => {}
                        }
                    }
                    let place = uapi::group::NAMES.iter().position(|known| *known == group_name);
                    if let Some(slot) = place.and_then(|place| family.groups.get_mut(place)) {
                        *slot = id;
                    }
                }
            }
            _ => {}
        }
    }
    if family.id == 0 || family.groups.contains(&0) {
        return Err(Malformed);
    }
    Ok(family)
}

/// A command's name in the specification.
fn name(command: u8) -> &'static str {
    match command {
        cmd::POLICY_SET => "policy-set",
        cmd::POLICY_GET => "policy-get",
        cmd::ASSOCIATION_SET => "association-set",
        cmd::ASSOCIATION_DEL => "association-del",
        cmd::ASSOCIATION_GET => "association-get",
        cmd::SECRET_ADD => "secret-add",
        cmd::SECRET_ACTIVATE => "secret-activate",
        cmd::SECRET_DEL => "secret-del",
        cmd::KEY_ADD => "key-add",
        cmd::FLOW_GET => "flow-get",
        cmd::FLOW_FLUSH => "flow-flush",
        cmd::STATS_GET => "stats-get",
        cmd::LIMITS_SET => "limits-set",
        cmd::SECRET_EXTEND => "secret-extend",
        _ => "request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_numbers() {
        let mut answer = Builder::default();
        answer.text(FAMILY_NAME, "pdmv2").u16(FAMILY_ID, 0x21).nest(MCAST_GROUPS, |groups| {
            for (index, (group, id)) in [("events", 8), ("keys", 7)].into_iter().enumerate() {
                groups.nest(index as u16 + 1, |fields| {
                    fields.u32(GROUP_ID, id).text(GROUP_NAME, group);
                });
            }
        });
        assert_eq!(parse_family(&answer.into_bytes()), Ok(Family { id: 0x21, groups: [7, 8] }));
        assert_eq!(parse_family(&[]), Err(Malformed));
    }

    #[test]
    fn a_missing_module_is_said_to_be_missing() {
        // Without the module this is NotLoaded; with it, the family has its numbers.
        match Client::open() {
            Ok(client) => assert_ne!(client.family().id, 0),
            Err(error) => assert!(error.to_string().contains("modprobe") || matches!(error, Error::Io(_)), "{error}"),
        }
    }
}
