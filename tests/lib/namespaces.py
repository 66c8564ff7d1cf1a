# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Named network namespaces, as ip-netns(8) has them, without a process for each step: on a kernel that watches what it
does, to start one takes longer than most tests."""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

NAMES = Path("/run/netns")
MS_BIND, MNT_DETACH = 1 << 12, 2
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFHWADDR = 0x8913, 0x8914, 0x8927
IFF_UP = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def _back_home():
    """The calling thread may go to another namespace, and is back at the end."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        yield
    finally:
        os.setns(home, os.CLONE_NEWNET)
        os.close(home)


def _device_request(request, device, argument):
    """An ioctl of a device of the namespace the thread is in: what stands behind the name in struct ifreq."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, request, struct.pack("=16s24s", device.encode(), argument))[16:]


def hardware_address(device):
    """Six bytes, of a device of the namespace the thread is in."""
    return _device_request(SIOCGIFHWADDR, device, b"")[2:8]


def add(name):
    """Makes a namespace whose loopback device is up; returns an open file of it."""
    NAMES.mkdir(exist_ok=True)
    path = NAMES / name
    path.touch(exist_ok=False)
    with _back_home():
        os.unshare(os.CLONE_NEWNET)
        _checked(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(path), None, MS_BIND, None))
        flags = _device_request(SIOCGIFFLAGS, "lo", bytes(2))
        _device_request(SIOCSIFFLAGS, "lo", struct.pack("=H", struct.unpack_from("=H", flags)[0] | IFF_UP))
    return os.open(path, os.O_RDONLY)


@contextlib.contextmanager
def inside(fd):
    """The calling thread is in the namespace for a while."""
    with _back_home():
        os.setns(fd, os.CLONE_NEWNET)
        yield


def delete(name):
    """Takes its name away; it goes when nobody uses it any more."""
    path = NAMES / name
    _checked(_libc.umount2(os.fsencode(path), MNT_DETACH))
    path.unlink()


def names():
    return sorted(os.listdir(NAMES)) if NAMES.is_dir() else []


def pids(name):
    """The processes in it."""
    wanted, found = (NAMES / name).stat(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # It may end meanwhile.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), wanted):
                found.append(int(pid))
    return found
