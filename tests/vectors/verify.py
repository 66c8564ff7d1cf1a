#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Recomputes the published key-schedule vectors. Prints each; fails if one differs, or if the files are missing."""

import hashlib
import json
import sys
from pathlib import Path

from schedule import PROFILES, Suite, Tuple5, expand, extract, flow_key, make_prk, seal, secret_id

VECTORS = Path(__file__).resolve().parents[2] / "docs" / "test-vectors"

# What the decisions themselves print (docs/protocol.md, section 4).
BODY = "0000000000010a14000700080009"
ADDRESSES = {"saddr": "fd00::1", "daddr": "fd00::2"}
PRINTED = [
    {
        "suite": "002000010001", "salt": "11" * 16, "shared_secret": "22" * 32, "profile": "02", "epoch": "00000000",
        "protocol": "11", **ADDRESSES, "sport": "03e8", "dport": "07d0",
        "prk": "9687eb2e09fb2dc69835d5a8f4af4c55b47716b953737a082ac283ccee578815",
        "key": "43d6df13ddce990b0a98ffbe4e82c2bc", "base_nonce": "4431f922280772b6594b6ae0",
        "counter": "1234", "aad": "0f2220001234", "body": BODY,
        "sealed": "a6fdd8299d851f098844f7c70d35af43bf20c1dfba5d90ef47a42580d076",
    },
    {
        "suite": "002000030002", "salt": "11" * 16, "shared_secret": "22" * 64, "profile": "02", "epoch": "00000123",
        "protocol": "3a", **ADDRESSES, "sport": "0000", "dport": "0000",
        "base_nonce": "49dfb7c8e17ddd1ba95cdae7", "counter": "abcd", "aad": "0f222123abcd", "body": BODY,
        "sealed": "d2d0c64ecf3b23a09e950045c5f8683258fb7a02e2851df1fe0f604d30c2",
    },
]  # fmt: skip


def published():
    """The vectors of docs/test-vectors/key-schedule.json."""
    vectors = json.loads((VECTORS / "key-schedule.json").read_text())
    if not vectors:
        raise ValueError("key-schedule.json holds no vector")
    return vectors


def address(text):
    return text if ":" in text else bytes.fromhex(text)


def recompute(vector):
    """The outputs of a vector, from its inputs."""
    number = lambda name: int(vector[name], 16)
    suite = Suite(*(int(vector["suite"][at : at + 4], 16) for at in (0, 4, 8)))
    flow = Tuple5(
        number("protocol"), address(vector["saddr"]), number("sport"), address(vector["daddr"]), number("dport")
    )
    prk = make_prk(suite, bytes.fromhex(vector["salt"]), bytes.fromhex(vector["shared_secret"]))
    key, base_nonce = flow_key(suite, prk, number("epoch"), flow, number("profile"))
    if number("profile") == PROFILES["v2-kri"]:
        clear = (2 << 28 | number("counter") << 1 | number("epoch") % 2).to_bytes(4, "big")
    else:
        clear = (2 << 28 | number("epoch") << 16 | number("counter")).to_bytes(4, "big")
    aad = b"\x0f\x22" + clear
    sealed = seal(suite, key, base_nonce, number("counter"), aad, bytes.fromhex(vector["body"]))
    outputs = {
        "prk": prk, "secret_id": secret_id(suite, prk), "key": key, "base_nonce": base_nonce, "aad": aad, "sealed": sealed
    }  # fmt: skip
    return {name: value.hex() for name, value in outputs.items()}


def differences(vector):
    """Outputs of a vector that differ from what is computed: (name, published, computed)."""
    computed = recompute(vector)
    return [(name, vector[name], value) for name, value in computed.items() if vector.get(name, value) != value]


