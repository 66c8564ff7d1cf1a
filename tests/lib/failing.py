# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Allocations that fail, where the kernel can be told so (failslab of the debug kernel): those of the module that must not
sleep, which are those that packets cause."""

import contextlib
from pathlib import Path

FAILSLAB = Path("/sys/kernel/debug/failslab")
PAGE = 4096


def _text():
    """Where the module's code is: first byte, and one behind the last."""
    symbols = (line.split() for line in Path("/proc/kallsyms").read_text(encoding="utf-8").splitlines())
    code = [int(words[0], 16) for words in symbols if words[1] in "tT" and words[3:] == ["[pdmv2]"]]
    assert code and min(code)
    return min(code) // PAGE * PAGE, (max(code) // PAGE + 1) * PAGE


def _write(**settings):
    for name, value in settings.items():
        (FAILSLAB / name.replace("_", "-")).write_text(f"{value}\n", encoding="ascii")


def aim():
    """Says which allocations are to fail later. Takes a while."""
    first, end = _text()
    _write(ignore_gfp_wait="Y", task_filter="N", verbose=0, times=-1, interval=1, space=0)
    _write(require_start=hex(first), require_end=hex(end), stacktrace_depth=32)


@contextlib.contextmanager
def allocations(percent=100):
    """So many of a hundred fail, on all hosts."""
    _write(probability=percent)
    try:
        yield
    finally:
        _write(probability=0)
