# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Round-trip time, server delay, loss and reordering against what netem and the servers really do."""

import json
import time

import helper
import pytest
import traffic
from capture import ICMPV6, TCP, UDP
from hosts import LINK, SERVER, delay
from measuring import Measuring

# Waiting for the host's disk makes virtual time pass quickly.
pytestmark = [pytest.mark.virtual_time, pytest.mark.timeout(900)]

EACH_WAY, THINK = 20, 0.005
# Milliseconds. Emulation adds to both, and takes from neither.
RTT, SERVER_DELAY = (39.5, 60), (4.9, 12)


def milliseconds(delay_attribute, which):
    return delay_attribute[which] / 1e6


def within(value, bounds):
    return bounds[0] <= value <= bounds[1]


def slow(pair):
    for host in pair.hosts:
        delay(host, EACH_WAY)


@pytest.mark.parametrize("mechanism", ["pdm", "v2", "v2-encrypted"])
def test_rtt_and_server_delay_with_many_packets_in_flight(pair, mechanism):
    slow(pair)
    with Measuring(pair, mechanism) as measuring:
        with traffic.UdpEcho(pair.server, think=THINK), traffic.TcpEcho(pair.server, think=THINK):
            # One datagram every 15 ms and 45 ms until its answer: three in flight.
            assert traffic.udp_exchange(pair.client, SERVER, 40, interval=0.015) == 40
            traffic.tcp_exchange(pair.client, SERVER, 15)
        assert traffic.ping(pair.client, SERVER, 8) == 8
        flows = {flow["id"]["protocol"]: flow for flow in measuring.client.flows()}
        theirs = {flow["id"]["protocol"]: flow for flow in measuring.server.flows()}
    for protocol, least in ((UDP, 38), (TCP, 14), (ICMPV6, 7)):
        rtt = flows[protocol]["rtt"]
        assert rtt["samples"] >= least
        for which in ("min", "smoothed"):
            assert within(milliseconds(rtt, which), RTT), (protocol, which, rtt)
        assert rtt["min"] <= rtt["smoothed"] <= rtt["max"] and rtt["min"] <= rtt["last"] <= rtt["max"]
    for protocol, least in ((UDP, 35), (TCP, 14)):
        server_delay = flows[protocol]["server-delay"]
        assert server_delay["samples"] >= least
        for which in ("min", "smoothed"):
            assert within(milliseconds(server_delay, which), SERVER_DELAY), (protocol, which, server_delay)
    # The kernel answers echo by itself.
    assert milliseconds(flows[ICMPV6]["server-delay"], "smoothed") < 3
    # The server measures the same network from its side, where there is something to measure by.
    assert within(milliseconds(theirs[UDP]["rtt"], "smoothed"), RTT), theirs[UDP]
    assert "outbound" not in theirs[UDP]


def test_quick_acknowledgements_are_no_server_delay(pair):
    """"Otherwise TCP quick acks report 0 before the real answer." """
    slow(pair)
    with Measuring(pair, "v2") as measuring, traffic.TcpEcho(pair.server, think=0.1):
        # The think time is longer than any delay of an acknowledgement.
        traffic.tcp_exchange(pair.client, SERVER, 5)
        server_delay = measuring.client.flow(TCP)["server-delay"]
    assert server_delay["samples"] == 5
    assert 100 <= milliseconds(server_delay, "min") and milliseconds(server_delay, "max") < 160, server_delay


def test_loss_is_counted_by_the_receiver(pair):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server) as server:
        pair.client.run("tc", "qdisc", "add", "dev", LINK, "root", "netem", "loss", "30%")
        sock = pair.client.udp()
        traffic.udp_exchange(pair.client, SERVER, 100, interval=0.001, timeout=0.3, sock=sock)
        arrived = len(server.received)
        delay(pair.client, 0)
        traffic.udp_exchange(pair.client, SERVER, 1, sock=sock)
        sock.close()
        flow = measuring.server.flow(UDP)
    assert 40 < arrived < 95
    # What was lost before the first and nothing after the last arrival could not be told by PSNs.
    assert flow["accepted"] == arrived + 1
    assert 101 - flow["accepted"] - 12 <= flow["lost"] <= 101 - flow["accepted"]


