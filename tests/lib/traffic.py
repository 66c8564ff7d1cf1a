# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Servers that think before they answer, and clients that keep several requests in flight."""

import contextlib
import ctypes
import hashlib
import heapq
import os
import selectors
import signal
import socket
import struct
import threading
import time

from hosts import PATIENCE

ECHO_PORT = 7000
BULK_PORT = 7001


class _Server:
    """A thread that serves until it is closed."""

    def __init__(self, listening):
        self._listening = listening
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        self._ended.set()
        self._thread.join(10 * PATIENCE)
        self._listening.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class UdpEcho(_Server):
    """Sends every datagram back, `think` seconds after it came, however many are on their way."""

    def __init__(self, host, port=ECHO_PORT, think=0.0, address="::"):
        self.think, self.received = think, []
        super().__init__(host.udp(address, port))

    def _serve(self):
        waiting, sock = [], self._listening
        while not self._ended.is_set():
            pause = 0.1 if not waiting else max(0.0, waiting[0][0] - time.monotonic())
            sock.settimeout(max(pause, 1e-6))
            with contextlib.suppress(TimeoutError, BlockingIOError):
                data, source = sock.recvfrom(65536)
                self.received.append(data)
                heapq.heappush(waiting, (time.monotonic() + self.think, len(self.received), data, source))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, data, source = heapq.heappop(waiting)
                with contextlib.suppress(OSError):
                    sock.sendto(data, source)


class TcpEcho(_Server):
    """Answers each request of a connection `think` seconds after it came."""

    def __init__(self, host, port=ECHO_PORT, think=0.0):
        self.think = think
        listening = host.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("::", port))
        listening.listen(64)
        listening.setblocking(False)
        super().__init__(listening)

    def _serve(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(0.1):
                    if key.fileobj is self._listening:
                        sock, _ = self._listening.accept()
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        selector.register(sock, selectors.EVENT_READ)
                        continue
                    try:
                        data = key.fileobj.recv(65536)
                        if data:
                            time.sleep(self.think)
                            key.fileobj.sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
            for key in list(selector.get_map().values()):
                if key.fileobj is not self._listening:
                    key.fileobj.close()


class Sink(_Server):
    """Takes one stream after the other and keeps each one's length and SHA-256."""

    def __init__(self, host, port=BULK_PORT):
        self.streams = []
        listening = host.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("::", port))
        listening.listen(4)
        listening.settimeout(0.2)
        super().__init__(listening)

    def _serve(self):
        while not self._ended.is_set():
            try:
                sock, _ = self._listening.accept()
            except TimeoutError:
                continue
            digest, length = hashlib.sha256(), 0
            with sock:
                sock.settimeout(20 * PATIENCE)
                with contextlib.suppress(OSError):
                    while data := sock.recv(1 << 20):
                        digest.update(data)
                        length += len(data)
                    sock.sendall(digest.digest())
            self.streams.append((length, digest.hexdigest()))


def udp_exchange(host, address, count, interval=0.005, size=64, port=ECHO_PORT, sock=None, timeout=5.0):
    """Sends datagrams at an interval, without waiting for answers; returns how many came back."""
    own = sock is None
    sock = sock or host.udp()
    answered = set()

    def drain(until):
        while len(answered) < count and (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            with contextlib.suppress(TimeoutError, ConnectionError):
                answered.add(sock.recv(65536)[:4])

    for number in range(count):
        sock.sendto(number.to_bytes(4, "big").ljust(size, b"."), (address, port))
        drain(time.monotonic() + interval)
    drain(time.monotonic() + timeout * PATIENCE)
    if own:
        sock.close()
    return len(answered)


class _Header(ctypes.Structure):
    """struct msghdr"""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_len", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_len", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    """struct mmsghdr"""

    _fields_ = [("header", _Header), ("sent", ctypes.c_uint)]


SENDMMSG_MOST = 1024


def udp_spray(host, address, flows, first_port=1024, source_port=20000):
    """One datagram on each of so many flows to an address, a thousand of them, from one port, in one system call."""
    libc = ctypes.CDLL(None, use_errno=True)
    payload = ctypes.create_string_buffer(b"spray")
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(payload), 5)
    names = [
        ctypes.create_string_buffer(
            struct.pack("=H", socket.AF_INET6)
            + struct.pack("!HI", first_port + n, 0)
            + socket.inet_pton(socket.AF_INET6, address)
            + bytes(4),
            28,
        )
        for n in range(min(flows, SENDMMSG_MOST))
    ]
    messages = (_Message * len(names))(
        *(_Message(_Header(ctypes.addressof(name), 28, ctypes.addressof(vector), 1, None, 0, 0), 0) for name in names)
    )
    for source in range(-(-flows // len(names))):
        with host.udp(port=source_port + source) as sock:
            sock.settimeout(None)
            end, done = min(len(names), flows - source * len(names)), 0
            while done < end:
                sent = libc.sendmmsg(sock.fileno(), ctypes.byref(messages[done]), end - done, 0)
                assert sent > 0, os.strerror(ctypes.get_errno())
                done += sent


def tcp_exchange(host, address, count, interval=0.0, size=64, port=ECHO_PORT):
    """Requests and answers on one connection, one after the other; returns the client's port."""
    with host.tcp(address, port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count):
            request = number.to_bytes(4, "big").ljust(size, b".")
            sock.sendall(request)
            answer = b""
            while len(answer) < size:
                answer += sock.recv(size - len(answer)) or b"!" * size
            assert answer == request, (number, answer[:8])
            time.sleep(interval)
        return sock.getsockname()[1]


def ping(host, address, count=5, interval=0.05, size=56, check=True):
    """Echo requests with ping(8); returns how many were answered."""
    said = host.run("ping", "-c", count, "-i", interval, "-W", 10 * PATIENCE, "-s", size, address, check=check)
    return int(said.split(" packets transmitted, ")[1].split()[0])


def bulk(host, address, size, port=BULK_PORT, headers=None):
    """Sends random bytes; returns whether the sink received just those. `headers`: extension headers, by socket option."""
    data = os.urandom(1 << 16) * (size >> 16)
    with host.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        for option, header in (headers or {}).items():
            sock.setsockopt(socket.IPPROTO_IPV6, option, header)
        sock.settimeout(60 * PATIENCE)
        sock.connect((address, port))
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while part := sock.recv(64):
            answer += part
    return answer == hashlib.sha256(data).digest()


class Apart:
    """A server in a process of its own that runs before all others, so that it thinks no longer than it means to."""

    def __init__(self, make):
        self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
                make()
                signal.pause()
            os._exit(1)

    def close(self):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Background:
    """Calls something again and again in a thread; its errors do not matter."""

    def __init__(self, what):
        self._what, self._ended, self.rounds = what, threading.Event(), 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self._ended.is_set():
            with contextlib.suppress(OSError, AssertionError):
                self._what()
            self.rounds += 1
            time.sleep(0.05)

    def close(self):
        self._ended.set()
        self._thread.join(30 * PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
