# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""State that is made, kept and counted on by receiving alone (docs/protocol.md, sections 3 and 6)."""

import subprocess
import sys

import opener
import pytest
from capture import UDP
from craft import Crafted, alone
from family import rule
from hosts import CLIENT, SERVER, Capture, run, wait_until
from measuring import Measuring, new_secret
from test_bad_input import Target

CLIENT_PORT, PORT = 5555, 7000
DTLR = {"dtlr": 0xE35F, "scale_dtlr": 34}  # 1 ms
PEER_IDLE = 5


@pytest.mark.parametrize("mechanism", ["v2", "v2-encrypted"])
def test_what_only_receiving_made_is_unverified_and_has_no_samples_until_it_names_a_psn_of_ours(pair, results, mechanism):
    """"State created anew by receiving contributes no metrics until its PSNLR names a PSN in our own ring; one-way flows
    are marked unverified." """
    with Measuring(pair, mechanism) as measuring, pair.server.udp(port=PORT) as server:
        measuring.client.policy_set()
        tap = Capture(pair.server, results(".pcap"), expression="udp or ip6 protochain 17")
        with Crafted(pair, measuring.secrets.get(1), CLIENT_PORT, PORT) as crafted, tap:

            def send(**fields):
                fields = crafted.fields(**fields)
                body = crafted.sealed(fields) if mechanism == "v2-encrypted" else crafted.plain(fields)
                assert crafted.send(alone(body)) == server.recv(100)
                [flow] = [f for f in measuring.server.flows() if f["id"]["protocol"] == UDP]
                return flow.get("verified", False), flow.get("rtt", {}).get("samples", 0), flow["accepted"]

            # Nothing was sent, so that whatever is named is made up. (What nobody answers is kept for 2 s.)
            assert send(psnlr=77, **DTLR) == (False, 0, 1)
            assert send(psnlr=78, **DTLR) == (False, 0, 2)
            server.sendto(b"answer", (CLIENT, CLIENT_PORT))
            wait_until(lambda: measuring.server.stats()["options-out"] == 1, "no option is sent", 5)
            log = [measuring.key_log(results(".keys"))] if mechanism == "v2-encrypted" else []
            [answer] = [o for o in opener.open_capture(tap.stop(), *log) if o.flow.saddr == SERVER]
            ours = answer.fields.psntp
            assert send(psnlr=(ours + 1) & 0xFFFF, **DTLR) == (False, 0, 3)
            assert send(psnlr=ours, **DTLR) == (True, 1, 4)


def test_under_the_older_of_two_secrets_no_state_begins_once_the_newer_authenticated(pair):
    """"Once a newer secret authenticated on a flow, the older is accepted only for receive states already live." """
    with Measuring(pair) as measuring, Target(pair, measuring.server) as target:
        measuring.secrets[2] = new_secret(generation=2)
        measuring.server.secret_add(measuring.secrets[2], prk=True)
        with Crafted(pair, measuring.secrets[1]) as crafted:

            def send(generation, epoch):
                body = crafted.sealed(epoch=epoch, secret=measuring.secrets[generation])
                before = target.counted()
                assert target.delivered(crafted.send(alone(body)))
                after = target.counted()
                return "accepted" if after[1] > before[1] else next(r for r, n in after[2].items() if n > before[2].get(r, 0))

            table = [
                (1, 0, "accepted"), (1, 1, "accepted"), (2, 0, "accepted"), (1, 1, "accepted"), (2, 0, "accepted"),
                (1, 2, "authentication"), (1, 0, "authentication"), (2, 1, "accepted"), (2, 0, "accepted"),
            ]  # fmt: skip
            assert [(generation, epoch, send(generation, epoch)) for generation, epoch, _ in table] == table


@pytest.mark.virtual_time
@pytest.mark.parametrize("peer_idle", [0, PEER_IDLE])
def test_receive_state_lives_for_twice_the_peers_idle_lifetime(pair, peer_idle):
    """"Receive state lives at least twice the peer's idle lifetime (told in the negotiation)." """
    with Measuring(pair, peer_idle=peer_idle) as measuring, Target(pair, measuring.server) as target:
        measuring.server.policy_set(rule("v2-encrypted"), idle=1)
        with Crafted(pair, measuring.secrets[1]) as crafted:
            assert target.delivered(crafted.send(alone(crafted.sealed())))
        assert measuring.server.stats()["flows"] == 1
        # Longer than the flow's own idle time and its least age.
        run("sleep", PEER_IDLE)
        assert measuring.server.stats()["flows"] == (1 if peer_idle else 0)
        run("sleep", 2 * PEER_IDLE)
        assert measuring.server.stats()["flows"] == 0


# Datagrams of both CPUs.
COUNT = 3000
SENDER = """
import os, socket, sys
count, fileno, cpu = map(int, sys.argv[1:])
os.sched_setaffinity(0, {cpu})
sock = socket.socket(fileno=fileno)
for _ in range(count):
    sock.send(b"x")
"""


@pytest.mark.parametrize("settings", [{}, {"epoch_packets": 100}])
def test_two_cpus_that_send_on_one_flow_share_no_key_and_nonce(pair, results, settings):
    """"Not by rollover, ... two CPUs": what each sends comes from the flow's one counter."""
    with Measuring(pair, **settings) as measuring, pair.server.udp(port=PORT), pair.client.udp() as sock:
        sock.connect((SERVER, PORT))
        with Capture(pair.server, results(".pcap"), expression="udp or ip6 protochain 17") as tap:
            command = [sys.executable, "-c", SENDER, str(COUNT // 2), str(sock.fileno())]
            senders = [subprocess.Popen([*command, str(cpu)], pass_fds=[sock.fileno()]) for cpu in (0, 1)]
            assert [sender.wait() for sender in senders] == [0, 0]
            wait_until(lambda: measuring.server.stats()["options-in"] == COUNT, "datagrams are missing", 20)
            options = opener.open_capture(tap.stop(), measuring.key_log(results(".keys")))
        assert measuring.client.skipped() == {}
    assert len(options) == COUNT and opener.repeated_pairs(options) == []
    assert len({o.fields.psntp for o in options}) == COUNT, "a PSN came twice"
