# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Anomalies: options that stay away, jumps, replays, bursts of failures; each counted, and told under a rate limit."""

import json
import signal
import socket
import subprocess
import time
from select import select

import craft
import helper
import pytest
import traffic
from capture import ICMPV6, UDP
from family import Family, flow_id
from hosts import CLIENT, SERVER, wait_until
from measuring import Measuring

LONG = 16  # packets in a row without an option, where each had one before
FEW = 4  # options that come before any is expected
BURST = 16  # refusals of one reason
PORT, CLIENT_PORT = 7000, 5555


class Measured:
    """The server measures a flow whose other end is made by hand."""

    def __init__(self, pair, mechanism):
        self.pair, self.mechanism = pair, mechanism
        self.measuring = Measuring(pair, mechanism)
        self.family, self.listener = self.measuring.server, Family(pair.server)
        self.listener.ynl.ntf_subscribe("events")
        self.sock = pair.server.udp(port=PORT)
        self.crafted = craft.Crafted(pair, self.measuring.secrets.get(1), CLIENT_PORT, PORT)
        self.packets = 0
        # It is no stranger's, as the server has sent on it.
        self.sock.sendto(b"x", (CLIENT, CLIENT_PORT))

    def close(self):
        for one in (self.crafted, self.sock, self.listener, self.measuring):
            one.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def body(self):
        return self.crafted.sealed() if self.mechanism == "v2-encrypted" else self.crafted.plain()

    def send(self, *bodies):
        for body in bodies:
            self.crafted.send(craft.alone(body))
        return self.arrived(len(bodies))

    def bare(self, count, size=0):
        """Packets without an option."""
        flow = self.crafted.flow
        for _ in range(count):
            payload = self.crafted.payload() + bytes(size)
            datagram = craft.udp(flow.saddr, flow.daddr, flow.sport, flow.dport, payload)
            self.crafted.sock.send(self.crafted.ethernet + craft.ipv6(flow.saddr, flow.daddr, UDP, datagram))
        return self.arrived(count)

    def arrived(self, count):
        """The flow, once so many packets more have been counted."""
        self.packets += count
        wait_until(lambda: self.family.flow(UDP)["packets-in"] == self.packets, "the packets do not arrive")
        return self.family.flow(UDP)

    def told(self):
        """Events since this was asked last, all of them of this flow."""
        told = [m["msg"] for m in self.listener.ynl.poll_ntf(duration=0.5) if m["name"] == "event"]
        told = [event for event in told if event["event"] != "authenticated"]
        assert all(event.pop("flow") == flow_id(self.crafted.flow, "receive") for event in told)
        return told


MECHANISMS = ("v2", "v2-encrypted")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_an_option_missing_where_expected_is_counted_and_told(pair, mechanism):
    """"option missing where expected" """
    with Measured(pair, mechanism) as flow:
        flow.send(*(flow.body() for _ in range(FEW)))
        assert "missing" not in flow.bare(LONG - 1)
        # A packet that its sender has to leave without, as it might not fit, is not expected to have one.
        assert "missing" not in flow.bare(3, size=1240)
        assert flow.told() == []
        assert flow.bare(1)["missing"] == LONG
        assert flow.bare(3 * LONG)["missing"] == 4 * LONG
        assert flow.told() == [{"event": "missing", "count": times * LONG} for times in (1, 2, 4)]
        stats = flow.family.stats()
        assert (stats["events"] - (mechanism == "v2-encrypted"), stats["events-suppressed"]) == (3, 0)
        # An option ends it.
        flow.send(flow.body())
        assert flow.bare(LONG)["missing"] == 4 * LONG
        assert flow.told() == []


