# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The module's tracepoints, through tracefs."""

import os
import re
from pathlib import Path

from hosts import run

TRACEFS = Path("/sys/kernel/tracing")
SYSTEM = "pdmv2"
EVENTS = ("option_tx", "option_rx", "drop")
BUFFER_KB = 8192
# As tracefs prints an event, and perf, which puts the system in front.
LINE = re.compile(r"[ :](\w+): (netns=.*)$")
# What is printed by name; everything else but the addresses is a number.
NAMES = {"saddr", "daddr", "mechanism", "association", "arrival", "kind", "reason"}


def mount():
    if not (TRACEFS / "instances").is_dir():
        run("mount", "-t", "tracefs", "tracefs", TRACEFS)


def netns(host):
    """A namespace by the number that events name it by."""
    return os.stat(f"/run/netns/{host.name}").st_ino


def fields(text):
    """name=value ... as a dictionary."""
    pairs = (word.split("=", 1) for word in text.split(" "))
    return {name: value if name in NAMES else int(value) for name, value in pairs}


class Tracing:
    """Events of the module while this is open, in a buffer of its own."""

    def __init__(self, *events):
        mount()
        self._instance = TRACEFS / "instances" / SYSTEM
        self._instance.mkdir()
        self._write("buffer_size_kb", BUFFER_KB)
        for event in events or EVENTS:
            self._write(f"events/{SYSTEM}/{event}/enable", 1)

    def _write(self, name, value):
        (self._instance / name).write_text(f"{value}\n", encoding="ascii")

    def events(self):
        """(event, fields) of each event so far, in order; fails if any was lost."""
        for stats in self._instance.glob("per_cpu/cpu*/stats"):
            said = stats.read_text(encoding="ascii")
            assert re.search(r"^overrun: 0$", said, re.M) and re.search(r"^dropped events: 0$", said, re.M), said
        lines = (self._instance / "trace").read_text(encoding="utf-8").splitlines()
        return [(match[1], fields(match[2])) for match in map(LINE.search, lines) if match]

    def close(self):
        self._write(f"events/{SYSTEM}/enable", 0)
        self._instance.rmdir()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
