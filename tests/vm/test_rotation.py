# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Rotation: epochs that end before their PSNs do, every epoch of a secret, two secrets at once, and one 5-tuple that comes
again and again (docs/protocol.md, section 4, No key and nonce twice)."""

import contextlib
import itertools
import signal
import time

import module
import opener
import pytest
import traffic
from capture import UDP, read_pcap
from craft import Crafted, alone
from family import Family
from helper import negotiated
from hosts import CLIENT, LINK, SERVER, Capture, wait_until
from measuring import MODES, Measuring, new_secret
from test_bad_input import Target
from test_plain import consecutive

EPOCHS = 4096
PORT = traffic.ECHO_PORT
UDP_ONLY = "udp or ip6 protochain 17"


def told(listener):
    return {message["msg"]["event"] for message in listener.ynl.poll_ntf(duration=3) if message["name"] == "event"}


def keys_are_there(measuring):
    """In key mode helper: every question that was asked is answered."""

    def answered():
        asked = [family.stats()["acquires"] for family in measuring.families]
        return all(len(r.answered) + len(r.errors) >= n for r, n in zip(measuring.responders, asked))

    wait_until(answered, "a question is not answered", 20, 0.002)


class Exchange:
    """Datagrams of one flow and their echoes, one at a time."""

    def __init__(self, pair, measuring):
        self.pair, self.measuring, self.sock = pair, measuring, pair.client.udp()

    def one(self):
        assert traffic.udp_exchange(self.pair.client, SERVER, 1, 0, sock=self.sock) == 1
        if self.measuring.responders:
            keys_are_there(self.measuring)

    def established(self):
        """Goes on until both hosts accept, and returns what they refused until then."""

        def accepted():
            self.one()
            return all(family.stats()["accepted"] for family in self.measuring.families)

        wait_until(accepted, "no option is accepted", 20)
        return [family.refused() for family in self.measuring.families]

    def close(self):
        self.sock.close()


def directions(options):
    """The options of UDP each way, in order."""
    flows = opener.by_flow(o for o in options if o.flow.protocol == UDP)
    assert len(flows) == 2
    return flows.values()


def runs(options):
    """(epoch, options in a row) of one direction."""
    return [(epoch, len(list(run))) for epoch, run in itertools.groupby(options, key=lambda o: o.fields.epoch)]


def bare_only_at_the_start(path, most):
    """After its first packet with an option, a flow sends none without."""
    for flow, packets in itertools.groupby(
        sorted((p for p in read_pcap(path) if p.protocol == UDP), key=lambda p: repr(p.flow)), key=lambda p: p.flow
    ):
        bare = [not p.options for p in packets]
        assert sum(bare) <= most and bare == sorted(bare, reverse=True), flow


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "mode, packets, epochs", [("kernel", 10, 20), ("kernel", 1, 200), ("helper", 10, 20), ("helper", 2, 200), ("helper", 1, 50)]
)
def test_epochs_end_by_count(pair, results, mode, packets, epochs):
    """"MAY step earlier by time or count", and "the next epoch's asked for ahead of time": no packet waits for a key."""
    with (
        Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap,
        Measuring(pair, mode=mode, epoch_packets=packets) as measuring,
        traffic.UdpEcho(pair.server),
        contextlib.closing(Exchange(pair, measuring)) as exchange,
    ):
        refused = exchange.established()
        for _ in range(packets * epochs):
            exchange.one()
        assert [family.refused() for family in measuring.families] == refused
        if mode == "kernel":
            assert refused == [{}, {}] and measuring.client.skipped() == measuring.server.skipped() == {}
        else:
            assert set().union(*refused) <= {"no-key"}
        highest = [family.associations()[0]["secret"][0]["highest-epoch"] for family in measuring.families]
        path = tap.stop()
        options = opener.open_capture(path, measuring.key_log(results(".keys")))
        assert [error for responder in measuring.responders for error in responder.errors] == []
    consecutive(options)
    assert opener.repeated_pairs(options) == []
    for sent in directions(options):
        *whole, (last, rest) = runs(sent)
        assert whole == [(epoch, packets) for epoch in range(last)] and rest <= packets and last >= epochs - 1
        assert last in highest
    bare_only_at_the_start(path, 0 if mode == "kernel" else 5)


@pytest.mark.parametrize("mode", MODES)
def test_epochs_end_by_time(pair, results, mode):
    with (
        Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap,
        Measuring(pair, mode=mode, epoch_seconds=1) as measuring,
        traffic.UdpEcho(pair.server),
        contextlib.closing(Exchange(pair, measuring)) as exchange,
    ):
        refused = exchange.established()

        def stepped():
            exchange.one()
            return all(family.flow(UDP)["send-epoch"] >= 4 for family in measuring.families)

        wait_until(stepped, "epochs do not end", 60)
        assert [family.refused() for family in measuring.families] == refused
        path = tap.stop()
        options = opener.open_capture(path, measuring.key_log(results(".keys")))
    consecutive(options)
    assert opener.repeated_pairs(options) == []
    for sent in directions(options):
        found = runs(sent)
        assert [epoch for epoch, _ in found] == list(range(len(found)))
        # Not by count: some epoch has more options than one.
        assert max(count for _, count in found) > 1
    bare_only_at_the_start(path, 0 if mode == "kernel" else 5)


def test_a_peer_that_steps_early_is_understood_by_one_that_does_not(pair, results):
    """Whoever has stepped may step again: the receiver has the next key then, whatever its own association says."""
    with (
        Measuring(pair, mode="helper") as measuring,
        traffic.UdpEcho(pair.server),
        contextlib.closing(Exchange(pair, measuring)) as exchange,
    ):
        measuring.client.association_set(CLIENT, SERVER, key_mode="helper", epoch_packets=4)
        exchange.established()
        while measuring.server.flow(UDP)["receive-epoch"] < 1:
            exchange.one()
        refused = measuring.server.refused()
        while measuring.server.flow(UDP)["receive-epoch"] < 20:
            exchange.one()
        assert measuring.server.refused() == refused and set(refused) <= {"no-key"}
        assert measuring.server.flow(UDP)["send-epoch"] == 0


# (generation, epoch, PSN, what becomes of it), in the order of arrival.
ARRIVALS = [
    (1, 0, 100, None),
    (1, 1, 103, None),
    (1, 0, 101, None),  # late, of the epoch before
    (1, 0, 101, "replay"),
    (1, 0, 102, None),
    (1, 2, 105, None),
    (1, 1, 104, None),  # late
    (1, 0, 99, "stale-epoch"),
    (1, 1, 103, "replay"),
    (1, 2, 105, "replay"),
    (1, 5, 112, None),  # all of two epochs are late or lost
    (1, 4, 110, None),
    (1, 3, 108, "stale-epoch"),
    (1, 4, 110, "replay"),
    (1, 5, 113, None),
    (2, 0, 115, None),  # another secret
    (1, 5, 114, None),  # late, of the secret before
    (1, 5, 114, "replay"),
    (1, 5, 112, "replay"),
    (1, 4, 111, "authentication"),  # that one's key is kept no longer, and it is none of the new secret's
    (2, 1, 117, None),
    (2, 0, 116, None),
    (1, 5, 109, "authentication"),
    (2, 0, 115, "replay"),
]
# PSNs go on from one secret to the next: after a wrap, those of the next one's epoch 0 are below those of the one before.
AFTER_A_WRAP = [
    (1, 0, 65534, None),
    (1, 0, 65535, None),
    (1, 1, 0, None),
    (2, 0, 3, None),
    (1, 1, 1, None),  # late, of the secret before
    (2, 0, 3, "replay"),
    (2, 0, 2, None),
    (1, 0, 65535, "authentication"),  # that one's key is kept no longer
]
# The same, where another secret was installed and nothing has come under it.
BEFORE_A_SWITCH = [
    (1, 0, 65535, None),
    (1, 1, 0, None),
    (2, None, None, None),
    (1, 0, 65535, "replay"),
    (1, 0, 100, "replay"),  # beyond the window, and none of the other secret's
    (1, 0, 101, "authentication"),  # for whose key it is new, and by now that is held
    (2, 0, 3, None),
    (1, 0, 65535, "authentication"),
]


@pytest.mark.parametrize("arrivals", (ARRIVALS, AFTER_A_WRAP, BEFORE_A_SWITCH), ids=("late", "after-a-wrap", "before-a-switch"))
def test_what_is_late_across_a_step_is_accepted_once(pair, arrivals):
    """"Kept per flow: the current and previous epoch's keys"; "epochs below highest authenticated - 1 are refused"."""
    with Measuring(pair) as measuring, Target(pair, measuring.server) as target, Crafted(pair) as crafted:
        for number, (generation, epoch, psn, refusal) in enumerate(arrivals):
            if generation not in measuring.secrets:
                measuring.secrets[generation] = new_secret(generation)
                measuring.server.secret_add(measuring.secrets[generation], prk=True)
            if epoch is None:
                continue
            _, accepted, refused = target.counted()
            fields = crafted.fields(epoch=epoch, psntp=psn)
            assert target.delivered(crafted.send(alone(crafted.sealed(fields, secret=measuring.secrets[generation]))))
            _, now_accepted, now_refused = target.counted()
            gained = {reason: n - refused.get(reason, 0) for reason, n in now_refused.items() if n != refused.get(reason, 0)}
            want = (1, {}) if refusal is None else (0, {refusal: 1})
            assert (now_accepted - accepted, gained) == want, f"arrival {number}"


def test_the_first_packet_of_a_flow_is_accepted_under_either_of_two_secrets(pair):
    """Where keys are derived here: the peer may not have changed to the newer one yet, and nothing of it is to be dropped."""
    with Measuring(pair, on_failure="drop") as measuring, Target(pair, measuring.server) as target:
        measuring.secrets[2] = new_secret(generation=2)
        measuring.server.secret_add(measuring.secrets[2], prk=True)
        for number, (generation, epoch) in enumerate(itertools.product((1, 2), (0, 3))):
            with Crafted(pair, measuring.secrets[generation], sport=5000 + number) as crafted:
                assert target.delivered(crafted.send(alone(crafted.sealed(epoch=epoch))))
        assert target.counted() == (4, 4, {})


def epochs_of(psns, packets):
    """The epochs of a secret's options in their order: one ends after that many packets, and "MUST step when PSNTP wraps"."""
    epoch, used = 0, 0
    for psn in psns:
        if used == packets or (psn == 0 and used):
            epoch, used = epoch + 1, 0
        used += 1
        yield epoch


