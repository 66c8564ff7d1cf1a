# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What never gets an option (docs/protocol.md, section 5): each goes unchanged, and is counted by its reason.

Forwarding, in the last test:

    client fd00:1::1 ---- fd00:1::2 server fd00:2::2 ---- fd00:2::3 far
"""

import socket
import struct

import capture
import craft
import pytest
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap
from family import rule
from hosts import CLIENT, LINK, PATIENCE, SERVER, Capture, Host, link
from measuring import Measuring

FAR = "fd00:2::3"
ROUTER_ALERT = b"\x00\x00\x05\x02\x00\x00\x01\x00"
ROUTER_ALERT_SENT = bytes([UDP]) + ROUTER_ALERT[1:]
IPV6_HOPOPTS, IPV6_MULTICAST_IF, IPV6_MULTICAST_LOOP = 54, 17, 19


def multicast(pair, group, port=traffic.ECHO_PORT):
    sock = pair.client.udp()
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_IF, pair.client.ifindex())
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0)
    sock.sendto(b"to all", (group, port, 0, pair.client.ifindex()))
    sock.close()


def neighbours(pair):
    """Neighbour discovery: forgets the neighbour and asks anew."""
    pair.client.run("ip", "-6", "neigh", "flush", "dev", LINK)
    with pair.client.udp() as sock:
        sock.sendto(b"x", (SERVER, 9))  # nobody listens: the server's ICMPv6 error comes too


def router_alert(pair):
    with pair.client.udp() as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_HOPOPTS, ROUTER_ALERT)
        sock.sendto(b"look", (SERVER, traffic.ECHO_PORT))


def dhcp(pair):
    """A client's message; and one to a relay that listens elsewhere (RFC 8357)."""
    for source, destination in ((546, 547), (547, 7900)):
        with pair.client.udp(port=source) as sock:
            sock.sendto(b"solicit", (SERVER, destination))


def raw(packet):
    """What sends a packet that is made whole, IPv6 header and all."""

    def send(pair):
        with pair.client.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(packet, (SERVER, 0))

    send.packet = packet
    return send


def datagram(source=CLIENT):
    return craft.udp(source, SERVER, 6400, traffic.ECHO_PORT, b"made by hand")


# A header of eight bytes of padding, and one of 264: chains of either are not followed for long.
PADDING = bytes([60, 0, 1, 4, 0, 0, 0, 0])
LONG = bytes([17, 32]) + b"".join(bytes([0x1E, 30]) + bytes(30) for _ in range(8)) + b"\x1e\x04\0\0\0\0"
JUMBO = bytes([17, 0, 0xC2, 4]) + struct.pack("!I", 0x10000)
FRAGMENT = struct.pack("!BBHI", 17, 0, 8, 99)


def listener_report(pair):
    """Joining a group sends an MLD report."""
    with pair.client.udp() as sock:
        membership = socket.inet_pton(socket.AF_INET6, "ff05::1234") + struct.pack("@I", pair.client.ifindex())
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        import time

        time.sleep(1.5)


