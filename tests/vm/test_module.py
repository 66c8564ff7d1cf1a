# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Loading and unloading, and the statistics in sysfs."""

import subprocess
from pathlib import Path

import family
import module
import pytest
import traffic
from family import rule
from hosts import SERVER, TOP, run
from measuring import Measuring


def test_every_statistic_is_one_value_in_a_file(pair):
    names = {file.name for file in module.SYSFS.iterdir()}
    spec = family._family()
    reasons = lambda enum: set(spec.consts[enum].entries)
    for prefix, enum in (("skipped_", "skip"), ("refused_", "refusal")):
        assert {prefix + reason.replace("-", "_") for reason in reasons(enum)} <= names
    assert {"options_out", "options_in", "accepted", "packets_out"} <= names
    for file in module.SYSFS.iterdir():
        assert file.stat().st_mode & 0o777 == 0o444
        assert file.read_text() == f"{int(file.read_text())}\n"


def test_statistics_add_up_over_all_namespaces(pair):
    before = module.statistics()
    with Measuring(pair, "v2") as measuring:
        measuring.server.policy_set(rule("v2", accept=["pdm"]))
        with traffic.UdpEcho(pair.server):
            assert traffic.udp_exchange(pair.client, SERVER, 20) == 20
        measuring.server.policy_set(rule("v2"))
        traffic.ping(pair.client, SERVER, 3)
        stats = [f.stats() for f in measuring.families]
    after = module.statistics()
    gained = {name: after[name] - before[name] for name in after}
    for name in ("options-out", "options-in", "accepted"):
        assert gained[name.replace("-", "_")] == sum(s[name] for s in stats) > 0, name
    refused = sum(number for name, number in gained.items() if name.startswith("refused_"))
    assert gained["refused_policy"] == refused == 20
    assert gained["options_in"] == gained["accepted"] + refused


@pytest.mark.parametrize("number", [0, 1, 5, 0x4F, 0x8F, 0xC2])
def test_an_option_type_in_use_or_of_another_class_is_refused(pair, number):
    module.unload()
    done = subprocess.run(["insmod", _path(), f"option_type={number}"], capture_output=True, text=True)
    assert done.returncode != 0 and "Invalid parameters" in done.stderr, done
    assert not module.is_loaded()


def test_another_option_type_may_be_chosen(pair):
    import capture
    from hosts import Capture

    module.unload()
    module.load("option_type=30")
    path = TOP / "target" / "test" / "captures" / "another-type.pcap"
    with Measuring(pair, "v2") as measuring, Capture(pair.client, path) as tap:
        assert traffic.ping(pair.client, SERVER, 3) == 3
        packets = [p for p in capture.read_pcap(tap.stop()) if p.icmp_type in (128, 129)]
        assert measuring.client.stats()["accepted"] == 3
    kinds = [[kind for _, h in p.headers for kind, _, _ in capture.walk_options(h) if kind > 1] for p in packets]
    assert kinds == [[30]] * 6
    module.unload()


def test_a_negative_limit_of_options_is_warned_of(pair):
    """"Warn at load when max_dst_opts_number is negative (the kernel then drops every option)." """
    said = lambda: run("dmesg").count("net.ipv6.max_dst_opts_number is negative")
    limit = Path("/proc/sys/net/ipv6/max_dst_opts_number")
    for number, more in ((8, 0), (-8, 1)):
        module.unload()
        limit.write_text(str(number))
        before = said()
        module.load()
        assert said() == before + more, number
    limit.write_text("8")


def test_ignored_mechanisms_are_logged_under_a_rate_limit(pair):
    """"mechanisms that policy refuses: those MUST be ignored, counted, logged under a rate limit." """
    said = lambda: run("dmesg").count("a received option was ignored")
    with Measuring(pair, "v2") as measuring, traffic.UdpEcho(pair.server):
        measuring.server.policy_set(rule("v2", accept=["pdm"]))
        before = said()
        assert traffic.udp_exchange(pair.client, SERVER, 200) == 200
        assert measuring.server.refused() == {"policy": 200}
        assert 0 < said() - before < 100


def _path():
    import os

    return os.environ["PDMV2_MODULE"]
