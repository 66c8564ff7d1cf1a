# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Profile `v2-kri`: no option tells its Kri but for F, and PSNTP is sealed (docs/protocol.md, section 4, Profile v2-kri)."""

import contextlib
import itertools
import socket
import time

import opener
import option
import pytest
import traffic
from capture import ICMPV6, TCP, UDP, read_pcap
from craft import Crafted, alone, flipped
from family import Family, rule
from helper import Helper, negotiated
from hosts import CLIENT, SERVER, Capture, wait_until
from measuring import MODES, Measuring, consistent, new_secret
from test_bad_input import Target
from test_bulk import UDP_SEGMENT
from test_encrypted import all_protected
from test_plain import consecutive, echoes, mixed_traffic, placed_right
from test_rotation import UDP_ONLY, Exchange, directions, keys_are_there, told
from tracing import Tracing

KRI = "v2-kri"
LENGTH = (1 << 15) - 1
PORT = traffic.ECHO_PORT
AHEAD = 16


def secret(generation=1):
    return new_secret(generation, profile=KRI)


def measuring(pair, mode="kernel", **settings):
    return Measuring(pair, mode=mode, secret=secret(), profile=KRI, **settings)


def runs(options):
    """(Kri, options in a row) of one direction."""
    return [(kri, len(list(run))) for kri, run in itertools.groupby(options, key=lambda o: o.fields.kri)]


def sound(options):
    """"F = Kri mod 2"; "a pseudo-random non-repeating sequence of 1..2^15-1 per Kri"; reserved bits are 0."""
    for o in options:
        assert (o.fields.version, o.fields.reserved, o.fields.flag) == (2, 0, o.fields.kri % 2)
        assert 1 <= o.fields.random <= LENGTH and o.nonce == o.fields.random
    assert opener.repeated_pairs(options) == []


@pytest.mark.parametrize("mode", MODES)
def test_every_encrypted_option_opens_with_the_key_log(pair, results, mode):
    with Capture(pair.client, results(".pcap")) as tap, measuring(pair, mode) as both:
        # A flow that ends before its key is there goes without.
        wait_until(lambda: mixed_traffic(pair) or all_protected(both), "flows stay without keys", 60)
        path = tap.stop()
        stats = {CLIENT: consistent(both.client), SERVER: consistent(both.server)}
        refused = [family.refused() for family in both.families]
        associations = [family.associations()[0] for family in both.families]
        log = both.key_log(results(".keys"))
        assert [error for responder in both.responders for error in responder.errors] == []
    carrying = [p for p in read_pcap(path) if p.options]
    for packet in carrying:
        placed_right(packet, "v2-encrypted")
    options = opener.open_capture(path, log)
    assert len(options) == len(carrying) > 60 and {o.direction for o in options} == {"out", "in"}
    assert {o.flow.protocol for o in options} == {TCP, UDP, ICMPV6} and {o.fields.kri for o in options} == {0}
    sound(options)
    consecutive(options)
    echoes(options)
    assert {a["profile"] for a in associations} == {KRI}
    for address, counted in stats.items():
        assert counted["options-out"] == len([o for o in options if o.flow.saddr == address])
        if mode == "kernel":
            assert counted["acquires"] == 0 and counted["accepted"] == counted["options-in"]
    assert refused == [{}, {}] if mode == "kernel" else set().union(*refused) <= {"no-key"}
    # The sequence does not count upward: about half of its steps go down.
    for sent in opener.by_flow(options).values():
        randoms = [o.fields.random for o in sent]
        if len(randoms) >= 20:
            assert 0 < sum(b < a for a, b in itertools.pairwise(randoms)) < len(randoms) - 1


def test_plain_options_have_the_layout_their_rule_names(pair, results):
    """"for plain traffic the policy says which": the two layouts do not read alike."""
    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair, "v2", rules=[rule("v2", profile=KRI)]) as both:
        mixed_traffic(pair)
        assert [r["profile"] for r in both.client.policy_get()["rule"]] == [KRI]
        for family in both.families:
            stats = consistent(family)
            assert stats["accepted"] == stats["options-in"] > 30
            assert all(flow["verified"] for flow in family.flows())
        path = tap.stop()
    options = opener.open_capture(path, plain=KRI)
    assert {o.mechanism for o in options} == {"v2"} and len(options) > 60
    assert {(o.fields.version, o.fields.reserved, o.fields.random, o.fields.flag) for o in options} == {(2, 0, 0, 0)}
    consecutive(options)
    echoes(options)
    for address in (CLIENT, SERVER):
        pointers = [o.fields.globalptr for o in options if o.flow.saddr == address]
        assert pointers == sorted(set(pointers))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode, packets, kris", [("kernel", 10, 20), ("kernel", 1, 300), ("helper", 4, 40)])
