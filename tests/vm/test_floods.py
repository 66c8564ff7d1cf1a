# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Floods of forged packets, and of new flows: memory stays bounded, and live flows do not notice.

"Forged epochs, forged 5-tuples and forged plain options each have a test that floods them and shows memory bounded and live
flows unharmed."
"""

import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys

import helper
import module
import pytest
import traffic
from capture import UDP
from craft import Flood
from family import SO_RCVBUFFORCE, prefix, rule
from hosts import CLIENT, PATIENCE, SERVER, TOP, wait_until
from measuring import MODES, Measuring, consistent, new_secret

FORGED = 2000
# Where forged packets say they come from; answers to them are routed to the client host, which drops them.
ELSEWHERE = "fd00:66::"
ELSEWHERE_PREFIX = ELSEWHERE + "/64"
LIVE_PORT = 7002
PENDING, FLOWS, MEMORY = 64, 100, 512 << 10
EPOCH = 64
NOBODY = 65534


def sealed(epoch, psn):
    """The body of an encrypted option that nobody sealed."""
    return struct.pack("!HH", 2 << 12 | epoch, psn & 0xFFFF) + os.urandom(30)


def plain(psn):
    """The body of a plain `v2` option; it names no PSN of anybody's."""
    return struct.pack("!HH", 2 << 12, psn & 0xFFFF) + bytes(14)


class Live:
    """An encrypted flow that goes on while others are forged: the client's socket, and an echo server."""

    def __init__(self, pair, measuring):
        self.pair, self.measuring, self.sock = pair, measuring, pair.client.udp()
        self.port = self.sock.getsockname()[1]
        self.server = traffic.UdpEcho(pair.server, LIVE_PORT)

    def flows(self):
        """As the client and the server see it."""
        client, server = self.measuring.families
        return client.flow(UDP, LIVE_PORT, self.port), server.flow(UDP, self.port, LIVE_PORT)

    def exchange(self, count=20):
        """Requests, each answered; every option that was sent is accepted, and measures."""
        before = self.flows() if self.measuring.client.stats()["flows"] else None
        assert traffic.udp_exchange(self.pair.client, SERVER, count, 0.002, port=LIVE_PORT, sock=self.sock) == count
        after = self.flows()
        if before:
            for mine, theirs in ((0, 1), (1, 0)):
                sent = after[mine]["options-out"] - before[mine]["options-out"]
                accepted = after[theirs]["accepted"] - before[theirs]["accepted"]
                assert accepted == sent > 0, (mine, before, after)
                assert after[mine]["rtt"]["samples"] > before[mine]["rtt"]["samples"]
        return after

    def close(self):
        self.server.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def live(pair, mode="kernel", **association):
    """A live flow between hosts whose limits are small; the server measures anybody, others than the client in clear."""
    pair.server.run("ip", "-6", "route", "add", ELSEWHERE_PREFIX, "via", CLIENT)
    with Measuring(pair, mode=mode, **association) as measuring, Live(pair, measuring) as flow:
        both = [prefix(CLIENT), prefix(ELSEWHERE_PREFIX)]
        measuring.server.ynl.do("association-set", {
            "name": "peer", "local": [prefix(SERVER)], "remote": both, "key-mode": mode,
            **{name.replace("_", "-"): value for name, value in association.items()},
        })  # fmt: skip
        measuring.server.policy_set(
            rule("v2-encrypted", remote=f"{CLIENT}/128"), rule("v2", accept={"v2", "v2-encrypted"}),
            pending_max=PENDING, flows_max=FLOWS, memory=MEMORY, stranger_rate=16,
        )  # fmt: skip
        wait_until(lambda: goes_on(flow), "the flow does not live")
        flow.exchange()
        yield measuring, flow


def goes_on(flow):
    """Whether each side has its keys: every packet has an option, and is accepted."""
    for _ in range(2):
        before = {side: family.stats() for side, family in zip("cs", flow.measuring.families)}
        traffic.udp_exchange(flow.pair.client, SERVER, 2, port=LIVE_PORT, sock=flow.sock)
        after = {side: family.stats() for side, family in zip("cs", flow.measuring.families)}
    moved = [after[side][name] - before[side][name] for side in "cs" for name in ("options-out", "accepted")]
    return moved == [2] * 4 and all(f["rtt"]["samples"] for f in flow.flows())


