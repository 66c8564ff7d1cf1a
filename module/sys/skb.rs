// SPDX-License-Identifier: GPL-2.0-only

//! Packets on their way out and in.

use crate::bindings;
use crate::proto::placement::Placement;
use core::marker::PhantomData;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// Bytes of a packet's headers that are looked at; a longer chain is not followed.
pub(crate) const HEAD_MAX: usize = 256;

/// Room for the headers of a packet whose bytes are scattered.
pub(crate) struct HeadBuffer(core::mem::MaybeUninit<[u8; HEAD_MAX]>);

impl HeadBuffer {
    /// Holds nothing: most packets need no copy.
    pub(crate) const fn empty() -> Self {
        Self(core::mem::MaybeUninit::uninit())
    }
}

/// # Safety
///
/// `skb` must be valid and not change while the slice is used.
unsafe fn head<'a>(skb: *const bindings::sk_buff, buffer: &'a mut HeadBuffer) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: the buffer has room for the length given; the C side returns a pointer to `len` bytes that are there: the
    // packet's own, or those it copied into the buffer.
    unsafe {
        let at = bindings::pdmv2_skb_head(skb, HEAD_MAX as u32, buffer.0.as_mut_ptr().cast(), &mut len);
        core::slice::from_raw_parts(at, len as usize)
    }
}

/// Facts of a packet on its way out.
#[derive(Clone, Copy)]
pub(crate) struct OutFacts(u32);

macro_rules! facts {
    ($kind:ident { $($(#[$doc:meta])* $name:ident = $bit:ident,)* }) => {
        impl $kind {
            $($(#[$doc])* pub(crate) fn $name(self) -> bool { self.0 & bindings::$bit != 0 })*
        }
    };
}

facts!(OutFacts {
    /// The output path will run again for this packet, or ran already.
    not_last = pdmv2_out_fact_PDMV2_OUT_NOT_LAST,
    /// IPsec transport or BEET mode will follow.
    ipsec_outer = pdmv2_out_fact_PDMV2_OUT_IPSEC_OUTER,
    /// Sent by a socket, not by the kernel's control sockets.
    full_socket = pdmv2_out_fact_PDMV2_OUT_FULL_SOCKET,
    /// The connection uses TCP-AO.
    tcp_ao = pdmv2_out_fact_PDMV2_OUT_TCP_AO,
    /// Clear text for a device to encrypt, or unreadable memory.
    device_crypto = pdmv2_out_fact_PDMV2_OUT_DEVICE_CRYPTO,
    /// Conntrack says that the connection is translated here, or may yet be.
    translated = pdmv2_out_fact_PDMV2_OUT_NAT,
    /// Leaves by a loopback device.
    loopback = pdmv2_out_fact_PDMV2_OUT_LOOPBACK,
    /// The application or TCP probes the path MTU.
    mtu_probe = pdmv2_out_fact_PDMV2_OUT_MTU_PROBE,
    /// A super-packet.
    gso = pdmv2_out_fact_PDMV2_OUT_GSO,
});

/// Facts of a packet that arrived.
#[derive(Clone, Copy)]
pub(crate) struct InFacts(u32);

facts!(InFacts {
    /// Conntrack says that the connection is translated here.
    translated = pdmv2_in_fact_PDMV2_IN_NAT,
    /// Passes for the second time, after IPsec transport mode.
    decrypted = pdmv2_in_fact_PDMV2_IN_DECRYPTED,
    /// Came in fragments.
    reassembled = pdmv2_in_fact_PDMV2_IN_REASSEMBLED,
});

/// Room made in a packet.
pub(crate) struct Room(c_int);

/// A packet in LOCAL_OUT. It belongs to the kernel until it is segmented.
pub(crate) struct Outgoing<'a> {
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
    _hook: PhantomData<&'a ()>,
}

impl Outgoing<'_> {
    /// # Safety
    ///
    /// Both must be valid for the lifetime.
    pub(super) unsafe fn from_raw(skb: *mut bindings::sk_buff, state: *const bindings::nf_hook_state) -> Self {
        Self { skb, state, _hook: PhantomData }
    }

    /// What the kernel knows of it.
    pub(crate) fn facts(&self) -> OutFacts {
        // SAFETY: valid by construction, as in every method below.
        OutFacts(unsafe { bindings::pdmv2_out_facts(self.skb, self.state) })
    }

    /// Its first bytes, from the IPv6 header on.
    pub(crate) fn head<'b>(&self, buffer: &'b mut HeadBuffer) -> &'b [u8] {
        // SAFETY: nobody else changes the packet; the caller uses the slice before `insert`.
        unsafe { head(self.skb, buffer) }
    }

    /// Bytes from the IPv6 header to the end.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_skb_len(self.skb) as usize }
    }

    /// The interface it leaves by.
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_out_ifindex(self.skb) }
    }

    /// The VRF that interface is in, or 0.
    pub(crate) fn vrf(&self) -> u32 {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_out_vrf(self.skb) }
    }

    /// The path MTU the output path will hold it to, bytes.
    pub(crate) fn mtu(&self) -> usize {
        // SAFETY: valid, with a route, as LOCAL_OUT packets have.
        unsafe { bindings::pdmv2_out_mtu(self.skb) as usize }
    }

    /// Packets on the wire it will become.
    pub(crate) fn segments(&self) -> u32 {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_gso_segs(self.skb) }
    }

    /// Whether the full segments of a super-packet are at most `len` bytes, from the IPv6 header on.
    pub(crate) fn segments_fit(&self, len: usize) -> bool {
        // SAFETY: valid, a super-packet.
        unsafe { bindings::pdmv2_gso_fits(self.skb, u32::try_from(len).unwrap_or(u32::MAX)) }
    }

    /// Makes the first `at` bytes writable, with room for `growth` more.
    pub(crate) fn make_room(&mut self, growth: usize, at: usize) -> Result<Room> {
        // SAFETY: valid, with a route; may reallocate the packet's head, atomically.
        let room = unsafe { bindings::pdmv2_skb_make_room(self.skb, growth as u32, at as u32) };
        kernel::error::to_result(room)?;
        Ok(Room(room))
    }

    /// Writes a Destination Options header at `at`, into the room made for its growth. `named_at` is the next header field
    /// in front of it.
    pub(crate) fn insert(&mut self, room: Room, placement: &Placement, at: usize, named_at: usize) {
        let header = placement.header();
        // SAFETY: the room was made; `at` and `named_at` lie within the bytes that are there.
        unsafe {
            bindings::pdmv2_skb_insert(
                self.skb,
                room.0,
                at as u32,
                placement.replaces as u32,
                header.as_ptr(),
                header.len() as u32,
                named_at as u32,
            )
        };
    }

    /// Splits a super-packet, has `each` look at every segment, and sends them. Returns false, with the packet as it was,
    /// if it cannot be split; otherwise the packet is gone.
    pub(crate) fn send_segments(&self, mut each: impl FnMut(Outgoing<'_>)) -> bool {
        // SAFETY: valid.
        let mut list = unsafe { bindings::pdmv2_gso_segment(self.skb) };
        if list.is_null() {
            return false;
        }
        loop {
            // SAFETY: `list` is what is left of the segments.
            let segment = unsafe { bindings::pdmv2_next_segment(&mut list) };
            if segment.is_null() {
                break;
            }
            // SAFETY: the segment is valid and ours until okfn takes it over.
            each(unsafe { Outgoing::from_raw(segment, self.state) });
            // SAFETY: as above.
            unsafe { bindings::pdmv2_okfn(self.state, segment) };
        }
        // SAFETY: the segments hold what they need of the packet; the hook tells the kernel that it was stolen.
        unsafe { bindings::pdmv2_consume_skb(self.skb) };
        true
    }
}

