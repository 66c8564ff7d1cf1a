# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Every AEAD and KDF of docs/protocol.md, section 4, by association and in either key mode."""

import errno
import json
import os
from pathlib import Path

import module
import opener
import pytest
import traffic
from craft import Crafted, alone, flipped
from family import error_of
from hosts import SERVER, TOP, Capture, run, wait_until
from measuring import MODES, Measuring, consistent, new_secret
from schedule import AEADS, KDFS, Suite
from test_bad_input import Target, established

SUITES = [Suite(kdf=kdf, aead=aead) for kdf in KDFS for aead in AEADS]
NAMES = [f"{suite.kdf}-{suite.aead}" for suite in SUITES]
ENOUGH = 5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("suite", SUITES, ids=NAMES)
def test_traffic_is_sealed_and_opened(pair, results, suite, mode):
    """Options of both directions are read by the tests' own key schedule and AEAD, and no (key, nonce) comes twice."""
    secret = new_secret(suite=suite)
    with Capture(pair.client, results(".pcap")) as tap, Measuring(pair, mode=mode, secret=secret) as measuring:

        def exchanged():
            traffic.ping(pair.client, SERVER, ENOUGH)
            return all(family.stats()["accepted"] >= ENOUGH for family in measuring.families)

        wait_until(exchanged, "options are not accepted", 30)
        path = tap.stop()
        stats = [consistent(family) for family in measuring.families]
        refused = [family.refused() for family in measuring.families]
        options = opener.open_capture(path, measuring.key_log(results(".keys")))
        assert [error for responder in measuring.responders for error in responder.errors] == []
    assert len(options) == sum(counted["options-out"] for counted in stats)
    assert len({o.key for o in options}) == 2 and {len(o.key) for o in options} == {suite.key_len}
    assert opener.repeated_pairs(options) == []
    if mode == "kernel":
        assert refused == [{}, {}]
    else:
        assert set().union(*refused) <= {"no-key"}


@pytest.mark.parametrize("suite", SUITES, ids=NAMES)
def test_what_was_changed_under_way_is_refused(pair, suite):
    """Bits of the clear bytes that the tag covers, of the sealed ones, and of the tag."""
    secret = new_secret(suite=suite)
    with Measuring(pair, secret=secret) as measuring, Target(pair, measuring.server) as target, Crafted(pair, secret) as crafted:
        established(crafted, target)
        options_in, accepted, refused = target.counted()
        assert refused == {}
        bits = [31, *range(32, 34 * 8, 17), 34 * 8 - 1]
        for bit in bits:
            # Spaced, so that a flipped PSN is never one that was accepted.
            crafted.psn = (crafted.psn + 1) & 0xFFFF
            assert target.delivered(crafted.send(alone(flipped(crafted.sealed(), bit))))
        assert target.counted() == (options_in + len(bits), accepted, {"authentication": len(bits)})
        assert target.delivered(crafted.send(alone(crafted.sealed())))
        assert target.counted()[1] == accepted + 1


@pytest.mark.parametrize("theirs", [Suite(aead=3), Suite(aead=2, kdf=3)], ids=["another AEAD", "another KDF"])
def test_ends_of_one_shared_secret_and_different_suites_do_not_understand_each_other(pair, theirs):
    """"suite_id" is in every label: one SharedSecret under two suites gives unrelated keys."""
    ours = new_secret(suite=Suite(aead=2))
    other = type(ours)(ours.shared_secret, ours.salt, theirs, ours.generation)
    with Measuring(pair, secret=ours) as measuring, Target(pair, measuring.server) as target, Crafted(pair, other) as crafted:
        for _ in range(3):
            assert target.delivered(crafted.send(alone(crafted.sealed())))
        assert target.counted() == (3, 0, {"authentication": 3})


@pytest.mark.parametrize("suite", SUITES, ids=NAMES)
def test_a_key_as_long_as_another_suite_has_them_is_refused(pair, suite):
    wrong = 48 - suite.key_len
    with Measuring(pair, mode="helper", secret=new_secret(suite=suite)) as measuring:
        traffic.ping(pair.client, SERVER, 1)
        [flow] = {o["id"]["protocol"]: o for o in measuring.client.flows()}.values()
        arguments = (1, "send", flow["id"], 0, bytes(wrong), bytes(12))
        number, message, attribute = error_of(measuring.client.key_add, *arguments)
        assert number == errno.EINVAL and attribute == ".key" and "suite" in message


def test_a_debug_build_checks_the_vectors_before_it_goes_live(loaded):
    """Those of docs/test-vectors/key-schedule.json and RFC 8439's, against the kernel's own crypto."""
    release = Path(os.environ["PDMV2_MODULE"]).parent
    vectors = json.loads((TOP / "docs" / "test-vectors" / "key-schedule.json").read_text())
    module.unload()
    try:
        module.load(module=release.with_name(release.name + "-debug") / "pdmv2.ko")
        module.unload()
    finally:
        module.load()
    said = [line for line in run("dmesg").splitlines() if "self-test" in line]
    assert said[-1].endswith(f"self-test: {len(vectors)} vectors derived, sealed and opened, and that of RFC 8439")
