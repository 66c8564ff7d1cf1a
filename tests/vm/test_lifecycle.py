# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Beginnings and ends: of the module, of namespaces, policies, secrets, epochs and flows."""

import contextlib
import errno
import json
import socket
import subprocess
import sys
import time

import module
import opener
import pytest
import traffic
from capture import UDP
from family import Family, error_of, rule
from hosts import CLIENT, PATIENCE, SERVER, TOP, Capture, Pair, run, wait_until
from measuring import MODES, Measuring, new_secret
from test_bulk import UDP_SEGMENT
from test_plain import consecutive


@contextlib.contextmanager
def busy(pair):
    """Traffic of every kind that does not stop."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        sock = enter(pair.client.udp())
        enter(traffic.UdpEcho(pair.server)), enter(traffic.TcpEcho(pair.server)), enter(traffic.Sink(pair.server))
        yield [
            enter(traffic.Background(lambda: traffic.udp_exchange(pair.client, SERVER, 10, 0.002, sock=sock, timeout=0.2))),
            enter(traffic.Background(lambda: traffic.tcp_exchange(pair.client, SERVER, 5))),
            enter(traffic.Background(lambda: traffic.bulk(pair.client, SERVER, 1 << 18))),
        ]


def rounds_pass(loops):
    """Every kind of traffic goes on."""
    before = [loop.rounds for loop in loops]
    wait_until(lambda: all(l.rounds > b for l, b in zip(loops, before)), "traffic stands still", 20)


@pytest.mark.parametrize("mode", MODES)
def test_the_module_unloads_under_traffic(pair, mode):
    with Measuring(pair, mode=mode) as measuring, busy(pair) as loops:
        wait_until(lambda: measuring.client.stats()["options-out"] > 50, "nothing is measured", 20)
        module.unload()
        assert not module.SYSFS.exists()
        rounds_pass(loops)
    module.load()


def test_namespaces_are_deleted_under_traffic(pair):
    """No process and no socket is left to hold the server's namespace: it goes while packets pour into it."""
    for first in ("server", "client", "both"):
        with Pair(2, names=("left", "right")) as doomed:
            # Policies, keys and flows stay when the netlink sockets go.
            Measuring(doomed).close()
            before = module.statistics()["accepted"]
            ping = doomed.client.start("ping", "-f", SERVER, stdout=subprocess.DEVNULL)
            wait_until(lambda: module.statistics()["accepted"] > before + 50, "nothing is measured", 10)
            if first == "server":
                doomed.server.close()
                doomed.hosts.remove(doomed.server)
                time.sleep(0.2)
                assert ping.poll() is None, "the traffic ended before the namespace"
            elif first == "client":
                doomed.client.close()
                doomed.hosts.remove(doomed.client)
        ping.wait(5 * PATIENCE)
    # The module holds on to none of them.
    module.unload()
    module.load()


def test_two_namespaces_have_policies_of_their_own(pair):
    with Measuring(pair, "v2") as measuring:
        measuring.client.policy_set(rule("pdm", accept={"v2"}))
        measuring.server.policy_set(rule("v2", accept={"pdm"}))
        assert traffic.ping(pair.client, SERVER, 5) == 5
        for family, sends, receives in ((measuring.client, "pdm", "v2"), (measuring.server, "v2", "pdm")):
            flow = family.flow(58)
            assert (flow["mechanism"], flow["received-mechanism"], flow["accepted"]) == (sends, receives, 5)
        # A third namespace knows nothing of either.
        with Pair(names=("other", "another")) as others, Family(others.client) as family:
            assert "rule" not in family.policy_get() and family.flows() == [] and family.stats()["packets-out"] == 0
            assert traffic.ping(others.client, SERVER, 2) == 2
            assert family.stats()["packets-out"] == 0


def test_removing_the_policy_stops_options_at_once(pair):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server):
        traffic.udp_exchange(pair.client, SERVER, 5)
        measuring.client.policy_set()
        sent = measuring.client.stats()["options-out"]
        assert traffic.udp_exchange(pair.client, SERVER, 5) == 5
        stats = measuring.client.stats()
        assert (stats["options-out"], stats["flows"]) == (sent, 0)
        assert measuring.client.flows() == []
        # The server's options arrive at a host that does not look at them.
        assert stats["options-in"] == 5


def test_a_full_table_leaves_new_flows_unmeasured(pair):
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server):
        measuring.client.policy_set(rule("v2", protocol=UDP))
        measuring.client.policy_set()
        with Pair(names=("small", "peer")) as small, Family(small.client) as family, traffic.UdpEcho(small.server):
            family.policy_set(rule("v2", protocol=UDP), flows_max=4)
            for _ in range(10):
                assert traffic.udp_exchange(small.client, SERVER, 2) == 2
            assert family.stats()["flows"] == 4
            assert family.skipped() == {"table-full": 12}
            assert family.stats()["options-out"] == 8


