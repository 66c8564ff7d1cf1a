# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Secrets that are renewed again and again under traffic: nothing is sent without an option, and nothing is refused."""

import threading
import time

import opener
import pytest
import traffic
from capture import UDP
from helper import negotiated
from hosts import SERVER, Capture
from test_operations import start, udp_flow, without_option

RENEGOTIATIONS = 100
RATE = 1000  # datagrams a second, each way
PORT = 7000
OVERLAP = 60  # seconds that the older secret is accepted for yet


class Steady:
    """Datagrams at a rate, and their echoes, from one 5-tuple until it is closed."""

    def __init__(self, pair):
        self._ended, self.sent, self.seconds = threading.Event(), 0, 0.0
        self._sock, self._echo = pair.client.udp(), traffic.UdpEcho(pair.server, PORT)
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self):
        begun = time.monotonic()
        while not self._ended.is_set():
            self._sock.sendto(b"x", (SERVER, PORT))
            self.sent += 1
            time.sleep(max(0.0, begun + self.sent / RATE - time.monotonic()))
        self.seconds = time.monotonic() - begun

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        # What is on its way arrives.
        time.sleep(0.5)
        self._echo.close()
        self._sock.close()


@pytest.mark.virtual_time
@pytest.mark.timeout(1200)
def test_a_hundred_renegotiations_in_a_row_under_a_thousand_packets_a_second(pair, helpers, results):
    """"no unprotected packet, no authentication failure, no repeated nonce", and no key of an old secret is left."""
    client, server = helpers
    first = start(client, server, "kernel")
    with Capture(pair.client, results(".pcap"), expression="udp or ip6 protochain 17") as tap:
        with Steady(pair) as steady:
            # Of a flow that begins, the first options may come before their keys.
            time.sleep(1)
            before = [(flow["skipped"], flow["refused"]) for flow in map(udp_flow, helpers)]
            for step in range(1, RENEGOTIATIONS + 1):
                helper = (client, server)[step % 2]
                [answer] = helper.ask("rekey")
                assert answer["generation"] == first + step
            assert negotiated(client, server) == first + RENEGOTIATIONS
            time.sleep(1)
        capture = tap.stop()
        after = [(flow["skipped"], flow["refused"]) for flow in map(udp_flow, helpers)]
        secrets = [helper.command("show")["associations"][0]["secrets"] for helper in helpers]
    assert steady.sent / steady.seconds > 0.9 * RATE, "the traffic was slower than it is said to be"
    assert without_option(capture) == [] and after == before
    options = [o for o in opener.open_capture(capture, client.key_log) if o.flow.protocol == UDP]
    assert len(options) > 1.9 * steady.sent - 200
    assert {o.generation for o in options} >= set(range(first + 1, first + RENEGOTIATIONS + 1))
    assert opener.repeated_pairs(options) == []
    # Make before break: two at most, and of all those before, nothing; the older of the two for a minute.
    last = first + RENEGOTIATIONS
    for held in secrets:
        assert {s["generation"] for s in held} <= {last - 1, last}
    time.sleep(OVERLAP + 5)
    for helper in helpers:
        [association] = helper.command("show")["associations"]
        assert [s["generation"] for s in association["secrets"]] == [last]
