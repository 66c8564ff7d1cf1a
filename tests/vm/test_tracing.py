# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tracepoints: every option and every drop is told, with every field."""

import json
import os
from collections import Counter
from pathlib import Path

import craft
import opener
import pytest
import traffic
from family import rule
from hosts import CLIENT, SERVER, Capture, run, wait_until
from measuring import Measuring, consistent
from schedule import Tuple5
from test_plain import mixed_traffic
from tracing import LINE, TRACEFS, Tracing, fields, mount, netns

MECHANISMS = ("pdm", "v2", "v2-encrypted")
WIRE = ("epoch", "psntp", "psnlr", "dtlr", "scale_dtlr", "dtls", "scale_dtls", "globalptr")
PACKET = ("netns", "ifindex", "len", "protocol", "saddr", "sport", "daddr", "dport", "mechanism")
NS = 10**9


def row(event, names):
    return tuple(event[name] for name in names)


def wire_row(option, generation, *where):
    """What an event has to say of an option of a capture, in the order of the names below."""
    flow, fields = option.flow, option.fields
    sealed = option.mechanism == "v2-encrypted"
    packet = (len(option.packet.raw), flow.protocol, flow.saddr, flow.sport, flow.daddr, flow.dport, option.mechanism)
    nanoseconds = ((fields.dtlr << fields.scale_dtlr) // NS, (fields.dtls << fields.scale_dtls) // NS)
    key = (generation, "peer") if sealed else (0, "")
    return (*where, *packet, *(getattr(fields, name) for name in WIRE), *nanoseconds, *key)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_option_is_told_with_every_field(pair, results, mechanism):
    with Tracing() as tracing, Capture(pair.client, results(".pcap")) as tap, Measuring(pair, mechanism) as measuring:
        mixed_traffic(pair)
        path = tap.stop()
        stats = {CLIENT: consistent(measuring.client), SERVER: consistent(measuring.server)}
        flows = {CLIENT: measuring.client.flows(), SERVER: measuring.server.flows()}
        skipped = {CLIENT: measuring.client.skipped(), SERVER: measuring.server.skipped()}
        logs = [measuring.key_log(results(".keys"))] if mechanism == "v2-encrypted" else []
        events = tracing.events()
        hosts = {CLIENT: pair.client, SERVER: pair.server}
        where = {address: (netns(host), host.ifindex()) for address, host in hosts.items()}
    options = opener.open_capture(path, *logs)
    assert len(options) > 80
    names = (*PACKET, *WIRE, "dtlr_ns", "dtls_ns", "generation", "association")
    for event, end in (("option_tx", "saddr"), ("option_rx", "daddr")):
        told = Counter(row(fields, names) for name, fields in events if name == event)
        assert told == Counter(wire_row(o, 1, *where[getattr(o.flow, end)]) for o in options), event
    received = [fields for name, fields in events if name == "option_rx"]
    assert {fields["arrival"] for fields in received} == {"forward"}
    for address, counted in stats.items():
        here = [(name, fields) for name, fields in events if fields["netns"] == where[address][0]]
        assert Counter(name for name, _ in here if name != "drop") == {
            "option_tx": counted["options-out"], "option_rx": counted["accepted"]
        }  # fmt: skip
        told = Counter()
        for name, fields in here:
            if name == "drop" and fields["reason"] != "icmpv6":
                told[fields["reason"]] += fields["packets"]
        assert told == skipped[address]
        # The samples are those that the flows were given.
        for flow in flows[address]:
            id = flow["id"]
            ends = (id["protocol"], id["remote-address"], id["remote-port"], id["local-address"], id["local-port"])
            mine = [f for f in received if row(f, ("protocol", "saddr", "sport", "daddr", "dport")) == ends]
            for field, attribute in (("rtt_ns", "rtt"), ("server_delay_ns", "server-delay")):
                samples = [fields[field] for fields in mine if fields[field] >= 0]
                delay = flow.get(attribute, {"samples": 0})
                assert len(samples) == delay["samples"]
                if samples:
                    assert (min(samples), max(samples), samples[-1]) == row(delay, ("min", "max", "last"))


def test_arrivals_are_told_by_their_kind(pair):
    with Tracing("option_rx", "drop") as tracing, Measuring(pair, "v2") as measuring:
        with craft.Crafted(pair, first_psn=100) as crafted, pair.server.udp(port=7000):
            psns = {101: "forward", 103: "forward", 102: "reordered", 30000: "jump"}
            for psn in (*psns, 30000):
                crafted.send(craft.alone(crafted.plain(crafted.fields(psntp=psn))))
            wait_until(lambda: measuring.server.stats()["options-in"] == 5, "the options do not arrive")
        events = tracing.events()
    told = {fields["psntp"]: fields["arrival"] for name, fields in events if name == "option_rx"}
    assert told == psns
    [again] = [fields for name, fields in events if name == "drop" and fields["kind"] == "refused"]
    assert row(again, ("reason", "psntp", "mechanism", "packets")) == ("duplicate", 30000, "v2", 1)


@pytest.mark.parametrize("on_failure, kind", [("deliver", "refused"), ("drop", "dropped")])
def test_refused_options_are_told_with_their_reason(pair, on_failure, kind):
    with Tracing() as tracing, Measuring(pair, on_failure=on_failure) as measuring:
        with craft.Crafted(pair, measuring.secrets[1]) as crafted, pair.server.udp(port=7000):
            genuine = crafted.sealed()
            bodies = {
                "authentication": craft.flipped(crafted.sealed(), 8 * 20),
                "replay": genuine,
                "policy": crafted.plain(),
                "version": b"\x30" + crafted.sealed()[1:],
                "length": bytes(11),
            }
            crafted.send(craft.alone(genuine))
            for body in bodies.values():
                crafted.send(craft.alone(body))
            wait_until(lambda: measuring.server.stats()["options-in"] == 1 + len(bodies), "the options do not arrive")
            refused = measuring.server.refused()
        events = tracing.events()
        here = netns(pair.server)
    drops = [f for name, f in events if name == "drop" and f["netns"] == here and f["kind"] != "skipped"]
    assert refused == dict.fromkeys(bodies, 1) == Counter(f["reason"] for f in drops)
    assert {f["reason"]: f["kind"] for f in drops} == dict.fromkeys(bodies, "refused") | {"authentication": kind}
    psns = {f["reason"]: f["psntp"] for f in drops}
    assert psns["replay"] == int.from_bytes(genuine[2:4], "big") and psns["length"] == 0
    assert {row(f, ("saddr", "sport", "daddr", "dport")) for f in drops} == {(CLIENT, 5555, SERVER, 7000)}


def test_packets_without_an_option_are_told_with_their_reason(pair):
    with Tracing("drop", "option_tx") as tracing, Measuring(pair, "v2", rules=[rule("v2", sample=4)]) as measuring:
        with traffic.UdpEcho(pair.server):
            assert traffic.udp_exchange(pair.client, SERVER, 20) == 20
            assert traffic.udp_exchange(pair.client, SERVER, 2, size=1440) == 2
        skipped = measuring.client.skipped()
        events = [(name, fields) for name, fields in tracing.events() if fields["netns"] == netns(pair.client)]
    told = Counter()
    for name, fields in events:
        if name == "drop" and fields["protocol"] == 17:
            assert fields["kind"] == "skipped" and (fields["saddr"], fields["daddr"]) == (CLIENT, SERVER)
            told[fields["reason"]] += fields["packets"]
    assert told == skipped and told["sampled"] == 16 and told["mtu"] == 1, told
    assert len([fields for name, fields in events if name == "option_tx"]) == 5


def test_nothing_told_holds_a_key(pair, results):
    """"Never a key": neither secret, prk, flow key nor base nonce in any byte of the buffers."""
    with Tracing() as tracing, Measuring(pair) as measuring:
        assert traffic.ping(pair.client, SERVER, 3) == 3
        log = measuring.key_log(results(".keys"))
        secret = measuring.secrets[1]
        assert tracing.events()
        raw = b"".join(read_all(path) for path in Path(TRACEFS, "instances/pdmv2/per_cpu").glob("cpu*/trace_pipe_raw"))
        keys = {key for flow in measuring.client.flows() for key in flow_keys(secret, flow)}
    assert len(raw) > 1000 and CLIENT_BYTES in raw and log.exists()
    for key in (secret.shared_secret, secret.prk, *keys):
        assert key[:8] not in raw


CLIENT_BYTES = bytes.fromhex("fd000001000000000000000000000001")


def flow_keys(secret, flow):
    id = flow["id"]
    there = Tuple5(id["protocol"], id["local-address"], id["local-port"], id["remote-address"], id["remote-port"])
    for one in (there, there.reversed):
        yield from secret.flow_key(0, one)


def read_all(path):
    data, fd = b"", os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while part := os.read(fd, 4096):
            data += part
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
    return data


def exchanged(said):
    """Options that both hosts sent for some echo requests of which each was answered."""
    answered = int(said.split(" packets transmitted, ")[1].split()[0])
    return 2 * answered


@pytest.mark.timeout(400)
def test_perf_records_and_prints_every_field(pair, results):
    """"usable from perf ... on the stock kernel" """
    mount()
    data = results(".data")
    with Measuring(pair):
        ping = ("ping", "-c", 4, "-i", 0.2, SERVER)
        sent = exchanged(pair.client.run("perf", "record", "-a", "-e", "pdmv2:*", "-o", data, "--", *ping))
        printed = run("perf", "script", "-i", data).splitlines()
        # perf trace prints numbers where the others have names, and leaves out what is 0.
        text = results(".txt")
        pair.client.run("perf", "trace", "-a", "-e", "pdmv2:option_*", "-o", text, "--", *ping)
    events = [(match[1], fields(match[2])) for match in map(LINE.search, printed) if match]
    assert sent == 8
    for name in ("option_tx", "option_rx"):
        found = [told for event, told in events if event == name and told["protocol"] == 58]
        assert len(found) == sent
        for told in found:
            assert row(told, ("mechanism", "association", "generation", "len")) == ("v2-encrypted", "peer", 1, 144)
            assert {told["saddr"], told["daddr"]} == {CLIENT, SERVER}
            assert told["dtlr_ns"] == (told["dtlr"] << told["scale_dtlr"]) // NS
        traced = [line for line in text.read_text(encoding="utf-8").splitlines() if f"pdmv2:{name}(" in line]
        assert traced and all("mechanism: 3" in line and 'association: "peer"' in line for line in traced), traced


PROGRAM = """
tracepoint:pdmv2:option_tx { @sent[ntop(args.saddr), args.mechanism, args.association] = count(); }
tracepoint:pdmv2:option_rx /args.rtt_ns >= 0/ { @rtt[ntop(args.saddr)] = hist(args.rtt_ns); @rtts = count(); }
tracepoint:pdmv2:drop /args.kind == 0/ { @skipped[args.reason] = sum(args.packets); }
"""


@pytest.mark.timeout(400)
def test_bpftrace_counts_and_makes_histograms(pair):
    """"... and bpftrace" """
    mount()
    # Without the kernel's own headers in their usual place, bpftrace is told where they are.
    built = Path(os.environ["KDIR"])
    source = built / "source" if (built / "source").exists() else built
    environment = os.environ | {"BPFTRACE_KERNEL_SOURCE": str(source), "BPFTRACE_KERNEL_BUILD": str(built)}
    with Measuring(pair) as measuring:
        ping = f"/usr/bin/ping -c 4 -i 0.2 {SERVER}"
        said = pair.client.run("bpftrace", "-f", "json", "-e", PROGRAM, "-c", ping, env=environment)
        samples = sum(family.flow(58)["rtt"]["samples"] for family in measuring.families)
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    maps = {name: value for one in found if one["type"] in ("map", "hist") for name, value in one["data"].items()}
    assert maps["@sent"] == {f"{address},3,peer": 4 for address in (CLIENT, SERVER)}, said
    assert maps["@rtts"] == samples == 7
    assert {address: sum(b["count"] for b in maps["@rtt"][address]) for address in maps["@rtt"]} == {CLIENT: 3, SERVER: 4}
