# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Whatever is wrong with an option, the payload is delivered, nothing is answered, and a counter says why; and where type,
length or padding are damaged, the outcome is that of the kernel without the module (docs/protocol.md, section 6)."""

import os

import opener
import option
import pytest
import traffic
from capture import UDP, read_pcap
from craft import Crafted, alone, flipped, options_header
from family import error_of, rule
from hosts import CLIENT, PATIENCE, SERVER, Capture, wait_until
from measuring import MODES, Measuring, consistent, new_secret

PSN_BITS = range(16, 32)  # of the content: flipped, the option is another one, under another nonce


class Target:
    """A silent UDP server on the server host that keeps what it gets, and the counters of that host."""

    def __init__(self, pair, family, port=7000):
        self.family, self.sock = family, pair.server.udp(port=port)
        self.sock.settimeout(2 * PATIENCE)

    def delivered(self, payload):
        """Whether this very payload comes next."""
        try:
            return self.sock.recv(2048) == payload
        except TimeoutError:
            return False

    def delivered_soon(self, payload, seconds=0.2):
        """Whether this very payload comes next, where it may well be lost."""
        self.sock.settimeout(seconds * PATIENCE)
        try:
            return self.delivered(payload)
        finally:
            self.sock.settimeout(2 * PATIENCE)

    def silent(self):
        """Whether nothing comes."""
        self.sock.settimeout(0.15)
        try:
            return not self.sock.recv(2048)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(2 * PATIENCE)

    def counted(self):
        stats = self.family.stats()
        return stats["options-in"], stats["accepted"], self.family.refused()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def established(crafted, target):
    """One genuine option, so that the flow is known, its keys with it."""

    def accepted():
        before = target.counted()[1]
        assert target.delivered(crafted.send(alone(crafted.sealed())))
        return target.counted()[1] > before

    wait_until(accepted, "no genuine option is accepted", 5)


@pytest.mark.parametrize("mode", MODES)
def test_every_single_bit_of_the_content_refuses_the_option_and_delivers_the_payload(pair, mode):
    """All 34 bytes behind type and length, one genuine sealed option for each flip."""
    with Measuring(pair, mode=mode) as measuring, Target(pair, measuring.server) as target:
        with Crafted(pair, measuring.secrets[1]) as crafted:
            established(crafted, target)
            options_in, accepted, refused = target.counted()
            wrong = []
            for bit in range(34 * 8):
                # Spaced, so that a flipped PSN is never one that was accepted.
                crafted.psn = (crafted.psn + 1) & 0xFFFF
                if not target.delivered(crafted.send(alone(flipped(crafted.sealed(), bit)))):
                    wrong.append((bit, "the payload is lost"))
                counted = target.counted()
                if counted[:2] != (options_in + bit + 1, accepted):
                    wrong.append((bit, counted))
                    options_in, accepted = counted[0] - bit - 1, counted[1]
            assert wrong == []
            gained = {r: n - refused.get(r, 0) for r, n in target.counted()[2].items() if n != refused.get(r, 0)}
            assert sum(gained.values()) == 34 * 8
            # Four bits of version; twelve of epoch, whose keys are not there or beyond the budget; the rest fails the tag,
            # but for PSNs that lie behind the window.
            assert gained.pop("version") == 4
            assert set(gained) <= {"authentication", "no-key", "rate", "replay"}, gained
            assert gained["authentication"] >= 34 * 8 - 4 - 12 - len(PSN_BITS)
            # After all that the genuine one is still accepted.
            assert target.delivered(crafted.send(alone(crafted.sealed())))
            assert target.counted()[1] == accepted + 1
        assert measuring.server.stats()["options-out"] == 0, "something was answered"
        consistent(measuring.server)


def test_a_flip_of_type_length_or_padding_has_the_outcome_of_the_kernel_without_the_module(pair):
    """The same packets, first where no policy is in force, then where one is."""
    framing = range(0, 6 * 8)  # next header, length, PadN, type, length

    def outcomes(measuring, crafted, target):
        found = {}
        for bit in framing:
            payload = crafted.send(flipped(alone(crafted.sealed()), bit))
            found[bit] = "delivered" if target.delivered_soon(payload) else "lost"
        return found

    with Measuring(pair) as measuring, Target(pair, measuring.server) as target:
        with Crafted(pair, measuring.secrets[1]) as crafted:
            policy = [rule("v2-encrypted")]
            measuring.server.policy_set()
            measuring.client.policy_set()
            bare = outcomes(measuring, crafted, target)
            measuring.server.policy_set(*policy)
            established(crafted, target)
            with_module = outcomes(measuring, crafted, target)
        consistent(measuring.server)
    assert with_module == bare
    # The table says something: both outcomes occur.
    assert set(bare.values()) == {"delivered", "lost"}


def body_of(length):
    return lambda crafted: alone(os.urandom(length))


def truncated(crafted):
    """Declares less than it has: 33 bytes, the last one left over as Pad1."""
    body = crafted.sealed()[:33]
    return options_header(b"\x01\x00" + bytes([option.TYPE, 33]) + body + b"\x00")


def twice(crafted):
    body = crafted.plain()
    one = bytes([option.TYPE, len(body)]) + body
    return options_header(b"\x01\x00" + one + one)


def early(crafted):
    """In a Destination Options header that is not the last: another one follows."""
    first = alone(crafted.plain())
    return bytes([60]) + first[1:] + options_header(b"\x01\x04\0\0\0\0")


# name: the header, made from a flow; the reason it is counted under, None where it is no option of ours.
BAD = {
    "no body": (body_of(0), "length"),
    "one byte": (body_of(1), "length"),
    "nine bytes": (body_of(9), "length"),
    "eleven bytes": (body_of(11), "length"),
    "17 bytes": (body_of(17), "length"),
    "19 bytes": (body_of(19), "length"),
    "truncated to 33 bytes": (truncated, "length"),
    "35 bytes": (body_of(35), "length"),
    "22 bytes, a later draft's": (body_of(22), "length"),
    "over-long, 200 bytes": (body_of(200), "length"),
    "plain version 1": (lambda c: alone(c.plain(c.fields(version=1))), "version"),
    "plain version 3": (lambda c: alone(c.plain(c.fields(version=3))), "version"),
    "plain version 15": (lambda c: alone(c.plain(c.fields(version=15))), "version"),
    "encrypted version 0": (lambda c: alone(c.sealed(c.fields(version=0))), "version"),
    "encrypted version 3": (lambda c: alone(c.sealed(c.fields(version=3))), "version"),
    "forged tag": (lambda c: alone(c.sealed()[:-16] + bytes(16)), "authentication"),
    "sealed under another secret": (lambda c: alone(c.sealed(secret=new_secret())), "authentication"),
    "random bytes for ciphertext": (lambda c: alone(c.sealed()[:4] + os.urandom(30)), "authentication"),
    "two options in one header": (twice, "header"),
    "an option before another header": (early, "header"),
    "a mechanism that no rule accepts": (lambda c: alone(option.write_pdm(c.fields())), "policy"),
    "an epoch far ahead that does not authenticate": (
        lambda c: alone(option.write_clear(c.fields(epoch=900)) + os.urandom(30)), "authentication"),
    "another option type": (lambda c: alone(c.plain(), kind=0x1E), None),
}  # fmt: skip


def test_bad_options_are_counted_by_reason_and_their_payload_delivered(pair):
    with Measuring(pair) as measuring, Target(pair, measuring.server) as target:
        measuring.server.policy_set(rule("v2-encrypted", accept={"v2", "v2-encrypted"}))
        with Crafted(pair, measuring.secrets[1]) as crafted:
            established(crafted, target)
            wrong = []
            for name, (make, reason) in BAD.items():
                options_in, accepted, before = target.counted()
                delivered = target.delivered(crafted.send(make(crafted)))
                after = target.counted()
                gained = {r: n - before.get(r, 0) for r, n in after[2].items() if n != before.get(r, 0)}
                expected = {reason: 1} if reason else {}
                if not delivered or gained != expected or after[:2] != (options_in + sum(gained.values()), accepted):
                    wrong.append((name, "delivered" if delivered else "lost", gained))
            assert wrong == []
        consistent(measuring.server)
        assert measuring.server.stats()["options-out"] == 0


def test_replays_and_duplicates_are_refused_within_a_window_of_1024(pair):
    with Measuring(pair) as measuring, Target(pair, measuring.server) as target:
        with Crafted(pair, measuring.secrets[1], first_psn=30000) as crafted:
            def send(psn):
                before = target.counted()
                assert target.delivered(crafted.send(alone(crafted.sealed(crafted.fields(psntp=psn)))))
                after = target.counted()
                return "accepted" if after[1] > before[1] else next(r for r, n in after[2].items() if n > before[2].get(r, 0))

            table = [
                (30000, "accepted"), (30000, "replay"), (30001, "accepted"), (30010, "accepted"), (30005, "accepted"),
                (30005, "replay"), (29990, "accepted"), (29990, "replay"), (31000, "accepted"), (31000 - 1023, "accepted"),
                (31000 - 1023, "replay"), (30000, "replay"), (31000 - 1100, "replay"), (40000, "accepted"), (31000, "replay"),
                (40000 - 1023, "accepted"),
            ]  # fmt: skip
            assert [(psn, send(psn)) for psn, _ in table] == table
            assert target.family.flow(UDP)["reordered"] >= 3


def test_epochs_step_forward_by_authentication_only_and_old_ones_are_refused(pair):
    """"Epochs below highest authenticated - 1 are refused ...; a higher one is adopted only after a packet under it
    authenticated." """
    with Measuring(pair) as measuring, Target(pair, measuring.server) as target:
        with Crafted(pair, measuring.secrets[1]) as crafted:
            def send(epoch, genuine=True):
                body = crafted.sealed(epoch=epoch)
                before = target.counted()
                assert target.delivered(crafted.send(alone(body if genuine else flipped(body, 271))))
                after = target.counted()
                return "accepted" if after[1] > before[1] else next(r for r, n in after[2].items() if n > before[2].get(r, 0))

            table = [
                (0, True, "accepted"), (5, False, "authentication"), (0, True, "accepted"), (5, True, "accepted"),
                (4, True, "accepted"), (3, True, "stale-epoch"), (0, True, "stale-epoch"), (5, True, "accepted"),
            ]  # fmt: skip
            assert [(epoch, genuine, send(epoch, genuine)) for epoch, genuine, _ in table] == table
            assert target.family.flow(UDP)["receive-epoch"] == 5


