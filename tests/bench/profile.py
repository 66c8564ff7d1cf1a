#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Says in which functions a row executes more than the first row, and who calls them more often.

Reads what profile.c wrote, and the results and symbols that measure.py left. A row's last repetition counts.
"""

import argparse
import bisect
import collections
import json
import re
import subprocess
from pathlib import Path

USER = "(user space)"
CALLS_LEAST, CALLERS_SHOWN = 0.01, 4
# A hash at the end of every Rust name, which tells nobody anything.
RUST_HASH = re.compile(r"\[[0-9a-f]+\]")


def sections(path):
    """Blocks (address, instructions executed, {address come from: times}), one list per section."""
    for line in path.read_text().splitlines():
        if line == "begin":
            section = []
        elif line == "end":
            yield section
        else:
            address, instructions, executions, *origins = line.split()
            origins = (origin.split(":") for origin in origins)
            came = {int(origin, 16): int(times) for origin, times in origins}
            section.append((int(address, 16), int(instructions) * int(executions), came))


class Symbols:
    """The kernel's functions, as /proc/kallsyms had them while a row was counted."""

    def __init__(self, path):
        found = {}
        for line in path.read_text().splitlines():
            address, kind, name, *module = line.split()
            if kind in "tTwW":
                found.setdefault(int(address, 16), name + (" " + module[0] if module else ""))
        self.addresses = sorted(found)
        self.starts = set(found)
        self.names = [found[address] for address in self.addresses]

    def at(self, address):
        if address < 1 << 63:
            return USER
        index = bisect.bisect_right(self.addresses, address) - 1
        return self.names[index] if index >= 0 else hex(address)


def readable(names):
    """Rust's mangled names as a person writes them."""
    said = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, (RUST_HASH.sub("", line) for line in said.split("\n"))))


class Profile:
    """What a row executed, per packet."""

    def __init__(self, row, blocks, out):
        symbols = Symbols(out / f"{row['name']}.symbols")
        self.name = row["name"]
        # Instructions by function; calls by function and caller.
        self.functions = collections.Counter()
        self.calls = collections.Counter()
        for address, instructions, came in blocks:
            function = symbols.at(address)
            self.functions[function] += instructions / row["packets"]
            if address in symbols.starts:
                for origin, times in came.items():
                    if origin and symbols.at(origin) != function:
                        self.calls[function, symbols.at(origin)] += times / row["packets"]

    def show(self, other, least, written):
        """What this one has more, or less, than the other."""
        added = {name: self.functions[name] - other.functions[name] for name in {*self.functions, *other.functions}}
        called = collections.defaultdict(list)
        for (function, caller), times in self.calls.items():
            more = times - other.calls[function, caller]
            if more >= CALLS_LEAST:
                called[function].append((more, caller))
        print(f"--- {self.name}: {sum(added.values()):,.0f} instructions per packet more than {other.name}")
        for function, count in sorted(added.items(), key=lambda item: -abs(item[1])):
            if abs(count) < least:
                continue
            callers = (f"{more:.3g} x {written[caller]}" for more, caller in sorted(called[function], reverse=True)[:CALLERS_SHOWN])
            print(f"{count:10,.1f}  {written[function]}  <- {', '.join(callers)}".removesuffix("  <- "))
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=float, default=5, help="instructions per packet from which a function is shown (%(default)s)")
    parser.add_argument("out", type=Path, help="directory of the results")
    arguments = parser.parse_args()
    counted = list(sections(arguments.out / "profile.blocks"))
    rows = json.loads((arguments.out / "results.json").read_text())["rows"]
    first, *others = (Profile(row, counted[row["section"]], arguments.out) for row in rows if row["packet"] is not None)
    written = readable(sorted({name for profile in (first, *others) for name in profile.functions}))
    for profile in others:
        profile.show(first, arguments.least, written)


if __name__ == "__main__":
    main()