def test_kri_rises_early_by_count(pair, results, mode, packets, kris):
    with (
        Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap,
        measuring(pair, mode, epoch_packets=packets) as both,
        traffic.UdpEcho(pair.server),
        contextlib.closing(Exchange(pair, both)) as exchange,
    ):
        refused = exchange.established()
        for _ in range(packets * kris):
            exchange.one()
        assert [family.refused() for family in both.families] == refused
        flow = both.server.flow(UDP)
        options = opener.open_capture(tap.stop(), both.key_log(results(".keys")))
    sound(options)
    consecutive(options)
    for sent in directions(options):
        *whole, (last, rest) = runs(sent)
        assert whole == [(kri, packets) for kri in range(last)] and rest <= packets and last >= kris - 1
    assert flow["receive-epoch"] >= kris - 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", MODES)
def test_kri_rises_and_f_flips_at_the_end_of_the_sequence(pair, results, mode):
    with measuring(pair, mode) as both, pair.server.udp(port=PORT), pair.client.udp() as sock:
        sock.connect((SERVER, PORT))
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1)

        def settled():
            if both.responders:
                keys_are_there(both)
            return both.client.stats()["options-out"]

        # The first options one by one, until both ends have the keys of Kri 0 and 1.
        def accepted():
            sock.send(b"1")
            settled()
            return both.server.stats()["accepted"] > 2

        wait_until(accepted, "no option is accepted", 20)
        while (left := LENGTH - 30 - settled()) > 0:
            sock.send(b"1" * min(left, 60))
        settled()
        refused = both.server.refused()
        with Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap:
            for _ in range(60):
                sock.send(b"1")
                settled()
            options = opener.open_capture(tap.stop(), both.key_log(results(".keys")))
        assert both.server.refused() == refused and set(refused) <= {"no-key"}
        flows = both.client.flow(UDP), both.server.flow(UDP)
    sound(options)
    consecutive(options)
    assert runs(options) == [(0, 30), (1, 30)]
    assert (flows[0]["send-epoch"], flows[1]["receive-epoch"]) == (1, 1)
    # Options whose key was not there yet are not known to have come.
    assert flows[1]["lost"] <= refused.get("no-key", 0)


# (Kri, PSN, what becomes of it), in the order of arrival; key mode kernel.
ARRIVALS = [
    (0, 100, None),
    (0, 100, "replay"),
    (1, 103, None),
    (0, 101, None),  # late
    (0, 101, "replay"),
    (1, 103, "replay"),
    (2, 105, None),
    (1, 104, None),  # late, as late as may be
    (0, 102, "authentication"),  # two Kris late
    (3, 106, None),
    (5, 120, "authentication"),  # two Kris ahead: F is that of the current one
    (3, 107, None),
    (3, 107 + 2000, None),  # a long way forward, and what lies too far behind then
    (3, 108, "replay"),
    (2, 109, None),
]


def test_arrivals_across_steps(pair):
    """"The replay window runs over the decrypted PSNTP"; "the receiver tries current, then current ± 1 by F"."""
    with measuring(pair) as both, Target(pair, both.server) as target, Crafted(pair, both.secrets[1]) as crafted:
        for number, (kri, psn, refusal) in enumerate(ARRIVALS):
            _, accepted, refused = target.counted()
            assert target.delivered(crafted.send(alone(crafted.sealed_kri(kri, 1 + number, psn))))
            _, now_accepted, now_refused = target.counted()
            gained = {reason: n - refused.get(reason, 0) for reason, n in now_refused.items() if n != refused.get(reason, 0)}
            want = (1, {}) if refusal is None else (0, {refusal: 1})
            assert (now_accepted - accepted, gained) == want, f"arrival {number}"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lost", [2, 3, 7, AHEAD])
