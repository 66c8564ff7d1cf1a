# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Fragments: on receipt an option counts "behind a Fragment header only at offset 0" (docs/protocol.md, section 6); on sending
"a packet that will be or is fragmented" never gets one (section 5). With and without conntrack, which reassembles first.
"""

import socket
import struct

import pytest
import traffic
from capture import UDP, read_pcap
from craft import Crafted, alone, ipv6, udp
from hosts import CLIENT, SERVER, Capture, wait_until
from measuring import Measuring, consistent
from test_bad_input import Target

FRAGMENT, OPTIONS = 44, 60
TRACKED = """table ip6 t {
  chain c {
    type filter hook input priority 0
    ct state invalid counter
  }
  chain d {
    type filter hook output priority 0
    ct state invalid counter
  }
}
"""
tracking = pytest.mark.parametrize("tracked", [False, True], ids=["untracked", "tracked"])


def track(pair, tracked):
    for host in pair.hosts if tracked else ():
        host.run("nft", "-f", "-", input=TRACKED)


def fragment(next_header, offset, more, part, number=7):
    return struct.pack("!BBHI", next_header, 0, offset | more, number) + part


class Fragments(Crafted):
    """Datagrams of a flow, in pieces."""

    def pieces(self, upper, next_header, first, front=b"", front_names=None):
        """Two fragments of what stands behind the Fragment header, or one, an atomic fragment, if `first` holds all."""
        self.number += 1
        parts = [upper[:first], upper[first:]] if first < len(upper) else [upper]
        at = 0
        for index, part in enumerate(parts):
            header = fragment(next_header, at, index + 1 < len(parts), part, self.number)
            self.put(front_names if front else FRAGMENT, front + header)
            at += len(part)

    def datagram(self, payload):
        return udp(self.flow.saddr, self.flow.daddr, self.flow.sport, self.flow.dport, payload)


@tracking
def test_an_option_is_read_behind_a_fragment_header_at_offset_0_alone(pair, tracked):
    track(pair, tracked)
    with Measuring(pair) as measuring, Target(pair, measuring.server) as target:
        with Fragments(pair, measuring.secrets[1]) as crafted:

            def gained(send):
                before = target.counted()
                payload = send()
                assert target.delivered(payload)
                after = target.counted()
                refused = {r: n - before[2].get(r, 0) for r, n in after[2].items() if n != before[2].get(r, 0)}
                return after[0] - before[0], after[1] - before[1], refused

            def whole():
                return crafted.send(alone(crafted.sealed()))

            def in_the_first_fragment():
                payload = crafted.payload() + bytes(200)
                crafted.pieces(alone(crafted.sealed()) + crafted.datagram(payload), OPTIONS, 96)
                return payload

            def in_what_looks_like_a_header_in_the_second():
                # Both fragments say that Destination Options follow, and the second starts with what would be some.
                fake = alone(crafted.sealed()) + crafted.datagram(b"never delivered")
                payload = crafted.payload() + bytes(96 - 40 - 8 - 15)
                front = alone(crafted.sealed()) + crafted.datagram(payload + fake)
                crafted.pieces(front, OPTIONS, 96)
                return payload + fake

            def in_an_atomic_fragment():
                payload = crafted.payload()
                crafted.pieces(alone(crafted.sealed()) + crafted.datagram(payload), OPTIONS, 4096)
                return payload

            def without_an_option():
                payload = crafted.payload() + bytes(200)
                crafted.pieces(crafted.datagram(payload), UDP, 96)
                return payload

            assert gained(whole) == (1, 1, {})
            assert gained(in_the_first_fragment) == (1, 1, {})
            assert gained(in_what_looks_like_a_header_in_the_second) == (1, 1, {})
            assert gained(in_an_atomic_fragment) == (1, 1, {})
            assert gained(without_an_option) == (0, 0, {})

            # In front of the Fragment header, where Linux would copy it to: not where it belongs, unless what reassembles
            # first has taken that header away. Delivered or not, the outcome is the kernel's own.
            def in_front_of_the_fragment_header():
                payload = crafted.payload() + bytes(200)
                front = alone(crafted.sealed())
                crafted.pieces(crafted.datagram(payload), UDP, 96, bytes([FRAGMENT]) + front[1:], OPTIONS)
                return target.delivered_soon(payload, 1)

            before, refused = target.counted()[:2], target.counted()[2].get("header", 0)
            measured = in_front_of_the_fragment_header()
            after = target.counted()[:2]
            assert after == ((before[0] + 1, before[1] + 1) if tracked else (before[0] + 1, before[1]))
            assert target.counted()[2].get("header", 0) == refused + (not tracked)
            measuring.server.policy_set()
            assert in_front_of_the_fragment_header() == measured
        consistent(measuring.server)


@tracking
def test_fragments_that_this_host_sends_are_left_alone(pair, results, tracked):
    """Made by the kernel from what exceeds the link, or by an application itself."""
    track(pair, tracked)
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server) as server, Capture(pair.client, results(".pcap")) as tap:
        assert traffic.udp_exchange(pair.client, SERVER, 2, size=4000) == 2
        assert traffic.ping(pair.client, SERVER, 1, size=3000) == 1
        assert measuring.client.skipped() == {"fragment": 3}
        upper = udp(CLIENT, SERVER, 6300, traffic.ECHO_PORT, b"." * 500)  # 508 bytes
        with pair.client.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for at in (0, 256):
                part = upper[at : at + 256]
                raw.sendto(ipv6(CLIENT, SERVER, FRAGMENT, fragment(UDP, at, at + 256 < len(upper), part)), (SERVER, 0))
        wait_until(lambda: len(server.received) == 3, "the fragments were not put together", 5)
        # Conntrack puts an application's fragments together on their way out, too, and they are sent as they came.
        assert measuring.client.skipped() == {"fragment": 3 + (1 if tracked else 2)}
        packets = [p for p in read_pcap(tap.stop()) if p.saddr == CLIENT]
        assert measuring.client.stats()["options-out"] == 0
    assert server.received[2] == b"." * 500
    assert len([p for p in packets if p.fragment]) >= 2 * 3 + 3 + 2 and not [p for p in packets if p.options]
