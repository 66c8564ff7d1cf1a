# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""What every test in the VM has at hand; and what every one must leave behind: nothing."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for directory in ("lib", "vectors"):
    sys.path.insert(0, str(TESTS / directory))

import module  # noqa: E402
import pytest  # noqa: E402
from hosts import PATIENCE, TOP, Pair, Routed, run  # noqa: E402


def pytest_collection_modifyitems(config, items):
    """A test's time, too, is that of the stock kernel."""
    for item in items:
        mark = item.get_closest_marker("timeout")
        seconds = mark.args[0] if mark else float(config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(seconds * PATIENCE), append=False)


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


@pytest.fixture(autouse=True)
def nothing_left():
    """No namespace outlives its test."""
    yield
    assert run("ip", "netns", "list") == ""


@pytest.fixture
def results(request):
    """Where a test leaves its files."""
    directory = TOP / "target" / "test" / "captures"
    directory.mkdir(parents=True, exist_ok=True)
    return lambda suffix: directory / (request.node.name.replace("[", "-").replace("]", "").replace("/", "-") + suffix)
