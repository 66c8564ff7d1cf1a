// SPDX-License-Identifier: GPL-2.0-only

//! Generic netlink: requests in, answers, dumps and notifications out.

use super::pernet::{self, Net};
use crate::bindings;
use crate::namespace::Namespace;
use crate::proto::uapi::{self, Kind, Rule};
use core::cell::UnsafeCell;
use core::fmt::Write as _;
use core::ptr::NonNull;
use kernel::ffi::{c_char, c_int};
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Release};
use kernel::sync::rcu;

static FAMILY: Atomic<*mut bindings::genl_family> = Atomic::new(core::ptr::null_mut());

/// A command that is done once and acknowledged.
pub(crate) trait Do {
    /// Its number.
    const CMD: u8;
    /// What its attributes may hold.
    const RULES: &'static [Rule];

    /// Does it, wholly or not at all.
    fn run(namespace: &Namespace, request: &Request<'_>) -> Result;
}

/// A command that lists.
pub(crate) trait Dump {
    /// Its number.
    const CMD: u8;
    /// Where a dump stands, kept between messages.
    type Cursor: Send;

    /// The start.
    fn begin(namespace: &Namespace) -> Result<Self::Cursor>;

    /// Writes records from the cursor on, until there are no more or `records` says that the message is full.
    fn fill(namespace: &Namespace, cursor: &mut Self::Cursor, records: &mut Records<'_>) -> Result;
}

/// A request being served.
pub(crate) struct Request<'a> {
    info: &'a mut UnsafeCell<bindings::genl_info>,
}

/// A line of text of bounded length, for extended acknowledgements.
struct Line {
    bytes: [u8; 80],
    len: usize,
}

impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            // The last byte stays 0.
            if self.len + 1 < self.bytes.len() {
                if let Some(place) = self.bytes.get_mut(self.len) {
                    *place = byte;
                    self.len += 1;
                }
            }
        }
        Ok(())
    }
}

impl Request<'_> {
    /// The attributes, whole.
    pub(crate) fn payload(&self) -> &[u8] {
        let (mut data, mut len) = (core::ptr::null(), 0);
        // SAFETY: the request is valid while it is served, and so are its bytes.
        unsafe {
            bindings::pdmv2_genl_payload(self.info.get(), &mut data, &mut len);
            if data.is_null() {
                return &[];
            }
            core::slice::from_raw_parts(data, len as usize)
        }
    }

    /// Tells the sender what was wrong, and with which attribute (its offset in the payload).
    pub(crate) fn explain(&self, attribute: Option<usize>, message: core::fmt::Arguments<'_>) {
        let mut line = Line { bytes: [0; 80], len: 0 };
        let _ = line.write_fmt(message);
        let at = attribute.and_then(|at| self.payload().get(at..)).map_or(core::ptr::null(), <[u8]>::as_ptr);
        // SAFETY: the request is valid; the message is copied.
        unsafe { bindings::pdmv2_extack(self.info.get(), at, line.bytes.as_ptr().cast()) };
    }

    /// Answers with one message that has at least `room` bytes. Sleeps before `fill`, and not in it.
    pub(crate) fn reply(&self, cmd: u8, room: usize, fill: impl FnOnce(&mut Writer) -> Result) -> Result {
        // SAFETY: the request is valid.
        let (portid, seq) = unsafe { ((*self.info.get()).snd_portid, (*self.info.get()).snd_seq) };
        let message = Message::new(cmd, portid, seq, Some(room), fill)?;
        // SAFETY: the reply takes the message over.
        kernel::error::to_result(unsafe { bindings::pdmv2_genl_reply(message.into_raw(), self.info.get()) })
    }
}

/// Writes attributes into a message.
pub(crate) struct Writer {
    skb: NonNull<bindings::sk_buff>,
}

impl Writer {
    /// Bytes.
    pub(crate) fn bytes(&mut self, attribute: u16, value: &[u8]) -> Result {
        // SAFETY: the message is valid, and `value` for reads of its length.
        kernel::error::to_result(unsafe {
            bindings::nla_put(self.skb.as_ptr(), c_int::from(attribute), value.len() as c_int, value.as_ptr().cast())
        })
    }

    /// An 8-bit integer.
    pub(crate) fn u8(&mut self, attribute: u16, value: u8) -> Result {
        self.bytes(attribute, &[value])
    }

    /// A 16-bit integer.
    pub(crate) fn u16(&mut self, attribute: u16, value: u16) -> Result {
        self.bytes(attribute, &value.to_ne_bytes())
    }

