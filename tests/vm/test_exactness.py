# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Loss, reordering and duplication: what the module counts is what happened, to the packet.

The truth is computed from captures on both sides of a network that loses, doubles and reorders. Nobody but the tests' one
CPU is at work in virtual time, so that a capture has the order in which the module saw the packets.
"""

import contextlib
import time

import craft
import opener
import option
import pytest
from bridged import Bridged
from capture import UDP
from family import Family, rule
from hosts import CLIENT, SERVER, Capture, wait_until
from measuring import Measuring, consistent

pytestmark = [pytest.mark.virtual_time, pytest.mark.timeout(900)]

PORT = 7000
BURST = 16  # refusals of one reason that are told
EACH = 70  # packets of a phase
EVERY = 7  # of which every so many is dropped where drops are known
VARIANTS = {
    "pdm": ("pdm", {}),
    "v2": ("v2", {}),
    "v2-encrypted": ("v2-encrypted", {}),
    # Epochs that end after so many packets, so that each phase has several.
    "v2-encrypted-epochs": ("v2-encrypted", {"epoch_packets": 25}),
}


@pytest.fixture
def bridged(loaded):
    with Bridged() as hosts:
        yield hosts


@contextlib.contextmanager
def known(bridged, port=5555):
    """The server listens, and has sent to the client's port, so that the flow is no stranger's."""
    with bridged.server.udp(port=PORT) as sock:
        sock.sendto(b"x", (CLIENT, port))
        yield


def truth(sent, arrived):
    """What happened to packets, from their PSNs in the order they were sent and arrived."""
    number = {psn: n for n, psn in enumerate(sent)}
    assert len(number) == len(sent)
    seen, highest, reordered, duplicated = set(), -1, 0, 0
    for n in (number[psn] for psn in arrived):
        if n in seen:
            duplicated += 1
            continue
        seen.add(n)
        reordered += n < highest
        highest = max(highest, n)
    return {"lost": highest + 1 - len(seen), "reordered": reordered, "duplicated": duplicated, "accepted": len(seen)}


def counted(family, what):
    flow = family.flow(UDP)
    return {name: flow[name] for name in what}


def settle(send):
    """A phase ends with a packet that nothing happens to, so that all that went before it can be told."""
    time.sleep(0.2)
    send(1)
    time.sleep(0.1)


def phases(bridged, send):
    """Impairments one after the other, each with packets of its own; what each is called, once it is over."""
    send(1)
    bridged.drop_every(EVERY)
    send(EACH)
    bridged.drop_every(0)
    settle(send)
    yield "loss"
    bridged.netem("duplicate", "100%")
    send(EACH)
    bridged.netem()
    settle(send)
    yield "duplication"
    bridged.netem("delay", "20ms", "reorder", "100%", "gap", 5)
    send(EACH)
    time.sleep(0.2)
    bridged.netem()
    settle(send)
    yield "reordering"
    # Both hosts' flows rest and go on.
    time.sleep(3.5)
    send(1)
    bridged.netem("delay", "10ms", "5ms", "loss", "10%", "duplicate", "20%", "reorder", "20%")
    send(EACH)
    time.sleep(0.2)
    bridged.netem()
    settle(send)
    yield "all of it, after a rest"


def compare(bridged, measuring, send, results, name_of):
    """Runs the phases, and compares what the server counted after each with the captures."""
    for family in measuring.families:
        family.policy_set(rule(measuring.mechanism), rest=1)
    snapshots = {}
    with Family(bridged.server) as listener:
        listener.ynl.ntf_subscribe("events")
        with Capture(bridged.client, results("-sent.pcap")) as sent, Capture(bridged.server, results(".pcap")) as arrived:
            for phase in phases(bridged, send):
                snapshots[phase] = counted(measuring.server, ("lost", "reordered", "duplicated", "accepted"))
                snapshots[phase]["so far"] = send.count
            captures = sent.stop(), arrived.stop()
        refused = measuring.server.refused()
        consistent(measuring.server)
        told = [message["msg"] for message in listener.ynl.poll_ntf(duration=0.5) if message["name"] == "event"]
    sent, arrived = ([name_of(p) for p in measured_packets(path)] for path in captures)
    assert len(sent) == send.count
    place = {name: n for n, name in enumerate(sent)}
    nothing = dict.fromkeys(("lost", "reordered", "duplicated"), 0)
    changes, before = {}, nothing
    for phase, snapshot in snapshots.items():
        so_far = snapshot.pop("so far")
        wanted = truth(sent[:so_far], [name for name in arrived if place[name] < so_far])
        assert snapshot == wanted, phase
        changes[phase] = {name: wanted[name] - before[name] for name in nothing}
        before = wanted
    # What the network was told to do, it did; and nothing else.
    assert changes["loss"] == nothing | {"lost": EACH // EVERY}
    assert changes["duplication"] == nothing | {"duplicated": EACH}
    assert changes["reordering"] == nothing | {"reordered": changes["reordering"]["reordered"]}
    assert changes["reordering"]["reordered"] > EACH // 2
    assert all(changes["all of it, after a rest"].values()), changes
    # No copy was accepted, and each was refused once.
    reason = "replay" if measuring.mechanism == "v2-encrypted" else "duplicate"
    assert refused == {reason: before["duplicated"]}
    bursts = [event for event in told if event["event"] == "refused"]
    assert {event["reason"] for event in bursts} == {reason}
    assert [event["count"] for event in bursts] == list(range(BURST, before["duplicated"] + 1, BURST))


def measured_packets(path):
    return [p for p in opener.read_pcap(path) if (p.saddr, p.daddr, p.protocol, p.dport) == (CLIENT, SERVER, UDP, PORT)]


def psn(packet):
    [found] = packet.options
    return int.from_bytes(found.body[2:4], "big")


class Sender:
    """Datagrams, a millisecond apart; how many so far."""

    def __init__(self, one):
        self.one, self.count = one, 0

    def __call__(self, count):
        for _ in range(count):
            self.one()
            time.sleep(0.001)
        self.count += count


@pytest.mark.parametrize("variant", VARIANTS)
def test_counts_are_exact(bridged, results, variant):
    mechanism, settings = VARIANTS[variant]
    with Measuring(bridged, mechanism, **settings) as measuring:
        with bridged.client.udp() as sock, known(bridged, sock.getsockname()[1]):
            sock.connect((SERVER, PORT))
            compare(bridged, measuring, Sender(lambda: sock.send(b"x" * 64)), results, psn)
            flow = measuring.server.flow(UDP)
    if settings:
        assert flow["receive-epoch"] >= 4 * EACH // settings["epoch_packets"]


class Wrapping:
    """Packets made by hand whose PSN wraps in the second phase, as does the epoch of sealed ones."""

    def __init__(self, crafted, mechanism):
        self.crafted, self.mechanism, self.epoch = crafted, mechanism, 0

    def __call__(self):
        fields = self.crafted.fields()
        self.epoch += fields.psntp == 0
        if self.mechanism == "pdm":
            body = option.write_pdm(fields)
        elif self.mechanism == "v2":
            body = self.crafted.plain(fields)
        else:
            body = self.crafted.sealed(option.Fields(psntp=fields.psntp, globalptr=fields.psntp, epoch=self.epoch))
        self.crafted.send(craft.alone(body))


@pytest.mark.parametrize("mechanism", ["pdm", "v2", "v2-encrypted"])
def test_counts_are_exact_across_the_wrap(bridged, results, mechanism):
    """16-bit PSNs wrap, and with them the epoch."""
    with Measuring(bridged, mechanism) as measuring, known(bridged):
        with craft.Crafted(bridged, measuring.secrets.get(1), first_psn=65536 - 5 * EACH // 2) as crafted:
            one = Wrapping(crafted, mechanism)
            compare(bridged, measuring, Sender(one), results, psn)
            assert crafted.psn < 2 * EACH
        flow = measuring.server.flow(UDP)
    if mechanism == "v2-encrypted":
        assert flow["receive-epoch"] == one.epoch == 1


@pytest.mark.parametrize("mechanism", ["pdm", "v2", "v2-encrypted"])
def test_what_was_seen_before_a_rest_is_refused_after_it(bridged, mechanism):
    with Measuring(bridged, mechanism) as measuring, known(bridged):
        measuring.server.policy_set(rule(mechanism), rest=1)
        with craft.Crafted(bridged, measuring.secrets.get(1), first_psn=100) as crafted:
            bodies = []
            crafted.send = keep(crafted.send, bodies)
            one = Wrapping(crafted, mechanism)
            for _ in range(5):
                one()
            wait_until(lambda: measuring.server.stats()["accepted"] == 5, "the options do not arrive")
            time.sleep(3.5)
            for header in bodies[:5]:
                craft.Crafted.send(crafted, header)
            one()
            wait_until(lambda: measuring.server.stats()["options-in"] == 11, "the options do not arrive")
            flow = measuring.server.flow(UDP)
    assert (flow["accepted"], flow["duplicated"], flow["lost"], flow["reordered"]) == (6, 5, 0, 0)
    reason = "replay" if mechanism == "v2-encrypted" else "duplicate"
    assert flow["refused"] == [{"reason": reason, "options": 5}]


def keep(send, kept):
    """Sends, and keeps what was sent."""

    def sending(header):
        kept.append(header)
        return send(header)

    return sending


def test_a_forged_copy_is_no_duplicate(bridged):
    """A PSN seen before under a tag that is wrong: refused all the same, but nothing the network did."""
    with Measuring(bridged) as measuring, known(bridged):
        with craft.Crafted(bridged, measuring.secrets[1]) as crafted:
            genuine = crafted.sealed()
            for body in (genuine, craft.flipped(genuine, 8 * 20), genuine):
                crafted.send(craft.alone(body))
            wait_until(lambda: measuring.server.stats()["options-in"] == 3, "the options do not arrive")
            flow = measuring.server.flow(UDP)
    assert (flow["accepted"], flow["duplicated"]) == (1, 1)
    assert flow["refused"] == [{"reason": "replay", "options": 2}]