def fate(epochs):
    """What becomes of options of these epochs, in the order of their arrival: (accepted, late among them, stale)."""
    current, previous, accepted, late, stale = None, None, 0, 0, 0
    for epoch in epochs:
        if current is None or epoch > current:
            previous, current = current, epoch
        elif epoch < current:
            if epoch not in (previous, current - 1):
                stale += 1
                continue
            previous, late = epoch, late + 1
        accepted += 1
    return accepted, late, stale


def test_reordering_across_steps_loses_nothing_of_the_previous_epoch(pair, results):
    """netem reorders a burst over many short epochs; the order of arrival says what is accepted, to the last option."""
    count = 1500
    with (
        Measuring(pair, epoch_packets=40) as measuring,
        pair.server.udp(port=PORT),
        pair.client.udp() as sock,
        Capture(pair.server, results(".pcap"), expression=UDP_ONLY) as tap,
    ):
        pair.client.run("tc", "qdisc", "add", "dev", LINK, "root", "netem", "delay", "20ms", "18ms", "limit", 10000)
        for _ in range(count):
            sock.sendto(b"x", (SERVER, PORT))
        wait_until(lambda: measuring.server.stats()["options-in"] == count, "datagrams are missing", 20)
        options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
        stats, refused = measuring.server.stats(), measuring.server.refused()
    assert len(options) == count and opener.repeated_pairs(options) == []
    # An epoch does not outlive a wrap of the PSN, so that this is the order in which they were sent.
    sent = sorted((o.fields.epoch, o.fields.psntp) for o in options)
    assert [epoch for epoch, _ in sent] == list(epochs_of([psn for _, psn in sent], 40))
    accepted, late, stale = fate([o.fields.epoch for o in options])
    assert late > 0, "nothing was reordered across a step"
    assert (stats["accepted"], refused) == (accepted, {"stale-epoch": stale} if stale else {})