    /// A 32-bit integer.
    pub(crate) fn u32(&mut self, attribute: u16, value: u32) -> Result {
        self.bytes(attribute, &value.to_ne_bytes())
    }

    /// A 64-bit integer.
    pub(crate) fn u64(&mut self, attribute: u16, value: u64) -> Result {
        self.bytes(attribute, &value.to_ne_bytes())
    }

    /// An integer as long as it needs to be, 32 or 64 bits.
    pub(crate) fn uint(&mut self, attribute: u16, value: u64) -> Result {
        match u32::try_from(value) {
            Ok(short) => self.u32(attribute, short),
            Err(_) => self.u64(attribute, value),
        }
    }

    /// Presence.
    pub(crate) fn flag(&mut self, attribute: u16, value: bool) -> Result {
        if value {
            self.bytes(attribute, &[])?;
        }
        Ok(())
    }

    /// Text, with the zero byte netlink strings end in.
    pub(crate) fn text(&mut self, attribute: u16, value: &str) -> Result {
        let mut bytes = [0; 128];
        bytes.get_mut(..value.len()).ok_or(EMSGSIZE)?.copy_from_slice(value.as_bytes());
        self.bytes(attribute, bytes.get(..=value.len()).ok_or(EMSGSIZE)?)
    }

    /// Attributes of another set.
    pub(crate) fn nest(&mut self, attribute: u16, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        // SAFETY: the message is valid; the nest is ended or cancelled before it is used otherwise.
        unsafe {
            let nest = bindings::pdmv2_nest_start(self.skb.as_ptr(), c_int::from(attribute));
            if nest.is_null() {
                return Err(EMSGSIZE);
            }
            let filled = fill(self);
            match filled {
                Ok(()) => bindings::pdmv2_nest_end(self.skb.as_ptr(), nest),
                Err(_) => bindings::pdmv2_nest_cancel(self.skb.as_ptr(), nest),
            }
            filled
        }
    }
}

/// A whole message, not sent yet.
pub(crate) struct Message(NonNull<bindings::sk_buff>);

impl Message {
    /// With room for that many bytes if the caller may sleep, else of the usual size.
    fn new(
        cmd: u8,
        portid: u32,
        seq: u32,
        room: Option<usize>,
        fill: impl FnOnce(&mut Writer) -> Result,
    ) -> Result<Self> {
        // SAFETY: makes a fresh message.
        let skb = unsafe { bindings::pdmv2_genl_new(room.unwrap_or(0), room.is_none()) };
        let skb = NonNull::new(skb).ok_or(ENOMEM)?;
        let message = Self(skb);
        // SAFETY: the family is registered while requests are served and packets looked at.
        let header = unsafe { bindings::genlmsg_put(skb.as_ptr(), portid, seq, FAMILY.load(Acquire), 0, cmd) };
        if header.is_null() {
            return Err(EMSGSIZE);
        }
        fill(&mut Writer { skb })?;
        // SAFETY: `header` was put into this message.
        unsafe { bindings::pdmv2_genl_end(skb.as_ptr(), header) };
        Ok(message)
    }

    fn into_raw(self) -> *mut bindings::sk_buff {
        let skb = self.0.as_ptr();
        core::mem::forget(self);
        skb
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: nobody took it over.
        unsafe { bindings::pdmv2_genl_free(self.0.as_ptr()) };
    }
}

/// Sends a notification to a group's listeners in a namespace, if there are any. Any context. False if it was not sent.
pub(crate) fn notify(net: Net, group: usize, cmd: u8, fill: impl FnOnce(&mut Writer) -> Result) -> bool {
    let _section = rcu::read_lock();
    let family = FAMILY.load(Acquire);
    // SAFETY: a family seen in this section is unregistered only after it.
    if family.is_null() || !unsafe { bindings::pdmv2_genl_has_listeners(family, net.as_raw(), group as u32) } {
        return false;
    }
    let Ok(message) = Message::new(cmd, 0, 0, None, fill) else { return false };
    // SAFETY: as above; the call takes the message over.
    unsafe { bindings::pdmv2_genl_multicast(family, net.as_raw(), message.into_raw(), group as u32) == 0 }
}

/// The records of a dump.
pub(crate) struct Records<'a> {
    skb: NonNull<bindings::sk_buff>,
    callback: &'a mut bindings::netlink_callback,
    cmd: u8,
}

