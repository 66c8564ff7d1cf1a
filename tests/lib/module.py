# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The module: loading, unloading, its files in sysfs."""

import os
from pathlib import Path

from hosts import run

SYSFS = Path("/sys/kernel/pdmv2")


def is_loaded():
    return any(line.startswith("pdmv2 ") for line in Path("/proc/modules").read_text().splitlines())


def load(*parameters):
    run("insmod", os.environ["PDMV2_MODULE"], *parameters)


def unload():
    run("rmmod", "pdmv2")


def statistics():
    """The files of /sys/kernel/pdmv2/, each of which holds one number."""
    return {file.name: int(file.read_text()) for file in SYSFS.iterdir()}
