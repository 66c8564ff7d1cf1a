# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Paths narrower than the link: "nothing is ever black-holed", and nothing goes back and forth (docs/protocol.md, section 5).

    client ---- 1500 ---- router ---- narrower ---- server
"""

import errno
import fcntl
import hashlib
import os
import socket
import struct
import time

import pytest
import traffic
from capture import TCP, UDP, read_pcap
from family import Family, rule
from hosts import CLIENT, LINK, SERVER, WHOLE, Capture, wait_until
from measuring import Measuring
from test_mtu import GROWTH, HEADERS, UDP_HEADER, announced, mss_of

IPV6_MTU_DISCOVER, PMTUDISC_WANT, PMTUDISC_DO, PMTUDISC_PROBE = 23, 1, 2, 3
TOO_BIG = 2
TIMESTAMPS = 12
INITIAL_WINDOW = 10  # segments that TCP may have sent before it can know


def too_big(path):
    """The MTU that each Packet Too Big of a capture names."""
    return [int.from_bytes(p.upper[4:8], "big") for p in read_pcap(path) if p.icmp_type == TOO_BIG]


def carried(path, protocol):
    """Lengths of what the client sent, with an option and without."""
    sent = [p for p in read_pcap(path) if p.saddr == CLIENT and p.protocol == protocol]
    return [len(p.raw) for p in sent if p.options], [len(p.raw) for p in sent if not p.options]


@pytest.mark.parametrize("mtu", [1280, 1400])
def test_a_path_mtu_is_learned_once_and_later_connections_leave_room(routed, results, mtu):
    routed.narrow(mtu)
    with Measuring(routed) as measuring, traffic.Sink(routed.server):
        with Capture(routed.client, results("-first.pcap"), snap=WHOLE) as tap:
            assert traffic.bulk(routed.client, SERVER, 512 << 10)
            told = too_big(tap.stop())
        # The first flight at most; then TCP knows, and what then fills the path goes without.
        assert 1 <= len(told) <= INITIAL_WINDOW + 2 and set(told) == {mtu}, told
        before = measuring.client.skipped()
        assert set(before) <= {"mtu"}
        with Capture(routed.client, results("-second.pcap"), snap=WHOLE) as tap:
            with routed.client.tcp(SERVER, traffic.BULK_PORT) as sock:
                assert mss_of(sock) == mtu - 60 - GROWTH["v2-encrypted"] - TIMESTAMPS
            assert traffic.bulk(routed.client, SERVER, 512 << 10)
            path = tap.stop()
        assert too_big(path) == []
        # "MSS = min(MSS, path MTU - 60) - own header size": now each segment has room, and fills the path with it.
        assert measuring.client.skipped() == before
        with_option, without = carried(path, TCP)
        assert without == [] and max(with_option) == mtu


def test_the_mss_is_lowered_by_the_ends_and_by_no_router_between_them(routed, results):
    with Measuring(routed, "v2") as measuring, traffic.TcpEcho(routed.server):
        with Family(routed.router) as router, Capture(routed.server, results(".pcap")) as tap:
            router.policy_set(rule("v2"))
            traffic.tcp_exchange(routed.client, SERVER, 3)
            assert (router.stats()["mss-clamped"], router.stats()["options-in"]) == (0, 0)
            syns = [p for p in read_pcap(tap.stop()) if p.protocol == TCP and p.upper[13] & 2]
        assert [announced(p) for p in syns] == [1440, 1440]
        assert measuring.client.stats()["mss-clamped"] == measuring.server.stats()["mss-clamped"] == 1


@pytest.mark.parametrize("mechanism", ["v2", "v2-encrypted"])
def test_a_stream_survives_a_path_mtu_that_shrinks_under_way(routed, results, mechanism):
    """It shrinks below what the MSS left room for: what fills the path goes without, and the rest still carries."""
    part = os.urandom(256 << 10)
    with Measuring(routed, mechanism) as measuring, traffic.Sink(routed.server) as sink:
        with Capture(routed.client, results(".pcap"), snap=WHOLE) as tap, routed.client.tcp(SERVER, traffic.BULK_PORT, timeout=60) as sock:
            for mtu in (None, 1400, 1300):
                if mtu:
                    routed.narrow(mtu)
                sock.sendall(part)
                # All of it is there before the path shrinks again.
                wait_until(lambda: outstanding(sock) == 0, "the stream stands still", 60)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(32) == hashlib.sha256(part * 3).digest()
            path = tap.stop()
        told, (with_option, without) = too_big(path), carried(path, TCP)
        assert measuring.server.refused() == {} and set(measuring.client.skipped()) == {"mtu"}
    assert sink.streams == [(3 * len(part), hashlib.sha256(part * 3).hexdigest())]
    # Each MTU is told to what was in flight, which is one window, and never again once TCP knows it.
    assert set(told) <= {1400, 1300} and told == sorted(told, reverse=True), told
    # What goes without may be a super-packet still, which the device splits.
    packets = list(read_pcap(path))
    told_last = max(n for n, p in enumerate(packets) if p.icmp_type == TOO_BIG)
    last = [len(p.raw) for p in packets[told_last + 1 :] if p.saddr == CLIENT and p.protocol == TCP and p.options]
    assert max(last, default=0) <= 1300 and with_option and without


def outstanding(sock):
    """Bytes that were sent and not acknowledged."""
    return struct.unpack("i", fcntl.ioctl(sock, 0x5411, b"\0" * 4))[0]  # SIOCOUTQ


def datagram(sock, length):
    """Sends a datagram so that its packet has this length; whether the socket took it."""
    try:
        sock.sendto(bytes(length - HEADERS - UDP_HEADER), (SERVER, traffic.ECHO_PORT))
    except OSError as error:
        assert error.errno == errno.EMSGSIZE, error
        return False
    return True


def has(server, length):
    return length - HEADERS - UDP_HEADER in [len(d) for d in server.received]


def delivered(server, length):
    """The server gets such a datagram."""
    return wait_until(lambda: has(server, length), f"a datagram of {length} bytes is lost", 5)


def lost(server, length):
    """The server does not get such a datagram."""
    time.sleep(0.5)
    return not has(server, length)


def test_datagrams_pass_a_path_mtu_that_shrinks_under_way(routed, results):
    """An application that fills less than the path is told of nothing, or once; then its datagrams go without."""
    with Measuring(routed, "v2-encrypted") as measuring, traffic.UdpEcho(routed.server) as server:
        with routed.client.udp() as sock, Capture(routed.client, results(".pcap"), snap=WHOLE) as tap:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DO)
            assert datagram(sock, 1430) and delivered(server, 1430)
            routed.narrow(1460)
            # With the option 1471 bytes: that one is lost to the router's message, as one of 1471 would be.
            assert datagram(sock, 1431) and lost(server, 1431)
            for length in (1432, 1433, 1460, 1420):
                assert datagram(sock, length) and delivered(server, length), length
            assert not datagram(sock, 1461), "the kernel knows the path"
            path = tap.stop()
        assert too_big(path) == [1460]
        assert measuring.client.skipped() == {"mtu": 3} and measuring.client.stats()["options-out"] == 3
        # Fragmented where the application lets the kernel do so: without an option, and nothing is lost but the one that
        # the router tells of.
        routed.narrow(1300)
        with routed.client.udp() as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_WANT)
            assert datagram(sock, 1415) and lost(server, 1415)
            for length in (1416, 1417):
                assert datagram(sock, length) and delivered(server, length), length
        assert measuring.client.skipped() == {"mtu": 3, "fragment": 2}


def test_quic_style_probes_find_the_same_path_mtu_with_and_without_the_option(routed, results):
    """IPV6_MTU_DISCOVER = PROBE: the application proves sizes that the kernel does not know."""
    routed.narrow(1400)
    lengths = range(1200, 1501, 20)

    def probe(server):
        server.received.clear()
        with routed.client.udp() as sock, Capture(routed.client, results(".pcap"), snap=WHOLE) as tap:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
            assert all(datagram(sock, length) for length in lengths)
            largest = max(length for length in lengths if length <= 1400)
            assert delivered(server, largest)
            path = tap.stop()
        return sorted(len(d) + HEADERS + UDP_HEADER for d in server.received), too_big(path), carried(path, UDP)

    with Measuring(routed, "v2") as measuring, traffic.UdpEcho(routed.server) as server:
        measured, told, (with_option, without) = probe(server)
        # "insert only if the result is at most 1280"
        assert with_option == [n + GROWTH["v2"] for n in lengths if n + GROWTH["v2"] <= 1280]
        assert without == [n for n in lengths if n + GROWTH["v2"] > 1280]
        # What the device's own MTU forbids is counted as that, the rest as a probe.
        assert measuring.client.skipped() == {"mtu-probe": len([n for n in without if n <= 1476]), "mtu": len([n for n in without if n > 1476])}
        measuring.client.policy_set()
        measuring.server.policy_set()
        bare = probe(server)
    assert measured == [n for n in lengths if n <= 1400] == bare[0]
    assert told == bare[1] == [1400] * len([n for n in lengths if n > 1400])


SILENT = """table ip6 t {
  chain c {
    type filter hook output priority 0
    icmpv6 type packet-too-big drop
  }
}
"""


@pytest.mark.parametrize("probing", [1, 2])
def test_tcp_mtu_probing_gets_through_a_black_hole(routed, results, probing):
    """The router says nothing. TCP finds out by itself, and no option makes a probe that fits too large."""
    routed.narrow(1400)
    routed.router.run("nft", "-f", "-", input=SILENT)
    routed.client.sysctl("net.ipv4.tcp_mtu_probing", probing)
    with Measuring(routed, "v2") as measuring, traffic.Sink(routed.server):
        with Capture(routed.client, results(".pcap"), snap=WHOLE) as tap:
            assert traffic.bulk(routed.client, SERVER, 256 << 10)
            path = tap.stop()
        assert too_big(path) == []
        stats = measuring.client.stats()
        assert set(measuring.client.skipped()) <= {"mtu-probe"} and measuring.server.refused() == {}
    with_option, without = carried(path, TCP)
    assert stats["options-out"] == len(with_option) > 20
    # From the first segment on; or once TCP probes: the black hole swallowed what came before, and what came after fits.
    assert max(with_option if probing == 2 else with_option[-20:]) <= 1280
    assert (max(with_option) == 1500) == (probing == 1), "there was no black hole"


def test_jumbo_frames_carry_the_option_up_to_the_last_byte(pair, results):
    for host in pair.hosts:
        host.run("ip", "link", "set", LINK, "mtu", 9000)
    with Measuring(pair) as measuring, traffic.Sink(pair.server), traffic.UdpEcho(pair.server):
        with Capture(pair.client, results(".pcap")) as tap:
            with pair.client.tcp(SERVER, traffic.BULK_PORT) as sock:
                assert mss_of(sock) == 9000 - 60 - GROWTH["v2-encrypted"] - TIMESTAMPS
            assert traffic.bulk(pair.client, SERVER, 1 << 20)
            most = 9000 - HEADERS - UDP_HEADER - GROWTH["v2-encrypted"]
            assert traffic.udp_exchange(pair.client, SERVER, 1, size=most) == 1
            path = tap.stop()
        for family in measuring.families:
            assert family.skipped() == family.refused() == {}
    with_option, without = carried(path, TCP)
    assert max(with_option) == 9000 and without == []
    assert carried(path, UDP) == ([9000], [])
