#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Says which functions the instructions of a row are executed in, beside those of the row before.

Reads what profile.c wrote, and the results and symbols that measure.py left. A row's last repetition counts.
"""

import argparse
import bisect
import collections
import json
import re
import subprocess
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "target" / "bench"
USER = "(user space)"
# A hash at the end of every Rust name, which tells nobody anything.
RUST_HASH = re.compile(r"\[[0-9a-f]+\]")


def sections(path):
    """Executed instructions by address of the block, one dictionary per section."""
    for line in path.read_text().splitlines():
        if line == "begin":
            section = collections.Counter()
        elif line == "end":
            yield section
        else:
            address, instructions, executions = line.split()
            section[int(address, 16)] += int(instructions) * int(executions)


class Symbols:
    """The kernel's functions, as /proc/kallsyms had them while a row was counted."""

    def __init__(self, path):
        found = {}
        for line in path.read_text().splitlines():
            address, kind, name, *module = line.split()
            if kind in "tTwW":
                found.setdefault(int(address, 16), name + (" " + module[0] if module else ""))
        self.addresses = sorted(found)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=float, default=5, help="instructions per packet from which a function is shown (%(default)s)")
    arguments = parser.parse_args()
    counted = list(sections(OUT / "profile.blocks"))
    profiles = {}
    for row in json.loads((OUT / "results.json").read_text())["rows"]:
        if row["packet"] is None:
            continue
        symbols = Symbols(OUT / f"{row['name']}.symbols")
        functions = collections.Counter()
        for address, instructions in counted[row["section"]].items():
            functions[symbols.at(address)] += instructions / row["packets"]
        profiles[row["name"]] = functions
    names = readable(sorted({function for functions in profiles.values() for function in functions}))
    first, *others = profiles
    for name in others:
        added = {function: profiles[name][function] - profiles[first][function] for function in {*profiles[name], *profiles[first]}}
        print(f"--- {name}: {sum(added.values()):,.0f} instructions per packet more than {first}")
        for function, count in sorted(added.items(), key=lambda item: -abs(item[1])):
            if abs(count) >= arguments.least:
                print(f"{count:10,.1f}  {names[function]}")
        print()


if __name__ == "__main__":
    main()