# name: what is sent, the reason it is counted under, which captured packets are meant.
NEVER = {
    "neighbour discovery": (neighbours, "icmpv6", lambda p: p.icmp_type in (135, 136)),
    "multicast listener report": (listener_report, "icmpv6", lambda p: p.icmp_type == 143),
    "link-local multicast": (
        lambda pair: multicast(pair, "ff02::1234"), "link-multicast", lambda p: p.daddr == "ff02::1234" and p.protocol == UDP),
    "site multicast without a rule": (
        lambda pair: multicast(pair, "ff05::1234"), "multicast", lambda p: p.daddr == "ff05::1234" and p.protocol == UDP),
    "router alert": (router_alert, "router-alert", lambda p: p.protocol == UDP and [h for _, h in p.headers] == [ROUTER_ALERT_SENT]),
    "dhcpv6": (dhcp, "dhcpv6", lambda p: 547 in (p.sport, p.dport)),
    "unspecified source": (raw(craft.ipv6("::", SERVER, UDP, datagram("::"))), "unspecified-source", None),
    "more headers than are followed": (
        raw(craft.ipv6(CLIENT, SERVER, 60, PADDING * 8 + bytes([UDP]) + PADDING[1:] + datagram())), "malformed", None),
    "longer headers than are followed": (raw(craft.ipv6(CLIENT, SERVER, 60, LONG + datagram())), "malformed", None),
    "no upper layer": (raw(craft.ipv6(CLIENT, SERVER, 59, b"")), "malformed", None),
    "cut short within its upper layer": (raw(craft.ipv6(CLIENT, SERVER, UDP, b"\x19")), "malformed", None),
    "jumbo payload": (raw(craft.ipv6(CLIENT, SERVER, 0, JUMBO + datagram())), "malformed", None),
    "a fragment that is not the first": (raw(craft.ipv6(CLIENT, SERVER, 44, FRAGMENT + datagram())), "fragment", None),
}  # fmt: skip


def test_never_inserted(pair, results):
    """Each goes unchanged, and is counted by its reason, once for every packet."""
    # A rule for each protocol: even one that names ICMPv6 does not reach beyond echo.
    rules = [rule("v2", protocol=ICMPV6), rule("v2", protocol=59), rule("v2")]
    with Measuring(pair, "v2", rules=rules) as measuring, traffic.UdpEcho(pair.server):
        with Capture(pair.client, results(".pcap")) as tap:
            for send, _, _ in NEVER.values():
                send(pair)
            packets = [p for p in read_pcap(tap.stop()) if p.saddr != SERVER]
        skipped = measuring.client.skipped(icmpv6=True)
    sent = {}
    for name, (send, reason, meant) in NEVER.items():
        # What is made whole is as it was made, byte for byte.
        found = [p for p in packets if meant(p)] if meant else [p for p in packets if p.raw == send.packet]
        assert found and not [p for p in found if p.options], name
        sent[reason] = sent.get(reason, 0) + len(found)
    # Neighbour discovery comes as it likes.
    assert skipped.pop("icmpv6") >= sent.pop("icmpv6")
    assert skipped == sent


def test_icmpv6_errors_go_unchanged(pair, results):
    with Measuring(pair, "v2") as measuring, Capture(pair.client, results(".pcap")) as tap:
        with pair.client.udp() as sock:
            sock.connect((SERVER, 9))
            sock.send(b"x" * 1400)
            with pytest.raises(ConnectionRefusedError):
                sock.recv(10)
        [error] = [p for p in read_pcap(tap.stop()) if p.icmp_type == 1]
        assert measuring.server.stats()["options-out"] == 0
    # It is filled to 1280 bytes, which is why nothing may be added.
    assert len(error.raw) == 1280 and not error.options


def test_multicast_goes_in_plain_where_a_rule_names_it_and_never_encrypted(pair, results):
    with Measuring(pair) as measuring, Capture(pair.client, results(".pcap")) as tap:
        measuring.client.policy_set(rule("v2", remote="ff05::1234/128"), rule("v2-encrypted"))
        multicast(pair, "ff05::1234")
        measuring.client.policy_set(rule("v2-encrypted", remote="ff05::1234/128"))
        multicast(pair, "ff05::1234")
        sent = [p for p in read_pcap(tap.stop()) if p.protocol == UDP]
        assert measuring.client.skipped() == {"multicast": 1}
    assert [[o.mechanism for o in p.options] for p in sent] == [["v2"], []]


def test_loopback_goes_in_plain_where_a_rule_names_it(pair):
    with Measuring(pair, "v2") as measuring:
        assert traffic.ping(pair.client, "::1", 2) == 2
        assert measuring.client.skipped() == {"loopback": 4}
        measuring.client.policy_set(rule("v2", remote="::1/128"))
        assert traffic.ping(pair.client, "::1", 2) == 2
        assert measuring.client.stats()["options-out"] == 4


