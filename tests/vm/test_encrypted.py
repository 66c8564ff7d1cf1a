# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""`v2` encrypted on the wire, with the keys of either mode."""

import opener
import pytest
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap
from hosts import CLIENT, SERVER, Capture, wait_until
from measuring import MODES, Measuring, consistent
from test_plain import consecutive, echoes, mixed_traffic, placed_right


@pytest.mark.parametrize("mode", MODES)
def test_every_encrypted_option_opens_with_the_key_log(pair, results, mode):
    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair, mode=mode) as measuring:
        # A flow that ends before its key is there goes without: on a slow machine it takes some more until each kind has one.
        wait_until(lambda: mixed_traffic(pair) or all_protected(measuring), "flows stay without keys", 60)
        path = tap.stop()
        stats = {CLIENT: consistent(measuring.client), SERVER: consistent(measuring.server)}
        flows = {CLIENT: measuring.client.flows(), SERVER: measuring.server.flows()}
        log = measuring.key_log(results(".keys"))
        skipped = {CLIENT: measuring.client.skipped(), SERVER: measuring.server.skipped()}
        errors = [error for responder in measuring.responders for error in responder.errors]
    carrying = [p for p in read_pcap(path) if p.options]
    for packet in carrying:
        placed_right(packet, "v2-encrypted")
    options = opener.open_capture(path, log)
    assert len(options) == len(carrying) > 60
    assert {o.flow.protocol for o in options} == {TCP, UDP, ICMPV6}
    assert {o.direction for o in options} == {"out", "in"}
    assert opener.repeated_pairs(options) == []
    consecutive(options)
    echoes(options)
    assert {(o.fields.version, o.fields.reserved) for o in options} == {(2, 0)}
    for address, counted in stats.items():
        sent = [o for o in options if o.flow.saddr == address]
        assert counted["options-out"] == len(sent)
        assert counted["options-in"] == len(options) - len(sent)
        pointers = [o.fields.globalptr for o in sent]
        assert len(set(pointers)) == len(pointers) and 1 <= min(pointers) and max(pointers) < counted["global-pointer"]
        for flow in flows[address]:
            mine = [o for o in sent if (o.flow.protocol, o.flow.sport, o.flow.dport) == ports(flow)]
            assert flow["options-out"] == len(mine)
            if mine or mode == "kernel":
                # A PSN that began near the end may have wrapped.
                assert flow["send-epoch"] == mine[-1].fields.epoch <= 1
        if mode == "kernel":
            # "protects the very first packet and needs no upcall"
            assert counted["acquires"] == 0 and counted["accepted"] == counted["options-in"]
            assert skipped[address] == {}
        else:
            assert counted["acquires"] > 0
            assert set(skipped[address]) <= {"no-key", "no-socket"}
            assert set(refused_of(flows[address])) <= {"no-key"}
    assert errors == []


def all_protected(measuring):
    """Both hosts sent and accepted options on a flow of each protocol."""
    return all(
        {f["id"]["protocol"] for f in family.flows() if f["options-out"] and f["accepted"]} == {TCP, UDP, ICMPV6}
        for family in measuring.families
    )


def ports(flow):
    return flow["id"]["protocol"], flow["id"]["local-port"], flow["id"]["remote-port"]


def refused_of(flows):
    return {entry["reason"] for flow in flows for entry in flow.get("refused", [])}


@pytest.mark.parametrize("mode", MODES)
def test_a_new_generation_takes_over_without_loss(pair, results, mode):
    from measuring import new_secret

    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair, mode=mode) as measuring:
        sock = pair.client.udp()
        with traffic.UdpEcho(pair.server):
            traffic.udp_exchange(pair.client, SERVER, 30, sock=sock)
            measuring.renew(new_secret(generation=2))
            traffic.udp_exchange(pair.client, SERVER, 30, sock=sock)
            for family in measuring.families:
                states = {s["generation"]: s["state"] for s in family.associations()[0]["secret"]}
                assert states == {1: "retired", 2: "send"}
                family.secret_del(1)
            traffic.udp_exchange(pair.client, SERVER, 10, sock=sock)
        sock.close()
        options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
        flow = measuring.client.flow(UDP)
        assert flow["generation"] == 2
        if mode == "kernel":
            assert measuring.client.refused() == measuring.server.refused() == {}
    assert {o.generation for o in options} == {1, 2}
    assert [o.generation for o in options if o.direction == "out"][-10:] == [2] * 10
    assert opener.repeated_pairs(options) == []
    consecutive(options)


def test_never_encrypted_where_both_5_tuples_coincide_or_on_loopback(pair):
    """"Never an encrypted option where source and destination 5-tuple coincide (`ping ::1`)." """
    with Measuring(pair) as measuring:
        measuring.client.association_set(["::1", CLIENT], ["::1", CLIENT, SERVER])
        traffic.ping(pair.client, "::1", 3)
        traffic.ping(pair.client, CLIENT, 3)
        skipped = measuring.client.skipped()
        assert skipped.get("same-tuple", 0) + skipped.get("loopback", 0) == 12, skipped
        assert measuring.client.stats()["options-out"] == 0
