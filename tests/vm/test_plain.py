# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""`pdm` and plain `v2` on the wire."""

import json

import opener
import pytest
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap
from hosts import CLIENT, SERVER, Capture, run
from measuring import Measuring, consistent

HEADER_LEN = {"pdm": 16, "v2": 24, "v2-encrypted": 40}


def mixed_traffic(pair, count=20):
    """TCP, UDP and echo, a few of each."""
    with traffic.UdpEcho(pair.server), traffic.TcpEcho(pair.server):
        assert traffic.udp_exchange(pair.client, SERVER, count) == count
        traffic.tcp_exchange(pair.client, SERVER, count)
        assert traffic.ping(pair.client, SERVER, 5) == 5


def placed_right(packet, mechanism):
    """"at offset 4 of its Destination Options header, after a 2-byte PadN", which is the last before the upper layer."""
    [option] = packet.options
    assert option.mechanism == mechanism
    assert (option.at, len(option.header)) == (4, HEADER_LEN[mechanism])
    assert option.header[2:4] == b"\x01\x00"
    assert packet.headers[-1] == (60, option.header)


def consecutive(options):
    """PSNs of each flow and direction rise by one, from whatever first one."""
    for flow, sent in opener.by_flow(options).items():
        psns = [o.fields.psntp for o in sent]
        assert psns == [(psns[0] + n) % 65536 for n in range(len(psns))], flow


def echoes(options):
    """What one side says of the other is what the other sent: PSNLR names the last one that was captured before."""
    flows = opener.by_flow(options)
    for flow, sent in flows.items():
        theirs = {o.fields.psntp for o in flows.get(flow.reversed, [])}
        for o in sent:
            f = o.fields
            if (f.psnlr, f.dtlr, f.dtls) != (0, 0, 0):
                assert f.psnlr in theirs, (flow, f)


@pytest.mark.parametrize("mechanism", ["pdm", "v2"])
def test_plain_options_are_placed_numbered_and_counted(pair, results, mechanism):
    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair, mechanism) as measuring:
        mixed_traffic(pair)
        path = tap.stop()
        stats = {CLIENT: consistent(measuring.client), SERVER: consistent(measuring.server)}
        flows = measuring.client.flows()
    packets = list(read_pcap(path))
    carrying = [p for p in packets if p.options]
    for packet in carrying:
        placed_right(packet, mechanism)
    # Every packet of the kinds a rule without a protocol means carries one; nothing else does.
    wanted = [p for p in packets if p.protocol in (TCP, UDP) or p.icmp_type in (128, 129)]
    policy_on = wanted[0].time if wanted else 0
    assert [p for p in wanted if not p.options] == []
    assert len(carrying) == len(wanted) > 80
    options = opener.open_capture(path)
    consecutive(options)
    echoes(options)
    for address, counted in stats.items():
        sent = [p for p in carrying if p.saddr == address]
        assert counted["options-out"] == len(sent)
        assert counted["options-in"] == counted["accepted"] == len(carrying) - len(sent)
        if mechanism == "v2":
            pointers = [o.fields.globalptr for o in options if o.packet.saddr == address]
            assert len(set(pointers)) == len(pointers) and min(pointers) >= 1
            everything = [p for p in packets if p.saddr == address and p.time >= policy_on]
            assert counted["global-pointer"] - 1 == max(pointers) + len(
                [p for p in everything if p.time > max(q.time for q in sent)]
            )
    assert {flow["id"]["protocol"] for flow in flows} == {TCP, UDP, ICMPV6}
    for flow in flows:
        assert flow["mechanism"] == flow["received-mechanism"] == mechanism and flow["verified"]
        assert flow["lost"] == flow["duplicated"] == flow["reordered"] == 0
        assert flow["outbound"] is True
    if mechanism == "v2":
        assert {(o.fields.version, o.fields.epoch, o.fields.reserved) for o in options} == {(2, 0, 0)}


TSHARK = {
    "scale_dtlr": "ipv6.opt.pdm.scale_dtlr",
    "scale_dtls": "ipv6.opt.pdm.scale_dtls",
    "psntp": "ipv6.opt.pdm.psn_this_pkt",
    "psnlr": "ipv6.opt.pdm.psn_last_recv",
    "dtlr": "ipv6.opt.pdm.delta_last_recv",
    "dtls": "ipv6.opt.pdm.delta_last_sent",
}


def test_tshark_agrees_with_every_field_of_pdm(pair, results):
    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair, "pdm"):
        mixed_traffic(pair)
        path = tap.stop()
    wanted = ["-e", "ipv6.opt.type", "-e", "ipv6.opt.length"] + [w for name in TSHARK.values() for w in ("-e", name)]
    said = run("tshark", "-r", path, "-Y", "ipv6.opt.pdm.psn_this_pkt", "-T", "json", *wanted)
    dissected = [packet["_source"]["layers"] for packet in json.loads(said)]
    options = opener.open_capture(path)
    assert len(dissected) == len(options) > 80
    for layers, option in zip(dissected, options, strict=True):
        assert [int(x, 0) for x in layers["ipv6.opt.type"]] == [1, 0x0F]
        assert [int(x, 0) for x in layers["ipv6.opt.length"]] == [0, 10]
        for field, name in TSHARK.items():
            assert int(layers[name][0]) == getattr(option.fields, field), (name, option.fields)


def test_forbid_plain_keeps_plain_options_from_being_sent_and_accepted(pair):
    with Measuring(pair, "v2") as measuring:
        measuring.server.policy_set(measuring_rule := {"send": "v2", "expiry": 0}, forbid_plain=True)
        assert measuring_rule["send"] == "v2"
        assert traffic.ping(pair.client, SERVER, 4) == 4
        assert measuring.server.skipped() == {"plain-forbidden": 4}
        assert measuring.server.refused() == {"policy": 4}
        assert measuring.client.stats()["options-in"] == 0