def test_a_receiver_catches_up_with_kris_that_were_lost(pair, mode, lost):
    """"after repeated failures Kri + 1..16, rate limited": the more were lost the longer it takes, but it ends."""
    with measuring(pair, mode) as both, Target(pair, both.server) as target, Crafted(pair, both.secrets[1]) as crafted:
        randoms = itertools.count(1)

        def arrives(kri):
            before = target.counted()[1]
            assert target.delivered(crafted.send(alone(crafted.sealed_kri(kri, next(randoms)))))
            if both.responders:
                keys_are_there(both)
            time.sleep(0.1)
            return target.counted()[1] > before

        wait_until(lambda: arrives(0), "Kri 0 is not accepted", 20)
        wait_until(lambda: arrives(lost), f"Kri {lost} is not found", 120, 0)
        assert both.server.flow(UDP)["receive-epoch"] == lost
        # From there on as ever.
        assert arrives(lost) and arrives(lost + 1)
        # What lies before the one it was found from is gone for good.
        assert not arrives(lost - 2)


def test_a_sender_further_ahead_is_lost_until_the_next_secret(pair):
    with measuring(pair) as both, Target(pair, both.server) as target, Crafted(pair, both.secrets[1]) as crafted:
        assert target.delivered(crafted.send(alone(crafted.sealed_kri(0, 1))))
        for number in range(60):
            assert target.delivered(crafted.send(alone(crafted.sealed_kri(AHEAD + 2, 2 + number))))
        assert target.counted()[1] == 1 and set(target.counted()[2]) == {"authentication"}
        # The flow is as it was.
        assert target.delivered(crafted.send(alone(crafted.sealed_kri(0, 1000))))
        assert target.counted()[1] == 2
        both.secrets[2] = secret(2)
        both.server.secret_add(both.secrets[2], prk=True)
        randoms = itertools.count(1)

        def found():
            assert target.delivered(crafted.send(alone(crafted.sealed_kri(0, next(randoms), secret=both.secrets[2]))))
            return target.counted()[1] == 3

        # The flow may have used up its attempts, and earns others.
        wait_until(found, "the next secret is not found", 20, 0.1)


