#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Opens every encrypted option of a capture with a key log (docs/protocol.md, section 10).

    opener.py CAPTURE KEYLOG...     a line for each option; fails if one does not open

Which profile an option has is what the log says of its addresses. The Kri of profile v2-kri is not on the wire: it is
found by trying, first the flow's last one and its neighbours, then upward.
"""

import ipaddress
import sys
from collections import defaultdict
from dataclasses import dataclass

from capture import Packet, read_pcap
from option import Fields, aad, read_clear, read_kri, read_kri_clear, read_pdm, read_v2
from schedule import PROFILES, Secret, Suite, unseal

# How far beyond the last Kri of a flow is looked.
KRI_AHEAD = 64


@dataclass(frozen=True)
class LogEntry:
    """A line of a key log."""

    association: str
    secret: Secret
    local: tuple
    remote: tuple

    def direction(self, flow):
        """'out', 'in', or None where the entry is about other addresses."""
        within = lambda text, prefixes: any(ipaddress.IPv6Address(text) in prefix for prefix in prefixes)
        if within(flow.saddr, self.local) and within(flow.daddr, self.remote):
            return "out"
        if within(flow.saddr, self.remote) and within(flow.daddr, self.local):
            return "in"
        return None


@dataclass(frozen=True)
class Opened:
    """An option that was read: what it says, and, where it was sealed, under which key and nonce."""

    packet: Packet
    mechanism: str
    fields: Fields
    direction: str | None = None
    generation: int | None = None
    key: bytes | None = None
    nonce: int | None = None

    @property
    def flow(self):
        return self.packet.flow


class NotOpened(Exception):
    """An option that no key of the log opens."""


def read_key_log(*paths):
    entries = []
    for path in paths:
        with open(path, encoding="ascii") as file:
            for line in file:
                label, name, kem, kdf, aead, profile, salt, secret, generation, local, remote = line.split()
                if label != "PDMV2_SHARED_SECRET" or profile not in PROFILES:
                    raise ValueError(f"{path}: {label} {profile}")
                prefixes = lambda text: tuple(ipaddress.IPv6Network(p) for p in text.split(","))
                suite = Suite(int(kem, 16), int(kdf, 16), int(aead, 16))
                salt = b"" if salt == "-" else bytes.fromhex(salt)
                secret = Secret(bytes.fromhex(secret), salt, suite, int(generation), profile)
                entries.append(LogEntry(name, secret, prefixes(local), prefixes(remote)))
    return entries


def write_key_log(path, name, secret, local, remote):
    """One line, as the helper writes it."""
    suite = secret.suite
    with open(path, "a", encoding="ascii") as file:
        file.write(
            f"PDMV2_SHARED_SECRET {name} {suite.kem:04x} {suite.kdf:04x} {suite.aead:04x} {secret.profile} {secret.salt.hex() or '-'} "
            f"{secret.shared_secret.hex()} {secret.generation} {local} {remote}\n"
        )


class Opener:
    """Keys of a log, derived once for each flow and epoch or Kri. `plain` is the profile of plain options."""

    def __init__(self, entries, plain="v2"):
        self.entries = entries
        self.plain = plain
        self.keys = {}
        self.kris = {}
        self.last = {}

    def key(self, entry, epoch, flow):
        name = (entry.secret, epoch, flow)
        if name not in self.keys:
            self.keys[name] = entry.secret.flow_key(epoch, flow)
        return self.keys[name]

    def candidates(self, entry, flow, body):
        """What an option may have been sealed in, and its counter: (epoch or Kri, counter), the likeliest first."""
        if entry.secret.profile == "v2":
            _, epoch, psntp = read_clear(body)
            return [(epoch, psntp)]
        _, _, random, flag = read_kri_clear(body)
        last = self.kris.get((entry.secret, flow), 0)
        kris = [last, last + 1, last - 1, *range(last + 2, last + KRI_AHEAD)]
        return [(kri, random) for kri in kris if kri >= 0 and kri % 2 == flag]

    def open(self, packet, option):
        """Reads an option; of an encrypted one that no key opens, NotOpened is raised."""
        if option.mechanism == "pdm":
            return Opened(packet, "pdm", read_pdm(option.body))
        if option.mechanism == "v2":
            read = read_v2 if self.plain == "v2" else read_kri
            return Opened(packet, "v2", read(option.body[:4], option.body[4:]))
        if option.mechanism is None:
            raise NotOpened(f"{packet.flow}: an option of {len(option.body)} bytes")
        clear, sealed = option.body[:4], option.body[4:]
        # What opened the flow's last one is the likeliest, and then what came after it.
        first = self.last.get(packet.flow, 0)
        count = len(self.entries)
        for place in (*range(first, count), *range(first)):
            entry = self.entries[place]
            direction = entry.direction(packet.flow)
            if direction is None:
                continue
            for epoch, counter in self.candidates(entry, packet.flow, clear):
                key, base_nonce = self.key(entry, epoch, packet.flow)
                interior = unseal(entry.secret.suite, key, base_nonce, counter, aad(clear), sealed)
                if interior is None:
                    continue
                if entry.secret.profile == "v2":
                    fields = read_v2(clear, interior)
                else:
                    fields = read_kri(clear, interior, epoch)
                    at = (entry.secret, packet.flow)
                    self.kris[at] = max(epoch, self.kris.get(at, 0))
                self.last[packet.flow] = place
                return Opened(packet, "v2-encrypted", fields, direction, entry.secret.generation, key, counter)
        raise NotOpened(f"{packet.flow}: clear bytes {clear.hex()}")

    def options(self, packets):
        """Every option of some packets."""
        for packet in packets:
            for option in packet.options:
                yield self.open(packet, option)


def open_capture(capture, *key_logs, plain="v2"):
    """Every option of a capture, in order."""
    return list(Opener(read_key_log(*key_logs), plain).options(read_pcap(capture)))


def by_flow(options):
    """The options of each 5-tuple as sent, in order."""
    flows = defaultdict(list)
    for option in options:
        flows[option.flow].append(option)
    return dict(flows)


def repeated_pairs(options):
    """(key, nonce) pairs that more than one option was sealed under."""
    seen, repeated = set(), []
    for option in options:
        if option.key is not None:
            pair = (option.key, option.nonce)
            (repeated.append if pair in seen else seen.add)(pair)
    return repeated


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    options = open_capture(sys.argv[1], *sys.argv[2:])
    for o in options:
        f = o.fields
        epoch = f"epoch {f.epoch}" if f.kri is None else f"Kri {f.kri}"
        print(
            f"{o.packet.time:.6f} {o.flow.saddr}.{o.flow.sport} > {o.flow.daddr}.{o.flow.dport} {o.flow.protocol} "
            f"{o.mechanism} generation {o.generation} {epoch} PSN {f.psntp} GLOBALPTR {f.globalptr} "
            f"PSNLR {f.psnlr} DTLR {f.dtlr_seconds * 1e3:.3f} ms DTLS {f.dtls_seconds * 1e3:.3f} ms"
        )
    repeated = repeated_pairs(options)
    print(f"{len(options)} options read; {len(repeated)} (key, nonce) pairs more than once")
    sys.exit(bool(repeated))


if __name__ == "__main__":
    main()
