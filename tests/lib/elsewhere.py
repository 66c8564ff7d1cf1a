# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""A process of its own: in a user and network namespace that it makes as the user it is told, it takes as much memory for
flows as it gets, and tries to get more."""

import contextlib
import ctypes
import errno
import json
import os
import socket
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "vectors")]

import module  # noqa: E402
import traffic  # noqa: E402
import family  # noqa: E402
from hosts import run  # noqa: E402

FLOWS = 4000
PR_SET_DUMPABLE = 4


class Here:
    """The namespace this process is in."""

    @contextlib.contextmanager
    def inside(self):
        yield self

    def udp(self, port):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("::", port))
        return sock


def leave(user):
    """Becomes this user, and then the administrator of namespaces of its own."""
    # What is read from files is read before.
    family._family()
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")


def main():
    leave(int(sys.argv[1]))
    run("ip", "link", "set", "lo", "up")
    with family.Family(Here()) as here:
        # Its own limit it may set as it likes.
        here.policy_set(family.rule("v2", remote="::1/128", direction={"outbound"}), memory=1 << 50, flows_max=1 << 20)
        traffic.udp_spray(Here(), "::1", FLOWS)
        try:
            module.MEMORY_MAX.write_text(str(1 << 40))
            raising = "done"
        except OSError as error:
            raising = errno.errorcode[error.errno]
        stats = here.stats()
        print(json.dumps({"memory": stats["memory"], "flows": stats["flows"], "sent": FLOWS, "raising": raising}), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