def test_forged_options_of_either_f_harm_no_live_flow(pair):
    """Every single bit, and a flood: the payload is delivered, nothing is accepted, what is genuine goes on."""
    with measuring(pair) as both, Target(pair, both.server) as target, Crafted(pair, both.secrets[1]) as crafted:
        randoms = itertools.count(1)
        genuine = lambda kri: alone(crafted.sealed_kri(kri, next(randoms)))
        assert target.delivered(crafted.send(genuine(0)))
        for bit in range(34 * 8):
            assert target.delivered(crafted.send(alone(flipped(crafted.sealed_kri(0, next(randoms)), bit))))
        options_in, accepted, refused = target.counted()
        assert (options_in, accepted) == (1 + 34 * 8, 1) and refused.pop("version") == 4
        assert refused == {"authentication": 34 * 8 - 4}
        stranger = secret(9)
        for number in range(300):
            forged = crafted.sealed_kri(number % 2, 1 + number, secret=stranger)
            assert target.delivered(crafted.send(alone(forged)))
            if number % 50 == 49:
                assert target.delivered(crafted.send(genuine(number // 100)))
                assert target.counted()[1] == 1 + (number + 1) // 50
        assert both.server.flow(UDP)["receive-epoch"] == 2
        assert both.server.stats()["options-out"] == 0, "something was answered"
        consistent(both.server)


@pytest.mark.parametrize("mode", MODES)
def test_dropping_a_flow_closes_its_bucket_until_a_new_secret(pair, results, mode):
    """"Flows start at Kri 0; dropping a flow closes its bucket: flows that hash there go unprotected until a new secret." """
    with (
        Family(pair.client) as listener,
        Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap,
        measuring(pair, mode) as both,
        traffic.UdpEcho(pair.server),
        contextlib.closing(Exchange(pair, both)) as exchange,
    ):
        listener.ynl.ntf_subscribe("events")
        for generation in (1, 2, 3):
            if generation > 1:
                both.renew(secret(generation))
            exchange.established()
            wait_until(lambda: exchange.one() or both.client.flow(UDP).get("generation") == generation, "not sent under", 20)
            both.client.flow_flush()
            skipped = both.client.skipped().get("exhausted", 0)
            for _ in range(4):
                exchange.one()
            assert both.client.skipped()["exhausted"] == skipped + 4
            assert "exhausted" in told(listener)
            if generation > 1:
                for family in both.families:
                    family.secret_del(generation - 1)
        options = opener.open_capture(tap.stop(), both.key_log(results(".keys")))
    sound(options)
    there, _ = directions(options)
    assert [generation for generation, _ in itertools.groupby(o.generation for o in there)] == [1, 2, 3]


def test_refused_options_are_told_with_the_layout_of_their_profile(pair):
    """A plain option has its PSN where `v2` has it not; a sealed one names neither Kri nor PSN in clear."""
    plain = option.Fields(random=0x1234, flag=1, globalptr=0xAABBCCDD, psntp=0x5678, psnlr=0x9ABC)
    rules = [rule("v2-encrypted", accept={"v2", "v2-encrypted"}, profile=KRI)]
    with Tracing("drop") as tracing, measuring(pair, rules=rules) as both, Target(pair, both.server) as target:
        with Crafted(pair, both.secrets[1]) as crafted:
            body = option.write_kri_clear(plain) + option.write_kri_interior(plain)
            sealed = crafted.sealed_kri(0, 77)
            for one in (sealed, sealed, body, body, flipped(crafted.sealed_kri(0, 78), 8 * 20)):
                assert target.delivered(crafted.send(alone(one)))
        assert target.counted() == (5, 2, {"duplicate": 1, "replay": 1, "authentication": 1})
        told = [f for name, f in tracing.events() if name == "drop" and f["kind"] == "refused"]
    assert [(f["reason"], f["mechanism"], f["epoch"], f["psntp"]) for f in told] == [
        ("replay", "v2-encrypted", 0, 0), ("duplicate", "v2", 0, 0x5678), ("authentication", "v2-encrypted", 0, 0)
    ]  # fmt: skip


def test_a_peer_of_either_profile_on_one_host(pair, results):
    """Mixed with `v2` peers on one host: the association says which; and a host that has it wrong accepts nothing."""
    other = "fd00:1::3"
    pair.server.run("ip", "address", "add", f"{other}/64", "dev", "veth0", "nodad")
    with Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap, measuring(pair) as both:
        second = new_secret(1)
        both.client.association_set(CLIENT, other, name="other", key_mode="kernel")
        both.server.association_set(other, CLIENT, name="other", key_mode="kernel")
        for family in both.families:
            family.secret_add(second, name="other", prk=True)
            family.secret_activate(1, name="other")
        with traffic.UdpEcho(pair.server, address=SERVER), traffic.UdpEcho(pair.server, address=other):
            for address in (SERVER, other):
                assert traffic.udp_exchange(pair.client, address, 20) == 20
            assert [family.refused() for family in both.families] == [{}, {}]
            # A change of profile drops the secrets: the two never share a key.
            both.server.association_set(SERVER, CLIENT, key_mode="kernel")
            assert "secret" not in {a["name"]: a for a in both.server.associations()}["peer"]
            assert traffic.udp_exchange(pair.client, SERVER, 5) == 5
            assert set(both.server.refused()) == {"no-key"}
        log = both.key_log(results(".keys"))
        opener.write_key_log(log, "other", second, CLIENT, other)
        options = opener.open_capture(tap.stop(), log)
    profiles = {(o.flow.daddr if o.direction == "out" else o.flow.saddr, o.fields.kri is None) for o in options}
    assert profiles == {(SERVER, False), (other, True)}
    assert opener.repeated_pairs(options) == []


def test_the_helpers_negotiate_the_profile_that_the_dialling_host_prefers(pair, results):
    with contextlib.ExitStack() as stack:
        client, server = [Helper(h, results(f"-{h.name}"), a) for h, a in zip(pair.hosts, (CLIENT, SERVER), strict=True)]
        for helper in (client, server):
            stack.callback(helper.close)
        generation = 0
        with Capture(pair.client, results(".pcap"), expression=UDP_ONLY) as tap:
            server.configure(client, dials=False)
            server.start()
            for profile in ("v2-kri", "v2", "v2-kri"):
                client.configure(server, extra=f'profile = "{profile}"\n')
                client.start()
                generation = negotiated(client, server, beyond=generation)
                for helper in (client, server):
                    assert {a["profile"] for a in helper.command("show")["associations"]} == {profile}
                with traffic.UdpEcho(pair.server), pair.client.udp() as sock, Family(pair.server) as family:
                    before = family.stats()["accepted"]
                    wait_until(
                        lambda: traffic.udp_exchange(pair.client, SERVER, 1, 0, sock=sock)
                        and family.stats()["accepted"] > before + 5,
                        "options are not accepted",
                        20,
                    )
                assert client.kill() == 0
            options = opener.open_capture(tap.stop(), client.key_log, server.key_log)
    profiles = [o.fields.kri is not None for o in options if o.mechanism == "v2-encrypted"]
    assert [kri for kri, _ in itertools.groupby(profiles)] == [True, False, True]
    assert opener.repeated_pairs(options) == []
