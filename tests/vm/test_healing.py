# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""After whatever happens to one host or both, a pair heals by itself in a bounded time, and no nonce is ever repeated."""

import contextlib
import shutil
import signal
import time

import opener
import pytest
import traffic
from capture import UDP
from helper import negotiated
from hosts import LINK, PATIENCE, SERVER, Capture, run

PORT = 7000
DAY = 86400  # s
# README.md, "When something breaks": longest time from when two hosts reach each other again to a new secret, s.
BOUND = 90
HELPER_PORT = 4480


class Traffic:
    """A datagram and its echo every so often, each way, from one 5-tuple; and what the capture tells of it in the end."""

    def __init__(self, pair, path, interval=0.1):
        self.pair, self.interval = pair, interval
        self._stack = contextlib.ExitStack()
        self._tap = self._stack.enter_context(Capture(pair.client, path))
        self._stack.enter_context(traffic.UdpEcho(pair.server, PORT))
        self.sock = self._stack.enter_context(pair.client.udp(port=5555))

    def go_on(self, seconds):
        """Returns how many of how many came back."""
        count = int(seconds / self.interval)
        return traffic.udp_exchange(self.pair.client, SERVER, count, self.interval, sock=self.sock, port=PORT, timeout=1), count

    def options(self, *helpers):
        """Every option of the datagrams, opened; that none repeats a nonce is seen to."""
        options = opener.open_capture(self._tap.stop(), *(helper.key_log for helper in helpers))
        options = [o for o in options if o.flow.protocol == UDP]
        assert options and opener.repeated_pairs(options) == []
        return options

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()


def start(helpers, both_dial=True, **settings):
    client, server = helpers
    client.configure(server, **settings)
    server.configure(client, dials=both_dial, **settings)
    for helper in helpers:
        helper.start()
    return negotiated(*helpers)


def heals(helpers, beyond):
    """Waits for a new secret, no longer than the documentation says."""
    begun = time.monotonic()
    generation = negotiated(*helpers, beyond=beyond, seconds=BOUND)
    return generation, time.monotonic() - begun


@pytest.mark.virtual_time
@pytest.mark.timeout(600)
@pytest.mark.parametrize("both_dial", (True, False), ids=("both-dial", "one-dials"))
@pytest.mark.parametrize("down", (1, 100), ids=("at-once", "for-100-s"))
def test_both_daemons_are_killed_and_start_again(pair, helpers, results, both_dial, down):
    """"kill -9 of either daemon" is in test_helper.py: here both, started at the same time, with long waits or none."""
    with Traffic(pair, results(".pcap")) as flow:
        first = start(helpers, both_dial)
        assert flow.go_on(5) == (50, 50)
        for helper in helpers:
            helper.kill(signal.SIGKILL)
        assert flow.go_on(down) == (10 * down, 10 * down), "payload was lost"
        for helper in helpers:
            helper.start()
        second, _ = heals(helpers, first)
        assert flow.go_on(5) == (50, 50)
        options = flow.options(*helpers)
    assert {o.generation for o in options} == {first, second}
    assert {o.generation for o in options[-40:]} == {second}


@pytest.mark.virtual_time
@pytest.mark.timeout(900)
@pytest.mark.parametrize("both_dial", (True, False), ids=("both-dial", "one-dials"))
@pytest.mark.parametrize("minutes", (1, 5))
def test_a_partition_of_minutes_heals(pair, helpers, results, both_dial, minutes):
    """The secret's life ends meanwhile: the payload goes without, and is protected again once the hosts reach each other."""
    with Traffic(pair, results(".pcap")) as flow:
        first = start(helpers, both_dial, extra="lifetime = 60\n")
        flow.go_on(5)
        for host in pair.hosts:
            host.run("tc", "qdisc", "add", "dev", LINK, "root", "netem", "loss", "100%")
        time.sleep(60 * minutes)
        known = max(helper.sends_under() or first for helper in helpers)
        for host in pair.hosts:
            host.run("tc", "qdisc", "del", "dev", LINK, "root")
        second, _ = heals(helpers, known)
        assert flow.go_on(5) == (50, 50)
        options = flow.options(*helpers)
    # Renewed since, perhaps, as it lives for a minute.
    assert all(o.generation >= second for o in options[-40:])


@pytest.mark.virtual_time
@pytest.mark.timeout(600)
@pytest.mark.parametrize("jump", (DAY, -DAY), ids=("forward", "back"))
def test_the_wall_clock_jumps_by_a_day(pair, helpers, results, jump):
    """"lifetimes are relative seconds on a clock that counts suspend, never wall time": nothing ends, nothing is due."""
    with Traffic(pair, results(".pcap")) as flow:
        first = start(helpers, extra="lifetime = 120\n")
        flow.go_on(2)
        now = time.clock_gettime(time.CLOCK_REALTIME)
        time.clock_settime(time.CLOCK_REALTIME, now + jump)
        try:
            assert flow.go_on(60) == (600, 600)
            assert [helper.sends_under() for helper in helpers] == [first, first]
            # It is renewed when it is due by the other clock: the client's turn comes at three quarters, and then some.
            second = negotiated(*helpers, beyond=first, seconds=120)
            assert second == first + 1
            flow.go_on(2)
        finally:
            time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) - jump)
        options = flow.options(*helpers)
    assert {o.generation for o in options} == {first, second}


@pytest.mark.virtual_time
@pytest.mark.timeout(600)
@pytest.mark.parametrize("restored", ("client", "server"))
def test_a_host_is_restored_from_an_old_backup_of_its_state(pair, helpers, results, restored):
    """All that a daemon has on disk is from before several generations that the peer knows of: the next one is beyond them."""
    victim = helpers[0] if restored == "client" else helpers[1]
    backup = results("-backup")
    shutil.rmtree(backup, ignore_errors=True)
    with Traffic(pair, results(".pcap")) as flow:
        generation = start(helpers)
        shutil.copytree(victim.directory, backup)
        used = {generation}
        for _ in range(3):
            flow.go_on(1)
            for helper in helpers:
                helper.kill(signal.SIGKILL)
                helper.start()
            generation, _ = heals(helpers, generation)
            used.add(generation)
        flow.go_on(1)
        # What was learned since is kept for opening the capture.
        log = victim.key_log.rename(results(".keys"))
        victim.kill(signal.SIGKILL)
        shutil.rmtree(victim.directory)
        shutil.copytree(backup, victim.directory)
        run("chmod", "600", victim.key, victim.key_log)
        victim.start()
        last, _ = heals(helpers, generation)
        assert last > max(used)
        flow.go_on(2)
        with open(victim.key_log, "a", encoding="utf-8") as to:
            to.write(log.read_text(encoding="utf-8"))
        options = flow.options(*helpers)
    assert {o.generation for o in options[-10:]} == {last} and {o.generation for o in options} <= used | {last}


@pytest.mark.virtual_time
@pytest.mark.timeout(600)
def test_hosts_that_start_at_once_negotiate_once(pair, helpers, results):
    """Both dial at the same moment, again and again: one of two crossing negotiations stands, and no third is needed."""
    generation = start(helpers)
    for _ in range(10):
        # Only where the module keeps what it has does the next generation tell that it is one.
        for helper in helpers:
            helper.kill(signal.SIGKILL)
        for helper in helpers:
            helper.start()
        generation, took = heals(helpers, generation)
        assert took < 30 * PATIENCE
    made = [len(opener.read_key_log(helper.key_log)) for helper in helpers]
    # One for each start, and where they crossed in the middle one more.
    assert all(11 <= count <= 22 for count in made), made
