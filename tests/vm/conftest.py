# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What every test in the VM has at hand; and what every one must leave behind: nothing."""

import contextlib
import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for directory in ("lib", "vectors"):
    sys.path.insert(0, str(TESTS / directory))

import module  # noqa: E402
import namespaces  # noqa: E402
import pytest  # noqa: E402
from helper import Helper  # noqa: E402
from hosts import CLIENT, PATIENCE, SERVER, TOP, Pair, Routed, run  # noqa: E402

# The kernel is the debug kernel (scripts/vm says so).
WATCHED = bool(os.environ.get("PDMV2_WATCHED"))


def pytest_addoption(parser):
    parser.addoption("--part", default="1/1", help="I/N: every Nth test, from the Ith")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """What is run here: after -k and -m, so that the parts are of one size."""
    first, parts = map(int, config.getoption("part").split("/"))
    assert 1 <= first <= parts
    if not WATCHED:
        _keep(config, items, lambda item: not item.get_closest_marker("watched"))
    mine = items[first - 1 :: parts]
    _keep(config, items, lambda item: item in mine)
    # A test's time, too, is that of the stock kernel.
    for item in items:
        mark = item.get_closest_marker("timeout")
        seconds = mark.args[0] if mark else float(config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(seconds * PATIENCE), append=False)


def _keep(config, items, wanted):
    """The others are not chosen, which is not the same as skipped."""
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = filter(wanted, items)


@pytest.fixture(scope="session", autouse=True)
def modules_at_hand():
    """The kernel's own modules that the tests need, loaded once, so that no measurement waits for them."""
    for name in ("veth", "sch_netem", "vrf"):
        run("modprobe", name)


@pytest.fixture(scope="session")
def loaded(modules_at_hand):
    """The module is loaded for the tests that ask for it, and goes at the end without a trace."""
    module.load()
    yield
    if module.is_loaded():
        module.look_for_lost_memory()
        module.unload()
    assert not module.SYSFS.exists()


@pytest.fixture
def pair(loaded):
    """Two hosts; gone at the end, with their namespaces."""
    if not module.is_loaded():
        module.load()
    with Pair() as hosts:
        yield hosts


@pytest.fixture
def routed(loaded):
    """Two hosts and a router between them."""
    if not module.is_loaded():
        module.load()
    with Routed() as hosts:
        yield hosts


@pytest.fixture
def helpers(pair, results):
    """The helper of each host; ended at the end."""
    with contextlib.ExitStack() as stack:
        made = [Helper(h, results(f"-{h.name}"), a) for h, a in zip(pair.hosts, (CLIENT, SERVER), strict=True)]
        for helper in made:
            stack.callback(helper.close)
        yield made


@pytest.fixture(autouse=True)
def nothing_left():
    """No namespace outlives its test."""
    yield
    assert namespaces.names() == []


@pytest.fixture
def results(request):
    """Where a test leaves its files."""
    directory = TOP / "target" / "test" / "captures"
    directory.mkdir(parents=True, exist_ok=True)
    return lambda suffix: directory / (request.node.name.replace("[", "-").replace("]", "").replace("/", "-") + suffix)
