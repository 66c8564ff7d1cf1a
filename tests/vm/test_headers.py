# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Packets with extension headers of their own, raw and link-local packets, and other authentication."""

import contextlib
import socket
import struct

import opener
import pytest
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap, walk_options
from craft import udp
from family import rule
from hosts import CLIENT, LINK, SERVER, Capture
from measuring import Measuring, new_secret

IPV6_DSTOPTS, IPV6_RTHDR = 59, 57
UNKNOWN = 0x1E  # an experimental option, to be skipped by who does not know it
TCP_AO_ADD_KEY = 38


def destination_options(length):
    """A header of one unknown option whose body has so many bytes."""
    body = bytes([UNKNOWN, length]) + bytes(range(length))
    pad = -(2 + len(body)) % 8
    return bytes([0, (2 + len(body) + pad) // 8 - 1]) + body + (b"" if not pad else b"\x00" if pad == 1 else bytes([1, pad - 2]) + bytes(pad - 2))


@pytest.mark.parametrize("length", [0, 1, 2, 4, 6])
def test_the_option_joins_a_destination_options_header_that_is_there(pair, results, length):
    """"the option goes after its last real option at the next 4n offset, the header padded to 8n". """
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server) as server, pair.client.udp() as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, destination_options(length))
        with Capture(pair.client, results(".pcap")) as tap:
            assert traffic.udp_exchange(pair.client, SERVER, 3, sock=sock) == 3
            sent = [p for p in read_pcap(tap.stop()) if p.protocol == UDP and p.saddr == CLIENT]
        assert len(server.received) == 3 and measuring.server.stats()["accepted"] == 3
    for packet in sent:
        [(number, header)] = packet.headers
        assert number == 60 and len(header) % 8 == 0 and len(header) <= 48
        found = {kind: (at, body) for kind, at, body in walk_options(header) if kind > 1}
        assert set(found) == {UNKNOWN, 0x0F}
        assert found[UNKNOWN] == (2, bytes(range(length)))
        assert found[0x0F][0] % 4 == 0 and found[0x0F][0] - (4 + length) < 4


def test_a_header_that_would_grow_beyond_48_bytes_is_left_alone(pair, results):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server), pair.client.udp() as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, destination_options(28))
        with Capture(pair.client, results(".pcap")) as tap:
            assert traffic.udp_exchange(pair.client, SERVER, 3, sock=sock) == 3
            sent = [p for p in read_pcap(tap.stop()) if p.protocol == UDP and p.saddr == CLIENT]
        assert measuring.client.skipped() == {"headers": 3}
    assert [p.headers for p in sent] == [[(60, bytes([17]) + destination_options(28)[1:])]] * 3


def test_behind_a_routing_header_the_flow_is_that_of_the_final_destination(pair, results):
    """"Addresses are those of the upper-layer pseudo-header: the final destination behind a Routing header". """
    via = "fd00:1::22"
    for name in ("all", LINK):
        pair.server.sysctl(f"net.ipv6.conf.{name}.seg6_enabled", 1)
    pair.server.run("ip", "address", "add", f"{via}/64", "dev", LINK, "nodad")
    segments = [SERVER, via]  # the last destination first
    header = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + b"".join(socket.inet_pton(socket.AF_INET6, s) for s in segments)
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server) as server, pair.client.udp() as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RTHDR, header)
        with Capture(pair.client, results(".pcap")) as tap:
            sock.sendto(b"by another way", (SERVER, traffic.ECHO_PORT))
            with contextlib.suppress(TimeoutError):
                sock.recv(100)
            sent = [p for p in read_pcap(tap.stop()) if p.saddr == CLIENT and any(n == 43 for n, _ in p.headers)]
        flow = measuring.client.flow(UDP)
        assert server.received == [b"by another way"]
        assert measuring.server.stats()["accepted"] == 1 and measuring.server.refused() == {}
    assert flow["id"]["remote-address"] == SERVER and flow["options-out"] == 1
    # The option is for the final destination: behind the Routing header.
    assert [[n for n, _ in p.headers] for p in sent] == [[43, 60]]


def test_raw_packets_are_measured_as_others(pair):
    """A raw socket that writes its own IPv6 header."""
    with Measuring(pair) as measuring, pair.server.udp(port=7000) as target:
        raw = pair.client.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for _ in range(3):
            upper = udp(CLIENT, SERVER, 6200, 7000, b"raw")
            head = struct.pack("!IHBB", 6 << 28, len(upper), UDP, 64)
            raw.sendto(head + b"".join(socket.inet_pton(socket.AF_INET6, a) for a in (CLIENT, SERVER)) + upper, (SERVER, 0))
            assert target.recv(100) == b"raw"
        raw.close()
        stats = measuring.server.stats()
        assert (measuring.client.stats()["options-out"], stats["accepted"], stats["options-in"]) == (3, 3, 3)