def test_reordering_and_duplication_are_counted_by_the_receiver(pair):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server) as server:
        pair.client.run(
            *("tc", "qdisc", "add", "dev", LINK, "root", "netem", "delay", "20ms", "reorder", "25%", "duplicate", "20%")
        )
        traffic.udp_exchange(pair.client, SERVER, 60, interval=0.002, timeout=0.5)
        delay(pair.client, 0)
        flow = measuring.server.flow(UDP)
        arrived = len(server.received)
    assert arrived > 60
    assert flow["lost"] == 0
    assert flow["reordered"] > 5
    assert flow["duplicated"] == arrived - 60
    assert {e["reason"]: e["options"] for e in flow["refused"]} == {"duplicate": arrived - 60}


def test_sampling_puts_the_option_in_every_nth_packet(pair):
    from family import rule

    with Measuring(pair, "v2", rules=[rule("v2", sample=5)]) as measuring, traffic.UdpEcho(pair.server):
        assert traffic.udp_exchange(pair.client, SERVER, 50) == 50
        stats = measuring.client.stats()
        assert stats["options-out"] == 10
        assert measuring.client.skipped() == {"sampled": 40}


def buckets(flow, attribute):
    """Samples by the least delay of their bucket, ns: two buckets an octave from 1024 ns on (docs/netlink/pdmv2.yaml)."""
    bounds = [0] + [(1 << 10 + n) * half // 2 for n in range(28) for half in (2, 3)]
    counts = flow.get(attribute, [])
    assert not counts or counts[-1] > 0, "a histogram ends with the last bucket that has any"
    return {bound: count for bound, count in zip(bounds, counts) if count}


def spans(histogram, delay):
    """Whether a histogram has as many samples as its scalars, and its ends are where the least and the greatest are."""
    first, last = min(histogram), max(histogram)
    beyond = (first or 1024) * 2
    return sum(histogram.values()) == delay["samples"] and first <= delay["min"] < beyond and last <= delay["max"] < last * 2


@pytest.mark.parametrize("mechanism", ["pdm", "v2", "v2-encrypted"])
def test_histograms_hold_each_sample_and_go_when_a_flow_rests(pair, mechanism):
    """"Per flow RTT and server-delay histograms (logarithmic, constant size) beside the scalars". """
    from family import rule

    slow(pair)
    with Measuring(pair, mechanism) as measuring, traffic.UdpEcho(pair.server, think=THINK):
        for family in measuring.families:
            family.policy_set(rule(mechanism), rest=1)
        sock = pair.client.udp()
        assert traffic.udp_exchange(pair.client, SERVER, 30, interval=0.015, sock=sock) == 30
        busy = measuring.client.flow(UDP)
        rtt, server_delay = buckets(busy, "rtt-histogram"), buckets(busy, "server-delay-histogram")
        assert busy["rtt"]["samples"] >= 28
        assert spans(rtt, busy["rtt"]) and spans(server_delay, busy["server-delay"]), busy
        # 40 ms lie in the bucket from 33.5 to 50.3 ms, 5 ms in the one from 4.2 to 6.3 ms.
        assert rtt.get(1 << 25, 0) >= 25, rtt
        assert server_delay.get(1 << 22, 0) >= 25, server_delay
        time.sleep(4)
        resting = measuring.client.flow(UDP)
        assert "rtt-histogram" not in resting and "server-delay-histogram" not in resting
        same = ("rtt", "server-delay", "accepted", "lost", "reordered", "duplicated", "options-in", "options-out")
        assert {name: resting[name] for name in same} == {name: busy[name] for name in same}
        # It goes on: samples are taken again, and counted from none.
        assert traffic.udp_exchange(pair.client, SERVER, 10, interval=0.015, sock=sock) == 10
        again = measuring.client.flow(UDP)
        sock.close()
    for attribute, scalars in (("rtt-histogram", "rtt"), ("server-delay-histogram", "server-delay")):
        added = again[scalars]["samples"] - busy[scalars]["samples"]
        assert added >= 8 and sum(buckets(again, attribute).values()) == added
    assert again["lost"] == again["duplicated"] == 0


def test_the_helper_shows_the_histograms_of_a_flow(pair):
    slow(pair)
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server, think=THINK):
        assert traffic.udp_exchange(pair.client, SERVER, 20, interval=0.015) == 20
        flow = measuring.client.flow(UDP)
        only = ("flow", "--protocol", "udp")
        [shown] = json.loads(pair.client.run(helper.path(), "--json", *only))
        text = pair.client.run(helper.path(), *only)
    for attribute in ("rtt-histogram", "server-delay-histogram"):
        assert {b["from"]: b["samples"] for b in shown[attribute]} == buckets(flow, attribute)
        assert all(bucket["from"] < bucket["below"] for bucket in shown[attribute])
    assert "RTT ms from" in text and "33.554  50.332" in text, text
    assert "server ms from" in text and "4.194  6.291" in text, text
