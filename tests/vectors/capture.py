# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Captures: the pcap file, the IPv6 header chain, and the options in it. No dissector is used."""

import ipaddress
import struct
from dataclasses import dataclass, field

from option import LENGTHS, TYPE
from schedule import Tuple5

# Link type: bytes in front of the network layer, where its protocol number stands.
LINKS = {1: (14, 12), 113: (16, 14), 276: (20, 0)}
LINK_RAW = 101
ETHERTYPE_IPV6 = 0x86DD
HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AH, NO_NEXT, DESTINATION_OPTIONS = 0, 43, 44, 50, 51, 59, 60
TCP, UDP, ICMPV6 = 6, 17, 58
DCCP, SCTP, UDPLITE = 33, 132, 136
WITH_PORTS = (TCP, UDP, DCCP, SCTP, UDPLITE)


class Malformed(Exception):
    """A file or packet that is not what it should be."""


@dataclass
class Option:
    """A PDM option: where it stands and its body."""

    header: bytes  # the whole Destination Options header
    at: int  # offset of the type byte in that header
    body: bytes

    @property
    def mechanism(self):
        return {length: name for name, length in LENGTHS.items()}.get(len(self.body))


@dataclass
class Packet:
    """An IPv6 packet of a capture."""

    time: float
    raw: bytes  # from the fixed header on
    headers: list = field(default_factory=list)  # extension headers: (number, bytes)
    protocol: int = NO_NEXT
    upper_at: int = 0
    sport: int = 0
    dport: int = 0
    fragment: bool = False  # one of several

    @property
    def saddr(self):
        return str(ipaddress.IPv6Address(self.raw[8:24]))

    @property
    def daddr(self):
        return str(ipaddress.IPv6Address(self.raw[24:40]))

    @property
    def flow(self):
        return Tuple5(self.protocol, self.saddr, self.sport, self.daddr, self.dport)

    @property
    def upper(self):
        return self.raw[self.upper_at :]

    @property
    def icmp_type(self):
        return self.upper[0] if self.protocol == ICMPV6 and self.upper else None

    @property
    def options(self):
        """Every PDM option, in whatever Destination Options header."""
        found = []
        for number, header in self.headers:
            if number == DESTINATION_OPTIONS:
                found += [Option(header, at, body) for kind, at, body in walk_options(header) if kind == TYPE]
        return found


def walk_options(header):
    """(type, offset, body) of each option but Pad1."""
    at = 2
    while at < len(header):
        if header[at] == 0:
            at += 1
            continue
        if at + 2 > len(header) or at + 2 + header[at + 1] > len(header):
            raise Malformed("an option overruns its header")
        yield header[at], at, header[at + 2 : at + 2 + header[at + 1]]
        at += 2 + header[at + 1]


def parse(raw, time=0.0):
    """An IPv6 packet."""
    packet = Packet(time, raw)
    if len(raw) < 40 or raw[0] >> 4 != 6:
        raise Malformed("no IPv6 header")
    number, at = raw[6], 40
    while number in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, FRAGMENT, AH):
        if at + 8 > len(raw):
            raise Malformed("an extension header overruns the packet")
        length = 8 if number == FRAGMENT else (raw[at + 1] + 2) * 4 if number == AH else (raw[at + 1] + 1) * 8
        packet.headers.append((number, raw[at : at + length]))
        beyond = False
        if number == FRAGMENT:
            packet.fragment = True
            beyond = struct.unpack_from("!H", raw, at + 2)[0] & 0xFFF8 != 0
        number, at = raw[at], at + length
        if beyond:
            break
    packet.protocol, packet.upper_at = number, at
    if number in WITH_PORTS and len(raw) >= at + 4 and not (packet.fragment and beyond):
        packet.sport, packet.dport = struct.unpack_from("!HH", raw, at)
    return packet


def read_pcap(path):
    """Every IPv6 packet of a pcap file."""
    with open(path, "rb") as file:
        head = file.read(24)
        if len(head) < 24:
            raise Malformed(f"{path}: no pcap header")
        order = {0xA1B2C3D4: 1e6, 0xA1B23C4D: 1e9}
        for end in "<>":
            magic, _, _, _, _, _, link = struct.unpack(end + "IHHiIII", head)
            if magic in order:
                break
        else:
            raise Malformed(f"{path}: magic {magic:#x}")
        if link not in LINKS and link != LINK_RAW:
            raise Malformed(f"{path}: link type {link}")
        while record := file.read(16):
            seconds, fraction, captured, original = struct.unpack(end + "IIII", record)
            data = file.read(captured)
            if len(record) < 16 or len(data) < captured:
                raise Malformed(f"{path}: ends within a packet")
            if captured < original:
                raise Malformed(f"{path}: a packet was cut at {captured} of {original} bytes")
            if link != LINK_RAW:
                skip, type_at = LINKS[link]
                if struct.unpack_from("!H", data, type_at)[0] != ETHERTYPE_IPV6:
                    continue
                data = data[skip:]
            yield parse(data, seconds + fraction / order[magic])