def bounded(family):
    """What is held is within the limits. Returns the statistics."""
    stats = family.stats()
    assert stats["pending"] <= PENDING and stats["flows"] <= FLOWS and stats["memory"] <= MEMORY, stats
    return stats


@pytest.mark.parametrize("mode", MODES)
def test_forged_epochs_on_a_live_flow(pair, mode):
    """Ever new epochs, each of which could be the peer's next one, and the next epoch again and again."""
    with live(pair, mode) as (measuring, flow):
        before = consistent(measuring.server), flow.flows()[1]
        forged = 0
        with Flood(pair, 34, dport=LIVE_PORT, answered=False) as flood:
            for _ in range(4):
                part = range(forged, forged + FORGED // 4)
                forged += flood.pour(flood.packet(sealed(2 + n if n % 2 else 1, n), flow.port) for n in part)
                # Between the parts the flow goes on as if nothing were.
                flow.exchange()
                bounded(measuring.server)
        after = consistent(measuring.server), flow.flows()[1]
        refused = {entry["reason"]: entry["options"] for entry in after[1]["refused"]}
        earlier = {entry["reason"]: entry["options"] for entry in before[1].get("refused", [])}
        assert sum(refused.values()) - sum(earlier.values()) == forged
        assert set(refused) - set(earlier) <= {"rate", "authentication", "no-key"}, refused
        # "within the budget": 4 attempts at once, 4 a second.
        assert refused["rate"] > forged // 4, refused
        assert after[0]["flows"] == before[0]["flows"] and after[0]["pending"] == 0


def test_a_flow_gets_its_next_keys_while_its_epochs_are_forged(pair):
    """ACQUIRE for the live flow is answered all the same: it goes from epoch to epoch."""
    with live(pair, "helper", epoch_packets=EPOCH) as (measuring, flow), Flood(pair, 34, dport=LIVE_PORT, answered=False) as flood:
        began = [f["send-epoch"] for f in flow.flows()]
        forged = 0

        def stepped():
            nonlocal forged
            forged += flood.pour(flood.packet(sealed(random.randrange(4096), n), flow.port) for n in range(100))
            traffic.udp_exchange(pair.client, SERVER, 20, 0.002, port=LIVE_PORT, sock=flow.sock)
            return all(f["send-epoch"] >= b + 2 and f["receive-epoch"] >= b + 2 for f, b in zip(flow.flows(), began))

        wait_until(stepped, f"the epoch does not step: {flow.flows()}", 60)
        bounded(measuring.server)
        consistent(measuring.server)
        assert measuring.client.stats()["skipped"] and forged >= 100


@pytest.mark.parametrize("mode", MODES)
def test_forged_5_tuples(pair, mode):
    """Encrypted options of flows that are not there."""
    with live(pair, mode) as (measuring, flow), Flood(pair, 34, ELSEWHERE, dport=7999) as flood:
        before = consistent(measuring.server)
        forged = flood.pour(
            flood.packet(sealed(n % 3, n), random.randrange(65536), random.getrandbits(32)) for n in range(FORGED)
        )
        after = bounded(measuring.server)
        assert after["flows"] == before["flows"]
        flow.exchange()
        refused = measuring.server.refused()
        consistent(measuring.server)
        # No key is derived or asked for beyond the budget of strangers.
        assert sum(refused.values()) == forged + sum(e["options"] for e in before.get("refused", [])), refused
        assert set(refused) <= {"rate", "authentication", "no-key"} and refused["rate"] > forged // 2, refused
        # "wiped after 2 s"; and every byte they took is given back.
        wait_until(lambda: measuring.server.stats()["pending"] == 0, "pending entries stay", 10)
        assert measuring.server.stats()["memory"] == before["memory"]


@pytest.mark.parametrize("answered", (False, True))
def test_forged_plain_options(pair, answered):
    """Plain options from many sources; where a server answers them, each answer could begin a flow."""
    with contextlib.ExitStack() as stack:
        measuring, flow = stack.enter_context(live(pair))
        flood = stack.enter_context(Flood(pair, 18, ELSEWHERE))
        if answered:
            server = stack.enter_context(traffic.UdpEcho(pair.server))
            server._listening.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        before = consistent(measuring.server)
        forged = 0
        for part in range(4):
            forged += flood.pour(
                flood.packet(plain(n), 1024 + n, part << 16 | random.getrandbits(16)) for n in range(FORGED // 4)
            )
            flow.exchange()
            after = bounded(measuring.server)
        if answered:
            wait_until(lambda: len(server.received) == forged, "the server did not get every datagram", 20)
            after = bounded(measuring.server)
            assert after["flows"] > FLOWS // 2
            assert measuring.server.skipped()["table-full"] > 0
        else:
            assert after["flows"] == before["flows"] and after["pending"] > PENDING // 2
        flow.exchange()
        # What they said was taken as what it was: options nobody vouches for.
        assert consistent(measuring.server)["accepted"] >= before["accepted"] + forged
        assert flow.flows()[1].get("refused", []) == []


def test_memory_that_is_used_up(pair):
    """New flows go without where `memory` is used up; the last eighth is for live flows; everything is given back."""
    with live(pair) as (measuring, flow), Flood(pair, 18, ELSEWHERE) as flood, traffic.UdpEcho(pair.server):
        before = measuring.server.stats()["memory"]
        most = before + 16384
        measuring.server.policy_set(
            rule("v2-encrypted", remote=f"{CLIENT}/128"), rule("v2"), memory=most, flows_max=10000, pending_max=1024
        )
        flood.pour(flood.packet(plain(n), 2000 + n) for n in range(FORGED // 2))
        stats = measuring.server.stats()
        assert most // 2 < stats["memory"] <= most - most // 8 and 0 < stats["flows"] < 100, stats
        wait_until(lambda: measuring.server.skipped().get("table-full", 0) > 0, "new flows are measured")
        assert measuring.server.refused().get("no-memory", 0) > 0
        flow.exchange()
        # A live flow gets a key: the kept part is there for it.
        measuring.renew(new_secret(generation=2))
        flow.exchange(4)
        wait_until(lambda: goes_on(flow), "the live flow has no key of the new secret")
        assert flow.flows()[1]["generation"] == 2 and measuring.server.stats()["memory"] <= most

        def given_back():
            # The server may still have answers to send.
            for family in measuring.families:
                family.flow_flush()
            return measuring.server.stats()["memory"] == measuring.client.stats()["memory"] == 0

        wait_until(given_back, "memory is not given back")


def test_a_table_full_of_live_flows_keeps_them(pair):
    """"An eviction rule that a flood cannot use against live authenticated flows." """
    count = 60
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server, LIVE_PORT), contextlib.ExitStack() as stack:
        for family in measuring.families:
            family.policy_set(rule("v2-encrypted", protocol=UDP), flows_max=count)
        socks = [stack.enter_context(pair.client.udp()) for _ in range(count)]
        for sock in socks:
            assert traffic.udp_exchange(pair.client, SERVER, 2, 0, port=LIVE_PORT, sock=sock) == 2
        held = {f["id"]["local-port"] for f in measuring.client.flows() if f.get("verified")}
        assert held == {sock.getsockname()[1] for sock in socks}
        traffic.udp_spray(pair.client, SERVER, 2 * FORGED)
        stats = measuring.client.stats()
        assert stats["flows"] == count and measuring.client.skipped()["table-full"] == 2 * FORGED
        assert {f["id"]["local-port"] for f in measuring.client.flows()} == held
        accepted = stats["accepted"]
        for sock in socks:
            assert traffic.udp_exchange(pair.client, SERVER, 2, 0, port=LIVE_PORT, sock=sock) == 2
        assert measuring.client.stats()["accepted"] == accepted + 2 * count


def test_flows_that_give_way_to_others_are_counted(pair):
    """Each new flow is held, took the place of one that was dropped for it, or went unmeasured: none is left out."""
    count, sent = 50, 0
    evicted = module.statistics()["flows_evicted"]
    with Measuring(pair, "v2") as measuring:
        measuring.client.policy_set(rule("v2", protocol=UDP), flows_max=count, idle=3600)

        def one_gives_way():
            nonlocal sent
            traffic.udp_spray(pair.client, SERVER, count, 1024 + sent)
            sent += count
            return measuring.client.stats()["flows-evicted"] > 0

        assert not one_gives_way() and measuring.client.stats()["flows-dropped"] == 0
        # "no packet came on for a second"
        wait_until(one_gives_way, "no flow gives way", 30, 0.5)
        stats = measuring.client.stats()
        unmeasured = measuring.client.skipped().get("table-full", 0)
        assert stats["flows"] == count and stats["flows-dropped"] == stats["flows-evicted"]
        assert sent == count + stats["flows-evicted"] + unmeasured
        assert module.statistics()["flows_evicted"] - evicted == stats["flows-evicted"]
        shown = json.loads(pair.client.run(helper.path(), "--json", "show"))["statistics"]
        assert (shown["flows-evicted"], shown["flows-dropped"]) == (stats["flows-evicted"], stats["flows-dropped"])


@pytest.mark.timeout(600)
def test_many_idle_flows_go_without_a_stall(pair):
    """Many times as many flows as a step of the sweep looks at, made while it runs, and dropped while traffic goes on."""
    many = 40_000
    pair.client.run("ip", "link", "add", "sink", "type", "dummy")
    pair.client.run("ip", "link", "set", "sink", "up")
    pair.client.run("ip", "-6", "route", "add", "fd00:77::/64", "dev", "sink", "src", CLIENT)
    with module.memory_max(1 << 30), Measuring(pair) as measuring, Live(pair, measuring) as flow:
        measuring.client.policy_set(
            rule("v2-encrypted", remote=f"{SERVER}/128"), rule("v2"), flows_max=100_000, memory=512 << 20, idle=3600, rest=3600
        )
        flow.exchange(4)
        before = measuring.client.stats()
        traffic.udp_spray(pair.client, "fd00:77::1", many)
        stats = measuring.client.stats()
        assert stats["flows"] == before["flows"] + many, stats
        assert module.statistics()["memory"] >= stats["memory"] > before["memory"] + many * 200
        # No more than the limits of this version say: 256 bytes, 1 KiB in use.
        assert stats["memory"] - before["memory"] <= many * (256 + 1024)
        measuring.client.policy_set(rule("v2-encrypted", remote=f"{SERVER}/128"), rule("v2"), idle=1)
        rounds = 0

        def gone():
            # (Flows are not listed here: that takes the test's own client long.)
            nonlocal rounds
            accepted = measuring.server.stats()["accepted"]
            assert traffic.udp_exchange(pair.client, SERVER, 10, 0.001, port=LIVE_PORT, sock=flow.sock) == 10
            assert measuring.server.stats()["accepted"] == accepted + 10
            rounds += 1
            return measuring.client.stats()["flows"] <= before["flows"]

        wait_until(gone, "idle flows stay", 300)
        assert rounds > 1 and measuring.client.stats()["flows-dropped"] >= many
        measuring.client.flow_flush()
        assert measuring.client.stats()["memory"] == 0


def test_the_budget_of_the_host_is_the_initial_users_alone(pair):
    """"a host-wide budget caps the sum over namespaces, and only the initial user namespace raises it"."""
    budget = 1 << 20
    with module.memory_max(budget), Measuring(pair, "v2") as measuring:
        for user in (NOBODY, 0):
            command = [sys.executable, TOP / "tests" / "lib" / "elsewhere.py", str(user)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            said = json.loads(process.stdout.readline())
            # A namespace of another user namespace may take half of it, and of that what new flows may.
            assert 0 < said["memory"] <= budget // 2 - budget // 16 and said["flows"] < said["sent"], said
            # Root of another user namespace may own the file, and is refused all the same.
            assert said["raising"] == ("EACCES" if user else "EPERM"), said
            assert int(module.MEMORY_MAX.read_text()) == budget
            assert module.statistics()["memory"] >= said["memory"]
            # There is room for the machine's own.
            assert traffic.ping(pair.client, SERVER, 2) == 2
            assert measuring.client.skipped() == {}
            process.communicate("done\n", timeout=30 * PATIENCE)
            assert process.returncode == 0
            wait_until(lambda: module.statistics()["memory"] < budget // 4, "the namespace keeps its memory")
