# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Checksum and segmentation offload in all their forms, with conntrack, nftables and queueing disciplines at work: streams
arrive intact, and no receiver finds a checksum wrong (docs/protocol.md, section 5)."""

import json
import socket

import opener
import pytest
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap
from craft import checksum, pseudo
from hosts import CLIENT, LINK, SERVER, Capture, link
from measuring import Measuring, consistent

UDP_SEGMENT, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX = 103, 101, 102
SIZE = 256 << 10

# name: the features of every device that are switched from what they are by default. Without "tx" the sender's stack
# computes checksums and the receiver's checks them; without "sg" packets are linear; without "tso" and "gso" TCP itself
# segments, without "tso" alone the stack does.
FEATURES = {
    "everything on": (),
    "tx checksum off": ("tx", "off"),
    "rx checksum off": ("rx", "off"),
    "both checksums off": ("tx", "off", "rx", "off"),
    "scatter-gather off": ("sg", "off"),
    "tso off": ("tso", "off"),
    "gso off": ("tso", "off", "gso", "off"),
    "udp segmentation off": ("tx-udp-segmentation", "off"),
    "gro on": ("gro", "on"),
    "all off": ("tx", "off", "rx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off"),
}
DEFAULTS = ("tx", "on", "rx", "on", "sg", "on", "tso", "on", "gso", "on", "gro", "off", "tx-udp-segmentation", "on")


def switch(pair, features):
    for host in pair.hosts:
        host.run("ethtool", "-K", LINK, *DEFAULTS)
        if features:
            host.run("ethtool", "-K", LINK, *features)


def wrong_checksums(host):
    """What the host's counters say of wrong checksums and headers."""
    said = [line.split() for line in host.run("cat", "/proc/net/snmp6").splitlines()]
    named = {"Ip6InHdrErrors", "Udp6InCsumErrors", "Udp6InErrors", "Icmp6InCsumErrors", "Icmp6InErrors"}
    found = {name: int(number) for name, number in said if name in named and int(number)}
    names, numbers = [line.split()[1:] for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    tcp = dict(zip(names, map(int, numbers), strict=True))
    return found | {f"Tcp{name}": tcp[name] for name in ("InErrs", "InCsumErrors") if tcp[name]}


def segmented(pair, size=1000, count=10):
    """One UDP_SEGMENT send; whether every datagram was echoed whole."""
    payload = bytes(range(256)) * (size * count // 256 + 1)
    with pair.client.udp() as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        sock.sendto(payload[: size * count], (SERVER, traffic.ECHO_PORT))
        back = [sock.recv(65536) for _ in range(count)]
    return sorted(back) == sorted(payload[at : at + size] for at in range(0, size * count, size))


def test_streams_arrive_intact_whatever_the_device_offloads(pair):
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), traffic.Sink(pair.server):
        wrong = []
        for name, features in FEATURES.items():
            switch(pair, features)
            outcome = {
                "stream": traffic.bulk(pair.client, SERVER, SIZE),
                "datagrams": traffic.udp_exchange(pair.client, SERVER, 3, size=1200) == 3,
                "udp segmentation": segmented(pair),
                "echo": traffic.ping(pair.client, SERVER, 2, size=1000) == 2,
            }
            wrong += [(name, what) for what, fine in outcome.items() if not fine]
        assert wrong == []
        for family in measuring.families:
            assert family.skipped() == family.refused() == {}
            consistent(family)
        assert measuring.server.stats()["accepted"] == measuring.client.stats()["options-out"] > len(FEATURES) * SIZE / 1500
    for host in pair.hosts:
        assert wrong_checksums(host) == {}


def test_checksums_that_the_stack_computes_are_right_on_the_wire(pair, results):
    """The upper layer's checksum covers no extension header: it stays right by itself."""
    switch(pair, FEATURES["both checksums off"])
    with Measuring(pair), traffic.UdpEcho(pair.server), traffic.Sink(pair.server):
        with Capture(pair.server, results(".pcap")) as tap:
            assert traffic.bulk(pair.client, SERVER, SIZE)
            assert segmented(pair) and traffic.ping(pair.client, SERVER, 2) == 2
            packets = [p for p in read_pcap(tap.stop()) if p.options]
    assert {p.protocol for p in packets} == {TCP, UDP, ICMPV6} and len(packets) > SIZE / 1500
    for p in packets:
        # Over everything, its own field included, the sum comes out as nothing (which this function returns as ffff).
        assert checksum(pseudo(p.saddr, p.daddr, p.protocol, len(p.upper)) + p.upper) == 0xFFFF, p.flow


@pytest.mark.parametrize("mechanism", ["pdm", "v2", "v2-encrypted"])
def test_datagrams_of_every_length_arrive_as_they_were_sent(pair, results, mechanism):
    """Room for the option is found before the packet, behind it, or in memory of its own, as the length has it; with
    checksums that the device computes, and with the stack's."""
    lengths = range(0, 1300, 9)
    with Measuring(pair, mechanism) as measuring, traffic.UdpEcho(pair.server), pair.client.udp() as sock:
        with Capture(pair.server, results(".pcap")) as tap:
            for features in ((), FEATURES["both checksums off"]):
                switch(pair, features)
                for length in lengths:
                    payload = bytes(at * 7 + length & 0xFF for at in range(length))
                    sock.sendto(payload, (SERVER, traffic.ECHO_PORT))
                    assert sock.recv(2000) == payload, length
            sent = [p for p in read_pcap(tap.stop()) if p.protocol == UDP]
        for family in measuring.families:
            assert family.skipped() == family.refused() == {}
    assert [len(p.options) for p in sent] == [1] * (4 * len(lengths))
    for host in pair.hosts:
        assert wrong_checksums(host) == {}


def test_udp_without_a_checksum_stays_without(pair, results):
    with Measuring(pair) as measuring, pair.server.udp(port=traffic.ECHO_PORT) as target, pair.client.udp() as sock:
        target.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_RX, 1)
        sock.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_TX, 1)
        with Capture(pair.client, results(".pcap")) as tap:
            for _ in range(3):
                sock.sendto(b"no checksum", (SERVER, traffic.ECHO_PORT))
                assert target.recv(100) == b"no checksum"
            sent = [p for p in read_pcap(tap.stop()) if p.protocol == UDP and p.saddr == CLIENT]
        assert measuring.server.stats()["accepted"] == 3
    assert [(p.upper[6:8], len(p.options)) for p in sent] == [(b"\0\0", 1)] * 3