impl Records<'_> {
    /// Writes one record. False when the message is full and the record has to wait for the next.
    pub(crate) fn record(&mut self, fill: impl FnOnce(&mut Writer) -> Result) -> bool {
        let (mut portid, mut seq) = (0, 0);
        // SAFETY: the callback is valid; what was put into the message is ended or cancelled.
        unsafe {
            bindings::pdmv2_dump_ids(self.callback, &mut portid, &mut seq);
            let multi = bindings::NLM_F_MULTI as c_int;
            let header = bindings::genlmsg_put(self.skb.as_ptr(), portid, seq, FAMILY.load(Acquire), multi, self.cmd);
            if header.is_null() {
                return false;
            }
            if fill(&mut Writer { skb: self.skb }).is_err() {
                bindings::pdmv2_genl_cancel(self.skb.as_ptr(), header);
                return false;
            }
            bindings::pdmv2_genl_end(self.skb.as_ptr(), header);
        }
        true
    }

    fn written(&self) -> c_int {
        // SAFETY: valid while the dump runs.
        unsafe { (*self.skb.as_ptr()).len as c_int }
    }
}

unsafe extern "C" fn doit<D: Do>(_: *mut bindings::sk_buff, info: *mut bindings::genl_info) -> c_int {
    // SAFETY: the kernel hands over a valid request in a live namespace.
    let (namespace, info) = unsafe {
        let net = bindings::pdmv2_genl_net(info);
        (pernet::of::<Namespace>(net), &mut *info.cast::<UnsafeCell<bindings::genl_info>>())
    };
    let result = namespace.ok_or(ENODEV).and_then(|namespace| D::run(namespace, &Request { info }));
    result.err().map_or(0, |error| error.to_errno())
}

/// Where a dump's cursor is kept between messages.
fn cursor<D: Dump>(callback: &mut bindings::netlink_callback) -> &mut *mut D::Cursor {
    // SAFETY: the members of the union are plain bytes, zero at first, with room for a pointer.
    unsafe { &mut *core::ptr::from_mut(&mut callback.__bindgen_anon_1).cast() }
}

/// # Safety
///
/// The callback must be that of a dump under way, on a socket of a live namespace.
unsafe fn dumped<'a>(callback: &bindings::netlink_callback) -> Result<&'a Namespace> {
    // SAFETY: the socket holds its namespace; the caller vouches for the callback.
    unsafe { pernet::of::<Namespace>(bindings::pdmv2_skb_sk_net(callback.skb)) }.ok_or(ENODEV)
}

unsafe extern "C" fn start<D: Dump>(callback: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: the kernel hands over a valid callback.
    let begun = unsafe {
        let callback = &mut *callback;
        dumped(callback).and_then(|namespace| Ok(KBox::new(D::begin(namespace)?, GFP_KERNEL)?)).map(|begun| {
            *cursor::<D>(callback) = KBox::into_raw(begun);
        })
    };
    begun.err().map_or(0, |error| error.to_errno())
}

unsafe extern "C" fn dumpit<D: Dump>(skb: *mut bindings::sk_buff, callback: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: the kernel hands over a valid message and the callback that `start` saw, which is used by one caller at a time.
    unsafe {
        let callback = &mut *callback;
        let Some(skb) = NonNull::new(skb) else { return EINVAL.to_errno() };
        let Some(at) = (*cursor::<D>(callback)).as_mut() else { return EINVAL.to_errno() };
        let namespace = dumped(callback);
        let mut records = Records { skb, callback, cmd: D::CMD };
        match namespace.and_then(|namespace| D::fill(namespace, at, &mut records)) {
            Ok(()) => records.written(),
            Err(error) => error.to_errno(),
        }
    }
}

unsafe extern "C" fn done<D: Dump>(callback: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: the kernel hands over the callback that `start` saw, for the last time.
    unsafe {
        let at = core::mem::replace(cursor::<D>(&mut *callback), core::ptr::null_mut());
        if !at.is_null() {
            drop(KBox::from_raw(at));
        }
    }
    0
}

/// The family's commands, in the order of their numbers.
pub(crate) struct Commands {
    ops: KVec<bindings::genl_split_ops>,
    policies: KVec<KVec<bindings::nla_policy>>,
}

