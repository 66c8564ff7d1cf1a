# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""HPKE (RFC 9180) in modes Base and Psk, for checking vectors: KEMs X25519, P-256 and X-Wing, every KDF and AEAD.

It shares no code with the implementation: curves, HKDF and AEADs are those of the `cryptography` package.
"""

import hashlib

import mlkem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from schedule import Suite, expand, extract, seal

BASE, PSK = 0, 1


class KemSuite(Suite):
    """The suite_id inside the KEM: "KEM" || kem_id."""

    @property
    def id(self):
        return b"KEM" + self.kem.to_bytes(2, "big")


class Dhkem:
    """DHKEM of RFC 9180, section 4.1, with HKDF-SHA256."""

    def derive(self, ikm):
        """DeriveKeyPair of section 7.1.3, and the public key's bytes."""
        prk = extract(self.suite, b"", b"dkp_prk", ikm)
        private = self.private(prk)
        return private, self.bytes(private.public_key())

    def shared(self, dh, enc, pk_r):
        prk = extract(self.suite, b"", b"eae_prk", dh)
        return expand(self.suite, prk, b"shared_secret", enc + pk_r, 32)

    def encapsulate(self, pk_r, ikm_e):
        ephemeral, enc = self.derive(ikm_e)
        return self.shared(self.exchange(ephemeral, pk_r), enc, pk_r), enc

    def decapsulate(self, key_pair, enc):
        private, pk_r = key_pair
        return self.shared(self.exchange(private, enc), enc, pk_r)


class X25519(Dhkem):
    suite = KemSuite(0x0020)

    def private(self, prk):
        return X25519PrivateKey.from_private_bytes(expand(self.suite, prk, b"sk", b"", 32))

    def bytes(self, public):
        return public.public_bytes_raw()

    def exchange(self, private, public):
        return private.exchange(X25519PublicKey.from_public_bytes(public))


class P256(Dhkem):
    suite = KemSuite(0x0010)
    ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

    def private(self, prk):
        for counter in range(256):
            scalar = int.from_bytes(expand(self.suite, prk, b"candidate", bytes([counter]), 32), "big")
            if 0 < scalar < self.ORDER:
                return ec.derive_private_key(scalar, ec.SECP256R1())
        raise ValueError("no key in 256 attempts")

    def bytes(self, public):
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def exchange(self, private, public):
        return private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public))


class XWing:
    """draft-connolly-cfrg-xwing-kem, its keys derived as in draft-ietf-hpke-pq."""

    suite = KemSuite(0x647A)
    LABEL = rb"\./" + rb"/^" + b"\\"

    def derive(self, ikm):
        """DeriveKeyPair: SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", 32)."""
        label = b"DeriveKeyPair"
        lengths = [len(label).to_bytes(2, "big"), (32).to_bytes(2, "big")]
        labeled = ikm + b"HPKE-v1" + self.suite.id + lengths[0] + label + lengths[1]
        return self.expanded(hashlib.shake_256(labeled).digest(32))

    def expanded(self, seed):
        expanded = hashlib.shake_256(seed).digest(96)
        ek, dk = mlkem.generate(expanded[:32], expanded[32:64])
        x = X25519PrivateKey.from_private_bytes(expanded[64:])
        return (dk, x), ek + x.public_key().public_bytes_raw()

    def combine(self, ss_m, ss_x, ct_x, pk_x):
        return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + self.LABEL).digest()

    def encapsulate(self, pk_r, randomness):
        ss_m, ct_m = mlkem.encapsulate(pk_r[:1184], randomness[:32])
        x = X25519PrivateKey.from_private_bytes(randomness[32:])
        ct_x, pk_x = x.public_key().public_bytes_raw(), pk_r[1184:]
        ss_x = x.exchange(X25519PublicKey.from_public_bytes(pk_x))
        return self.combine(ss_m, ss_x, ct_x, pk_x), ct_m + ct_x

    def decapsulate(self, key_pair, enc):
        (dk, x), pk_r = key_pair
        ct_m, ct_x = enc[:1088], enc[1088:]
        ss_x = x.exchange(X25519PublicKey.from_public_bytes(ct_x))
        return self.combine(mlkem.decapsulate(dk, ct_m), ss_x, ct_x, pk_r[1184:])


KEMS = {kem.suite.kem: kem() for kem in (X25519, P256, XWing)}


class Context:
    """The key schedule of RFC 9180, section 5.1, and what a context does."""

    def __init__(self, suite, shared, info, psk=b"", psk_id=b"", mode=PSK):
        context = bytes([mode]) + extract(suite, b"", b"psk_id_hash", psk_id) + extract(suite, b"", b"info_hash", info)
        secret = extract(suite, shared, b"secret", psk)
        self.suite, self.sequence = suite, 0
        self.key = expand(suite, secret, b"key", context, suite.key_len)
        self.base_nonce = expand(suite, secret, b"base_nonce", context, 12)
        self.exporter = expand(suite, secret, b"exp", context, suite.hash.digest_size)

    def seal(self, aad, plaintext):
        sealed = seal(self.suite, self.key, self.base_nonce, self.sequence, aad, plaintext)
        self.sequence += 1
        return sealed

    def export(self, context, length):
        return expand(self.suite, self.exporter, b"sec", context, length)