def xfrm(pair, mode, protocol_of_ipsec="esp"):
    key = "0x" + "11" * 20
    transform = ("aead", "rfc4106(gcm(aes))", key, 128) if protocol_of_ipsec == "esp" else ("auth", "hmac(sha1)", key)
    # BEET mode takes the inner addresses from the state's selector.
    selector = lambda source, destination: ("sel", "src", source, "dst", destination) if mode == "beet" else ()  # fmt: skip
    for host, mine, theirs in ((pair.client, CLIENT, SERVER), (pair.server, SERVER, CLIENT)):
        for source, destination, spi in ((CLIENT, SERVER, "0x1000"), (SERVER, CLIENT, "0x1001")):
            host.run(
                *("ip", "xfrm", "state", "add", "src", source, "dst", destination, "proto", protocol_of_ipsec, "spi", spi),
                *("reqid", spi, "mode", mode, *transform),
                *selector(source, destination),
            )
        for direction, source, destination in (("out", mine, theirs), ("in", theirs, mine)):
            spi = "0x1000" if source == CLIENT else "0x1001"
            for protocol in ("udp", "tcp", "ipv6-icmp"):
                kinds = [["type", 128], ["type", 129]] if protocol == "ipv6-icmp" else [[]]
                for kind in kinds:
                    host.run(
                        *("ip", "xfrm", "policy", "add", "src", f"{source}/128", "dst", f"{destination}/128"),
                        *("proto", protocol, *kind, "dir", direction),
                        *("tmpl", "src", source, "dst", destination, "proto", protocol_of_ipsec, "reqid", spi),
                        *("mode", mode),
                    )


@pytest.mark.parametrize("mode", ["transport", "beet", "tunnel"])
def test_ipsec(pair, results, mode):
    """Transport and BEET mode would leave the option in clear before ESP; tunnel mode carries it inside."""
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), traffic.TcpEcho(pair.server):
        xfrm(pair, mode)
        with Capture(pair.client, results(".pcap")) as tap:
            assert traffic.udp_exchange(pair.client, SERVER, 5) == 5
            traffic.tcp_exchange(pair.client, SERVER, 5)
            assert traffic.ping(pair.client, SERVER, 3) == 3
            # What arrived in a tunnel passes the tap a second time, decrypted.
            packets = [p for p in read_pcap(tap.stop()) if p.protocol in (capture.ESP, TCP, UDP) and p.saddr == CLIENT]
        stats, skipped = measuring.client.stats(), measuring.client.skipped()
        assert measuring.server.refused() == {}
    assert {p.protocol for p in packets} == {capture.ESP}
    assert not [p for p in packets if p.options], "an option in clear"
    if mode != "tunnel":
        assert stats["options-out"] == 0 and skipped["ipsec"] > 15
    else:
        assert stats["options-out"] > 15 and stats["accepted"] > 12 and "ipsec" not in skipped


def test_in_an_ipsec_tunnel_the_flow_is_the_inner_one_and_the_mss_leaves_room(pair, results):
    """"An option inside a tunnel uses the inner 5-tuple"; the path MTU behind the MSS is that of the tunnel."""
    xfrm(pair, "tunnel")
    with Measuring(pair) as measuring, traffic.Sink(pair.server), Capture(pair.client, results(".pcap")) as tap:
        assert traffic.bulk(pair.client, SERVER, 256 << 10)
        packets = [p for p in read_pcap(tap.stop()) if p.saddr == CLIENT and p.protocol == capture.ESP]
        flow = measuring.client.flow(TCP)
        assert flow["id"]["remote-port"] == traffic.BULK_PORT and flow["options-out"] > 256 << 10 >> 11
        for family in measuring.families:
            assert family.skipped() == family.refused() == {}
    assert max(len(p.raw) for p in packets) <= 1500 and not [p for p in packets if p.options]