fn policy(rule: &Rule) -> bindings::nla_policy {
    let kind = match rule.kind {
        Kind::Flag => bindings::NLA_FLAG,
        Kind::U8 => bindings::NLA_U8,
        Kind::U16 => bindings::NLA_U16,
        Kind::U32 => bindings::NLA_U32,
        Kind::U64 => bindings::NLA_U64,
        Kind::Uint => bindings::NLA_UINT,
        Kind::Binary => bindings::NLA_BINARY,
        Kind::Text => bindings::NLA_NUL_STRING,
        Kind::Nest => bindings::NLA_NESTED,
    };
    // Longest bytes or text; for integers the exact bounds are checked with the names in `crate::netlink::attributes`.
    let len = match rule.kind {
        Kind::Binary | Kind::Text => u16::try_from(rule.most).unwrap_or(0),
        _ => 0,
    };
    bindings::nla_policy { type_: kind as u8, len, ..Default::default() }
}

impl Commands {
    /// No commands.
    pub(crate) fn new() -> Self {
        Self { ops: KVec::new(), policies: KVec::new() }
    }

    /// Adds a command that is done.
    pub(crate) fn does<D: Do>(mut self) -> Result<Self> {
        let mut rules = KVec::with_capacity(D::RULES.len(), GFP_KERNEL)?;
        for (number, rule) in D::RULES.iter().enumerate() {
            // Attribute 0 does not exist.
            let entry = if number == 0 { bindings::nla_policy::default() } else { policy(rule) };
            rules.push(entry, GFP_KERNEL)?;
        }
        let mut op = bindings::genl_split_ops {
            policy: rules.as_ptr(),
            maxattr: D::RULES.len().saturating_sub(1) as u32,
            cmd: D::CMD,
            flags: (bindings::GENL_CMD_CAP_DO | bindings::GENL_UNS_ADMIN_PERM) as u8,
            ..Default::default()
        };
        op.__bindgen_anon_1.__bindgen_anon_1.doit = Some(doit::<D>);
        self.policies.push(rules, GFP_KERNEL)?;
        self.ops.push(op, GFP_KERNEL)?;
        Ok(self)
    }

    /// Adds a command that lists.
    pub(crate) fn dumps<D: Dump>(mut self) -> Result<Self> {
        let mut op = bindings::genl_split_ops {
            cmd: D::CMD,
            flags: (bindings::GENL_CMD_CAP_DUMP | bindings::GENL_UNS_ADMIN_PERM) as u8,
            ..Default::default()
        };
        op.__bindgen_anon_1.__bindgen_anon_2 = bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_2 {
            start: Some(start::<D>),
            dumpit: Some(dumpit::<D>),
            done: Some(done::<D>),
        };
        self.ops.push(op, GFP_KERNEL)?;
        Ok(self)
    }
}

/// The registered family; dropping it waits for requests and notifications under way.
pub(crate) struct Family {
    family: KBox<UnsafeCell<bindings::genl_family>>,
    _groups: KVec<bindings::genl_multicast_group>,
    _commands: Commands,
}

// SAFETY: touched only to register and to unregister.
unsafe impl Send for Family {}
// SAFETY: as above.
unsafe impl Sync for Family {}

fn c_name<const N: usize>(text: &str) -> [c_char; N] {
    let mut name = [0; N];
    for (to, from) in name.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = from as c_char;
    }
    name
}

impl Family {
    /// Registers the family with its multicast groups, which only CAP_NET_ADMIN may join.
    pub(crate) fn register(commands: Commands, module: &'static ThisModule) -> Result<Self> {
        let mut groups = KVec::new();
        for name in uapi::group::NAMES {
            let group =
                bindings::genl_multicast_group { name: c_name(name), flags: bindings::PDMV2_MCAST_CAP_NET_ADMIN as u8 };
            groups.push(group, GFP_KERNEL)?;
        }
        let mut family = bindings::genl_family {
            name: c_name(uapi::FAMILY),
            version: u32::from(uapi::VERSION),
            split_ops: commands.ops.as_ptr(),
            n_split_ops: commands.ops.len() as u8,
            mcgrps: groups.as_ptr(),
            n_mcgrps: groups.len() as u8,
            module: module.as_ptr(),
            ..Default::default()
        };
        family.set_netnsok(1);
        let family = KBox::new(UnsafeCell::new(family), GFP_KERNEL)?;
        // SAFETY: the family and what it points to stay at their addresses until `drop`.
        kernel::error::to_result(unsafe { bindings::genl_register_family(family.get()) })?;
        FAMILY.store(family.get(), Release);
        Ok(Self { family, _groups: groups, _commands: commands })
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        FAMILY.store(core::ptr::null_mut(), Release);
        super::rcu::synchronize();
        // SAFETY: registered by `register`; waits for requests under way.
        unsafe { bindings::genl_unregister_family(self.family.get()) };
    }
}
