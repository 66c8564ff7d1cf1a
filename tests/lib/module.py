# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The module: loading, unloading, its files in sysfs."""

import contextlib
import os
from pathlib import Path

from hosts import TOP, run

SYSFS = Path("/sys/kernel/pdmv2")


MEMORY_MAX = Path("/sys/module/pdmv2/parameters/memory_max")


@contextlib.contextmanager
def memory_max(value):
    """Another bound on what the flows of all namespaces take, for a while."""
    before = MEMORY_MAX.read_text()
    MEMORY_MAX.write_text(str(value))
    try:
        yield
    finally:
        MEMORY_MAX.write_text(before)


def is_loaded():
    return any(line.startswith("pdmv2 ") for line in Path("/proc/modules").read_text().splitlines())


def load(*parameters, module=None):
    """Loads the module, or another build of it, with what it depends on, as modprobe would where it is installed."""
    module = module or os.environ["PDMV2_MODULE"]
    for name in filter(None, run("modinfo", "-F", "depends", module).strip().split(",")):
        run("modprobe", name)
    run("insmod", module, *parameters)


def unload():
    run("rmmod", "pdmv2")


def look_for_lost_memory():
    """On the debug kernel, while the names of the module's functions are known; what is found fails the run."""
    if os.environ.get("PDMV2_WATCHED"):
        run(TOP / "scripts" / "guest" / "leftovers", "memory")


def statistics():
    """The files of /sys/kernel/pdmv2/, each of which holds one number."""
    return {file.name: int(file.read_text()) for file in SYSFS.iterdir()}
