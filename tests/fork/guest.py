# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""A virtual machine whose root is in its memory, so that a snapshot of that is all of it; run from inside the Debian tree.

QEMU's monitor stops it, writes it to a file and goes on; another QEMU goes on from the file, told that it is another
machine by vmgenid, or not told."""

import base64
import contextlib
import json
import lzma
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

MEMORY = "768M"
PROGRAMS = ("bash", "ip", "ping", "tcpdump")
PATIENCE = 90  # seconds that booting, or a command in the guest, may take
NEWC = b"070701"
# The last that the kernel says before it sleeps.
ASLEEP = "Suspending console(s)"


def until(condition, what, seconds=90):
    """Waits for a condition; returns what made it true."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.1)
    return result


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def libraries(program):
    """The shared objects that a program needs, the loader among them."""
    return set(re.findall(r"(/\S+) \(0x", run("ldd", program)))


def modules(release, names, own):
    """Files of modules and of those they depend on, in the order in which they are loaded."""
    depends = run("modinfo", "-F", "depends", own).strip().split(",")
    files = []
    for name in (*names, *filter(None, depends)):
        for line in run("modprobe", "--show-depends", "-S", release, name).splitlines():
            if line.startswith("insmod ") and (path := Path(line.split()[1])) not in files:
                files.append(path)
    return [*files, Path(own)]


def unpacked(path):
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def archive(files):
    """An initramfs of {path in the guest: bytes}."""
    out, made = bytearray(), set()

    def entry(name, mode, data=b""):
        fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = NEWC + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        for part in (head, data):
            out.extend(part + bytes(-len(part) % 4))

    for path, data in files.items():
        for parent in reversed(Path(path).parents):
            if str(parent) not in (".", "/") and parent not in made:
                made.add(parent)
                entry(str(parent).lstrip("/"), 0o040755)
        entry(str(path).lstrip("/"), 0o100755, data)
    entry("TRAILER!!!", 0)
    return bytes(out)


def root(release, module, helper):
    """The guest's files."""
    programs = [Path(shutil.which(name)) for name in PROGRAMS]
    files = {f"/bin/{path.name}": path.read_bytes() for path in programs}
    files |= {library: Path(library).read_bytes() for path in (*programs, helper) for library in libraries(path)}
    files |= {"/bin/pdmv2": Path(helper).read_bytes(), "/bin/busybox": Path(shutil.which("busybox")).read_bytes()}
    files["/init"] = (Path(__file__).parent / "init").read_bytes()
    loaded = modules(release, ("veth",), module)
    files |= {f"/modules/{path.name.removesuffix('.xz')}": unpacked(path) for path in loaded}
    files["/modules/order"] = "\n".join(path.name.removesuffix(".xz") for path in loaded).encode()
    return archive(files)


class Guest:
    """A running one. `state`: goes on from this snapshot; `identity`: what vmgenid says."""

    def __init__(self, directory, name, kernel, initrd, identity, state=None):
        self.console, self.name = directory / f"{name}.log", name
        self.console.unlink(missing_ok=True)
        sockets = {part: directory / f"{name}.{part}" for part in ("monitor", "line")}
        command = [
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,-erms,-fsrm", "-smp", "1", "-m", MEMORY),
            *("-machine", "q35", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 loglevel=8 panic=-1 mitigations=off audit=0"),
            *("-serial", f"file:{self.console}", "-serial", f"unix:{sockets['line']},server=on,wait=off"),
            *("-qmp", f"unix:{sockets['monitor']},server=on,wait=off"),
            *("-device", f"vmgenid,guid={identity}", *(("-incoming", f"file:{state}") if state else ())),
        ]
        self._log = open(directory / f"{name}.qemu", "wb")
        self._process = subprocess.Popen([str(word) for word in command], stdout=self._log, stderr=self._log)
        try:
            self._monitor, self._line = (self._connected(path) for path in sockets.values())
            self._monitor_file = self._monitor.makefile("rw")
            self._answer()
            self.monitor("qmp_capabilities")
            self._line.settimeout(PATIENCE)
        except BaseException:
            self.close()
            raise

    def _connected(self, path):
        sock = socket.socket(socket.AF_UNIX)

        def connects():
            assert self._process.poll() is None, Path(self._log.name).read_text()
            with contextlib.suppress(OSError):
                sock.connect(str(path))
                return True

        until(connects, "QEMU does not start")
        return sock

    def _answer(self):
        while "event" in (said := json.loads(self._monitor_file.readline())):
            pass
        return said

    def monitor(self, command, **arguments):
        self._monitor_file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._monitor_file.flush()
        said = self._answer()
        assert "return" in said, said
        return said["return"]

    def snapshot(self, path):
        """Writes the whole machine to a file. It stands still from then on."""
        self.monitor("stop")
        self.monitor("migrate", uri=f"file:{path}")
        until(lambda: self.monitor("query-migrate")["status"] in ("completed", "failed"), "the snapshot does not end")
        assert (state := self.monitor("query-migrate"))["status"] == "completed", state

    def goes_on(self):
        """The machine runs, from where it stood."""
        until(lambda: self.monitor("query-status")["status"] != "inmigrate", "the snapshot is not read")
        self.monitor("cont")

    def boots(self):
        """Once it takes commands."""
        data = b""
        while b"READY" not in data:
            assert (part := self._line.recv(4096)), "the guest ended"
            data += part

    def said(self):
        return self.console.read_text(errors="replace")

    def sh(self, command):
        """What a command prints; it must succeed."""
        return self._ended(command, self._begun(command))

    def _begun(self, command):
        self._line.sendall(f"{{ {command}\n}} </dev/null 2>&1; echo \"END $?\"\n".encode())
        return b""

    def _ended(self, command, data):
        while not (end := re.search(rb"(?:^|\n)END (\d+)\n", data)):
            part = self._line.recv(65536)
            assert part, f"{self.name} ended: {data[-500:]}"
            data += part
        text = data[: end.start()].decode(errors="replace")
        assert end[1] == b"0", f"{self.name}: {command}: {end[1].decode()}\n{text}"
        return text

    def sleep(self):
        """The machine goes to sleep, until what comes over its line wakes it."""
        self.sh("echo enabled >/sys/class/tty/ttyS1/power/wakeup")
        command, asleep = "echo freeze >/sys/power/state", self.said().count(ASLEEP)
        data = self._begun(command)
        until(lambda: self.said().count(ASLEEP) > asleep, "it does not go to sleep")
        self._line.settimeout(2)
        # What comes too early wakes nothing.
        for _ in range(PATIENCE // 2):
            self._line.sendall(b"\n")
            with contextlib.suppress(TimeoutError):
                data += self._line.recv(1)
                break
        self._line.settimeout(PATIENCE)
        self._ended(command, data)

    def file(self, path):
        return base64.b64decode(self.sh(f"base64 {path}"))

    def close(self):
        for one in ("_monitor", "_line"):
            if hasattr(self, one):
                getattr(self, one).close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
