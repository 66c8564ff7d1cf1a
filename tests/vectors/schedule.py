# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The key schedule and the sealing of docs/protocol.md, section 4, written from that text alone.

It shares no code with the implementation: its HKDF, AEADs and MACs are those of the `cryptography` package.
"""

import ipaddress
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

PROFILES = {"v2": 2, "v2-kri": 3}
NONCE_LEN = 12
KDFS = {0x0001: hashes.SHA256, 0x0003: hashes.SHA512}
# AEAD: key length, constructor.
AEADS = {0x0001: (16, AESGCM), 0x0002: (32, AESGCM), 0x0003: (32, ChaCha20Poly1305)}


@dataclass(frozen=True)
class Suite:
    kem: int = 0x0020
    kdf: int = 0x0001
    aead: int = 0x0001

    @property
    def id(self):
        return b"HPKE" + struct.pack("!HHH", self.kem, self.kdf, self.aead)

    @property
    def hash(self):
        return KDFS[self.kdf]()

    @property
    def key_len(self):
        return AEADS[self.aead][0]


@dataclass(frozen=True)
class Tuple5:
    """A 5-tuple as sent: source first."""

    protocol: int
    saddr: str
    sport: int
    daddr: str
    dport: int

    @property
    def reversed(self):
        return Tuple5(self.protocol, self.daddr, self.dport, self.saddr, self.sport)


def extract(suite, salt, label, ikm):
    """LabeledExtract of RFC 9180, section 4."""
    mac = hmac.HMAC(salt or bytes(suite.hash.digest_size), suite.hash)
    mac.update(b"HPKE-v1" + suite.id + label + ikm)
    return mac.finalize()


def expand(suite, prk, label, info, length):
    """LabeledExpand of RFC 9180, section 4."""
    labeled = struct.pack("!H", length) + b"HPKE-v1" + suite.id + label + info
    return HKDFExpand(suite.hash, length, labeled).derive(prk)


def make_prk(suite, salt, shared_secret):
    return extract(suite, salt, b"pdmv2_prk", shared_secret)


def secret_id(suite, prk):
    return expand(suite, prk, b"pdmv2_id", b"", 8)


def flow_key(suite, prk, epoch, flow, profile=PROFILES["v2"]):
    """Key and base nonce of one flow, direction and epoch (Kri in profile v2-kri)."""
    context = struct.pack("!BIB", profile, epoch, flow.protocol)
    context += ipaddress.IPv6Address(flow.saddr).packed + ipaddress.IPv6Address(flow.daddr).packed
    context += struct.pack("!HH", flow.sport, flow.dport)
    both = expand(suite, prk, b"pdmv2_key", context, suite.key_len + NONCE_LEN)
    return both[: suite.key_len], both[suite.key_len :]


def nonce(base_nonce, counter):
    return bytes(a ^ b for a, b in zip(base_nonce, counter.to_bytes(NONCE_LEN, "big"), strict=True))


def seal(suite, key, base_nonce, counter, aad, body):
    return AEADS[suite.aead][1](key).encrypt(nonce(base_nonce, counter), body, aad)


def unseal(suite, key, base_nonce, counter, aad, sealed):
    """The body, or None where the tag is wrong."""
    try:
        return AEADS[suite.aead][1](key).decrypt(nonce(base_nonce, counter), sealed, aad)
    except InvalidTag:
        return None


@dataclass(frozen=True)
class Secret:
    """A pair secret and all that follows from it."""

    shared_secret: bytes
    salt: bytes = b""
    suite: Suite = Suite()
    generation: int = 1
    profile: str = "v2"

    @property
    def prk(self):
        return make_prk(self.suite, self.salt, self.shared_secret)

    @property
    def id(self):
        return secret_id(self.suite, self.prk)

    def flow_key(self, epoch, flow):
        return flow_key(self.suite, self.prk, epoch, flow, PROFILES[self.profile])
