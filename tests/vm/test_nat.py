# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Connections that this host translates: "own NAT (conntrack says so) when encrypted" goes unchanged; and connections that
conntrack follows without translating them (docs/protocol.md, section 5)."""

import pytest
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap
from family import rule
from hosts import CLIENT, LINK, SERVER, Capture
from measuring import Measuring

OTHER = "fd00:1::11"  # another address of the client

# nft takes no closing brace behind a statement on the same line.
DNAT = """table ip6 t {
  chain c {
    type nat hook output priority -100
    udp dport 7009 dnat to [fd00:1::2]:7000
  }
}
"""
SNAT = """table ip6 t {
  chain c {
    type nat hook postrouting priority srcnat
    %s
  }
}
"""
STATEFUL = """table ip6 t {
  chain c {
    type filter hook input priority 0
    ct state invalid drop
  }
}
"""


def nft(host, rules):
    host.run("nft", "-f", "-", input=rules)


def echoed(pair, count=3):
    """A few of each protocol, all answered; the client's own packets, from a capture."""
    assert traffic.udp_exchange(pair.client, SERVER, count) == count
    traffic.tcp_exchange(pair.client, SERVER, count)
    assert traffic.ping(pair.client, SERVER, count) == count


def sent_by_client(path):
    return [p for p in read_pcap(path) if p.saddr != SERVER and (p.protocol in (TCP, UDP) or p.icmp_type == 128)]


def test_destination_nat_is_recognised(pair, results):
    """The peer would see another 5-tuple."""
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server):
        nft(pair.client, DNAT)
        with Capture(pair.client, results(".pcap")) as tap:
            assert traffic.udp_exchange(pair.client, SERVER, 3, port=7009) == 3
            assert traffic.udp_exchange(pair.client, SERVER, 3) == 3
            packets = [p for p in read_pcap(tap.stop()) if p.protocol == UDP]
        skipped, refused = measuring.client.skipped(), measuring.client.refused()
        assert measuring.server.refused() == {}
    # To the server's own eyes nothing is translated: it answers with options, which are no forgeries here. Of a connection
    # that no rule translates only the first packet, which may yet get another port, goes without.
    assert [len(p.options) for p in packets if p.saddr == CLIENT] == [0] * 3 + [0, 1, 1]
    assert skipped == {"nat": 4} and refused == {"translated": len([p for p in packets if p.saddr == SERVER][:3])}


@pytest.mark.parametrize(
    "rules",
    [
        # Each translates something: a masquerade that leaves addresses and ports is none.
        "meta l4proto { tcp, udp } masquerade to :20000-20100\n    meta l4proto ipv6-icmp snat to fd00:1::11",
        "snat to fd00:1::11",
    ],
    ids=["masquerade", "snat"],
)
def test_source_nat_is_recognised_from_the_first_packet_on(pair, results, rules):
    """Conntrack knows it only when POST_ROUTING, which is behind this, has seen the connection's first packet."""
    pair.client.run("ip", "address", "add", f"{OTHER}/64", "dev", LINK, "nodad", "preferred_lft", 0)
    nft(pair.client, SNAT % rules)
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), traffic.TcpEcho(pair.server):
        # What went out sealed by mistake would be covered there, and fail to authenticate.
        measuring.server.association_set(SERVER, [CLIENT, OTHER], key_mode="kernel")
        with Capture(pair.client, results(".pcap")) as tap:
            echoed(pair)
            sent = sent_by_client(tap.stop())
        skipped, theirs = measuring.client.skipped(), measuring.server.stats()
        assert measuring.server.refused() == {} and theirs["options-in"] == 0
        assert set(measuring.client.refused()) <= {"translated"}
    assert {p.protocol for p in sent} == {TCP, UDP, ICMPV6} and len(sent) >= 12
    assert all(p.saddr == OTHER or 20000 <= p.sport <= 20100 for p in sent), "nothing was translated"
    assert not [p for p in sent if p.options]
    assert skipped == {"nat": len(sent)}


def test_where_nat_has_no_rule_for_a_connection_only_its_first_packet_goes_without(pair, results):
    nft(pair.client, SNAT % "ip6 daddr fd00:99::1 masquerade")
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), traffic.TcpEcho(pair.server):
        with Capture(pair.client, results(".pcap")) as tap:
            echoed(pair)
            sent = sent_by_client(tap.stop())
        assert measuring.client.skipped() == {"nat": 3}
        assert measuring.server.refused() == measuring.client.refused() == {}
    for protocol in (TCP, UDP, ICMPV6):
        carried = [len(p.options) for p in sent if p.protocol == protocol]
        assert carried[0] == 0 and set(carried[1:]) == {1}, protocol


def test_plain_options_pass_own_nat(pair):
    """Only "when encrypted": a plain option is bound to no 5-tuple, and each end has its own view of the flow."""
    nft(pair.client, SNAT % "udp dport 7000 masquerade to :20000-20100")
    with Measuring(pair, "v2", rules=[rule("v2")]) as measuring, traffic.UdpEcho(pair.server):
        assert traffic.udp_exchange(pair.client, SERVER, 5) == 5
        for family in measuring.families:
            stats = family.stats()
            assert (stats["options-out"], stats["options-in"], stats["accepted"]) == (5, 5, 5)
            assert family.skipped() == family.refused() == {}
        assert 20000 <= measuring.server.flow(UDP)["id"]["remote-port"] <= 20100
        assert measuring.client.flow(UDP)["rtt"]["samples"] >= 1


def test_conntrack_without_translation_does_not_matter(pair):
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server):
        for host in pair.hosts:
            nft(host, STATEFUL)
        assert traffic.udp_exchange(pair.client, SERVER, 10) == 10
        assert measuring.client.stats()["options-out"] == 10 == measuring.server.stats()["accepted"]
