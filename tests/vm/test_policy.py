# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Which rule decides about a packet, however many there are and however often they change; and a namespace's limits."""

import errno
import time

import helper
import pytest
import traffic
from capture import UDP
from family import Family, error_of, prefix, rule
from hosts import CLIENT, SERVER, wait_until
from measuring import Measuring

RULES_MAX = 512
LIMITS = {
    "flows-max": 16384, "memory": 64 << 20, "idle": 120, "rest": 30, "pending-max": 1024, "associations-max": 4096,
    "acquire-rate": 512, "event-rate": 512, "stranger-rate": 512,
}  # fmt: skip
SET = {
    "flows-max": 99, "memory": 1 << 33, "idle": 55, "rest": 7, "pending-max": 77, "associations-max": 2,
    "acquire-rate": 3, "event-rate": 4, "stranger-rate": 5,
}  # fmt: skip


def limits_of(family):
    policy = family.policy_get()
    return {name: policy[name] for name in LIMITS}


def hits(family):
    return [r["hits"] for r in family.policy_get()["rule"]]


def port_rules(count, last):
    """Rules for ports nobody uses, and the last one for everything."""
    return [rule("none", protocol=UDP, remote_port_first=20000 + n, remote_port_last=20000 + n) for n in range(count - 1)] + [last]