def test_idle_flows_are_dropped_and_come_back_in_a_later_epoch(pair, results):
    """"Dropping a flow raises its bucket's floor to the flow's epoch + 1, and a flow starts at its bucket's floor." """
    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair) as measuring, traffic.UdpEcho(pair.server):
        for family in measuring.families:
            family.policy_set(rule("v2-encrypted"), idle=1)
        sock = pair.client.udp()
        assert traffic.udp_exchange(pair.client, SERVER, 10, sock=sock) == 10
        for family in measuring.families:
            # "State has a minimum age of secret lifetime / 2048": 1.8 s here.
            wait_until(lambda family=family: family.stats()["flows"] == 0, "idle flows stay", 10, 0.3)
            assert family.stats()["flows-dropped"] >= 1
        assert traffic.udp_exchange(pair.client, SERVER, 10, sock=sock) == 10
        flow = measuring.client.flow(UDP)
        sock.close()
        options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
    assert (flow["send-epoch"], flow["receive-epoch"]) == (1, 1)
    assert {o.fields.epoch for o in options if o.flow.protocol == UDP} == {0, 1}
    assert opener.repeated_pairs(options) == []


@pytest.mark.parametrize("mode", MODES)
def test_flushing_flows_never_repeats_a_key_and_nonce(pair, results, mode):
    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair, mode=mode) as measuring:
        sock = pair.client.udp()
        with traffic.UdpEcho(pair.server):
            for _ in range(6):
                assert traffic.udp_exchange(pair.client, SERVER, 12, sock=sock) == 12
                measuring.client.flow_flush()
                measuring.server.flow_flush()
        sock.close()
        options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
        highest = measuring.client.associations()[0]["secret"][0]["highest-epoch"]
    outward = [o for o in options if o.direction == "out"]
    assert len(outward) > 40 and opener.repeated_pairs(options) == []
    epochs = [o.fields.epoch for o in outward]
    assert epochs == sorted(epochs) and highest == epochs[-1] >= 5


@pytest.mark.parametrize("mode", MODES)
def test_the_epoch_steps_when_the_psn_wraps(pair, results, mode):
    """"MUST step when PSNTP wraps (the packet with PSNTP 0 is the first of the next epoch)". """
    with Measuring(pair, mode=mode) as measuring, pair.server.udp(port=7000), pair.client.udp() as sock:
        sock.connect((SERVER, 7000))
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)
        log = measuring.key_log(results(".keys"))

        def sealed(count):
            """Sends datagrams one by one; returns their options."""
            with Capture(pair.client, results(".pcap")) as tap:
                for _ in range(count):
                    sock.send(b"1")
                return [o for o in opener.open_capture(tap.stop(), log) if o.flow.protocol == UDP]

        def accepted():
            options = sealed(3)
            return options if measuring.server.stats()["accepted"] else None

        first = wait_until(accepted, "no option is accepted", 10)[-1].fields.psntp
        left = 65536 - first - 30
        while left > 0:
            left -= sock.send(b"1" * min(left, 60))
            time.sleep(0.0005)
        around = sealed(60)
        flows = measuring.client.flow(UDP), measuring.server.flow(UDP)
        refused = measuring.server.refused()
    numbers = [(o.fields.epoch, o.fields.psntp) for o in around]
    assert (0, 65535) in numbers and numbers[numbers.index((0, 65535)) + 1] == (1, 0)
    consecutive(around)
    assert opener.repeated_pairs(around) == [] and len({o.key for o in around}) == 2
    assert (flows[0]["send-epoch"], flows[1]["receive-epoch"]) == (1, 1)
    assert set(refused) <= {"no-key"} and refused.get("no-key", 0) < 10, refused
    # Options whose key was not there yet are not known to have come.
    assert flows[1]["lost"] <= refused.get("no-key", 0)


def test_a_secret_that_was_sent_under_is_for_receiving_only_when_added_again(pair):
    """"such a secret, added again, is for receiving only (helper restart, `sync`, another namespace)". """
    with Measuring(pair) as measuring:
        secret = measuring.secrets[1]
        traffic.ping(pair.client, SERVER, 2)
        measuring.client.secret_del(1)
        assert "may-send" not in measuring.client.secret_add(secret, prk=True)
        number, message, attribute = error_of(measuring.client.secret_activate, 1)
        assert (number, attribute) == (errno.EALREADY, ".generation") and "sent under before" in message
        traffic.ping(pair.client, SERVER, 2)
        assert measuring.client.skipped() == {"no-key": 2}
        # It still opens what the other side sends.
        assert measuring.client.stats()["accepted"] >= 4
        # An association made anew, and another namespace with the same address, get no other answer.
        measuring.client.association_del()
        measuring.client.association_set(CLIENT, SERVER, key_mode="kernel")
        measuring.client.secret_add(secret, prk=True)
        assert error_of(measuring.client.secret_activate, 1)[0] == errno.EALREADY
        with Pair(names=("twin", "peer")) as twins, Family(twins.client) as family:
            family.association_set(CLIENT, SERVER, key_mode="kernel")
            family.secret_add(secret, prk=True)
            assert error_of(family.secret_activate, 1)[0] == errno.EALREADY


