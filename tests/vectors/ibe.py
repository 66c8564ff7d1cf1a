#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Identity Based (docs/protocol.md, "Identity Based"), for making and checking vectors.

With `--write` it writes docs/test-vectors/ibe.json.

It shares no code with the implementation. Hashing to the curve is checked against RFC 9380, and HashToRange
against RFC 5091, before anything else.
"""

import hashlib
import ipaddress
import json
import struct
import sys
from pathlib import Path

from bls12_381 import G2, Q, compress, hash_to_g1, multiply, pairing
from schedule import Suite, expand, extract, make_prk, secret_id

FILE = Path(__file__).resolve().parents[2] / "docs" / "test-vectors" / "ibe.json"
DST = b"PDMV2-IBE-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
KEM = 0xFF01
ROLES = {"client": 0, "server": 1}
INIT_MIN = 512

# RFC 9380, appendix J.9.1.
PUBLISHED_DST = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
PUBLISHED = [
    (
        b"",
        0x052926ADD2207B76CA4FA57A8734416C8DC95E24501772C814278700EED6D1E4E8CF62D9C09DB0FAC349612B759E79A1,
        0x08BA738453BFED09CB546DBB0783DBB3A5F1F566ED67BB6BE0E8C67E2E81A4CC68EE29813BB7994998F3EAE0C9C6A265,
    ),
    (
        b"abc",
        0x03567BC5EF9C690C2AB2ECDF6A96EF1C139CC0B2F284DCA0A9A7943388A49A3AEE664BA5379A7655D3C68900BE2F6903,
        0x0B9C15F3FE6E5CF4211F346271D7B01C8F3B28BE689C8429C85B67AF215533311F0B8DFAAA154FA6B88176C229F2885D,
    ),
    (
        b"abcdef0123456789",
        0x11E0B079DEA29A68F0383EE94FED1B940995272407E3BB916BBF268C263DDD57A6A27200A784CBC248E84F357CE82D98,
        0x03A87AE2CAF14E8EE52E51FA2ED8EEFE80F02457004BA4D486D6AA1F517C0889501DC7413753F9599B099EBCBBD2D709,
    ),
    (
        b"q128_" + b"q" * 128,
        0x15F68EAA693B95CCB85215DC65FA81038D69629F70AEEE0D0F677CF22285E7BF58D7CB86EEFE8F2E9BC3F8CB84FAC488,
        0x1807A1D50C29F430B8CAFC4F8638DFEEADF51211E1602A5F184443076715F91BB90A48BA1E370EDCE6AE1062F5E6DD38,
    ),
    (
        b"a512_" + b"a" * 512,
        0x082AABAE8B7DEDB0E78AEB619AD3BFD9277A2F77BA7FAD20EF6AABDC6C31D19BA5A6D12283553294C1825C4B3CA2DCFE,
        0x05B84AE5A942248EEA39E1D91030458C40153F3B654AB7872D779AD1E942856A20C438E8D99BC8ABFBF74729CE1F7AC8,
    ),
]


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def hash_to_range(s, n, hashfcn=hashlib.sha256):
    """RFC 5091, algorithm 4.1.1."""
    h, v = bytes(hashfcn().digest_size), 0
    for _ in range(2):
        h = hashfcn(h + s).digest()
        v = v * 256 ** len(h) + int.from_bytes(h, "big")
    return v % n


def hash_bytes(length, p, hashfcn=hashlib.sha256):
    """RFC 5091, algorithm 4.2.1."""
    key, h, out = hashfcn(p).digest(), bytes(hashfcn().digest_size), b""
    while len(out) < length:
        h = hashfcn(h).digest()
        out += hashfcn(h + key).digest()
    return out[:length]


def check_published():
    """What RFC 9380 and RFC 5091 print.

    Of 5091, section 7.2. The rest is of another curve; the U of section 7.6 is of none, with coordinates above its p.
    """
    for msg, x, y in PUBLISHED:
        point = hash_to_g1(msg, PUBLISHED_DST)
        if (point[0].a, point[1].a) != (x, y):
            raise ValueError(f"hash to curve of {msg[:16]}")
    text = b"This ASCII string without null-terminator"
    n = 0xFFFFFFFFFFFFFFFFFFFFEFFFFFFFFFFFFFFFFFFF
    if hash_to_range(text, n, hashlib.sha1) != 0x79317C1610C1FC018E9C53D89D59C108CD518608:
        raise ValueError("HashToRange")


class Generator:
    def __init__(self, master):
        self.s = int.from_bytes(master, "big")
        self.p_pub = multiply(G2, self.s)
        self.parameters = b"\1" + compress(self.p_pub, 2)

    def id(self, role, address, period):
        packed = ipaddress.IPv6Address(address).packed
        return b"pdmv2-id" + sha256(self.parameters) + bytes([ROLES[role]]) + packed + period.to_bytes(4, "big")

    def extract(self, identity):
        return multiply(hash_to_g1(identity, DST), self.s)

    def encapsulate(self, identity, m, rho):
        """BFencrypt: l, theta' and (U, V, W)."""
        l = hash_to_range(rho + sha256(m), Q)
        u = multiply(G2, l)
        theta = pairing(hash_to_g1(identity, DST), self.p_pub) ** l
        return l, theta, u, xor(sha256(theta.bytes), rho), xor(hash_bytes(32, rho), m)


