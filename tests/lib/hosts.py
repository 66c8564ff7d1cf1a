# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Hosts: network namespaces, and links between them.

The everyday topology is two hosts on a veth pair:

    +-- client ------------+                      +-- server ------------+
    |            veth0     |  netem, each way     |     veth0            |
    |      fd00:1::1/64    +----------------------+     fd00:1::2/64     |
    +----------------------+                      +----------------------+
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import namespaces

TOP = Path(__file__).resolve().parents[2]
CLIENT, SERVER = "fd00:1::1", "fd00:1::2"
LINK = "veth0"
# How many times longer than on the stock kernel the tests wait, where waiting is for what should come (scripts/vm sets it).
PATIENCE = int(os.environ.get("PDMV2_PATIENCE", "1"))


def run(*command, check=True, **options):
    """Runs a command, and shows what it said where it failed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition, what, seconds=10.0, step=0.05):
    """Waits for a condition, so many seconds on the stock kernel; returns what made it true."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: {what}")
        time.sleep(step)


class Host:
    """A network namespace. Threads enter it one by one; sockets made inside stay in it."""

    def __init__(self, name):
        self.name = name
        self._fd = namespaces.add(name)
        # No router will answer, and what is sent then disturbs the counting.
        self.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        # Addresses are there at once.
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)

    @contextlib.contextmanager
    def inside(self):
        """The calling thread is in the namespace for a while."""
        with namespaces.inside(self._fd):
            yield self

    def run(self, *command, **options):
        """Runs a command inside."""
        with self.inside():
            return run(*command, **options)

    def start(self, *command, **options):
        """Starts a command inside."""
        with self.inside():
            return subprocess.Popen([str(word) for word in command], **options)

    def socket(self, *arguments):
        with self.inside():
            return socket.socket(*arguments)

    def udp(self, address="::", port=0):
        sock = self.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind((address, port))
        sock.settimeout(5 * PATIENCE)
        return sock

    def tcp(self, address, port, timeout=10):
        sock = self.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.settimeout(timeout * PATIENCE)
        sock.connect((address, port))
        return sock

    def sysctl(self, name, value):
        with self.inside():
            Path("/proc/sys", name.replace(".", "/")).write_text(f"{value}\n", encoding="ascii")

    def ip(self, *commands):
        """Commands of ip(8), each one's words in one text, by one process."""
        self.run("ip", "-batch", "-", input="\n".join(commands))

    def mac(self, device=LINK):
        """In hexadecimal, with colons."""
        with self.inside():
            return namespaces.hardware_address(device).hex(":")

    def ifindex(self, device=LINK):
        with self.inside():
            return socket.if_nametoindex(device)

    def close(self):
        """Removes the namespace, with the processes that are left in it."""
        for pid in namespaces.pids(self.name):
            if pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        fd, self._fd = self._fd, -1
        os.close(fd)
        namespaces.delete(self.name)


def link(left, right, left_address, right_address, left_device=LINK, right_device=LINK, mtu=1500):
    """Joins two hosts by a veth pair."""
    made = [f"link add {left_device} type veth peer {right_device} netns {right.name}"]
    for host, device, address in ((left, left_device, left_address), (right, right_device, right_address)):
        host.ip(*made, f"link set {device} mtu {mtu} up", f"address add {address}/64 dev {device} nodad")
        made = []
        # A neighbour once found is not asked for again while somebody counts, however slow the machine.
        host.sysctl(f"net.ipv6.neigh.{device}.delay_first_probe_time", 3600)


def delay(host, milliseconds, device=LINK, limit=10000):
    """Delays what a host sends; 0 ends that."""
    host.run("tc", "qdisc", "del", "dev", device, "root", check=False)
    if milliseconds:
        host.run("tc", "qdisc", "add", "dev", device, "root", "netem", "delay", f"{milliseconds}ms", "limit", limit)


class Pair:
    """The everyday topology."""

    def __init__(self, milliseconds=0, mtu=1500, names=("client", "server")):
        self.hosts = []
        try:
            self.client, self.server = (self._add(name) for name in names)
            link(self.client, self.server, CLIENT, SERVER, mtu=mtu)
            for host in self.hosts if milliseconds else []:
                delay(host, milliseconds)
            # What addresses are announced with is sent before anybody counts.
            self.client.run("ping", "-c", 1, "-w", 5 * PATIENCE, SERVER)
        except BaseException:
            self.close()
            raise

    def _add(self, name):
        self.hosts.append(Host(name))
        return self.hosts[-1]

    def close(self):
        for host in self.hosts:
            host.close()
        self.hosts.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Routed(Pair):
    """Client and server, with their everyday addresses, and a router between them:

    client veth0 ---- veth0 router veth1 ---- veth0 server
     fd00:1::1   fd00:a::/64    fd00:b::/64   fd00:1::2
    """

    def __init__(self):
        self.hosts = []
        try:
            self.client, self.router, self.server = (self._add(name) for name in ("client", "router", "server"))
            link(self.client, self.router, "fd00:a::1", "fd00:a::fe")
            link(self.server, self.router, "fd00:b::1", "fd00:b::fe", right_device="veth1")
            self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
            for host, mine, theirs, via in (
                (self.client, CLIENT, SERVER, "fd00:a::fe"),
                (self.server, SERVER, CLIENT, "fd00:b::fe"),
            ):
                host.ip(f"address add {mine}/128 dev {LINK} nodad", f"route add default via {via} src {mine}")
            self.router.ip(*(f"route add {mine} via {via}" for mine, via in ((CLIENT, "fd00:a::1"), (SERVER, "fd00:b::1"))))
            self.client.run("ping", "-c", 1, "-w", 5 * PATIENCE, SERVER)
        except BaseException:
            self.close()
            raise

    def narrow(self, mtu):
        """What the router passes on, either way: the ends, whose links stay as they are, learn it from its messages."""
        for address, via in ((CLIENT, "fd00:a::1"), (SERVER, "fd00:b::1")):
            self.router.run("ip", "-6", "route", "replace", address, "via", via, "mtu", "lock", mtu)


# Super-packets, as a host sees its own before its device splits them.
WHOLE = 66_000


class Capture:
    """tcpdump on a host's device, into a file. Its buffer has fewer packets the longer they may be (`snap`, bytes)."""

    def __init__(self, host, path, device=LINK, expression="ip6", snap=9100):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self._log = open(self.path.with_suffix(".log"), "w+", encoding="utf-8")
        self._process = host.start(
            *("tcpdump", "-i", device, "-w", self.path, "-U", "--immediate-mode", "-s", snap, "-B", 65536, "-Z", "root", expression),
            stderr=self._log,
        )
        # In virtual time, waiting for the disk of the machine below passes quickly.
        wait_until(lambda: "listening on" in self._said(), "tcpdump does not start", 120)

    def _said(self):
        return Path(self._log.name).read_text(encoding="utf-8")

    def stop(self):
        """Ends the capture when nothing more arrives, and returns the file."""
        size = -1
        while size != (now := self.path.stat().st_size if self.path.exists() else 0):
            size = now
            time.sleep(0.25)
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10 * PATIENCE)
        self._log.close()
        said = self._said()
        assert "0 packets dropped by kernel" in said, said
        return self.path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