@pytest.mark.timeout(300)
def test_what_a_user_sent_under_takes_no_room_from_others(pair):
    """The module remembers every secret it ever sent under, and forgets none: what one user fills is that user's share."""
    first, share, users = 5000, 8192 // 32, 8
    # What other tests left is forgotten.
    module.unload()
    module.load()
    try:
        # Each of eight users takes what there is, and then some from another namespace; then comes a ninth.
        asked = [f"{first + n}:{most}" for n in range(users) for most in (2 * share, 1)] + [f"{first + users}:1"]
        said = run(sys.executable, TOP / "tests" / "lib" / "sending_under.py", *asked)
        *each, ninth = map(json.loads, said.splitlines())
        assert [one["activated"] for one in each] == [share, 0] * users
        for one in each:
            assert one["errno"] == "EDQUOT" and "this user" in one["message"], one
        assert ninth["activated"] == 0 and ninth["errno"] == "ENOSPC" and "no more secrets" in ninth["message"]
        # What is refused is not sent under, though it never was before.
        assert {(one["state"], one["may-send"]) for one in (*each, ninth)} == {("receive", True)}
        # The machine's own have theirs.
        with Measuring(pair) as measuring:
            measuring.renew(new_secret(generation=2))
            assert traffic.ping(pair.client, SERVER, 3) == 3
            assert measuring.client.stats()["accepted"] == 3 and measuring.client.skipped() == {}
    finally:
        module.unload()
        module.load()


def test_a_retired_secret_is_never_sent_under_even_if_it_never_was(pair):
    """All secrets are retired when the machine is copied: what one copy sends under, the other may not."""
    with Measuring(pair) as measuring:
        for generation in (2, 3):
            measuring.client.secret_add(new_secret(generation), prk=True)
            if generation == 2:
                measuring.client.secret_del(1)
        measuring.client.secret_activate(3)
        assert error_of(measuring.client.secret_activate, 2)[0] == errno.EALREADY
        states = {s["generation"]: s["state"] for s in measuring.client.associations()[0]["secret"]}
        assert states == {2: "retired", 3: "send"}


def test_a_deleted_secret_is_sent_and_accepted_under_no_more(pair):
    with Measuring(pair) as measuring:
        traffic.ping(pair.client, SERVER, 2)
        measuring.client.secret_del(1)
        sent = measuring.client.stats()["options-out"]
        assert traffic.ping(pair.client, SERVER, 3) == 3
        assert measuring.client.stats()["options-out"] == sent
        assert measuring.client.refused() == {"no-key": 3}


def test_a_secret_ends_with_its_lifetime(pair):
    with Measuring(pair) as measuring:
        secret = new_secret(generation=2)
        for family in measuring.families:
            family.secret_del(1)
            family.secret_add(secret, prk=True, lifetime=2 * PATIENCE)
            family.secret_activate(2)
        traffic.ping(pair.client, SERVER, 1)
        assert measuring.client.stats()["accepted"] == 1
        wait_until(lambda: "secret" not in measuring.client.associations()[0], "the secret stays", 6)
        sent = measuring.client.stats()["options-out"]
        assert traffic.ping(pair.client, SERVER, 2) == 2
        assert measuring.client.stats()["options-out"] == sent
        assert measuring.client.skipped() == {"no-key": 2}


def test_at_most_two_generations_live_at_once(pair):
    with Measuring(pair) as measuring:
        measuring.client.secret_add(new_secret(generation=2), prk=True)
        number, message, _ = error_of(measuring.client.secret_add, new_secret(generation=3), prk=True)
        assert number == errno.ENOSPC and "two secrets" in message


def test_without_a_responder_packets_go_at_once_and_the_question_is_repeated(pair):
    """"No key yet ...: the packet goes out unchanged, at once, and a counter says why." """
    with Measuring(pair, mode="helper") as measuring, Family(pair.client) as listener:
        for responder in measuring.responders:
            responder.close()
        listener.ynl.ntf_subscribe("keys")
        assert traffic.ping(pair.client, SERVER, 10, interval=0.1) == 10
        asked = [m["msg"] for m in listener.ynl.poll_ntf(duration=0.3)]
        assert measuring.client.stats()["options-out"] == 0
        assert measuring.client.skipped() == {"no-key": 10}
    sending = [a for a in asked if a["direction"] == "send"]
    # Repeated with back-off: more than once, less than once a packet.
    assert 2 <= len(sending) <= 7
    for a in sending:
        assert (a["association"], a["generation"], a["epoch"], a["flow"]["protocol"]) == ("peer", 1, 0, 58)
        assert (a["flow"]["local-address"], a["flow"]["remote-address"]) == (CLIENT, SERVER)