# What conntrack calls invalid is dropped on each way; marks, states and counters are seen for each packet on the wire.
RULES = """table ip6 t {
  counter confirmed { }
  counter marked { }
  counter invalid { }
  counter superpackets { }
  chain input {
    type filter hook input priority 0
    ct state invalid counter name invalid drop
  }
  chain output {
    type filter hook output priority 0
    ct state invalid counter name invalid drop
    meta mark set 7
    ct mark set 9
    counter name superpackets
  }
  chain postrouting {
    type filter hook postrouting priority 0
    meta l4proto { tcp, udp } meta mark 7 ct mark 9 counter name marked
    meta l4proto { tcp, udp } ct state established,new counter name confirmed
  }
}
"""


def counters(host):
    listed = json.loads(host.run("nft", "-j", "list", "counters"))["nftables"]
    return {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}


def test_conntrack_and_nftables_see_each_segment_and_confirm_the_connection(pair, results):
    for host in pair.hosts:
        host.run("nft", "-f", "-", input=RULES)
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), traffic.Sink(pair.server):
        with Capture(pair.client, results(".pcap")) as tap:
            assert traffic.bulk(pair.client, SERVER, SIZE)
            # A connection's very first packet is a super-packet.
            assert segmented(pair)
            path = tap.stop()
        # Conntrack has both, with answers seen: what is listed is confirmed.
        table = pair.client.run("conntrack", "-L", "-f", "ipv6")
        assert [line for line in table.splitlines() if line.startswith("tcp") and "[ASSURED]" in line], table
        assert [line for line in table.splitlines() if line.startswith("udp") and "[UNREPLIED]" not in line], table
        counted = counters(pair.client)
        options = opener.open_capture(path, measuring.key_log(results(".keys")))
        for family in measuring.families:
            assert family.skipped() == family.refused() == {}
    sent = [p for p in read_pcap(path) if p.saddr == CLIENT and p.protocol in (TCP, UDP)]
    assert len([o for o in options if o.flow.saddr == CLIENT]) == len(sent) > SIZE / 1500
    assert opener.repeated_pairs(options) == []
    assert counted["marked"] == counted["confirmed"] == len(sent), counted
    assert counted["superpackets"] < len(sent), "no super-packet passed LOCAL_OUT"
    assert counted["invalid"] == counters(pair.server)["invalid"] == 0


