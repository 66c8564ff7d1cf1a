# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""ML-KEM-768 (FIPS 203), written from its text for checking vectors. Nothing here is constant in time."""

import hashlib

N, Q, K = 256, 3329, 3
ETA = 2
DU, DV = 10, 4


def reversed_bits(number):
    return int(f"{number:07b}"[::-1], 2)


ZETAS = [pow(17, reversed_bits(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * reversed_bits(i) + 1, Q) for i in range(128)]


def ntt(f):
    """Algorithm 9."""
    f, i, length = list(f), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j], f[j + length] = (f[j] + t) % Q, (f[j] - t) % Q
        length //= 2
    return f


def inverse_ntt(f):
    """Algorithm 10."""
    f, i, length = list(f), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                t = f[j]
                f[j], f[j + length] = (t + f[j + length]) % Q, zeta * (f[j + length] - t) % Q
        length *= 2
    return [x * 3303 % Q for x in f]


def multiply(f, g):
    """Algorithm 11: of two polynomials in the NTT's domain."""
    out = []
    for i, gamma in enumerate(GAMMAS):
        (a0, a1), (b0, b1) = f[2 * i : 2 * i + 2], g[2 * i : 2 * i + 2]
        out += [(a0 * b0 + a1 * b1 * gamma) % Q, (a0 * b1 + a1 * b0) % Q]
    return out


def add(*polynomials):
    return [sum(column) % Q for column in zip(*polynomials, strict=True)]


def subtract(f, g):
    return [(a - b) % Q for a, b in zip(f, g, strict=True)]


def dot(fs, gs):
    return add(*(multiply(f, g) for f, g in zip(fs, gs, strict=True)))


def encode(f, d):
    """ByteEncode of algorithm 5."""
    return sum(x << d * i for i, x in enumerate(f)).to_bytes(32 * d, "little")


def decode(data, d):
    """ByteDecode of algorithm 6."""
    number, modulus = int.from_bytes(data, "little"), Q if d == 12 else 1 << d
    return [(number >> d * i & (1 << d) - 1) % modulus for i in range(N)]


def compress(f, d):
    """Equation 4.7, rounded half up."""
    return [((x << d) * 2 + Q) // (2 * Q) % (1 << d) for x in f]


def decompress(f, d):
    """Equation 4.8."""
    return [(x * Q * 2 + (1 << d)) >> d + 1 for x in f]


def sample_uniform(rho, column, row):
    """SampleNTT of algorithm 7."""
    data, out = hashlib.shake_128(rho + bytes([column, row])).digest(3 * N * 4), []
    for at in range(0, len(data), 3):
        a, b, c = data[at : at + 3]
        out += [x for x in (a + 256 * (b % 16), b // 16 + 16 * c) if x < Q]
        if len(out) >= N:
            return out[:N]
    raise ValueError("not enough bytes; a chance of less than 2^-100")


def sample_binomial(seed, counter):
    """SamplePolyCBD of algorithm 8, of PRF(seed, counter)."""
    bits = int.from_bytes(hashlib.shake_256(seed + bytes([counter])).digest(64 * ETA), "little")
    ones = lambda at: bin(bits >> at & (1 << ETA) - 1).count("1")
    return [(ones(2 * ETA * i) - ones(2 * ETA * i + ETA)) % Q for i in range(N)]


def matrix(rho):
    return [[sample_uniform(rho, j, i) for j in range(K)] for i in range(K)]


def generate(d, z):
    """Algorithm 16: (encapsulation key, decapsulation key)."""
    both = hashlib.sha3_512(d + bytes([K])).digest()
    rho, sigma = both[:32], both[32:]
    s = [ntt(sample_binomial(sigma, i)) for i in range(K)]
    e = [ntt(sample_binomial(sigma, K + i)) for i in range(K)]
    t = [add(dot(row, s), error) for row, error in zip(matrix(rho), e, strict=True)]
    ek = b"".join(encode(f, 12) for f in t) + rho
    return ek, b"".join(encode(f, 12) for f in s) + ek + hashlib.sha3_256(ek).digest() + z


def encrypt(ek, message, randomness):
    """K-PKE.Encrypt, algorithm 14."""
    t, rho = [decode(ek[384 * i : 384 * (i + 1)], 12) for i in range(K)], ek[384 * K :]
    y = [ntt(sample_binomial(randomness, i)) for i in range(K)]
    e1, e2 = [sample_binomial(randomness, K + i) for i in range(K)], sample_binomial(randomness, 2 * K)
    columns = zip(*matrix(rho), strict=True)
    u = [add(inverse_ntt(dot(column, y)), error) for column, error in zip(columns, e1, strict=True)]
    v = add(inverse_ntt(dot(t, y)), e2, decompress(decode(message, 1), 1))
    return b"".join(encode(compress(f, DU), DU) for f in u) + encode(compress(v, DV), DV)


def encapsulate(ek, message):
    """Algorithm 17: (shared secret, ciphertext)."""
    both = hashlib.sha3_512(message + hashlib.sha3_256(ek).digest()).digest()
    return both[:32], encrypt(ek, message, both[32:])


def decapsulate(dk, ciphertext):
    """Algorithm 18, with its implicit rejection."""
    s = [decode(dk[384 * i : 384 * (i + 1)], 12) for i in range(K)]
    ek, ek_hash, z = dk[384 * K : 768 * K + 32], dk[768 * K + 32 : 768 * K + 64], dk[768 * K + 64 :]
    u = [decompress(decode(ciphertext[32 * DU * i : 32 * DU * (i + 1)], DU), DU) for i in range(K)]
    v = decompress(decode(ciphertext[32 * DU * K :], DV), DV)
    message = encode(compress(subtract(v, inverse_ntt(dot(s, [ntt(f) for f in u]))), 1), 1)
    both = hashlib.sha3_512(message + ek_hash).digest()
    if encrypt(ek, message, both[32:]) != ciphertext:
        return hashlib.shake_256(z + ciphertext).digest(32)
    return both[:32]
