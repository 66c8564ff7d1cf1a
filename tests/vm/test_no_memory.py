# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Where the kernel has no memory for the module, packets go as they are, that is counted, and nothing is lost or leaked.

Run on the debug kernel, which can be told to have none.
"""

import failing
import pytest
import traffic
from craft import Crafted, alone
from family import rule
from hosts import SERVER, wait_until
from measuring import MODES, Measuring, consistent

pytestmark = pytest.mark.watched
COUNT = 20


@pytest.fixture(autouse=True)
def aimed(loaded):
    failing.aim()


@pytest.mark.parametrize("mechanism", ("pdm", "v2", "v2-encrypted"))
def test_a_new_flow_without_memory_goes_without_options(pair, mechanism):
    with Measuring(pair, mechanism) as measuring, traffic.UdpEcho(pair.server), pair.client.udp() as sock:
        with failing.allocations():
            assert traffic.udp_exchange(pair.client, SERVER, COUNT, sock=sock) == COUNT
            for family in measuring.families:
                stats = family.stats()
                assert family.skipped() == {"no-memory": COUNT}, stats
                assert stats["flows"] == stats["pending"] == stats["memory"] == stats["options-out"] == 0, stats
        # With memory it is measured, as if nothing had been.
        assert traffic.udp_exchange(pair.client, SERVER, COUNT, sock=sock) == COUNT
        for family in measuring.families:
            assert family.skipped() == {"no-memory": COUNT}
            assert family.stats()["options-out"] == consistent(family)["accepted"] == COUNT


def test_options_of_a_stranger_without_memory_are_refused(pair):
    with Measuring(pair, "v2") as measuring, Crafted(pair) as crafted, traffic.UdpEcho(pair.server) as server:
        measuring.client.policy_set()
        # The server sends no option that it would need memory for.
        measuring.server.policy_set(rule("none", accept=["v2"]))
        with failing.allocations():
            sent = [crafted.send(alone(crafted.plain())) for _ in range(COUNT)]
            wait_until(lambda: len(server.received) == COUNT, "the payload was not delivered")
        assert server.received == sent
        stats = consistent(measuring.server)
        assert measuring.server.refused() == {"no-memory": COUNT} and stats["options-in"] == COUNT, stats
        assert stats["pending"] == stats["flows"] == stats["memory"] == 0, stats


@pytest.mark.parametrize("mode", MODES)
def test_a_flow_that_lives_needs_no_memory_for_a_packet(pair, mode):
    with Measuring(pair, mode=mode) as measuring, traffic.UdpEcho(pair.server), pair.client.udp() as sock:

        def lives():
            before = [family.stats()["accepted"] for family in measuring.families]
            traffic.udp_exchange(pair.client, SERVER, 2, sock=sock)
            return [family.stats()["accepted"] for family in measuring.families] == [n + 2 for n in before]

        wait_until(lives, "the flow has no keys")
        before = [family.stats() for family in measuring.families]
        with failing.allocations():
            assert traffic.udp_exchange(pair.client, SERVER, COUNT, sock=sock) == COUNT
        for family, earlier in zip(measuring.families, before):
            stats = consistent(family)
            for name in ("options-out", "accepted"):
                assert stats[name] == earlier[name] + COUNT, (name, earlier, stats)


@pytest.mark.parametrize("mode", MODES)
def test_whatever_fails_payload_arrives_and_memory_is_given_back(pair, mode):
    """Every third allocation: flows that begin, keys that are derived or installed, epochs that step, super-packets."""
    rounds, flows = 4, 16
    with Measuring(pair, mode=mode, epoch_packets=64) as measuring, traffic.UdpEcho(pair.server), traffic.Sink(pair.server):
        with failing.allocations(33):
            for _ in range(rounds):
                for _ in range(flows):
                    assert traffic.udp_exchange(pair.client, SERVER, 5, 0) == 5
                assert traffic.bulk(pair.client, SERVER, 256 << 10)
        failed = [family.skipped().get("no-memory", 0) + family.refused().get("no-memory", 0) for family in measuring.families]
        assert all(failed), [family.stats() for family in measuring.families]
        for family in measuring.families:
            consistent(family)
            family.flow_flush()
            assert family.stats()["memory"] == 0
        with pair.client.udp() as sock:

            def measured():
                accepted = measuring.server.stats()["accepted"]
                traffic.udp_exchange(pair.client, SERVER, 2, sock=sock)
                return measuring.server.stats()["accepted"] == accepted + 2

            wait_until(measured, "nothing is measured any more")