def decapsulate(private_key, u, v, w):
    """BFdecrypt: m."""
    rho = xor(sha256(pairing(private_key, u).bytes), v)
    m = xor(hash_bytes(len(w), rho), w)
    if multiply(G2, hash_to_range(rho + sha256(m), Q)) != u:
        raise ValueError("does not open")
    return m


def recompute_boneh_franklin(vector):
    generator = Generator(bytes.fromhex(vector["master"]))
    m, rho = bytes.fromhex(vector["m"]), bytes.fromhex(vector["rho"])
    identity = generator.id(vector["role"], vector["address"], vector["period"])
    private_key = generator.extract(identity)
    l, theta, u, v, w = generator.encapsulate(identity, m, rho)
    if decapsulate(private_key, u, v, w) != m:
        raise ValueError("the two ends differ")
    return {
        "parameters": generator.parameters.hex(), "id": identity.hex(),
        "q_id": compress(hash_to_g1(identity, DST), 1).hex(), "private_key": compress(private_key, 1).hex(),
        "l": l.to_bytes(32, "big").hex(), "theta": theta.bytes.hex(),
        "ciphertext": (compress(u, 2) + v + w).hex(),
    }  # fmt: skip


def cbor(value):
    """RFC 8949, of what the messages have."""

    def head(major, number):
        for extra, form in ((None, None), (24, "!B"), (25, "!H"), (26, "!I"), (27, "!Q")):
            if extra is None and number < 24:
                return bytes([major << 5 | number])
            if extra and number < 256 ** struct.calcsize(form):
                return bytes([major << 5 | extra]) + struct.pack(form, number)
        raise ValueError(number)

    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(cbor(item) for item in value)
    return head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def message(number, body):
    return cbor([1, number, body])


def padded(body):
    lacking = INIT_MIN - len(message(1, body | {8: b""}))
    return message(1, body | {8: bytes(lacking)})


def recompute_exchange(vector):
    given = {name: bytes.fromhex(value) for name, value in vector.items() if isinstance(value, str) and is_hex(value)}
    number = lambda at: int(vector["suite"][at : at + 4], 16)
    suite = Suite(number(0), number(4), number(8))
    generators = {role: Generator(given[f"{role}_master"]) for role in ROLES}
    ids = {role: generators[role].id(role, vector[f"{role}_address"], vector["period"]) for role in ROLES}
    initiator = vector["initiator"]
    responder = next(role for role in ROLES if role != initiator)
    # What one end draws is encapsulated to the other.
    drawn = {responder: "initiator", initiator: "responder"}
    keys = {role: given[f"{drawn[role]}_m"] for role in ROLES}
    cts = {}
    for role in ROLES:
        _, _, u, v, w = generators[role].encapsulate(ids[role], keys[role], given[f"{drawn[role]}_rho"])
        if decapsulate(generators[role].extract(ids[role]), u, v, w) != keys[role]:
            raise ValueError("the two ends differ")
        cts[role] = compress(u, 2) + v + w
    name = sha256(*(sha256(generators[role].parameters) for role in ROLES))[:16]
    bound = [*(ids[role] for role in ROLES), *(cts[role] for role in ROLES)]
    generation = 1 + max(vector["initiator_last_generation"], vector["responder_last_generation"])
    secret = extract(suite, keys["client"], b"pdmv2_ibc", keys["server"] + sha256(*bound))
    numbers = struct.pack("!QQ", vector["initiator_last_generation"], generation)
    transcript = sha256(bytes([ROLES[initiator]]), given["session"], numbers, *bound)
    confirm = lambda n: expand(suite, secret, b"pdmv2_ibc_confirm", bytes([n]) + transcript, 32)
    exchange = {0: given["session"], 1: name}
    init = exchange | {
        2: ROLES[initiator], 3: [suite.kem, suite.kdf, suite.aead], 4: vector["period"],
        5: vector["initiator_last_generation"], 6: cts[responder],
    }  # fmt: skip
    prk = make_prk(suite, b"", secret)
    outputs = {
        "generators": name, "id_c": ids["client"], "id_s": ids["server"], "ct_c": cts["client"], "ct_s": cts["server"],
        "m1": padded(init), "m1_with_cookie": padded(init | {7: given["cookie"]}),
        "m2": message(2, exchange | {2: given["cookie"]}),
        "m3": message(3, exchange | {2: generation, 3: cts[initiator], 4: confirm(3)}),
        "m4": message(4, exchange | {2: confirm(4)}), "m5": message(5, exchange | {2: confirm(5)}),
        "transcript": transcript, "shared_secret": secret, "prk": prk, "secret_id": secret_id(suite, prk),
    }  # fmt: skip
    return {"generation": generation} | {key: value.hex() for key, value in outputs.items()}