@pytest.mark.timeout(900)
def test_one_flow_uses_every_epoch_and_a_new_secret_starts_anew(pair, results):
    """"Past epoch 4095 protection stops for that flow or bucket, once said, and renegotiation starts." """
    packets, beyond = 2, 10
    with (
        Family(pair.client) as listener,
        Measuring(pair, epoch_packets=packets) as measuring,
        pair.server.udp(port=PORT),
        pair.client.udp() as sock,
        Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap,
    ):
        listener.ynl.ntf_subscribe("events")

        def send(count):
            for _ in range(count):
                sock.sendto(b"x", (SERVER, PORT))

        send(EPOCHS * packets * 3 // 4)
        assert told(listener) == {"epochs-low"}
        send(EPOCHS * packets // 4 + beyond)
        [(reason, exhausted)] = measuring.client.skipped().items()
        assert reason == "exhausted" and "exhausted" in told(listener)
        measuring.renew(new_secret(generation=2))
        send(packets * 3)
        stats, refused = measuring.server.stats(), measuring.server.refused()
        options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
        [association] = measuring.client.associations()
    last = {}
    for generation in (1, 2):
        mine = [o.fields for o in options if o.generation == generation]
        assert [f.epoch for f in mine] == list(epochs_of([f.psntp for f in mine], packets))
        last[generation] = mine[-1].epoch
    # The first PSN is random: where it wraps in the midst of an epoch, that one is a packet short.
    cut = len(options) - packets * 3 - EPOCHS * packets
    assert last[1] == EPOCHS - 1 and last[2] in (2, 3) and cut in (0, -1) and exhausted == beyond - cut
    assert opener.repeated_pairs(options) == []
    consecutive(options)
    assert (stats["accepted"], refused) == (len(options), {})
    assert {s["generation"]: s["highest-epoch"] for s in association["secret"]} == last


@pytest.mark.parametrize("mode", MODES)
def test_two_secrets_overlap_under_traffic(pair, results, mode):
    """Either host sends under the new one when it is ready to; both are accepted meanwhile, and no packet goes without."""
    with (
        Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap,
        Measuring(pair, mode=mode, epoch_packets=5) as measuring,
        traffic.UdpEcho(pair.server),
        contextlib.closing(Exchange(pair, measuring)) as exchange,
    ):
        refused = exchange.established()
        for generation in (2, 3, 4):
            measuring.secrets[generation] = new_secret(generation)
            for family in measuring.families:
                family.secret_add(measuring.secrets[generation], prk=mode == "kernel")
            first, second = measuring.families if generation % 2 else reversed(measuring.families)
            for family in (first, second):
                family.secret_activate(generation)
                for _ in range(12):
                    exchange.one()
            for family in measuring.families:
                family.secret_del(generation - 1)
        last = [family.refused() for family in measuring.families]
        skipped = [family.skipped() for family in measuring.families]
        options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
    assert opener.repeated_pairs(options) == []
    consecutive(options)
    for sent in directions(options):
        generations = [o.generation for o in sent]
        assert generations == sorted(generations) and set(generations) == {1, 2, 3, 4}
        for generation in (2, 3, 4):
            epochs = [epoch for epoch, _ in runs(o for o in sent if o.generation == generation)]
            assert epochs == list(range(len(epochs))) and len(epochs) >= 2
    if mode == "kernel":
        assert last == refused == [{}, {}] and skipped == [{}, {}]
    else:
        # A first packet under each new secret asks for its keys.
        assert set().union(*last) <= {"no-key"} and set().union(*skipped) <= {"no-key"}
        assert max(sum(counts.values()) for counts in (*last, *skipped)) <= 12


RULES = '[[rule]]\nprotocol = "udp"\nsend = "v2-encrypted"\nexpiry = 0\n'


def configure(helpers, mode, **settings):
    client, server = helpers
    client.configure(server, mode, rules=RULES, **settings)
    server.configure(client, mode, rules=RULES, **settings)
    for helper in helpers:
        helper.start()
    return negotiated(*helpers)


@pytest.mark.virtual_time
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("pause", "epochs"), ((0.08, EPOCHS // 2), (0.005, 200)))
def test_the_helper_negotiates_anew_before_epochs_are_used_up(pair, helpers, results, pause, epochs):
    """At half of them, or two minutes ahead, by the helper's own `epoch-packets`; and the change of secret leaves no packet
    without an option. At 12.5 a second half of the epochs are more than two minutes."""
    with Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap:
        first = configure(helpers, "kernel", extra="epoch-packets = 1\n")
        with pair.server.udp(port=PORT), pair.client.udp() as sock, Family(pair.client) as family:
            for _ in range(epochs + 10):
                sock.sendto(b"x", (SERVER, PORT))
                time.sleep(pause)
            second = negotiated(*helpers, beyond=first)
            for _ in range(20):
                sock.sendto(b"x", (SERVER, PORT))
            assert family.skipped() == {}
        path = tap.stop()
    options = opener.open_capture(path, helpers[0].key_log)
    assert len(options) == epochs + 30 and opener.repeated_pairs(options) == []
    assert [o.generation for o in options][-20:] == [second] * 20
    used = [o.fields.epoch for o in options if o.generation == first]
    assert used == list(range(len(used)))
    # Not before it is due.
    assert len(used) >= epochs if epochs == EPOCHS // 2 else len(used) < EPOCHS // 4, len(used)
    bare_only_at_the_start(path, 0)


# Packets in a row, each way, that carry no option or one that is not accepted, once both hosts hold a secret.
LONGEST_GAP = 100
TIMES = 200
ACCEPTED_EACH_TIME = 3


class Again:
    """One UDP 5-tuple, and the longest gap between packets whose option was accepted, each way."""

    def __init__(self, pair):
        self.pair, self.sock = pair, pair.client.udp(port=5555)
        self.families, self.gaps, self.longest = [], [0, 0], 0
        self.look_again()

    def look_again(self):
        """The module has another number when it was loaded again."""
        for family in self.families:
            family.close()
        self.families = [Family(self.pair.server), Family(self.pair.client)]

    def accepted(self):
        return [family.stats()["accepted"] for family in self.families]

    def one(self):
        """One datagram and its echo, which arrive whatever becomes of their options; which of them were accepted."""
        before = self.accepted()
        assert traffic.udp_exchange(self.pair.client, SERVER, 1, 0, sock=self.sock) == 1
        taken = [now > then for now, then in zip(self.accepted(), before)]
        self.gaps = [0 if t else gap + 1 for t, gap in zip(taken, self.gaps)]
        self.longest = max(self.longest, *self.gaps)
        return taken

    def a_few(self):
        """Exchanges until enough were accepted both ways."""
        left = [ACCEPTED_EACH_TIME] * 2
        while max(left) > 0:
            taken = self.one()
            left = [n - t for n, t in zip(left, taken)]
            assert max(self.gaps) <= LONGEST_GAP, "measuring does not come back"
            if not all(taken):
                time.sleep(0.02)

    def close(self):
        self.sock.close()
        for family in self.families:
            family.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", MODES)
def test_a_5_tuple_that_comes_hundreds_of_times_repeats_no_key_and_nonce(pair, helpers, results, mode):
    """"Not by rollover, 5-tuple reuse, a restarted helper, a reloaded module": all of it captured, every option opened."""
    with Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap:
        # A short lifetime has a short least age of flows, so that idle ones go soon.
        generation = configure(helpers, mode, extra="lifetime = 2048\nepoch-packets = 7\n", host="idle = 1\n")
        with traffic.UdpEcho(pair.server), contextlib.closing(Again(pair)) as again:
            for number in range(TIMES):
                again.a_few()
                what = number % 50
                if what == 10:
                    for family in again.families:
                        wait_until(lambda f=family: f.stats()["flows"] == 0, "idle flows stay", 60, 0.2)
                elif what in (20, 30):
                    victim = helpers[what == 30]
                    victim.kill(signal.SIGKILL)
                    again.a_few()
                    victim.start()
                    generation = negotiated(*helpers, beyond=generation, seconds=60)
                elif what == 40:
                    module.unload()
                    assert traffic.udp_exchange(pair.client, SERVER, 3, sock=again.sock) == 3
                    module.load()
                    generation = negotiated(*helpers, beyond=generation, seconds=90)
                    again.look_again()
                else:
                    for family in again.families[number % 3 == 0 :][: 1 + (number % 3 == 2)]:
                        family.flow_flush()
            again.a_few()
        path = tap.stop()
    options = opener.open_capture(path, helpers[0].key_log)
    assert opener.repeated_pairs(options) == []
    there, back = directions(options)
    assert len(there) >= TIMES * ACCEPTED_EACH_TIME <= len(back)
    # Within a secret epochs only rise.
    for sent in (there, back):
        order = [(o.generation, o.fields.epoch) for o in sent]
        assert order == sorted(order)
        assert len({o.key for o in sent}) > TIMES // 2
    # A secret for each restart and reload at least; where both hosts ask for one, two may be made.
    assert len({o.generation for o in options}) >= 1 + 3 * (TIMES // 50)
    assert again.longest <= LONGEST_GAP
    for helper in helpers:
        assert "negotiating anew" in helper.said(), "no reload was noticed"