def test_on_failure_drop_drops_forgeries_and_nothing_else(pair):
    with Measuring(pair, on_failure="drop") as measuring, Target(pair, measuring.server) as target:
        with Crafted(pair, measuring.secrets[1]) as crafted:
            established(crafted, target)
            crafted.send(alone(flipped(crafted.sealed(), 271)))
            assert target.silent(), "a forgery was delivered"
            # "never for mechanisms that policy refuses: those MUST be ignored, counted"
            for body in (crafted.plain(), option.write_pdm(crafted.fields()), os.urandom(22)):
                assert target.delivered(crafted.send(alone(body)))
            assert target.delivered(crafted.send(alone(crafted.sealed())))
            assert target.counted()[2] == {"authentication": 1, "policy": 2, "length": 1}


def test_unauthenticated_packets_create_pending_entries_alone(pair):
    """"What an unauthenticated packet may create is an entry in a separate pending table (1024 per namespace ...). """
    with Measuring(pair, mode="kernel") as measuring:
        made = [Crafted(pair, measuring.secrets[1], sport=port) for port in (6001, 6002, 6003)]
        with Target(pair, measuring.server) as target:
            for crafted in made:
                assert target.delivered(crafted.send(alone(flipped(crafted.sealed(), 200))))
                crafted.close()
            stats = measuring.server.stats()
            assert (stats["pending"], stats["flows"]) == (3, 0), stats
            assert {f["pending"] for f in measuring.server.flows()} == {True}
            # "wiped after 2 s without an authenticated option"
            wait_until(lambda: measuring.server.stats()["pending"] == 0, "pending entries stay", 5)


