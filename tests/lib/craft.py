# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Packets made by hand, put on the wire by a packet socket, with options sealed by the tests' own key schedule."""

import dataclasses
import ipaddress
import socket
import struct

import option
import schedule
from hosts import CLIENT, LINK, SERVER

ETH_IPV6 = 0x86DD


def pseudo(source, destination, protocol, length):
    return ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed + struct.pack("!IxxxB", length, protocol)


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def udp(source, destination, sport, dport, payload):
    head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    total = checksum(pseudo(source, destination, 17, 8 + len(payload)) + head + payload)
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), total) + payload


def tcp(source, destination, sport, dport, flags, options=b"", seq=1000, ack=0):
    """A segment without payload; the options a multiple of four bytes."""
    length = 20 + len(options)
    head = lambda total: struct.pack("!HHIIBBHHH", sport, dport, seq, ack, length // 4 << 4, flags, 8192, total, 0) + options
    return head(checksum(pseudo(source, destination, 6, length) + head(0)))


def ipv6(source, destination, next_header, payload):
    head = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return head + ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed + payload


def options_header(options, next_header=17):
    """A Destination Options header of whole bytes, padded to 8."""
    short = -(2 + len(options)) % 8
    padding = b"" if short == 0 else b"\x00" if short == 1 else bytes([1, short - 2]) + bytes(short - 2)
    return bytes([next_header, (2 + len(options) + len(padding)) // 8 - 1]) + options + padding


def alone(body, kind=option.TYPE):
    """The header as the module writes it: PadN, then the option at offset 4."""
    return options_header(b"\x01\x00" + bytes([kind, len(body)]) + body)


class Wire:
    """Packets put on the link by the client host, as if it had sent them."""

    def __init__(self, pair):
        self.sock = pair.client.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.sock.bind((LINK, ETH_IPV6))
        mac = lambda host: bytes.fromhex(host.mac().replace(":", ""))
        self.ethernet = mac(pair.server) + mac(pair.client) + struct.pack("!H", ETH_IPV6)

    def put(self, next_header, payload, source=CLIENT, destination=SERVER):
        self.sock.send(self.ethernet + ipv6(source, destination, next_header, payload))

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Crafted(Wire):
    """UDP datagrams of one flow, from the client host to the server host, as if the client had sent them."""

    def __init__(self, pair, secret=None, sport=5555, dport=7000, first_psn=100, protocol=17):
        self.flow = schedule.Tuple5(protocol, CLIENT, sport, SERVER, dport)
        self.secret, self.psn, self.number = secret, first_psn, 0
        super().__init__(pair)

    def fields(self, **other):
        """A fresh PSN each time."""
        self.psn = (self.psn + 1) & 0xFFFF
        return option.Fields(**({"psntp": self.psn, "globalptr": self.psn} | other))

    def sealed(self, fields=None, epoch=0, secret=None):
        """The body of a genuine encrypted option."""
        fields = fields or self.fields(epoch=epoch)
        secret = secret or self.secret
        key, base_nonce = secret.flow_key(fields.epoch, self.flow)
        clear = option.write_clear(fields)
        interior = option.write_interior(fields)
        return clear + schedule.seal(secret.suite, key, base_nonce, fields.psntp, option.aad(clear), interior)

    def sealed_kri(self, kri, random, psn=None, secret=None, flag=None):
        """Likewise of profile `v2-kri`, under this Kri and with this 15-bit field."""
        secret = secret or self.secret
        fields = self.fields(random=random, flag=kri % 2 if flag is None else flag)
        if psn is not None:
            fields = dataclasses.replace(fields, psntp=psn)
        key, base_nonce = secret.flow_key(kri, self.flow)
        clear = option.write_kri_clear(fields)
        interior = option.write_kri_interior(fields)
        return clear + schedule.seal(secret.suite, key, base_nonce, random, option.aad(clear), interior)

    def plain(self, fields=None):
        """The body of a plain `v2` option."""
        fields = fields or self.fields()
        return option.write_clear(fields) + option.write_interior(fields)

    def payload(self):
        self.number += 1
        return b"datagram %06d" % self.number

    def packet(self, header, payload):
        f = self.flow
        return ipv6(f.saddr, f.daddr, 60, header + udp(f.saddr, f.daddr, f.sport, f.dport, payload))

    def send(self, header):
        """A datagram behind this Destination Options header; returns its payload."""
        payload = self.payload()
        self.sock.send(self.ethernet + self.packet(header, payload))
        return payload


class Flood(Wire):
    """Thousands of UDP datagrams with an option, to the server, each from wherever it is said to come."""

    SOURCE_AT, BODY_AT = 14 + 8 + 12, 14 + 40 + 6

    def __init__(self, pair, body_len, source=CLIENT, dport=7000, answered=True):
        """`answered`: their checksum is right, so that a server at that port gets and answers them."""
        super().__init__(pair)
        self.answered = answered
        base = ipaddress.IPv6Address(int(ipaddress.IPv6Address(source)) & ~0xFFFFFFFF)
        header = alone(bytes(body_len))
        datagram = udp(base, SERVER, 0, dport, bytes(2) + b"flood!")
        self.template = self.ethernet + ipv6(base, SERVER, 60, header + datagram)
        self.host = int(ipaddress.IPv6Address(source)) & 0xFFFFFFFF
        self.udp_at = 14 + 40 + len(header)

    def packet(self, body, sport, host=None):
        """One of them. What port and address add to the checksum, two bytes of its payload take away."""
        out, host = bytearray(self.template), self.host if host is None else host
        total = (host >> 16) + (host & 0xFFFF) + sport
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        struct.pack_into("!I", out, self.SOURCE_AT, host)
        out[self.BODY_AT : self.BODY_AT + len(body)] = body
        struct.pack_into("!H", out, self.udp_at, sport)
        struct.pack_into("!H", out, self.udp_at + 8, (~total & 0xFFFF) ^ (not self.answered))
        return bytes(out)

    def pour(self, packets):
        """All at once; returns how many there were."""
        packets = list(packets)
        for packet in packets:
            self.sock.send(packet)
        return len(packets)


def flipped(data, bit):
    """The bytes with one bit changed."""
    out = bytearray(data)
    out[bit // 8] ^= 0x80 >> bit % 8
    return bytes(out)