def test_sums_that_conntrack_made_of_whole_packets_stay_right(pair):
    """Where no device checks, conntrack does, before the module sees the packet: it is CHECKSUM_COMPLETE from then on, the SYN
    whose MSS is lowered, too."""
    for host in pair.hosts:
        host.run("nft", "-f", "-", input=RULES)
    switch(pair, FEATURES["both checksums off"])
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), traffic.Sink(pair.server):
        assert traffic.bulk(pair.client, SERVER, SIZE) and segmented(pair) and traffic.ping(pair.client, SERVER, 2) == 2
        for family in measuring.families:
            assert family.skipped() == family.refused() == {}
        assert measuring.client.stats()["mss-clamped"] == measuring.server.stats()["mss-clamped"] == 1
    for host in pair.hosts:
        assert wrong_checksums(host) == {} and counters(host)["invalid"] == 0


REROUTING = """table ip6 t {
  chain c {
    type route hook output priority mangle
    ip6 daddr fd00:1::2 meta mark set 7
  }
}
"""


def test_what_a_mark_sends_another_way_is_measured_there(pair, results):
    """A hook before this one chooses another route: its device counts, not the one that LOCAL_OUT began with."""
    link(pair.client, pair.server, "fd00:5::1", "fd00:5::2", left_device="veth1", right_device="veth1")
    pair.client.run("ip", "-6", "route", "add", SERVER, "via", "fd00:5::2", "dev", "veth1", "table", 100)
    pair.client.run("ip", "-6", "rule", "add", "fwmark", 7, "table", 100)
    pair.client.run("nft", "-f", "-", input=REROUTING)
    # The device that it does not leave by offloads nothing.
    pair.client.run("ethtool", "-K", LINK, *FEATURES["all off"])
    with Measuring(pair) as measuring, traffic.Sink(pair.server):
        with Capture(pair.server, results(".pcap"), device="veth1") as tap:
            assert traffic.bulk(pair.client, SERVER, SIZE)
            sent = [p for p in read_pcap(tap.stop()) if p.protocol == TCP and p.saddr == CLIENT]
        assert measuring.client.skipped() == measuring.server.refused() == {}
    assert len(sent) > SIZE / 1500 and not [p for p in sent if not p.options]


QDISCS = {
    "fair queueing, paced": ("fq",),
    "fair queueing with CoDel": ("fq_codel",),
    "a token bucket that segments again": ("tbf", "rate", "200mbit", "burst", 4000, "limit", 1 << 20),
    "netem with delay": ("netem", "delay", "2ms", "limit", 10000),
    "netem with loss": ("netem", "loss", "1%"),
}


def test_queueing_disciplines_take_measured_packets(pair):
    with Measuring(pair, "v2") as measuring, traffic.Sink(pair.server):
        for name, words in QDISCS.items():
            pair.client.run("tc", "qdisc", "replace", "dev", LINK, "root", *words)
            assert traffic.bulk(pair.client, SERVER, SIZE), name
        assert measuring.client.skipped() == measuring.client.refused() == {}
    assert wrong_checksums(pair.server) == {}


def test_big_tcp_is_segmented_into_packets_of_the_link(pair, results):
    """Super-packets beyond 64 KiB."""
    for host in pair.hosts:
        host.run("ip", "link", "set", LINK, "gso_max_size", 190000, "gro_max_size", 190000)
    with Measuring(pair) as measuring, traffic.Sink(pair.server), Capture(pair.server, results(".pcap")) as tap:
        assert traffic.bulk(pair.client, SERVER, 2 << 20)
        sent = [p for p in read_pcap(tap.stop()) if p.protocol == TCP and p.saddr == CLIENT]
        assert measuring.client.skipped() == measuring.server.refused() == {}
    assert max(len(p.raw) for p in sent) <= 1500 and not [p for p in sent if not p.options]


def test_congestion_still_reaches_the_sender(pair):
    """"Packets that are not segmented return NF_ACCEPT (stealing hides congestion from TCP)": a queue that is full says so
    to the socket of a measured flow as to any other."""

    def refusals():
        """How many of 40 datagrams at once a queue of two and the socket's error say were not taken."""
        with pair.client.udp() as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, 25, 1)  # IPV6_RECVERR: tell of full queues
            refused = 0
            for _ in range(40):
                try:
                    sock.sendto(b"x" * 1000, (SERVER, traffic.ECHO_PORT))
                except OSError as error:
                    assert error.errno == 105, error  # ENOBUFS
                    refused += 1
            return refused

    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server):
        # 8 kbit/s: one datagram a second.
        pair.client.run("tc", "qdisc", "replace", "dev", LINK, "root", "tbf", "rate", "8kbit", "burst", 2000, "limit", 3000)
        measured = refusals()
        assert measuring.client.stats()["options-out"] == 40
        measuring.client.policy_set()
        bare = refusals()
    assert measured > 20 and bare > 20, (measured, bare)