def test_no_option_is_missing_where_none_is_expected(pair):
    """Neither where the peer never sent any, nor few, nor where it samples, nor what is never measured."""
    with Measured(pair, "v2") as flow:
        flow.bare(5 * LONG)
        flow.send(*(flow.body() for _ in range(FEW - 1)))
        flow.bare(5 * LONG)
        for _ in range(3):
            flow.send(flow.body())
            assert "missing" not in flow.bare(30)
        assert flow.told() == []
    with Measuring(pair, "v2") as measuring:
        assert traffic.ping(pair.client, SERVER, 2 * FEW) == 2 * FEW
        before = measuring.server.flow(ICMPV6)["packets-in"]
        # Errors are of the same flow, as ICMPv6 has no ports.
        with pair.server.udp() as sock:
            for _ in range(2 * LONG):
                sock.sendto(b"x", (CLIENT, 9))
                pair.client.sysctl("net.ipv6.icmp.ratelimit", 0)
        wait_until(lambda: measuring.server.flow(ICMPV6)["packets-in"] >= before + 2 * LONG, "no errors arrive")
        assert "missing" not in measuring.server.flow(ICMPV6)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_replays_are_counted_and_a_burst_is_told(pair, mechanism):
    """"replays" """
    reason = "replay" if mechanism == "v2-encrypted" else "duplicate"
    with Measured(pair, mechanism) as flow:
        body = flow.body()
        flow.send(body, *[body] * (BURST - 1))
        assert flow.told() == []
        seen = flow.send(*[body] * (BURST + 1))
        assert (seen["accepted"], seen["duplicated"], seen["refused"]) == (
            1, 2 * BURST, [{"reason": reason, "options": 2 * BURST}]
        )  # fmt: skip
        assert flow.told() == [{"event": "refused", "reason": reason, "count": n * BURST} for n in (1, 2)]


def test_a_burst_of_failures_is_told(pair):
    """"bursts of failures" """
    with Measured(pair, "v2-encrypted") as flow:
        flow.send(flow.body())
        flow.send(*(craft.flipped(flow.body(), 8 * 20) for _ in range(BURST)))
        assert flow.told() == [{"event": "refused", "reason": "authentication", "count": BURST}]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_an_implausible_jump_is_told(pair, mechanism):
    """"implausible jumps": further ahead than 4096, or behind all that is remembered."""
    with Measured(pair, mechanism) as flow:
        flow.send(flow.body())
        flow.crafted.psn += 4095
        flow.send(flow.body())
        assert flow.told() == []
        flow.crafted.psn += 4096
        assert flow.send(flow.body())["lost"] == 4095
        assert flow.told() == [{"event": "jump"}]


def test_events_are_limited_and_those_left_out_are_counted(pair):
    """"rate limited, counted": two seconds' worth at once, and then the rate that is set; each is told or counted."""
    rate, jumps = 2, 500
    with Measured(pair, "v2") as flow:
        flow.family.limits_set(event_rate=rate)
        before = flow.family.stats()
        assert (before["events"], before["events-suppressed"]) == (0, 0)
        flow.send(flow.body())

        def jump():
            flow.crafted.psn = (flow.crafted.psn + 8192) & 0xFFFF
            flow.crafted.send(craft.alone(flow.body()))

        began = time.monotonic()
        for _ in range(jumps):
            jump()
        flow.arrived(jumps)
        passed = time.monotonic() - began
        stats = flow.family.stats()
        assert stats["events"] + stats["events-suppressed"] == jumps
        assert 2 * rate <= stats["events"] <= 2 * rate + rate * passed + 1 < jumps, (stats, passed)
        assert len(flow.told()) == stats["events"]

        def told_again():
            jump()
            return flow.told()

        # It goes on once the flood is over.
        wait_until(told_again, "nothing is told any more", 20)


@pytest.mark.parametrize("json_too", [False, True])
def test_the_helper_prints_events_as_they_come(pair, json_too):
    with Measured(pair, "v2") as flow:
        words = (helper.path(), *(["--json"] if json_too else []), "events")
        process = pair.server.start(*words, stdout=subprocess.PIPE, text=True)
        try:
            flow.send(flow.body())

            def listens():
                flow.crafted.psn = (flow.crafted.psn + 8192) & 0xFFFF
                flow.send(flow.body())
                return process.stdout in select([process.stdout], [], [], 0.5)[0]

            wait_until(listens, "nothing is printed", 20)
            line = process.stdout.readline()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
    if json_too:
        ends = {"local-address": SERVER, "local-port": PORT, "remote-address": CLIENT, "remote-port": CLIENT_PORT}
        assert json.loads(line) == {"event": "jump", "flow": {**ends, "protocol": UDP}}
    else:
        assert line == f"jump flow [{SERVER}]:{PORT} [{CLIENT}]:{CLIENT_PORT} udp\n"