def test_link_local_addresses_have_an_association_and_a_global_pointer_of_their_own(pair, results):
    """"source type (link-local; everything else unicast counts as global)"; "bound to one scope: an interface". """
    with Measuring(pair) as measuring, Capture(pair.client, results(".pcap")) as tap:
        secret = new_secret()
        for family in measuring.families:
            family.association_set("fe80::/10", "fe80::/10", "link", key_mode="kernel", ifindex=family.host.ifindex())
            family.secret_add(secret, "link", prk=True)
        # One prefix for both ends: who sends under it first is the only one who may, in one kernel.
        measuring.client.secret_activate(1, "link")
        address = pair.server.run("ip", "-6", "-o", "address", "show", "dev", LINK, "scope", "link").split()[3].split("/")[0]
        before = measuring.client.stats()
        assert traffic.ping(pair.client, f"{address}%{LINK}", 4) == 4
        after, flow = measuring.client.stats(), measuring.client.flow(ICMPV6)
        log = results(".keys")
        log.unlink(missing_ok=True)
        opener.write_key_log(log, "link", secret, "fe80::/10", "fe80::/10")
        options = opener.open_capture(tap.stop(), log)
        assert measuring.server.stats()["accepted"] == 4
    assert after["global-pointer"] == before["global-pointer"]
    assert after["global-pointer-link-local"] >= before["global-pointer-link-local"] + 4
    assert flow["association"] == "link" and len(options) == 4
    pointers = [o.fields.globalptr for o in options]
    assert pointers == sorted(pointers) and pointers[0] >= before["global-pointer-link-local"]


def signed_exchange(pair, port):
    """A connection whose segments TCP-AO signs."""

    def add_key(sock, peer):
        address = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, peer), 0).ljust(128, b"\0")
        algorithm = b"hmac(sha1)".ljust(64, b"\0")
        rest = struct.pack("=iIHBBBBBB80s", 0, 0, 0, 128, 100, 100, 0, 0, 16, b"k" * 16)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, address + algorithm + rest)

    listening = pair.server.socket(socket.AF_INET6, socket.SOCK_STREAM)
    sock = pair.client.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with listening, sock:
        add_key(listening, CLIENT)
        listening.bind((SERVER, port))
        listening.listen(1)
        sock.settimeout(5)
        add_key(sock, SERVER)
        sock.connect((SERVER, port))
        answering, _ = listening.accept()
        with answering:
            sock.sendall(b"signed")
            assert answering.recv(100) == b"signed"
            answering.sendall(b"too")
            assert sock.recv(100) == b"too"


def test_tcp_ao_connections_are_left_alone(pair, results):
    """TCP-AO covers the pseudo-header's length, which an option would change, and the MSS."""
    signed_exchange(pair, 7100)
    with Measuring(pair) as measuring, Capture(pair.client, results(".pcap")) as tap:
        signed_exchange(pair, 7101)
        packets = [p for p in read_pcap(tap.stop()) if p.protocol == TCP]
        skipped = measuring.client.skipped()
    assert len(packets) >= 6 and not [p for p in packets if p.options]
    assert skipped.get("tcp-ao", 0) >= 3 and set(skipped) == {"tcp-ao"}


def test_a_rule_for_another_protocol_measures_it(pair, results):
    """Protocols without ports: flows with ports 0, 0; and a rule without a protocol does not reach them."""
    with Measuring(pair, "v2") as measuring, Capture(pair.client, results(".pcap")) as tap:
        raw = pair.client.socket(socket.AF_INET6, socket.SOCK_RAW, 253)
        raw.sendto(b"not wanted", (SERVER, 0))
        assert measuring.client.flows() == []
        measuring.client.policy_set(rule("v2", protocol=253))
        raw.sendto(b"wanted", (SERVER, 0))
        raw.close()
        flow = measuring.client.flow(253)
        sent = [p for p in read_pcap(tap.stop()) if p.protocol == 253]
    assert (flow["id"]["local-port"], flow["id"]["remote-port"]) == (0, 0)
    assert [(p.upper, len(p.options)) for p in sent] == [(b"not wanted", 0), (b"wanted", 1)]
