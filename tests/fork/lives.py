#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Lives of one virtual machine: what two that go on from one snapshot seal, and what one seals after a sleep.

    lives.py RELEASE KERNEL MODULE HELPER DIRECTORY

"No (key, nonce) is ever used twice. Not by [...] a snapshot." The hosts `one` and `two` are namespaces of the guest, each
with a daemon. A line for each check, as in tests/scripts/lib.bash."""

import json
import shutil
import sys
import traceback
import uuid
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "vectors"), str(Path(__file__).parent)]

import opener  # noqa: E402
from guest import Guest, root, until  # noqa: E402

HOSTS = {"one": "fd00:1::1", "two": "fd00:1::2"}
FORKED = "reseeded due to virtual machine fork"
ROUND = 8  # echo requests


def configuration(name, other, public):
    dials = f'endpoint = "[{HOSTS[other]}]:4480"\n' if name == "one" else ""
    return (
        f'[host]\nprivate-key-file = "/tmp/{name}/key"\nlisten = "[{HOSTS[name]}]:4480"\nkey-log = "/tmp/{name}/log"\n'
        f'[[peer]]\nname = "{other}"\npublic-key = "{public}"\n{dials}'
        f'local = ["{HOSTS[name]}"]\nremote = ["{HOSTS[other]}"]\n'
        '[[rule]]\nsend = "v2-encrypted"\nprotocol = "icmpv6"\nexpiry = 0\n'
    )


class Hosts:
    """The two hosts of a guest."""

    def __init__(self, guest):
        self.guest = guest

    def set_up(self):
        sh, public = self.guest.sh, {}
        for name in HOSTS:
            sh(f"ip netns add {name} && ip -n {name} link set lo up && mkdir /tmp/{name}")
            sh(f"pdmv2 genkey --output /tmp/{name}/key")
            public[name] = sh(f"pdmv2 pubkey --key /tmp/{name}/key").strip()
        sh("ip link add veth0 netns one type veth peer veth0 netns two")
        for name, address in HOSTS.items():
            sh(f"ip -n {name} link set veth0 up && ip -n {name} address add {address}/64 dev veth0 nodad")
        for name, other in (("two", "one"), ("one", "two")):
            sh(f"cat >/tmp/{name}/toml <<'TOML'\n{configuration(name, other, public[other])}TOML")
            sh(f"ip netns exec {name} pdmv2 daemon --config /tmp/{name}/toml >/tmp/{name}/said 2>&1 &")

    def secrets(self, name):
        shown = json.loads(self.guest.sh(f"ip netns exec {name} pdmv2 --json show"))
        return {s["generation"]: s["state"] for a in shown["associations"] for s in a["secrets"]}

    def sends_under(self):
        """The generation that both send under, or None."""
        sending = {g for name in HOSTS for g, state in self.secrets(name).items() if state == "send"}
        return sending.pop() if len(sending) == 1 else None

    def sent(self):
        """Options that each has sent."""
        shown = (self.guest.sh(f"ip netns exec {name} pdmv2 --json show") for name in HOSTS)
        return [json.loads(one)["statistics"]["options-out"] for one in shown]

    def echo(self, count=ROUND):
        self.guest.sh(f"ip netns exec one ping -q -c {count} -i 0.2 -w 60 {HOSTS['two']}")

    def encrypted(self):
        """Rounds of echo requests until one has an option in each, and in each answer."""

        def all_have_one():
            before = self.sent()
            self.echo()
            return self.sent() == [n + ROUND for n in before]

        until(all_have_one, "nothing is encrypted")

    def capture(self, act):
        """What is on the link while `act` runs."""
        sh = self.guest.sh
        sh("ip netns exec one tcpdump -i veth0 -w /tmp/pcap -U --immediate-mode -Z root icmp6 or ip6 protochain 58 >/tmp/tcpdump 2>&1 &")
        until(lambda: "listening on" in sh("cat /tmp/tcpdump"), "tcpdump does not start")
        act()
        sh("sleep 1; killall tcpdump; while pidof tcpdump >/dev/null; do sleep 0.1; done")
        return self.guest.file("/tmp/pcap")

    def options(self, capture, directory, name):
        """The options of a capture, opened by the key log."""
        pcap, log = directory / f"{name}.pcap", directory / f"{name}.keys"
        pcap.write_bytes(capture)
        log.write_bytes(self.guest.file("/tmp/one/log"))
        return opener.open_capture(pcap, log)


bad = 0


def check(name, holds, told=""):
    global bad
    print(f"{'ok' if holds else 'not ok'} - {name}", flush=True)
    if not holds:
        print(f"    {told}", flush=True)
        bad = 1


def pairs(options):
    return {(option.key, option.nonce) for option in options if option.key is not None}


def lives(directory, machine):
    """One snapshot, and three machines that go on from it: itself, another, and one that is not told that it is another."""
    state, first, other = directory / "state", uuid.uuid4(), uuid.uuid4()
    with Guest(directory, "original", *machine, first) as guest:
        guest.boots()
        hosts = Hosts(guest)
        hosts.set_up()
        old = until(hosts.sends_under, "no negotiation")
        hosts.encrypted()
        guest.snapshot(state)
        guest.goes_on()
        original = hosts.options(hosts.capture(lambda: hosts.echo(2 * ROUND)), directory, "original")
        check("the machine goes on under its secret", hosts.sends_under() == old and FORKED not in guest.said())
    check("it seals", len(pairs(original)) == len(original) == 4 * ROUND, len(original))
    with Guest(directory, "copy", *machine, other, state) as guest:
        hosts = Hosts(guest)
        guest.goes_on()
        until(lambda: FORKED in guest.said(), "the kernel does not notice that it is a copy")

        def traffic():
            hosts.echo()
            until(lambda: (hosts.sends_under() or 0) > old, "no negotiation")
            hosts.encrypted()

        capture = hosts.capture(traffic)
        states = [hosts.secrets(name).get(old, "gone") for name in HOSTS]
        check("a copy sends no more under the secret", set(states) <= {"retired", "gone"}, states)
        copied = hosts.options(capture, directory, "copy")
        generations = {option.generation for option in copied}
        check("but under another", pairs(copied) and min(generations) > old, generations)
    check("the two have no key and nonce in common", not pairs(original) & pairs(copied))
    check("neither repeats one of its own", not opener.repeated_pairs(original) + opener.repeated_pairs(copied))
    with Guest(directory, "unaware", *machine, first, state) as guest:
        hosts = Hosts(guest)
        guest.goes_on()
        unaware = hosts.options(hosts.capture(hosts.echo), directory, "unaware")
    check("a copy that is not told repeats them, which is seen here", pairs(original) & pairs(unaware))
    state.unlink()


def sleeps(directory, machine):
    """A machine that sleeps."""
    with Guest(directory, "sleeper", *machine, uuid.uuid4()) as guest:
        guest.boots()
        hosts = Hosts(guest)
        hosts.set_up()
        old = until(hosts.sends_under, "no negotiation")
        hosts.encrypted()

        def traffic():
            hosts.echo()
            guest.sleep()
            hosts.echo()
            until(lambda: (hosts.sends_under() or 0) > old, "no negotiation")
            hosts.encrypted()

        capture = hosts.capture(traffic)
        check("it slept", "PM: suspend exit" in guest.said(), guest.said()[-2000:])
        states = [hosts.secrets(name).get(old, "gone") for name in HOSTS]
        check("after a sleep nothing is sent under the old secret", set(states) <= {"retired", "gone"}, states)
        options = hosts.options(capture, directory, "sleeper")
    generations = [option.generation for option in options]
    check("all before is under the old one, all behind under a newer", generations == sorted(generations), generations)
    check("it was sent under before, and another is now", {old} < set(generations), generations)
    check("no key and nonce comes twice", not opener.repeated_pairs(options))


def main():
    release, kernel, module, helper, directory = sys.argv[1:]
    directory = Path(directory)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    initrd = directory / "initrd"
    initrd.write_bytes(root(release, module, helper))
    for each in (lives, sleeps):
        try:
            each(directory, (kernel, initrd))
        except Exception:
            check(each.__doc__, False, traceback.format_exc())
    sys.exit(bad)


main()