def is_hex(text):
    return len(text) % 2 == 0 and all(c in "0123456789abcdef" for c in text)


def counted(first, length=32):
    return bytes((first + i) % 256 for i in range(length)).hex()


def boneh_franklin_inputs():
    highest = (Q - 1).to_bytes(32, "big").hex()
    first = {"master": "11" * 32, "role": "client", "address": "fd00::c", "period": 1, "m": "22" * 32, "rho": "33" * 32}
    return [
        first,
        {"master": counted(0), "role": "server", "address": "2001:db8::5", "period": 2**32 - 1,
         "m": counted(32), "rho": counted(64)},
        # s = 1: P_pub is P, and the private key Q_id.
        first | {"master": "00" * 31 + "01", "m": "00" * 32, "rho": "ff" * 32},
        first | {"master": highest, "m": "ff" * 32, "rho": "00" * 32},
    ]  # fmt: skip


def exchange_inputs():
    first = {
        "suite": "ff0100010001", "client_master": "11" * 32, "server_master": counted(0),
        "client_address": "fd00::c", "server_address": "fd00::5", "period": 7, "initiator": "client",
        "initiator_last_generation": 0, "responder_last_generation": 0, "session": "5e" * 16, "cookie": "c0" * 32,
        "initiator_m": "a1" * 32, "initiator_rho": "a2" * 32, "responder_m": "b1" * 32, "responder_rho": "b2" * 32,
    }  # fmt: skip
    return [
        first,
        first | {"initiator": "server", "responder_last_generation": 41, "session": counted(1, 16)},
        first | {"suite": "ff0100030003", "initiator_last_generation": 2**32, "period": 2**32 - 1},
    ]


def make():
    return {
        "hash_to_curve": [
            {"dst": PUBLISHED_DST.decode(), "msg": msg.decode(), "x": f"{x:096x}", "y": f"{y:096x}"}
            for msg, x, y in PUBLISHED
        ],
        "boneh_franklin": [v | recompute_boneh_franklin(v) for v in boneh_franklin_inputs()],
        "exchanges": [v | recompute_exchange(v) for v in exchange_inputs()],
    }


RECOMPUTE = {"boneh_franklin": recompute_boneh_franklin, "exchanges": recompute_exchange}


def published():
    """The vectors of the published file that are computed here: of which kind, and which."""
    vectors = json.loads(FILE.read_text())
    if not all(vectors[kind] for kind in RECOMPUTE):
        raise ValueError("ibe.json lacks vectors")
    return [(kind, vector) for kind in RECOMPUTE for vector in vectors[kind]]


def differences(kind, vector):
    """Outputs of a vector that differ from what is computed: (name, published, computed)."""
    computed = RECOMPUTE[kind](vector)
    return [(name, vector[name], value) for name, value in computed.items() if vector[name] != value]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: ibe.py --write (verify.py checks)")
    check_published()
    FILE.write_text(json.dumps(make(), indent=2) + "\n")