/// A packet in LOCAL_IN. Its bytes are only read, but for the MSS of a SYN.
pub(crate) struct Incoming<'a> {
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
    _hook: PhantomData<&'a ()>,
}

impl Incoming<'_> {
    /// # Safety
    ///
    /// Both must be valid for the lifetime.
    pub(super) unsafe fn from_raw(skb: *mut bindings::sk_buff, state: *const bindings::nf_hook_state) -> Self {
        Self { skb, state, _hook: PhantomData }
    }

    /// What the kernel knows of it.
    pub(crate) fn facts(&self) -> InFacts {
        // SAFETY: valid by construction, as in every method below.
        InFacts(unsafe { bindings::pdmv2_in_facts(self.skb) })
    }

    /// Its first bytes, from the IPv6 header on.
    pub(crate) fn head<'b>(&self, buffer: &'b mut HeadBuffer) -> &'b [u8] {
        // SAFETY: nobody else changes the packet; the caller uses the slice before `set_mss`.
        unsafe { head(self.skb, buffer) }
    }

    /// Bytes from the IPv6 header to the end.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_skb_len(self.skb) as usize }
    }

    /// The interface it arrived by.
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_in_ifindex(self.state, self.skb) }
    }

    /// The VRF it arrived in, or 0.
    pub(crate) fn vrf(&self) -> u32 {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_in_vrf(self.state) }
    }

    /// The path MTU back to the source of a TCP segment whose header is at `tcp_at`, bytes.
    pub(crate) fn path_mtu(&self, tcp_at: usize) -> u32 {
        // SAFETY: valid.
        unsafe { bindings::pdmv2_path_mtu(self.state, self.skb, tcp_at as u32) }
    }

    /// Rewrites the MSS option's value at `mss_at` in the TCP header at `tcp_at`, and the checksum with it.
    pub(crate) fn set_mss(&mut self, tcp_at: usize, mss_at: usize, mss: u16) -> Result {
        // SAFETY: valid; both offsets were read from the packet's own bytes.
        kernel::error::to_result(unsafe { bindings::pdmv2_set_mss(self.skb, tcp_at as u32, mss_at as u32, mss) })
    }
}
