# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""A server that thinks: it answers each request a fixed time after the request reached the host.

The time counts from the kernel's receive timestamp, so that the server's own delay is what it says also on a machine on
which waking a process takes long.
"""

import contextlib
import socket
import struct
import threading
import time

# Of the socket API of Linux; Python has no names for them.
SO_TIMESTAMPNS = 35


def _arrival(ancillary):
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return seconds + nanoseconds / 1e9
    return time.time()


def _until(end):
    """Sleeps for most of the time and spins for the rest."""
    while (left := end - time.time()) > 0:
        if left > 0.002:
            time.sleep(left - 0.002)


class ThinkingServer:
    """UDP and TCP on one port, inside a host."""

    def __init__(self, host, port, think):
        self._think = think
        self._udp = host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._udp.bind(("::", port))
        self._tcp = host.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._tcp.bind(("::", port))
        self._tcp.listen(4)
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _requests(self, sock):
        """Requests of a socket, each when it is to be answered."""
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        while True:
            data, ancillary, _, source = sock.recvmsg(2048, 256)
            if not data:
                return
            _until(_arrival(ancillary) + self._think)
            yield data, source

    def _serve_udp(self):
        for data, source in self._requests(self._udp):
            self._udp.sendto(data, source)

    def _serve_tcp(self):
        while True:
            sock, _ = self._tcp.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock, contextlib.suppress(OSError):
                for data, _ in self._requests(sock):
                    sock.sendall(data)
