# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""A process of its own, in the memory cgroup it is told: in a network namespace that it makes, it has rules, associations
and secrets made, and tells how much kernel memory its cgroup had before, with them, and without them again."""

import json
import os
import sys
import time
from pathlib import Path

import elsewhere
from family import Family, _family, rule
from measuring import new_secret

ASSOCIATIONS, RULES = 64, 512


# The kernel adds up what its CPUs counted every two seconds, on a CPU that is awake.
COUNTED = 2.5


def charged(cgroup):
    """Bytes of kernel memory charged to a cgroup and not to be had back."""
    cpus = os.sched_getaffinity(0)
    for cpu in cpus:
        os.sched_setaffinity(0, {cpu})
        time.sleep(COUNTED)
    os.sched_setaffinity(0, cpus)
    counts = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    return int(counts["slab_unreclaimable"]) + int(counts["vmalloc"])


def main():
    cgroup = Path(sys.argv[1])
    _family()
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    os.unshare(os.CLONE_NEWNET)
    with Family(elsewhere.Here()) as here:
        names = [f"number {n}" for n in range(ASSOCIATIONS)]
        secrets = [new_secret(generation) for generation in (1, 2)]
        said = [charged(cgroup)]
        for n, name in enumerate(names):
            here.association_set("fd00:1::1", f"fd00:2::{n:x}", name=name)
            for secret in secrets:
                here.secret_add(secret, name=name)
        said.append(charged(cgroup))
        here.policy_set(*(rule("v2", protocol=17, remote_port_first=n + 1) for n in range(RULES)))
        said.append(charged(cgroup))
        here.policy_set()
        for name in names:
            here.association_del(name)
        said.append(charged(cgroup))
    print(json.dumps(said))


main()
