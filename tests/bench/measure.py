#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Counts, inside the VM, what packets cost; scripts/bench runs it, in virtual time: nanoseconds are instructions.

Each row of the table is two hosts with one way of treating their packets, and the same exchange between them.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "vectors")]

import module  # noqa: E402
from family import Family, rule  # noqa: E402
from hosts import CLIENT, LINK, SERVER, TOP, Pair, run  # noqa: E402
from measuring import new_secret  # noqa: E402

ROUNDS, REPETITIONS = 2000, 9
# Round trips that set things up, uncounted.
WARM_UP = 200
# Every address of this prefix is the server's: as many flows as addresses.
MANY = "fd00:2::"
MANY_PREFIX = MANY + "/64"
DAY = 86400
# Seconds after which flows rest, and until the sweep has seen each of them.
REST, RESTED = 1, 30
# Bytes that flows may take: more than they do.
MEMORY = 1 << 40
RULES_MOST = 512
FLOWS_MOST = 1 << 20
# What is compared with (issue: the cost of a packet), and by how much the rest may differ from it.
REFERENCE = "ioam6"
TARGETS = {"pdm": 0.9, "v2": 0.9, "v2-encrypted": 2.0}
TARGET_MANY = 1.3
# Of fewer flows the caches' slack is too large a part.
FLOWS_FOR_BYTES = 1000
TARGET_BYTES = {"v2": 256, "v2-encrypted": 640}


# Where exchange is, and the results go; main sets it.
OUT = TOP / "target" / "bench"
# Repetitions so far: profile.c writes a section of each.
sections = 0


def exchange(pair, client, server, flows=0, rounds=ROUNDS, repetitions=REPETITIONS):
    """Instructions of each repetition, per packet."""
    global sections
    sections += repetitions
    said = run(OUT / "exchange", *(f"/run/netns/{host.name}" for host in pair.hosts), client, server, flows, rounds, repetitions)
    return [int(line) / (2 * rounds) for line in said.split()]


@dataclasses.dataclass
class Way:
    """A way of treating packets: what is set up on the hosts, and the addresses that the exchange then uses."""

    says: str
    setup: object
    client: str = CLIENT
    server: str = SERVER


@contextlib.contextmanager
def as_it_is(_):
    yield


@contextlib.contextmanager
def loaded(_):
    module.load(f"memory_max={MEMORY}")
    try:
        yield
    finally:
        module.unload()


def other_ports(count):
    """Rules that match no packet here."""
    return [rule("v2", remote_port_first=port, remote_port_last=port, protocol=17) for port in range(1, count + 1)]


def measured(mechanism, server=SERVER, rules=None, **settings):
    """Both hosts measure by this mechanism; the keys of an encrypted one are derived by the module."""

    @contextlib.contextmanager
    def setup(pair):
        with loaded(pair), Family(pair.client) as client, Family(pair.server) as server_side:
            families = client, server_side
            if mechanism == "v2-encrypted":
                client.association_set(CLIENT, server, key_mode="kernel")
                server_side.association_set(server, CLIENT, key_mode="kernel")
                secret = new_secret()
                for family in families:
                    family.secret_add(secret, prk=True)
                for family in families:
                    family.secret_activate(secret.generation)
            for family in families:
                family.policy_set(*(rules or [rule(mechanism)]), memory=MEMORY, **settings)
            yield families

    return setup


def ioam6(receives):
    """A pre-allocated trace of 12 bytes in front of every packet, both ways; `receives`: the other end fills it in too."""

    @contextlib.contextmanager
    def setup(pair):
        for number, (host, peer) in enumerate(((pair.client, SERVER), (pair.server, CLIENT)), 1):
            host.sysctl("net.ipv6.ioam6_id", number)
            host.sysctl(f"net.ipv6.conf.{LINK}.ioam6_enabled", int(receives))
            host.run("ip", "ioam", "namespace", "add", 1)
            trace = ("trace", "prealloc", "type", "0x800000", "ns", 1, "size", 12)
            host.run("ip", "-6", "route", "add", f"{peer}/128", "encap", "ioam6", "mode", "inline", *trace, "dev", LINK)
        yield

    return setup


@contextlib.contextmanager
def esp(pair):
    """ESP in transport mode."""
    for host in pair.hosts:
        for number, (source, target) in enumerate(((CLIENT, SERVER), (SERVER, CLIENT)), 1):
            way = ("src", source, "dst", target)
            key = "0x" + f"{number:02x}" * 20
            host.run("ip", "xfrm", "state", "add", *way, "proto", "esp", "spi", 0x1000 + number, "mode", "transport",
                     "aead", "rfc4106(gcm(aes))", key, 128)
            direction = "out" if (source == CLIENT) == (host is pair.client) else "in"
            host.run("ip", "xfrm", "policy", "add", *way, "dir", direction, "tmpl", *way, "proto", "esp", "mode", "transport")
    yield


