#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Recomputes the published vectors: key schedule, HPKE, registration, negotiation, Identity Based.

Prints each; fails if one differs, or if the files are missing.
"""

import hashlib
import json
import sys
from pathlib import Path

import ibe
import registration
from hpke import BASE, KEMS, PSK, Context
from schedule import AEADS, KDFS, PROFILES, Suite, Tuple5, expand, extract, flow_key, make_prk, seal, secret_id

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


def suite_of(vector):
    return Suite(*(int(vector["suite"][at : at + 4], 16) for at in (0, 4, 8)))


def recompute(vector):
    """The outputs of a vector, from its inputs."""
    number = lambda name: int(vector[name], 16)
    suite = suite_of(vector)
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
    suite = suite_of(vector)
    m1, m2 = bytes.fromhex(vector["m1"]), bytes.fromhex(vector["m2"])
    framed = b"".join(len(m).to_bytes(4, "big") + m for m in (m1, m2))
    transcript = hashlib.sha256(framed).digest()
    identities = bytes.fromhex(vector["client_identity"]) + bytes.fromhex(vector["server_identity"])
    prk = make_prk(suite, bytes.fromhex(vector["salt"]), bytes.fromhex(vector["shared_secret"]))
    psk_id = b"pdmv2-tls"
    shared, enc = KEMS[suite.kem].encapsulate(bytes.fromhex(vector["pk_r"]), bytes.fromhex(vector["ikm_e"]))
    info = b"pdmv2 v1\x00" + transcript + identities
    context = Context(suite, shared, info, bytes.fromhex(vector["psk"]), psk_id)
    plaintext = bytes.fromhex(vector["salt"]) + int(vector["lifetime"]).to_bytes(4, "big")
    m3 = bytes.fromhex(vector["m3"])
    outputs = {
        "transcript": transcript, "info": info, "psk_id": psk_id, "enc": enc,
        "sealed": context.seal(transcript, plaintext),
        "server_confirm": context.export(b"pdmv2 server confirm" + hashlib.sha256(m3).digest(), 32),
        "client_confirm": context.export(b"pdmv2 client confirm", 32),
        "shared_secret": context.export(b"PDMv2 SharedSecret", suite.hash.digest_size),
        "prk": prk, "secret_id": secret_id(suite, prk),
    }  # fmt: skip
    return {name: value.hex() for name, value in outputs.items()}


def recompute_hpke(vector):
    """The outputs of a vector of HPKE, from its inputs."""
    suite = suite_of(vector)
    kem, mode = KEMS[suite.kem], {"Base": BASE, "Psk": PSK}[vector["mode"]]
    given = {name: bytes.fromhex(vector.get(name, "")) for name in ("ikm_r", "ikm_e", "info", "psk", "psk_id")}
    key_pair = kem.derive(given["ikm_r"])
    shared, enc = kem.encapsulate(key_pair[1], given["ikm_e"])
    if kem.decapsulate(key_pair, enc) != shared:
        raise ValueError("the two ends of the KEM differ")
    context = Context(suite, shared, given["info"], given["psk"], given["psk_id"], mode)
    sealed = [context.seal(bytes.fromhex(e["aad"]), bytes.fromhex(e["plaintext"])) for e in vector["encryptions"]]
    exported = [context.export(bytes.fromhex(e["context"]), e["len"]) for e in vector["exports"]]
    return {
        "pk_r": key_pair[1].hex(), "enc": enc.hex(), "kem_shared_secret": shared.hex(),
        "encryptions": [e | {"sealed": s.hex()} for e, s in zip(vector["encryptions"], sealed, strict=True)],
        "exports": [e | {"value": value.hex()} for e, value in zip(vector["exports"], exported, strict=True)],
    }  # fmt: skip


def hpke_vectors():
    """The vectors of docs/test-vectors/hpke.json."""
    vectors = json.loads((VECTORS / "hpke.json").read_text())
    missing = {(kem, kdf, aead) for kem in KEMS for kdf in KDFS for aead in AEADS}
    missing -= {(s.kem, s.kdf, s.aead) for s in (suite_of(v) for v in vectors if v["mode"] == "Psk")}
    if missing:
        raise ValueError(f"hpke.json lacks {missing}")
    return vectors


def hpke_differences(vector):
    return [(name, vector[name], value) for name, value in recompute_hpke(vector).items() if vector[name] != value]


def x_wing_vectors():
    """The vectors of docs/test-vectors/x-wing.json."""
    return json.loads((VECTORS / "x-wing.json").read_text())


def x_wing_differences(vector):
    """Of a vector of draft-connolly-cfrg-xwing-kem: what does not follow from its two seeds."""
    kem = KEMS[0x647A]
    key_pair = kem.expanded(bytes.fromhex(vector["seed"]))
    shared, ct = kem.encapsulate(key_pair[1], bytes.fromhex(vector["eseed"]))
    computed = {"sk": vector["seed"], "pk": key_pair[1].hex(), "ct": ct.hex(), "ss": shared.hex()}
    computed["ss of the receiver"] = kem.decapsulate(key_pair, ct).hex()
    given = vector | {"ss of the receiver": vector["ss"]}
    return [(name, given[name], value) for name, value in computed.items() if given[name] != value]


def negotiation_differences():
    vector = json.loads((VECTORS / "negotiation.json").read_text())
    return [(name, vector[name], value) for name, value in recompute_negotiation(vector).items() if vector[name] != value]


def registration_vectors():
    """The vectors of docs/test-vectors/registration.json."""
    vectors = json.loads(registration.FILE.read_text())
    missing = set(KDFS) - {suite_of(v).kdf for v in vectors}
    if missing:
        raise ValueError(f"registration.json lacks {missing}")
    return vectors


def registration_differences(vector):
    computed = registration.recompute(vector)
    return [(name, vector[name], value) for name, value in computed.items() if vector[name] != value]


def main():
    bad = 0
    for number, vector in enumerate(PRINTED + published()):
        wrong = differences(vector)
        bad += bool(wrong)
        print(f"key schedule {number}: {wrong or 'agrees'}")
    for vector in hpke_vectors():
        wrong = hpke_differences(vector)
        bad += bool(wrong)
        print(f"hpke {vector['suite']} {vector['mode']} ({vector['source']}): {wrong or 'agrees'}")
    for vector in x_wing_vectors():
        wrong = x_wing_differences(vector)
        bad += bool(wrong)
        print(f"x-wing {vector['seed'][:16]}: {wrong or 'agrees'}")
    for number, vector in enumerate(registration_vectors()):
        wrong = registration_differences(vector)
        bad += bool(wrong)
        print(f"registration {number}: {wrong or 'agrees'}")
    wrong = negotiation_differences()
    bad += bool(wrong)
    print(f"negotiation: {wrong or 'agrees'}")
    ibe.check_published()
    for kind, vector in ibe.published():
        wrong = ibe.differences(kind, vector)
        bad += bool(wrong)
        print(f"identity based, {kind}: {wrong or 'agrees'}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
