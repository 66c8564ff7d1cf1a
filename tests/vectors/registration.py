#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The secrets of registration (docs/protocol.md, section 15), written from that text alone.

    registration.py     writes docs/test-vectors/registration.json anew

It shares no code with the implementation; `verify.py` recomputes the file, and the helper's tests compare with it.
"""

import hashlib
import ipaddress
import json
from pathlib import Path

from schedule import KDFS, Suite, expand, make_prk, secret_id

FILE = Path(__file__).resolve().parents[2] / "docs" / "test-vectors" / "registration.json"
TRUSTED_SERVERS, ASYMMETRIC_POLL = 1, 2
CLIENT, SERVER = 0, 1


def binding(mode, group_gen, holder):
    """d = mode u8 || group_gen u32 || holder role u8"""
    return bytes([mode]) + group_gen.to_bytes(4, "big") + bytes([holder])


def derive(suite, key, label, info):
    return expand(suite, key, label, info, suite.hash.digest_size)


def shared_id(suite, secret):
    """The public identifier of what two Secondaries share: their salt is empty."""
    return secret_id(suite, make_prk(suite, b"", secret))


def recompute(vector):
    """The outputs of a vector, from its inputs."""
    given = {name: bytes.fromhex(vector[name]) for name in ("salt", "pms", "group", "client", "server")}
    suite = Suite(*(int(vector["suite"][at : at + 4], 16) for at in (0, 4, 8)))
    group_gen, group = int(vector["group_gen"], 16), given["group"]
    prk = make_prk(suite, given["salt"], given["pms"])
    d = binding(TRUSTED_SERVERS, group_gen, SERVER)
    pss = derive(suite, prk, b"pdmv2_pss", d + bytes([len(group)]) + group)
    pcs = derive(suite, pss, b"pdmv2_pcs", given["client"])
    # The client polls: S is the server's; and the other way around.
    own_server = derive(suite, prk, b"pdmv2_own", binding(ASYMMETRIC_POLL, group_gen, SERVER) + given["server"])
    pair_client_polls = derive(suite, own_server, b"pdmv2_pair", given["client"])
    own_client = derive(suite, prk, b"pdmv2_own", binding(ASYMMETRIC_POLL, group_gen, CLIENT) + given["client"])
    pair_server_polls = derive(suite, own_client, b"pdmv2_pair", given["server"])
    outputs = {
        "prk": prk, "id": secret_id(suite, prk), "pss": pss, "pcs": pcs, "pcs_id": shared_id(suite, pcs),
        "own_server": own_server, "pair_client_polls": pair_client_polls,
        "pair_client_polls_id": shared_id(suite, pair_client_polls),
        "own_client": own_client, "pair_server_polls": pair_server_polls,
        "pair_server_polls_id": shared_id(suite, pair_server_polls),
    }  # fmt: skip
    return {name: value.hex() for name, value in outputs.items()}


def inputs():
    """What the vectors begin with: every KDF, and each input varied once."""
    address = lambda text: ipaddress.IPv6Address(text).packed.hex()
    first = {
        "salt": bytes(range(32)).hex(), "group_gen": "00000001", "group": b"web".hex(),
        "client": address("fd00:c::1"), "server": address("fd00:5::1"),
    }  # fmt: skip
    for kdf in KDFS:
        suite = Suite(kdf=kdf)
        length = suite.hash.digest_size
        pms = hashlib.shake_256(b"a PairMasterSecret").digest(length).hex()
        base = {"suite": suite.id[4:].hex(), **first, "pms": pms}
        yield base
        for name, value in (
            ("salt", ""), ("pms", "22" * length), ("group_gen", "ffffffff"), ("group", (b"g" * 63).hex()),
            ("client", address("2001:db8::c")), ("server", address("2001:db8::5")),
        ):  # fmt: skip
            yield base | {name: value}
    for aead in (2, 3):
        yield base | {"suite": Suite(kem=0x647A, kdf=3, aead=aead).id[4:].hex()}


def main():
    vectors = [vector | recompute(vector) for vector in inputs()]
    FILE.write_text(json.dumps(vectors, indent=2) + "\n")


if __name__ == "__main__":
    main()