WIREGUARD = ("fd00:9::1", "fd00:9::2")


@contextlib.contextmanager
def wireguard(pair):
    keys = [run("wg", "genkey").strip() for _ in pair.hosts]
    ends = ((pair.client, 0, SERVER), (pair.server, 1, CLIENT))
    for host, me, peer in ends:
        host.run("ip", "link", "add", "wg0", "type", "wireguard")
        key = run("wg", "pubkey", input=keys[1 - me]).strip()
        host.run("wg", "set", "wg0", "listen-port", 51820, "private-key", "/dev/stdin", "peer", key,
                 "endpoint", f"[{peer}]:51820", "allowed-ips", f"{WIREGUARD[1 - me]}/128", input=keys[me])
        host.run("ip", "address", "add", f"{WIREGUARD[me]}/64", "dev", "wg0", "nodad")
        host.run("ip", "link", "set", "wg0", "mtu", 1420, "up")
    yield


WAYS = {
    "nothing": Way("nothing added", as_it_is),
    "loaded": Way("the module loaded, no policy", loaded),
    "ioam6": Way("IOAM6 inline, trace of 12 bytes", ioam6(False)),
    "ioam6-filled": Way("the same, filled in by the receiver too", ioam6(True)),
    "pdm": Way("`pdm`", measured("pdm")),
    "v2": Way("`v2`", measured("v2")),
    "v2-encrypted": Way("`v2-encrypted`, key mode `kernel`", measured("v2-encrypted")),
    "v2-rules": Way(f"`v2` by the last of {RULES_MOST} rules", measured("v2", rules=[*other_ports(RULES_MOST - 1), rule("v2")])),
    "unmeasured": Way("one rule, which is for other packets", measured("v2", rules=other_ports(1))),
    "unmeasured-rules": Way(f"{RULES_MOST} rules, which are for other packets", measured("v2", rules=other_ports(RULES_MOST))),
    "esp": Way("ESP, transport mode, rfc4106(gcm(aes))", esp),
    "wireguard": Way("WireGuard", wireguard, *WIREGUARD),
}


def row(name, repetitions):
    """Instructions per packet of a way."""
    way = WAYS[name]
    with Pair() as pair, way.setup(pair):
        exchange(pair, way.client, way.server, rounds=WARM_UP, repetitions=1)
        counted = exchange(pair, way.client, way.server, repetitions=repetitions)
        # The module's functions are named while it is loaded.
        shutil.copy("/proc/kallsyms", OUT / f"{name}.symbols")
    return {"name": name, "says": way.says, "packet": statistics.median(counted), "least": min(counted), "most": max(counted),
            "section": sections - 1, "packets": 2 * ROUNDS}


def rows(names, repetitions):
    """The table: every way beside `nothing`, and how its addition compares with the reference's."""
    done = []
    for name in names:
        try:
            done.append(row(name, repetitions))
        except AssertionError as error:
            # What this kernel lacks is not in the table, and the table says so.
            print(f"bench: {name}: {error}", file=sys.stderr)
            done.append({"name": name, "says": WAYS[name].says, "packet": None})
        print(f"bench: {name}: {done[-1]['packet']}", file=sys.stderr, flush=True)
    packet = {each["name"]: each["packet"] for each in done}
    for each in done:
        if each["packet"] is not None and packet.get("nothing") is not None:
            each["adds"] = each["packet"] - packet["nothing"]
            if packet.get(REFERENCE) is not None:
                each["ratio"] = each["adds"] / (packet[REFERENCE] - packet["nothing"])
        each["target"] = TARGETS.get(each["name"])
    return done


def slab():
    """Bytes of kernel objects in use, of caches' partly filled pages too."""
    [line] = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("Slab:")]
    return int(line.split()[1]) * 1024


