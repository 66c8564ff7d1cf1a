# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Packets with extension headers of their own, raw and link-local packets, and other authentication."""

import dataclasses
import socket
import struct

import opener
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap, walk_options
from craft import Crafted, alone, options_header, udp
from family import Family, rule
from hosts import CLIENT, LINK, PATIENCE, SERVER, Capture
from measuring import Measuring, new_secret

IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_RTHDR, IPV6_DSTOPTS = 54, 55, 57, 59
HOP_BY_HOP, ROUTING, DESTINATION = 0, 43, 60
ROUTER = "fd00:a::fe"
HOME = "fd00:4::1"
UNKNOWN = 0x1E  # an experimental option, to be skipped by who does not know it
TCP_AO_ADD_KEY = 38


def destination_options(length):
    """A header of one unknown option whose body has so many bytes."""
    body = bytes([UNKNOWN, length]) + bytes(range(length))
    pad = -(2 + len(body)) % 8
    return bytes([0, (2 + len(body) + pad) // 8 - 1]) + body + (b"" if not pad else b"\x00" if pad == 1 else bytes([1, pad - 2]) + bytes(pad - 2))


def test_the_option_joins_a_destination_options_header_that_is_there(pair, results):
    """"the option goes after its last real option at the next 4n offset, the header padded to 8n". """
    lengths = (0, 1, 2, 4, 6)
    with Measuring(pair, "v2") as measuring, pair.server.udp(port=traffic.ECHO_PORT) as target:
        with Capture(pair.client, results(".pcap")) as tap:
            for length in lengths:
                with pair.client.udp() as sock:
                    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, destination_options(length))
                    sock.sendto(b"joined", (SERVER, traffic.ECHO_PORT))
                    assert target.recv(100) == b"joined"
            sent = [p for p in read_pcap(tap.stop()) if p.protocol == UDP and p.saddr == CLIENT]
        assert measuring.server.stats()["accepted"] == len(lengths)
    for packet, length in zip(sent, lengths, strict=True):
        [(number, header)] = packet.headers
        assert number == DESTINATION and len(header) % 8 == 0 and len(header) <= 48
        found = {kind: (at, body) for kind, at, body in walk_options(header) if kind > 1}
        assert set(found) == {UNKNOWN, 0x0F}
        assert found[UNKNOWN] == (2, bytes(range(length)))
        assert found[0x0F][0] % 4 == 0 and found[0x0F][0] - (4 + length) < 4


# name: a Destination Options header, as a socket sets it, that must stay as it is.
FULL = {
    "48 bytes would be exceeded": destination_options(28),
    "eight options": options_header(bytes([UNKNOWN, 0]) * 8),
    "an option of this type is there: never twice": alone(bytes(18)),
}


def test_a_header_without_room_is_left_alone(pair, results):
    """"If that would exceed 48 bytes, 8 options, or 7 pad bytes in a row ..., the packet goes without, counted." """
    with Measuring(pair, "v2") as measuring, pair.server.udp(port=traffic.ECHO_PORT) as target:
        with Capture(pair.client, results(".pcap")) as tap:
            for header in FULL.values():
                with pair.client.udp() as sock:
                    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, header)
                    sock.sendto(b"full", (SERVER, traffic.ECHO_PORT))
                    assert target.recv(100) == b"full"
            sent = [p for p in read_pcap(tap.stop()) if p.protocol == UDP and p.saddr == CLIENT]
        assert measuring.client.skipped() == {"headers": len(FULL)} and measuring.client.stats()["options-out"] == 0
    assert [p.headers for p in sent] == [[(DESTINATION, bytes([UDP]) + header[1:])] for header in FULL.values()]


def segments():
    """A Routing header by way of the router: the last destination first."""
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, address) for address in (SERVER, ROUTER))
    return struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + addresses


# Headers that a socket sets, and all that arrive, in order.
COMBINATIONS = {
    "hop-by-hop": ({IPV6_HOPOPTS}, [HOP_BY_HOP, DESTINATION]),
    "destination": ({IPV6_DSTOPTS}, [DESTINATION]),
    "hop-by-hop and destination": ({IPV6_HOPOPTS, IPV6_DSTOPTS}, [HOP_BY_HOP, DESTINATION]),
    "routing": ({IPV6_RTHDR}, [ROUTING, DESTINATION]),
    "destination before routing": ({IPV6_RTHDRDSTOPTS, IPV6_RTHDR}, [DESTINATION, ROUTING, DESTINATION]),
    "all there are": (
        {IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_RTHDR, IPV6_DSTOPTS},
        [HOP_BY_HOP, DESTINATION, ROUTING, DESTINATION],
    ),
}


