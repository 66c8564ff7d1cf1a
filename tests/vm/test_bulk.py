# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Super-packets: segmented before the option goes in, one PSN and nonce for each packet on the wire."""

import socket

import opener
import pytest
import traffic
from capture import TCP, UDP, read_pcap
from hosts import CLIENT, LINK, SERVER, Capture
from measuring import Measuring, consistent

UDP_SEGMENT = 103
SIZE = 2 << 20


def offloads(host):
    """The device's segmentation and receive offloads that are on."""
    said = host.run("ethtool", "-k", LINK)
    return {line.split(":")[0].strip() for line in said.splitlines() if ": on" in line}


@pytest.mark.parametrize("mechanism", ["pdm", "v2-encrypted"])
def test_bulk_tcp_arrives_intact_and_every_packet_has_its_own_psn(pair, results, mechanism):
    for host in pair.hosts:
        host.run("ethtool", "-K", LINK, "tso", "on", "gso", "on", "gro", "on")
        assert {"tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload"} <= offloads(host)
    with Measuring(pair, mechanism) as measuring, traffic.Sink(pair.server):
        with Capture(pair.server, results(".pcap")) as tap:
            assert traffic.bulk(pair.client, SERVER, SIZE)
            path = tap.stop()
        stats = consistent(measuring.client)
        consistent(measuring.server)
        flow = measuring.server.flow(TCP)
        log = [measuring.key_log(results(".keys"))] if mechanism == "v2-encrypted" else []
        skipped = measuring.client.skipped()
    sent = [p for p in read_pcap(path) if p.protocol == TCP and p.saddr == CLIENT]
    assert sum(len(p.upper) - (p.upper[12] >> 4) * 4 for p in sent) >= SIZE
    assert max(len(p.raw) for p in sent) <= 1500, "a packet larger than the link"
    # The option is in every packet on the wire, and no PSN comes twice.
    assert [p for p in sent if not p.options] == []
    options = [o for o in opener.open_capture(path, *log) if o.flow.saddr == CLIENT and o.flow.protocol == TCP]
    assert len(options) == len(sent) == stats["options-out"] > SIZE / 1500
    numbers = [(o.fields.epoch, o.fields.psntp) for o in options]
    assert len(set(numbers)) == len(numbers)
    assert opener.repeated_pairs(options) == []
    assert skipped == {}
    assert flow["lost"] == 0 and flow["accepted"] == len(options)


@pytest.mark.parametrize("mechanism", ["v2", "v2-encrypted"])
def test_udp_segmentation_offload_arrives_intact(pair, results, mechanism):
    """UDP_SEGMENT: one send, many datagrams."""
    with Measuring(pair, mechanism) as measuring, traffic.UdpEcho(pair.server) as server:
        with Capture(pair.server, results(".pcap")) as tap:
            sock = pair.client.udp()
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            payload = bytes(range(256)) * 40
            sent = sock.sendto(payload[:10100], (SERVER, traffic.ECHO_PORT))
            assert sent == 10100
            for _ in range(11):
                sock.recv(65536)
            sock.close()
            path = tap.stop()
        assert b"".join(server.received) == payload[:10100]
        assert [len(datagram) for datagram in server.received] == [1000] * 10 + [100]
        log = [measuring.key_log(results(".keys"))] if mechanism == "v2-encrypted" else []
        options = [o for o in opener.open_capture(path, *log) if o.flow.protocol == UDP and o.flow.saddr == CLIENT]
        stats = measuring.client.stats()
    assert len({o.fields.psntp for o in options}) == len(options) == 11
    # "a super-packet counts its segments"
    pointers = sorted(o.fields.globalptr for o in options)
    assert pointers == list(range(pointers[0], pointers[0] + 11))
    assert stats["options-out"] == 11


@pytest.mark.parametrize("mechanism", ["v2", "v2-encrypted"])
def test_a_super_packet_whose_segments_have_no_room_stays_whole(pair, results, mechanism):
    """"What still does not fit goes without", and keeps its segmentation offload."""
    full, count = 1500 - 40 - 8, 5
    for host in pair.hosts:
        host.run("ethtool", "-K", LINK, "tx-udp-segmentation", "on", "gso", "on")
    with Measuring(pair, mechanism) as measuring, traffic.UdpEcho(pair.server) as server:
        assert traffic.udp_exchange(pair.client, SERVER, 1) == 1
        with Capture(pair.client, results(".pcap")) as tap:
            with pair.client.udp() as sock:
                sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, full)
                sock.sendto(bytes(count * full), (SERVER, traffic.ECHO_PORT))
                for _ in range(count):
                    sock.recv(65536)
            path = tap.stop()
        assert [len(datagram) for datagram in server.received][1:] == [full] * count
        assert measuring.client.skipped() == {"mtu": count}
    sent = [len(p.raw) for p in read_pcap(path) if p.protocol == UDP and p.saddr == CLIENT]
    assert sent == [40 + 8 + count * full]