def test_attempts_of_strangers_are_limited(pair):
    """A flood of options for flows that are not there asks for few keys, and live flows go on."""
    with Measuring(pair, mode="helper") as measuring, traffic.UdpEcho(pair.server):
        sock = pair.client.udp()
        traffic.udp_exchange(pair.client, SERVER, 10, sock=sock)
        with Crafted(pair, new_secret(), sport=6100) as crafted:
            for _ in range(300):
                crafted.send(alone(crafted.sealed(epoch=crafted.psn % 4000)))
        accepted = measuring.server.flow(UDP, remote_port=sock.getsockname()[1])["accepted"]
        assert traffic.udp_exchange(pair.client, SERVER, 10, sock=sock) == 10
        assert measuring.server.flow(UDP, remote_port=sock.getsockname()[1])["accepted"] == accepted + 10
        sock.close()
        refused = measuring.server.refused()
        assert refused.get("rate", 0) > 200, refused
        assert measuring.server.stats()["acquires"] < 60
        consistent(measuring.server)


def test_options_that_wait_for_a_key_use_up_no_attempts(pair):
    """A key that was asked for and is slow to come costs one attempt, however many options want it meanwhile."""
    with Measuring(pair, mode="helper") as measuring, Target(pair, measuring.server) as target:
        measuring.responders[1].close()
        with Crafted(pair, measuring.secrets[1]) as crafted:
            for _ in range(40):
                assert target.delivered(crafted.send(alone(crafted.sealed())))
        assert target.counted()[2] == {"no-key": 40}


def test_an_option_without_association_is_refused(pair):
    with Measuring(pair) as measuring, Target(pair, measuring.server) as target:
        measuring.server.association_del()
        with Crafted(pair, measuring.secrets[1]) as crafted:
            assert target.delivered(crafted.send(alone(crafted.sealed())))
        assert target.counted()[2] == {"no-association": 1}
        assert error_of(measuring.server.secret_del, 1)[0] == 2


def test_received_bytes_are_never_changed(pair, results):
    """What a tap on the server's side sees is what its sockets get, checksum and all: the options pass GRO, conntrack and
    checksum offload."""
    with Measuring(pair) as measuring, traffic.UdpEcho(pair.server) as server:
        with Capture(pair.server, results(".pcap")) as tap:
            assert traffic.udp_exchange(pair.client, SERVER, 20, size=900) == 20
            path = tap.stop()
        sent = [p for p in read_pcap(path) if p.protocol == UDP and p.saddr == CLIENT]
        assert [p.upper[8:] for p in sent] == server.received
        options = opener.open_capture(path, measuring.key_log(results(".keys")))
        assert len([o for o in options if o.flow.saddr == CLIENT]) == 20
