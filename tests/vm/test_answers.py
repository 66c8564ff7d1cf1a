# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""State creation: "packets answered without a full socket (request sockets, TIME_WAIT, resets, kernel ICMPv6) use state but
never create it" (docs/protocol.md, sections 5 and 6).

Each answer is provoked by a packet made by hand: first by a stranger's, without an option; then by one with a genuine
option, so that the server knows the flow.
"""

import socket
import struct

import traffic
from capture import ICMPV6, TCP, read_pcap
from craft import Crafted, alone, checksum, pseudo, tcp
from hosts import CLIENT, PATIENCE, SERVER, Capture, wait_until
from measuring import Measuring
from test_headers import TCP_AO_ADD_KEY, ao_key

SYN, RST, ACK = 2, 4, 16
CLOSED_PORT, LISTENING_PORT = 7300, traffic.ECHO_PORT
FIRST_PORT = 5600
TIME_WAIT_PORT = 7301
MSS = b"\x02\x04\x05\xa0"


def segment(flags, dport, options=b""):
    return lambda sport: (TCP, tcp(CLIENT, SERVER, sport, dport, flags, options), dport)


def echo_request(identifier):
    body = struct.pack("!BBHHH", 128, 0, 0, identifier, 1) + b"are you there"
    total = checksum(pseudo(CLIENT, SERVER, ICMPV6, len(body)) + body)
    return ICMPV6, body[:2] + struct.pack("!H", total) + body[4:], 0


def flags_of(packet):
    return packet.upper[13] if packet.protocol == TCP else None


# name: the packet that provokes it, made from a source port or identifier; what the answer is known by.
ANSWERS = {
    "SYN-ACK of a request socket": (segment(SYN, LISTENING_PORT, MSS), lambda p: flags_of(p) == SYN | ACK),
    "SYN cookie": (segment(SYN, LISTENING_PORT, MSS), lambda p: flags_of(p) == SYN | ACK),
    "reset": (segment(SYN, CLOSED_PORT, MSS), lambda p: flags_of(p) == RST | ACK),
    "ACK of TIME_WAIT": (segment(ACK, TIME_WAIT_PORT), lambda p: flags_of(p) == ACK),
    "echo reply of the kernel": (echo_request, lambda p: p.icmp_type == 129),
}  # fmt: skip


def leave_in_time_wait(pair, sport):
    """A connection from this port that the server closed first, so that TIME_WAIT is the server's."""
    listening = pair.server.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with listening, pair.client.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((SERVER, TIME_WAIT_PORT))
        listening.listen(1)
        sock.bind((CLIENT, sport))
        sock.settimeout(5 * PATIENCE)
        sock.connect((SERVER, TIME_WAIT_PORT))
        listening.accept()[0].close()
        assert sock.recv(1) == b""
    state = lambda: pair.server.run("ss", "-Htan6", "state", "time-wait", "dport", "=", f":{sport}")
    wait_until(state, "no TIME_WAIT at the server", 5)


def provoke(pair, server, name, sport, secret):
    """Provokes an answer by one packet, with an option in it or without; what the server counted, and flows it has."""
    make, _ = ANSWERS[name]
    pair.server.sysctl("net.ipv4.tcp_syncookies", 2 if "cookie" in name else 1)
    protocol, upper, dport = make(sport)
    if "TIME_WAIT" in name:
        leave_in_time_wait(pair, sport)
    server.flow_flush()
    with Crafted(pair, secret, sport=sport if protocol == TCP else 0, dport=dport, protocol=protocol) as crafted:
        answered = lambda: server.stats()["options-out"] + server.skipped().get("no-socket", 0)
        before, without = answered(), server.skipped().get("no-socket", 0)
        if secret:
            crafted.put(60, bytes([protocol]) + alone(crafted.sealed())[1:] + upper)
        else:
            crafted.put(protocol, upper)
        wait_until(lambda: answered() > before, f"no answer: {name}", 5)
    return server.skipped().get("no-socket", 0) - without, len(server.flows())


# The client's own kernel knows nothing of these connections, and would reset them.
QUIET = """table ip6 t {
  chain c {
    type filter hook output priority 0
    tcp flags & rst == rst drop
  }
}
"""


def test_answers_without_a_full_socket_use_state_and_never_create_it(pair, results):
    with Measuring(pair) as measuring, traffic.TcpEcho(pair.server):
        server = measuring.server
        measuring.client.policy_set()
        pair.client.run("nft", "-f", "-", input=QUIET)
        # Half-open connections are given up in silence.
        pair.server.sysctl("net.ipv4.tcp_synack_retries", 0)
        found, expected = {}, {}
        with Capture(pair.client, results(".pcap")) as tap:
            for number, name in enumerate(ANSWERS):
                for secret in (None, measuring.secrets[1]):
                    sport = FIRST_PORT + 2 * number + bool(secret)
                    found[name, sport] = provoke(pair, server, name, sport, secret)
            packets = [p for p in read_pcap(tap.stop()) if p.saddr == SERVER]
        for name, sport in found:
            _, meant = ANSWERS[name]
            told = lambda p: p.dport if p.protocol == TCP else int.from_bytes(p.upper[4:6], "big")
            # The last one: TIME_WAIT follows a whole connection.
            [*_, answer] = [p for p in packets if meant(p) and told(p) == sport]  # noqa: B023
            found[name, sport] += (len(answer.options),)
            # A stranger's answer goes unchanged, is counted, and leaves no flow; a known one carries the option.
            expected[name, sport] = (0, 1, 1) if sport % 2 else (1, 0, 0)
        assert found == expected


def test_a_syn_ack_that_tcp_ao_signs_is_left_alone_whatever_state_there_is(pair, results):
    """Without a full socket only the segment itself says that TCP-AO signs it."""
    with Measuring(pair, "v2") as measuring, pair.server.socket(socket.AF_INET6, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, ao_key(CLIENT))
        listening.bind((SERVER, 7400))
        listening.listen(1)
        # The client measures nothing of it; a plain option of somebody else makes the state there.
        measuring.client.policy_set()
        with Crafted(pair, sport=5650, dport=7400, protocol=TCP) as crafted:
            header = alone(crafted.plain())
            crafted.put(60, bytes([TCP]) + header[1:] + tcp(CLIENT, SERVER, 5650, 7400, ACK))
        wait_until(lambda: measuring.server.stats()["accepted"] == 1, "the option was not accepted", 5)
        with Capture(pair.client, results(".pcap")) as tap, pair.client.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, ao_key(SERVER))
            sock.bind((CLIENT, 5650))
            sock.settimeout(5 * PATIENCE)
            sock.connect((SERVER, 7400))
            answers = [p for p in read_pcap(tap.stop()) if p.saddr == SERVER and p.upper[13:14] == bytes([SYN | ACK])]
        assert [len(p.options) for p in answers] == [0]
        assert measuring.server.skipped().get("tcp-ao", 0) >= 1
