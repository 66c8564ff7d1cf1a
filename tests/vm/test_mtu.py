# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""MTU: "nothing is ever black-holed" (docs/protocol.md, section 5)."""

import socket

import capture
import pytest
import traffic
from family import rule
from hosts import CLIENT, LINK, SERVER, Capture
from measuring import Measuring

GROWTH = {"pdm": 16, "v2": 24, "v2-encrypted": 40}
HEADERS, UDP_HEADER = 40, 8
IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 23, 3
TCP_MSS = 2


@pytest.mark.parametrize("mechanism", GROWTH)
def test_what_does_not_fit_goes_without_and_is_counted(pair, mechanism):
    full = 1500 - HEADERS - UDP_HEADER
    with Measuring(pair, mechanism) as measuring, traffic.UdpEcho(pair.server) as server:
        for size, skipped in ((full - GROWTH[mechanism], {}), (full - GROWTH[mechanism] + 1, {"mtu": 1}), (full, {"mtu": 2})):
            assert traffic.udp_exchange(pair.client, SERVER, 1, size=size) == 1
            assert measuring.client.skipped() == skipped, size
        assert [len(d) for d in server.received] == [full - GROWTH[mechanism], full - GROWTH[mechanism] + 1, full]


@pytest.mark.parametrize("mechanism", GROWTH)
def test_tcp_works_on_a_link_of_1280_bytes(pair, mechanism):
    for host in pair.hosts:
        host.run("ip", "link", "set", LINK, "mtu", 1280)
    with Measuring(pair, mechanism) as measuring, traffic.Sink(pair.server):
        assert traffic.bulk(pair.client, SERVER, 1 << 20)
        assert measuring.client.skipped() == {}, "segments left no room for the option"
        assert measuring.client.stats()["options-out"] > (1 << 20) / 1280


def announced(packet):
    """The MSS in a SYN or SYN-ACK."""
    options = packet.upper[20 : (packet.upper[12] >> 4) * 4]
    at = 0
    while options[at] != TCP_MSS:
        at += 1 if options[at] == 1 else options[at + 1]
    return int.from_bytes(options[at + 2 : at + 4], "big")


def mss_of(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


@pytest.mark.parametrize("mechanism", GROWTH)
def test_the_mss_is_lowered_once_on_receipt(pair, results, mechanism):
    """"On received SYN and SYN-ACK ...: MSS = min(MSS, path MTU - 60) - own header size; sent ones untouched." """
    with Measuring(pair, mechanism) as measuring, traffic.TcpEcho(pair.server):
        with Capture(pair.client, results(".pcap")) as tap, pair.client.tcp(SERVER, traffic.ECHO_PORT) as sock:
            timestamps = 12
            assert mss_of(sock) == 1440 - GROWTH[mechanism] - timestamps
            sock.sendall(b"x")
            sock.recv(1)
            path = tap.stop()
        assert measuring.client.stats()["mss-clamped"] == measuring.server.stats()["mss-clamped"] == 1
    syns = [p for p in capture.read_pcap(path) if p.protocol == capture.TCP and p.upper[13] & 2]
    assert [announced(p) for p in syns] == [1440, 1440]
    assert {p.saddr for p in syns} == {CLIENT, SERVER}


def test_the_mss_of_flows_that_no_rule_measures_is_left(pair):
    with Measuring(pair, "v2", rules=[rule("v2", protocol=17)]) as measuring, traffic.TcpEcho(pair.server):
        with pair.client.tcp(SERVER, traffic.ECHO_PORT) as sock:
            assert mss_of(sock) == 1440 - 12
        assert measuring.client.stats()["mss-clamped"] == 0


def test_a_probing_application_is_left_alone_above_1280(pair):
    """"With PMTUDISC_PROBE ... insert only if the result is at most 1280." """
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server):
        sock = pair.client.udp()
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        fits = 1280 - HEADERS - UDP_HEADER - GROWTH["v2"]
        assert traffic.udp_exchange(pair.client, SERVER, 1, size=fits, sock=sock) == 1
        assert measuring.client.skipped() == {}
        assert traffic.udp_exchange(pair.client, SERVER, 1, size=fits + 1, sock=sock) == 1
        assert measuring.client.skipped() == {"mtu-probe": 1}
        sock.close()


def test_a_datagram_larger_than_the_link_is_fragmented_without_an_option(pair, results):
    """"Linux copies the header into every fragment, repeating PSN and ciphertext." """
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server) as server:
        with Capture(pair.client, results(".pcap")) as tap:
            assert traffic.udp_exchange(pair.client, SERVER, 2, size=4000) == 2
            assert traffic.ping(pair.client, SERVER, 2, size=3000) == 2
            packets = list(capture.read_pcap(tap.stop()))
        assert [len(d) for d in server.received] == [4000, 4000]
        stats = measuring.client.stats()
        assert measuring.client.skipped() == {"fragment": 4}
        assert measuring.client.refused() == {}
    fragments = [p for p in packets if p.fragment]
    assert len(fragments) >= 4 * 3 and not [p for p in fragments if p.options]
    # "a datagram fragmented later counts one"
    assert stats["options-out"] == 0