def test_with_headers_of_every_kind_the_option_is_for_the_final_destination(routed, results):
    """"Addresses are those of the upper-layer pseudo-header: the final destination behind a Routing header". The router is a
    segment of the way, and measures too: what is under way to others is nothing to it."""
    for host, device in ((routed.router, "veth0"), (routed.server, LINK)):
        for name in ("all", device):
            host.sysctl(f"net.ipv6.conf.{name}.seg6_enabled", 1)
    content = {option: segments() if option == IPV6_RTHDR else destination_options(4) for option in (54, 55, 57, 59)}
    with Measuring(routed) as measuring, Family(routed.router) as router:
        router.association_set([ROUTER, SERVER], [CLIENT, SERVER], key_mode="kernel")
        router.policy_set(rule("v2-encrypted"))
        with routed.server.udp(port=traffic.ECHO_PORT) as target, Capture(routed.server, results(".pcap")) as tap:
            for options, _ in COMBINATIONS.values():
                with routed.client.udp(CLIENT) as sock:
                    for option in options:
                        sock.setsockopt(socket.IPPROTO_IPV6, option, content[option])
                    sock.sendto(b"headers", (SERVER, traffic.ECHO_PORT))
                    assert target.recv(100) == b"headers"
            path = tap.stop()
        flows = measuring.client.flows()
        assert measuring.server.stats()["accepted"] == measuring.server.stats()["options-in"] == len(COMBINATIONS)
        assert measuring.client.skipped() == {}
        # TCP reckons with its own headers, and the MSS with the option.
        with traffic.Sink(routed.server):
            headers = {IPV6_HOPOPTS: content[IPV6_HOPOPTS], IPV6_DSTOPTS: content[IPV6_DSTOPTS]}
            assert traffic.bulk(routed.client, SERVER, 128 << 10, headers=headers)
        assert measuring.client.skipped() == measuring.client.refused() == measuring.server.refused() == {}
        assert (router.stats()["options-in"], router.stats()["pending"], router.stats()["flows"]) == (0, 0, 0)
    sent = [p for p in read_pcap(path) if p.protocol == UDP]
    assert [[number for number, _ in p.headers] for p in sent] == [order for _, order in COMBINATIONS.values()]
    for packet in sent:
        assert [len(p.body) for p in packet.options] == [34] and packet.options[0].header == packet.headers[-1][1]
    assert {flow["id"]["remote-address"] for flow in flows} == {SERVER}


def test_behind_a_home_address_the_flow_is_that_of_the_home_address(pair):
    """A mobile host's packet: its source is where the host is, its pseudo-header and its flow are of where it is at home."""
    binding = ("src", HOME, "dst", SERVER, "proto", "hao")
    pair.server.run("ip", "xfrm", "state", "add", *binding, "mode", "ro", "coa", CLIENT)
    pair.server.run("ip", "xfrm", "policy", "add", *binding[:4], "dir", "in", "tmpl", *binding, "mode", "ro", "level", "use")
    with Measuring(pair) as measuring, pair.server.udp(port=7000) as target:
        measuring.server.association_set(SERVER, [CLIENT, HOME], key_mode="kernel")
        with Crafted(pair, measuring.secrets[1]) as crafted:
            crafted.flow = dataclasses.replace(crafted.flow, saddr=HOME)
            home = b"\x01\x02\x00\x00\xc9\x10" + socket.inet_pton(socket.AF_INET6, HOME)
            body = crafted.sealed()
            header = options_header(home + bytes([0x0F, len(body)]) + body)
            crafted.put(DESTINATION, header + udp(HOME, SERVER, crafted.flow.sport, 7000, b"from afar"))
            data, source = target.recvfrom(100)
        assert (data, source[0]) == (b"from afar", HOME)
        stats = measuring.server.stats()
        assert (stats["options-in"], stats["accepted"]) == (1, 1), measuring.server.refused()
        assert measuring.server.flow(UDP)["id"]["remote-address"] == HOME



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


def ao_key(peer):
    """A key for the segments from and to a peer, as TCP_AO_ADD_KEY takes it."""
    address = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, peer), 0).ljust(128, b"\0")
    algorithm = b"hmac(sha1)".ljust(64, b"\0")
    return address + algorithm + struct.pack("=iIHBBBBBB80s", 0, 0, 0, 128, 100, 100, 0, 0, 16, b"k" * 16)


def signed_exchange(pair, port):
    """A connection whose segments TCP-AO signs."""
    listening = pair.server.socket(socket.AF_INET6, socket.SOCK_STREAM)
    sock = pair.client.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with listening, sock:
        listening.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, ao_key(CLIENT))
        listening.bind((SERVER, port))
        listening.listen(1)
        sock.settimeout(5 * PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, ao_key(SERVER))
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