def test_ah_transport_mode_goes_unchanged(pair, results):
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), Capture(pair.client, results(".pcap")) as tap:
        xfrm(pair, "transport", "ah")
        assert traffic.udp_exchange(pair.client, SERVER, 3) == 3
        packets = [p for p in read_pcap(tap.stop()) if p.protocol == UDP]
        assert measuring.client.skipped() == {"ipsec": 3}
    assert [[number for number, _ in p.headers] for p in packets] == [[capture.AH]] * 6


def test_a_vrf_sends_a_packet_once_through_the_last_pass_only(pair, results):
    """"The hook runs more than once for VRF and IPsec: act on the last pass only, and never twice per header."""
    client = pair.client
    client.run("ip", "link", "add", "vrf0", "type", "vrf", "table", 10)
    client.run("ip", "link", "set", "vrf0", "up")
    client.run("ip", "link", "set", LINK, "master", "vrf0")
    client.run("ip", "address", "replace", f"{CLIENT}/64", "dev", LINK, "nodad")
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), Capture(client, results(".pcap")) as tap:
        with client.udp() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"vrf0")
            measuring.client.association_set(CLIENT, SERVER, key_mode="kernel", vrf=client.ifindex("vrf0"))
            before = measuring.client.stats()["global-pointer"]
            assert traffic.udp_exchange(client, SERVER, 10, sock=sock) == 10
            after = measuring.client.stats()
        with client.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock, traffic.TcpEcho(pair.server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"vrf0")
            sock.settimeout(10 * PATIENCE)
            sock.connect((SERVER, traffic.ECHO_PORT))
            mss = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        packets = [p for p in read_pcap(tap.stop()) if p.protocol == UDP and p.saddr == CLIENT]
        neighbour_discovery = after.get("skipped", []) and measuring.client.skipped(icmpv6=True).get("icmpv6", 0)
        theirs = measuring.server.stats()
        assert theirs["accepted"] == theirs["options-in"] >= 10
    assert [len(p.options) for p in packets] == [1] * 10
    assert after["options-out"] == 10 and after["accepted"] == 10
    # The MSS is lowered by the path MTU in the VRF's own table.
    assert mss == 1440 - 40 - 12
    assert 10 <= after["global-pointer"] - before <= 10 + neighbour_discovery


def test_forwarded_packets_are_untouched(pair, results):
    far = Host("far")
    try:
        link(pair.server, far, "fd00:2::2", FAR, left_device="veth1")
        pair.server.sysctl("net.ipv6.conf.all.forwarding", 1)
        pair.client.run("ip", "-6", "route", "add", "fd00:2::/64", "via", SERVER)
        far.run("ip", "-6", "route", "add", "fd00:1::/64", "via", "fd00:2::2")
        traffic.ping(pair.client, FAR, 1)
        with Measuring(pair, "v2") as measuring, traffic.UdpEcho(far):
            measuring.client.policy_set()
            with Capture(far, results(".pcap")) as tap:
                assert traffic.udp_exchange(pair.client, FAR, 5) == 5
                assert traffic.ping(pair.client, FAR, 3) == 3
                packets = [p for p in read_pcap(tap.stop()) if CLIENT in (p.saddr, p.daddr)]
            assert measuring.server.stats()["options-out"] == 0
            # An option of the ends passes the router as it is, and the router does not look at it.
            measuring.client.policy_set(rule("v2"))
            with Capture(far, results("-passing.pcap")) as tap:
                assert traffic.udp_exchange(pair.client, FAR, 5) == 5
                passed = [p for p in read_pcap(tap.stop()) if p.saddr == CLIENT and p.protocol == UDP]
            assert measuring.server.stats()["options-in"] == 0
        assert len(packets) == 16 and not [p for p in packets if p.options]
        assert [len(p.options) for p in passed] == [1] * 5
    finally:
        far.close()
