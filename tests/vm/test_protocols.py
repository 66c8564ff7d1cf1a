# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Upper-layer protocols: with ports or without, by real sockets or crafted, measured both ways (docs/protocol.md, section
3): "ICMPv6 and protocols without ports use ports 0, 0; ESP uses (SADDR, DADDR, ESP) with the SPI ignored"."""

import socket
import struct

import opener
from capture import DCCP, ESP, SCTP, UDP, UDPLITE, parse, read_pcap
from craft import ipv6, udp
from family import rule
from hosts import CLIENT, LINK, PATIENCE, SERVER, Capture, run, wait_until
from measuring import Measuring

GRE, EXPERIMENT, IPV6_IN_IPV6 = 47, 253, 41
SIZE = 300 << 10


def with_ports(source, destination):
    return struct.pack("!HH", source, destination) + bytes(12)


# protocol: the upper layer there and back; the flow's ports at the client.
CRAFTED = {
    UDPLITE: (with_ports(6000, 7000), with_ports(7000, 6000), (6000, 7000)),
    DCCP: (with_ports(6001, 7001), with_ports(7001, 6001), (6001, 7001)),
    # The SPI is no part of the flow: three of them are one flow.
    ESP: (struct.pack("!II", 0x6000, 1) + bytes(16), struct.pack("!II", 0x7000, 1) + bytes(16), (0, 0)),
    GRE: (b"\x00\x00\x88\xbe" + bytes(8), b"\x00\x00\x88\xbe" + bytes(8), (0, 0)),
    EXPERIMENT: (b"\x17\x70\x1b\x58 no ports", b"\x1b\x58\x17\x70 either", (0, 0)),
}


def test_protocols_are_measured_both_ways_where_a_rule_names_them(pair, results):
    rules = [rule("v2-encrypted", protocol=protocol) for protocol in CRAFTED]
    with Measuring(pair, rules=rules) as measuring, Capture(pair.client, results(".pcap")) as tap:
        for protocol, (there, back, ports) in CRAFTED.items():
            ends = [host.socket(socket.AF_INET6, socket.SOCK_RAW, protocol) for host in pair.hosts]
            for sock in ends:
                sock.settimeout(5 * PATIENCE)
            for number in range(3):
                if protocol == ESP:
                    there = struct.pack("!I", 0x6000 + number) + there[4:]
                for sender, receiver, address, upper in ((*ends, SERVER, there), (*ends[::-1], CLIENT, back)):
                    sender.sendto(upper, (address, 0))
                    assert receiver.recv(100) == upper, protocol
            for sock in ends:
                sock.close()
            flow = measuring.client.flow(protocol)
            assert (flow["id"]["local-port"], flow["id"]["remote-port"]) == ports
            assert flow["options-out"] == flow["accepted"] == 3 and flow["rtt"]["samples"] >= 1, flow
        for family in measuring.families:
            assert family.skipped() == family.refused() == {}
        packets = [p for p in read_pcap(tap.stop()) if p.protocol in CRAFTED]
    assert [len(p.options) for p in packets] == [1] * 6 * len(CRAFTED)


def test_sctp_associations_are_measured(pair, results):
    """Real sockets: chunks bundled up to the path MTU, checksums (CRC32c) by the device or by the stack."""
    run("modprobe", "sctp")
    data = bytes(range(256)) * (SIZE // 256)
    with Measuring(pair, rules=[rule("v2-encrypted", protocol=SCTP)]) as measuring:
        for offload in ("on", "off"):
            for host in pair.hosts:
                host.run("ethtool", "-K", LINK, "tx", offload)
            listening = pair.server.socket(socket.AF_INET6, socket.SOCK_STREAM, SCTP)
            sock = pair.client.socket(socket.AF_INET6, socket.SOCK_STREAM, SCTP)
            with listening, sock, Capture(pair.client, results(f"-{offload}.pcap")) as tap:
                for end in (listening, sock):
                    end.settimeout(10 * PATIENCE)
                listening.bind((SERVER, 7200))
                listening.listen(1)
                sock.connect((SERVER, 7200))
                port = sock.getsockname()[1]
                answering, _ = listening.accept()
                with answering:
                    answering.settimeout(10 * PATIENCE)
                    received, sent = b"", 0
                    while sent < len(data):
                        sent += sock.send(data[sent : sent + 20000])
                        while len(received) < sent:
                            received += answering.recv(1 << 16)
                    assert received == data
                path = tap.stop()
            flow = measuring.client.flow(SCTP, local_port=port)
            assert flow["id"]["remote-port"] == 7200
            assert flow["accepted"] > 10 and flow["rtt"]["samples"] >= 1
            options = [o for o in opener.open_capture(path, measuring.key_log(results(".keys"))) if o.flow.protocol == SCTP]
            assert len(options) == flow["options-out"] + flow["options-in"] and opener.repeated_pairs(options) == []
            # Segments that fill the path leave no room, and nothing else goes without.
            assert set(measuring.client.skipped()) <= {"mtu"}
            assert measuring.client.refused() == measuring.server.refused() == {}


def test_raw_sockets_with_and_without_a_header_of_their_own(pair):
    """IPV6_HDRINCL, and IPPROTO_RAW, which implies it."""
    with Measuring(pair) as measuring, pair.server.udp(port=7000) as target:

        def sent(sock, packet, port):
            with sock:
                for _ in range(3):
                    sock.sendto(packet, (SERVER, 0))
                    assert target.recv(100) == b"raw"
            assert measuring.client.flow(UDP, local_port=port)["options-out"] == 3

        raw = lambda protocol: pair.client.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)
        sent(raw(UDP), udp(CLIENT, SERVER, 6200, 7000, b"raw"), 6200)
        own = raw(UDP)
        own.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
        sent(own, ipv6(CLIENT, SERVER, UDP, udp(CLIENT, SERVER, 6201, 7000, b"raw")), 6201)
        sent(raw(255), ipv6(CLIENT, SERVER, UDP, udp(CLIENT, SERVER, 6202, 7000, b"raw")), 6202)
        stats = measuring.server.stats()
        assert (stats["accepted"], stats["options-in"], measuring.client.skipped()) == (9, 9, {})


def test_a_tunnel_is_measured_inside_by_the_inner_flow_and_outside_only_by_a_rule_for_it(pair, results):
    """"An option inside a tunnel uses the inner 5-tuple." IPv6 in IPv6, whose outer header has an option of its own."""
    inner = {pair.client: "fd00:3::1", pair.server: "fd00:3::2"}
    for host, mine, theirs in ((pair.client, CLIENT, SERVER), (pair.server, SERVER, CLIENT)):
        host.run(*("ip", "link", "add", "tun0", "type", "ip6tnl", "local", mine, "remote", theirs), "mode", "ip6ip6", "dev", LINK)
        host.run("ip", "link", "set", "tun0", "up")
        host.run("ip", "address", "add", f"{inner[host]}/64", "dev", "tun0", "nodad")
    with Measuring(pair) as measuring:
        for family, host, other in ((measuring.client, pair.client, pair.server), (measuring.server, pair.server, pair.client)):
            family.association_set(inner[host], inner[other], "inner", key_mode="kernel")
            family.secret_add(measuring.secrets[1], "inner", prk=True)
            family.secret_activate(1, "inner")

        def exchange(name):
            with pair.server.udp(port=7000) as target, pair.client.udp() as sock, Capture(pair.client, results(name)) as tap:
                for length in (100, 1300):
                    sock.sendto(b"." * length, (inner[pair.server], 7000))
                    assert len(target.recv(2000)) == length
                return [p for p in read_pcap(tap.stop()) if p.protocol == IPV6_IN_IPV6 and p.saddr == CLIENT]

        packets = exchange("-inner.pcap")
        assert [len(p.options) for p in packets] == [0, 0]
        assert [[o.mechanism for o in parse(p.upper).options] for p in packets] == [["v2-encrypted"]] * 2
        assert {p.headers[0][0] for p in packets} == {60}, "the tunnel's own option"
        assert measuring.server.stats()["accepted"] == 2
        assert measuring.client.flow(UDP)["id"]["remote-address"] == inner[pair.server]
        # A rule that names the tunnel's protocol: the option joins the tunnel's own, and the inner one stays.
        for family in measuring.families:
            family.policy_set(rule("v2", protocol=IPV6_IN_IPV6), rule("v2-encrypted"))
        packets = exchange("-both.pcap")
        outer = [[o.mechanism for o in p.options] for p in packets]
        assert outer == [["v2"]] * 2 and [len(p.headers) for p in packets] == [1, 1]
        assert [[o.mechanism for o in parse(p.upper).options] for p in packets] == [["v2-encrypted"]] * 2
        wait_until(lambda: measuring.server.stats()["accepted"] == 6, f"{measuring.server.stats()}", 5)
        assert measuring.server.refused() == {}