@pytest.mark.parametrize("count", (1, 8, 9, 64, 65, RULES_MAX))
def test_one_of_many_rules_decides_and_counts_every_packet(pair, count):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server):
        measuring.client.policy_set(*port_rules(count, rule("v2", protocol=UDP)))
        with pair.client.udp() as sock:
            assert traffic.udp_exchange(pair.client, SERVER, 30, sock=sock) == 30
        assert measuring.client.flow(UDP)["options-out"] == 30
        assert hits(measuring.client) == [0] * (count - 1) + [30]
        if count > 1:
            # Another flow, to the port of a rule in the middle.
            with pair.client.udp() as sock:
                sock.sendto(b"x", (SERVER, 20000 + count // 2 - 1))
            assert hits(measuring.client)[count // 2 - 1] == 1
            assert measuring.client.stats()["flows"] == 1


def test_a_flow_in_use_notices_that_the_policy_was_replaced(pair):
    """"Atomic replacement of the whole rule set": the next packet goes by the new one, and is counted by it."""
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server), pair.client.udp() as sock:
        measuring.server.policy_set(rule("v2", accept={"pdm", "v2"}))
        sent = 0
        for mechanism, count in (("v2", 1), ("pdm", RULES_MAX), ("none", 9), ("pdm", 1), ("v2", RULES_MAX)):
            measuring.client.policy_set(*port_rules(count, rule(mechanism, accept={"v2"}, protocol=UDP)))
            assert traffic.udp_exchange(pair.client, SERVER, 5, sock=sock) == 5
            sent += 5 if mechanism != "none" else 0
            flow = measuring.client.flow(UDP)
            assert flow["options-out"] == sent and hits(measuring.client)[-1] == 5
            if mechanism != "none":
                assert flow["mechanism"] == mechanism


def test_a_rule_that_expires_gives_a_flow_in_use_to_the_next(pair):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server), pair.client.udp() as sock:
        measuring.server.policy_set(rule("v2", accept={"pdm", "v2"}))
        first = rule("v2", protocol=UDP) | {"expiry": 3}
        measuring.client.policy_set(first, *port_rules(20, rule("pdm", accept={"v2"}, protocol=UDP)))
        assert traffic.udp_exchange(pair.client, SERVER, 5, 0, sock=sock) == 5
        assert hits(measuring.client)[0] == 5, "the first rule expired before it was used"
        wait_until(lambda: measuring.client.policy_get()["rule"][0].get("expiry") == 0, "the rule never expires", 10)
        assert traffic.udp_exchange(pair.client, SERVER, 7, sock=sock) == 7
        assert (hits(measuring.client)[0], hits(measuring.client)[-1]) == (5, 7)
        assert measuring.client.flow(UDP)["mechanism"] == "pdm"


def test_limits_belong_to_the_namespace(pair):
    """Each has a default, stays as it is where it is absent, and outlives the rules."""
    with Family(pair.client) as client, Family(pair.server) as server:
        assert limits_of(client) == LIMITS
        client.policy_set(rule("v2"), **{name.replace("-", "_"): value for name, value in SET.items()})
        assert limits_of(client) == SET
        for rules in ([], [rule("pdm")], []):
            client.policy_set(*rules)
            assert limits_of(client) == SET and len(client.policy_get().get("rule", [])) == len(rules)
        for name, value in SET.items():
            client.policy_set(**{name.replace("-", "_"): value + 1})
            assert limits_of(client) == SET | {name: value + 1}
            client.policy_set(**{name.replace("-", "_"): value})
        assert limits_of(server) == LIMITS


def test_a_limit_changes_alone(pair):
    """Neither the rules change, nor what they counted, nor any other limit, nor the flows; with rules and without."""
    udp = rule("v2", protocol=UDP, sample=2)
    with (
        Measuring(pair, "v2", rules=[rule("pdm", protocol=6), udp]) as measuring,
        traffic.UdpEcho(pair.server),
        pair.client.udp() as sock,
    ):
        client, rules = measuring.client, lambda: client.policy_get()["rule"]
        assert traffic.udp_exchange(pair.client, SERVER, 4, sock=sock) == 4
        before, flows = rules(), client.flows()
        assert hits(client) == [0, 4]
        for name, value in SET.items():
            expected = limits_of(client) | {name: value}
            if name == "flows-max":
                pair.client.run(helper.path(), "policy", "limit", f"--{name}", value)
            else:
                client.limits_set(**{name.replace("-", "_"): value})
            assert limits_of(client) == expected and rules() == before
        client.limits_set()
        assert limits_of(client) == SET and [f["id"] for f in client.flows()] == [f["id"] for f in flows]
        # In force: the rule, and a limit.
        assert traffic.udp_exchange(pair.client, SERVER, 4, sock=sock) == 4
        assert hits(client) == [0, 8] and client.flow(UDP)["options-out"] == 4
        traffic.udp_spray(pair.client, SERVER, 2 * SET["flows-max"])
        assert client.stats()["flows"] == SET["flows-max"]
        # What is no limit, and what is out of bounds, changes nothing.
        for wrong, named in (({"rule": [rule("v2")]}, "rule"), ({"forbid_plain": True}, "forbid-plain"), ({"idle": 0}, "idle")):
            number, message, _ = error_of(client.limits_set, rest=9, **wrong)
            assert number in (errno.EINVAL, errno.ERANGE) and named in message, message
        assert limits_of(client) == SET
        assert [(r["send"], r["sample"]) for r in rules()] == [("pdm", 1), ("v2", 2)]
        client.policy_set()
        client.limits_set(idle=77)
        assert limits_of(client) == SET | {"idle": 77} and "rule" not in client.policy_get()
        # The command wants one at least, and tells what the module refuses.
        for words, said in (([], "required"), (["--rest", 0], "rest")):
            with pytest.raises(AssertionError, match=said):
                pair.client.run(helper.path(), "policy", "limit", *words)


def test_wrong_limits_change_nothing(pair):
    wrong = {
        "pending-max": (0, 65537), "associations-max": (0, 65537), "acquire-rate": (0, 65537), "event-rate": (0, 65537),
        "stranger-rate": (0, 65537), "rest": (0, 86401), "flows-max": (0, 1048577), "idle": (0, 86401),
    }  # fmt: skip
    with Family(pair.client) as client:
        client.policy_set(rule("v2"), idle=99)
        for name, values in wrong.items():
            for value in values:
                number, message, attribute = error_of(client.policy_set, rule("pdm"), **{name.replace("-", "_"): value})
                assert number in (errno.EINVAL, errno.ERANGE) and (name in message or name in attribute), (name, message)
        assert limits_of(client) == LIMITS | {"idle": 99} and client.policy_get()["rule"][0]["send"] == "v2"


def test_associations_are_limited(pair):
    with Family(pair.client) as client:
        client.policy_set(associations_max=2)
        for n in (1, 2):
            client.association_set(CLIENT, f"fd00:9::{n}", name=f"number {n}")
        number, message, attribute = error_of(client.association_set, CLIENT, "fd00:9::3", name="number 3")
        assert (number, attribute) == (errno.ENOSPC, ".name") and "at most 2" in message
        # One that is there may change, and one that goes makes room.
        client.association_set(CLIENT, "fd00:9::4", name="number 2")
        client.association_del("number 1")
        client.association_set(CLIENT, "fd00:9::3", name="number 3")
        assert {a["name"]: a["remote"] for a in client.associations()} == {
            "number 2": [prefix("fd00:9::4")], "number 3": [prefix("fd00:9::3")]
        }  # fmt: skip


def test_questions_are_asked_at_the_rate_of_the_namespace(pair):
    with Measuring(pair, mode="helper") as measuring, Family(pair.client) as listener:
        for responder in measuring.responders:
            responder.close()
        measuring.client.policy_set(rule("v2-encrypted", protocol=UDP), acquire_rate=2)
        listener.ynl.ntf_subscribe("keys")
        began = time.monotonic()
        # Each new flow asks for two keys.
        traffic.udp_spray(pair.client, SERVER, 50)
        asked = measuring.client.stats()["acquires"]
        passed = time.monotonic() - began
        assert 0 < asked <= 2 * 2 + 2 * passed + 1, (asked, passed)
        assert measuring.client.skipped() == {"no-key": 50}


def test_the_pending_table_is_replaced_under_traffic(pair):
    """Another size drops what is pending, and no flow: what is measured goes on meanwhile."""
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server), pair.client.udp() as sock:
        traffic.udp_exchange(pair.client, SERVER, 5, sock=sock)
        with traffic.Background(lambda: traffic.udp_exchange(pair.client, SERVER, 3, 0.001)) as background:
            for n in range(20):
                measuring.server.policy_set(rule("v2-encrypted"), pending_max=1 + n * 37)
            wait_until(lambda: background.rounds > 2, "traffic stands still", 20)
        before = measuring.server.flow(UDP, remote_port=sock.getsockname()[1])["accepted"]
        assert traffic.udp_exchange(pair.client, SERVER, 5, sock=sock) == 5
        assert measuring.server.flow(UDP, remote_port=sock.getsockname()[1])["accepted"] == before + 5
        assert measuring.server.policy_get()["pending-max"] == 1 + 19 * 37