def recompute_negotiation(vector):
    """What of the published negotiation follows from its inputs and its messages."""
    suite = Suite(*(int(vector["suite"][at : at + 4], 16) for at in (0, 4, 8)))
    m1, m2 = bytes.fromhex(vector["m1"]), bytes.fromhex(vector["m2"])
    framed = b"".join(len(m).to_bytes(4, "big") + m for m in (m1, m2))
    transcript = hashlib.sha256(framed).digest()
    identities = bytes.fromhex(vector["client_identity"]) + bytes.fromhex(vector["server_identity"])
    prk = make_prk(suite, bytes.fromhex(vector["salt"]), bytes.fromhex(vector["shared_secret"]))
    psk_id = b"pdmv2-tls"
    hpke = Hpke(suite, bytes.fromhex(vector["ikm_e"]), bytes.fromhex(vector["pk_r"]))
    info = b"pdmv2 v1\x00" + transcript + identities
    hpke.schedule(info, bytes.fromhex(vector["psk"]), psk_id)
    plaintext = bytes.fromhex(vector["salt"]) + int(vector["lifetime"]).to_bytes(4, "big")
    m3 = bytes.fromhex(vector["m3"])
    outputs = {
        "transcript": transcript, "info": info, "psk_id": psk_id, "enc": hpke.enc,
        "sealed": hpke.seal_first(transcript, plaintext),
        "server_confirm": hpke.export(b"pdmv2 server confirm" + hashlib.sha256(m3).digest(), 32),
        "client_confirm": hpke.export(b"pdmv2 client confirm", 32),
        "shared_secret": hpke.export(b"PDMv2 SharedSecret", suite.hash.digest_size),
        "prk": prk, "secret_id": secret_id(suite, prk),
    }  # fmt: skip
    return {name: value.hex() for name, value in outputs.items()}


class Hpke:
    """The sender of RFC 9180 with DHKEM(X25519, HKDF-SHA256), mode Psk."""

    MODE_PSK = b"\x01"

    def __init__(self, suite, ikm_e, pk_r):
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

        self.suite = suite
        kem = KemSuite()
        # DeriveKeyPair of section 7.1.3, then Encap of section 4.1.
        sk = expand(kem, extract(kem, b"", b"dkp_prk", ikm_e), b"sk", b"", 32)
        private = X25519PrivateKey.from_private_bytes(sk)
        self.enc = private.public_key().public_bytes_raw()
        dh = private.exchange(X25519PublicKey.from_public_bytes(pk_r))
        eae_prk = extract(kem, b"", b"eae_prk", dh)
        self.shared = expand(kem, eae_prk, b"shared_secret", self.enc + pk_r, 32)

    def schedule(self, info, psk, psk_id):
        suite = self.suite
        context = self.MODE_PSK + extract(suite, b"", b"psk_id_hash", psk_id) + extract(suite, b"", b"info_hash", info)
        secret = extract(suite, self.shared, b"secret", psk)
        self.key = expand(suite, secret, b"key", context, suite.key_len)
        self.base_nonce = expand(suite, secret, b"base_nonce", context, 12)
        self.exporter = expand(suite, secret, b"exp", context, suite.hash.digest_size)

    def seal_first(self, aad, plaintext):
        return seal(self.suite, self.key, self.base_nonce, 0, aad, plaintext)

    def export(self, context, length):
        return expand(self.suite, self.exporter, b"sec", context, length)


class KemSuite(Suite):
    """The suite_id inside the KEM: "KEM" || kem_id."""

    @property
    def id(self):
        return b"KEM" + self.kem.to_bytes(2, "big")


def negotiation_differences():
    vector = json.loads((VECTORS / "negotiation.json").read_text())
    return [(name, vector[name], value) for name, value in recompute_negotiation(vector).items() if vector[name] != value]


def main():
    bad = 0
    for number, vector in enumerate(PRINTED + published()):
        wrong = differences(vector)
        bad += bool(wrong)
        print(f"key schedule {number}: {wrong or 'agrees'}")
    wrong = negotiation_differences()
    print(f"negotiation: {wrong or 'agrees'}")
    sys.exit(bool(bad or wrong))


if __name__ == "__main__":
    main()
