# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Memory that requests take is charged to who makes them."""

import json
import sys
import time

import pytest
from hosts import TOP, run

FLOORS = 1024 * 4  # bytes of a secret's floors
SECRETS = 64 * 2
CLASSIFIER = 64 << 10  # bytes, at least, that 512 rules for 512 ports take


@pytest.fixture
def cgroup(tmp_path):
    top = tmp_path / "cgroup"
    top.mkdir()
    run("mount", "-t", "cgroup2", "cgroup2", top)
    (top / "cgroup.subtree_control").write_text("+memory")
    mine = top / "keeper"
    mine.mkdir()
    yield mine
    for _ in range(50):
        # A process that ended leaves it a little later.
        if "populated 0" in (mine / "cgroup.events").read_text():
            break
        time.sleep(0.1)
    mine.rmdir()
    (top / "cgroup.subtree_control").write_text("-memory")
    run("umount", top)


def test_what_requests_allocate_is_charged_to_their_cgroup(loaded, cgroup):
    """"Control-path memory is charged to its cgroup": associations, secrets and rules."""
    said = run(sys.executable, TOP / "tests" / "lib" / "keeping.py", cgroup)
    before, associations, rules, after = json.loads(said)
    # The kernel adds them up in lots, so that some may be missing yet.
    assert associations - before >= SECRETS * FLOORS * 3 // 4, said
    assert rules - associations >= CLASSIFIER, said
    assert after - before < (rules - before) // 3, said