def caches():
    """Bytes in use of each slab cache, where the kernel tells."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
            name, active, _, size, *_ = line.split()
            found[name] = int(active) * int(size)
    return found


def settled():
    """RCU's and the caches' leftovers are gone."""
    run("sh", "-c", "sync; echo 3 >/proc/sys/vm/drop_caches; sleep 3")


def many(mechanism, flows):
    """The cost of a packet while so many flows are alive, each taken in turn; and what one takes on each host, in use and
    at rest."""
    setup = measured(mechanism, MANY_PREFIX, flows_max=FLOWS_MOST, idle=DAY, rest=DAY) if mechanism else as_it_is
    with Pair() as pair, setup(pair) as families:
        pair.client.run("ip", "-6", "route", "add", MANY_PREFIX, "via", SERVER)
        pair.server.run("ip", "-6", "route", "add", "local", MANY_PREFIX, "dev", "lo")
        exchange(pair, CLIENT, MANY, flows=1, rounds=WARM_UP, repetitions=1)
        settled()
        before, before_caches = slab(), caches()
        exchange(pair, CLIENT, MANY, flows=flows, rounds=flows, repetitions=1)
        settled()
        after, after_caches = slab(), caches()
        counted = exchange(pair, CLIENT, MANY, flows=flows, rounds=max(ROUNDS, min(flows, 10 * ROUNDS)), repetitions=5)
        for family in families or ():
            held = family.stats()["flows"]
            if held < flows:
                raise AssertionError(f"{held} flows are held, not {flows}")
            family.policy_set(rule(mechanism), flows_max=FLOWS_MOST, memory=MEMORY, idle=DAY, rest=REST)
        run("sleep", RESTED)
        settled()
        rested, rested_caches = slab(), caches()
        # Each of these has rested, and is taken into use again.
        woken = exchange(pair, CLIENT, MANY, flows=flows, rounds=min(flows, ROUNDS), repetitions=1)
    grown = lambda now: {name: (now[name] - before_caches.get(name, 0)) / (2 * flows) for name in now}
    return {
        "mechanism": mechanism or "nothing",
        "flows": flows,
        "packet": statistics.median(counted),
        "bytes": (after - before) / (2 * flows),
        "rested": (rested - before) / (2 * flows),
        "woken": statistics.median(woken),
        "caches": {name: size for name, size in grown(after_caches).items() if size > 1},
        "rested-caches": {name: size for name, size in grown(rested_caches).items() if size > 1},
    }


def alive(mechanisms, numbers):
    """The cost by number of flows, beside that of one."""
    done = []
    for mechanism in (None, *mechanisms):
        for flows in numbers:
            done.append(many(mechanism, flows))
            print(f"bench: {done[-1]}", file=sys.stderr, flush=True)
    packet = {(each["mechanism"], each["flows"]): each["packet"] for each in done}
    for each in done:
        each["waking"] = each["woken"] - packet["nothing", each["flows"]]
        added = each["packet"] - packet["nothing", each["flows"]]
        one = packet[each["mechanism"], numbers[0]] - packet["nothing", numbers[0]]
        each["adds"] = added
        each["ratio"] = added / one if one else None
    return done


def markdown(results):
    """The results as tables."""
    lines = [f"Linux {results['kernel']}, instructions per packet", ""]
    lines += ["| way | a packet | adds | times what IOAM6 adds | target |", "|---|---|---|---|---|"]
    for each in results["rows"]:
        if each["packet"] is None:
            lines.append(f"| {each['says']} | not on this kernel | | | |")
            continue
        ratio = f"{each['ratio']:.2f}" if "ratio" in each else ""
        target = f"{each['target']}" if each["target"] else ""
        lines.append(f"| {each['says']} | {each['packet']:,.0f} | {each.get('adds', 0):,.0f} | {ratio} | {target} |")
    if results["alive"]:
        lines += ["", "| mechanism | flows alive | a packet | adds | times one flow | target | adds on waking | bytes a flow in use | at rest | target |", "|---|---|---|---|---|---|---|---|---|---|"]
        for each in results["alive"]:
            name = each["mechanism"]
            ratio, targets = ("", ("", "")) if name == "nothing" else (f"{each['ratio']:.2f}", (TARGET_MANY, TARGET_BYTES.get(name, "")))
            sizes = [f"{each[state]:,.0f}" if each["flows"] >= FLOWS_FOR_BYTES else "" for state in ("bytes", "rested")]
            waking = f"{each['waking']:,.0f}" if each["flows"] >= FLOWS_FOR_BYTES else ""
            lines.append(f"| {name} | {each['flows']:,} | {each['packet']:,.0f} | {each['adds']:,.0f} | {ratio} | {targets[0]} | {waking} | {' | '.join(sizes)} | {targets[1]} |")
    return "\n".join(lines) + "\n"


def main():
    global OUT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(WAYS), help="ways to count (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of the exchange, of which the median counts (%(default)s)")
    parser.add_argument("--flows", default="1,10000", help="numbers of flows alive, the first of which is compared with; empty for none (%(default)s)")
    parser.add_argument("--mechanisms", default="v2,v2-encrypted", help="whose flows (%(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the results (%(default)s)")
    arguments = parser.parse_args()
    OUT = arguments.out
    names = [name for name in arguments.rows.split(",") if name]
    if unknown := set(names) - set(WAYS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    numbers = [int(number) for number in arguments.flows.split(",") if number]
    for name in ("veth", "wireguard"):
        run("modprobe", name, check=False)
    results = {
        "kernel": os.uname().release,
        "rows": rows(names, arguments.repetitions),
        "alive": alive([name for name in arguments.mechanisms.split(",") if name], numbers) if numbers else [],
    }
    (OUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (OUT / "table.md").write_text(markdown(results))
    print(markdown(results), end="")


if __name__ == "__main__":
    main()
