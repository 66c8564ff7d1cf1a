#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The module built in a kernel's tree; scripts/test-built-in runs it in the VM.

`check.py built-in TYPE`: it is there without being loaded, and measures with the option type that the kernel's command
line names; `check.py refused` where the command line names one that must not be used; `check.py module FILE TYPE`:
built as a module it is loaded, measures with that type, and is unloaded.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "vectors")]

import module  # noqa: E402
import traffic  # noqa: E402
from capture import DESTINATION_OPTIONS, UDP, read_pcap, walk_options  # noqa: E402
from family import Family  # noqa: E402
from hosts import SERVER, TOP, Capture, Pair  # noqa: E402
from measuring import Measuring, consistent  # noqa: E402

REQUESTS = 20


def carried(path, kind):
    """UDP packets of a capture that carry an option of this type."""
    packets = [packet for packet in read_pcap(path) if packet.protocol == UDP]
    options = [
        [number for header, data in packet.headers if header == DESTINATION_OPTIONS for number, _, _ in walk_options(data)]
        for packet in packets
    ]
    return sum(kind in numbers for numbers in options)


def measures(kind):
    for mechanism in ("v2", "v2-encrypted"):
        path = TOP / "target" / "test" / "captures" / f"built-in-{mechanism}.pcap"
        with Pair() as pair, Measuring(pair, mechanism) as measuring, Capture(pair.client, path) as tap:
            with traffic.UdpEcho(pair.server):
                assert traffic.udp_exchange(pair.client, SERVER, REQUESTS) == REQUESTS
            assert carried(tap.stop(), kind) == 2 * REQUESTS
            for family in measuring.families:
                assert consistent(family)["accepted"] >= REQUESTS
        print(f"ok - {mechanism}: {2 * REQUESTS} packets carried an option of type {kind} and were measured", flush=True)


def answers(kind):
    """The netlink family is there and nothing is measured without a policy; with one, packets are."""
    assert module.SYSFS.is_dir()
    with Pair() as pair, Family(pair.client) as family:
        assert family.stats()["options-out"] == 0
    print("ok - the netlink family is there", flush=True)
    measures(kind)


def built_in(kind):
    assert not module.is_loaded()
    answers(int(kind))
    assert not module.is_loaded()


def refused():
    assert not module.SYSFS.exists()
    print("ok - it does not start with an option type that is another's, and the kernel does")


def as_module(path, kind):
    assert not module.SYSFS.exists()
    module.load(f"option_type={kind}", module=path)
    assert module.is_loaded()
    answers(int(kind))
    module.unload()
    assert not module.SYSFS.exists()
    print("ok - it was loaded and unloaded")


if __name__ == "__main__":
    {"built-in": built_in, "refused": refused, "module": as_module}[sys.argv[1]](*sys.argv[2:])
