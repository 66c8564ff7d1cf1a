# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""BLS12-381: groups, pairing, and hashing to G1 (RFC 9380). Slow, and not for secrets: for checking vectors.

It shares no code with the implementation. Points are None (the identity) or pairs of F2; those of G1 have no part of u.
"""

import hashlib

import isogeny

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
Q = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
# The parameter x is negative.
X = 0xD201000000010000


class F2:
    """a + b u, u^2 = -1, over the integers modulo P."""

    def __init__(self, a, b=0):
        self.a, self.b = a % P, b % P

    def __eq__(self, other):
        return (self.a, self.b) == (other.a, other.b)

    def __add__(self, other):
        return F2(self.a + other.a, self.b + other.b)

    def __sub__(self, other):
        return F2(self.a - other.a, self.b - other.b)

    def __neg__(self):
        return F2(-self.a, -self.b)

    def __mul__(self, other):
        return F2(self.a * other.a - self.b * other.b, self.a * other.b + self.b * other.a)

    def inverse(self):
        norm = pow(self.a * self.a + self.b * self.b, -1, P)
        return F2(self.a * norm, -self.b * norm)

    def __truediv__(self, other):
        return self * other.inverse()

    def __bool__(self):
        return bool(self.a or self.b)

    @property
    def bytes(self):
        return self.a.to_bytes(48, "big") + self.b.to_bytes(48, "big")


ZERO, ONE = F2(0), F2(1)
# w^6 in F12.
XI = F2(1, 1)

G1 = (
    F2(0x17F1D3A73197D7942695638C4FA9AC0FC3688C4F9774B905A14E3A3F171BAC586C55E83FF97A1AEFFB3AF00ADB22C6BB),
    F2(0x08B3F481E3AAA0F1A09E30ED741D8AE4FCF5E095D5D00AF600DB18CB2C04B3EDD03CC744A2888AE40CAA232946C5E7E1),
)
G2 = (
    F2(
        0x024AA2B2F08F0A91260805272DC51051C6E47AD4FA403B02B4510B647AE3D1770BAC0326A805BBEFD48056C8C121BDB8,
        0x13E02B6052719F607DACD3A088274F65596BD0D09920B61AB5DA61BBDC7F5049334CF11213945D57E5AC7D055D042B7E,
    ),
    F2(
        0x0CE5D527727D6E118CC9CDC6DA2E351AADFD9BAA8CBDD3A76D429A695160D12C923AC9CC3BACA289E193548608B82801,
        0x0606C4A02EA734CC32ACD2B02BC28B99CB3E287E85A763AF267492AB572E99AB3F370D275CEC1DA1AAA9075FF05F79BE,
    ),
)


def slope(left, right):
    """Of the line through two points, the tangent where they are the same."""
    if left == right:
        return F2(3) * left[0] * left[0] / (left[1] + left[1])
    return (right[1] - left[1]) / (right[0] - left[0])


def add(left, right):
    if left is None or right is None:
        return left or right
    if left[0] == right[0] and left[1] == -right[1]:
        return None
    m = slope(left, right)
    x = m * m - left[0] - right[0]
    return x, m * (left[0] - x) - left[1]


def multiply(point, scalar):
    out = None
    for bit in bin(scalar)[2:]:
        out = add(out, out)
        if bit == "1":
            out = add(out, point)
    return out


def is_larger(y):
    """Whether y is the larger of y and -y, by the coefficient of u first."""
    first = y.b or y.a
    return first > (P - 1) // 2


def compress(point, degree):
    """48 or 96 bytes, degree 1 or 2: the coefficient of u first, three flags in the first byte."""
    x = point[0].a if degree == 1 else point[0].b << 384 | point[0].a
    flags = 0xA0 if is_larger(point[1]) else 0x80
    out = bytearray(x.to_bytes(48 * degree, "big"))
    out[0] |= flags
    return bytes(out)


class F12:
    """The sum of c[i] w^i, i from 0 to 5, w^6 = 1 + u."""

    def __init__(self, c):
        self.c = c

    def __mul__(self, other):
        right = [(c.a, c.b) for c in other.c]
        a, b = [0] * 12, [0] * 12
        for i, c in enumerate(self.c):
            for j, (r, s) in enumerate(right if c else ()):
                a[i + j] += c.a * r - c.b * s
                b[i + j] += c.a * s + c.b * r
        # (a + b u) w^6 = (a - b) + (a + b) u
        return F12([F2(a[i] + a[i + 6] - b[i + 6], b[i] + a[i + 6] + b[i + 6]) for i in range(6)])

    def __pow__(self, exponent):
        out = F12([ONE] + [ZERO] * 5)
        for bit in bin(exponent)[2:]:
            out *= out
            if bit == "1":
                out *= self
        return out

    @property
    def conjugate(self):
        """To the power of P^6."""
        return F12([c if i % 2 == 0 else -c for i, c in enumerate(self.c)])

    @property
    def inverse(self):
        """By way of a conj(a), which has even powers alone: a + b w^2 + c w^4."""
        a, _, b, _, c, _ = (self * self.conjugate).c
        x, y, z = a * a - XI * b * c, XI * c * c - a * b, b * b - a * c
        norm = (a * x + XI * c * y + XI * b * z).inverse()
        return self.conjugate * F12([x * norm, ZERO, y * norm, ZERO, z * norm, ZERO])

    @property
    def bytes(self):
        """Canonical: the coefficients from w^0 to w^5."""
        return b"".join(c.bytes for c in self.c)


def frobenius(f, power):
    """To the power of P^power, 1 or 2."""
    gamma = pow_f2(XI, (P**power - 1) // 6)
    out, step = [], ONE
    for c in f.c:
        out.append((F2(c.a, -c.b) if power == 1 else c) * step)
        step *= gamma
    return F12(out)


def pow_f2(base, exponent):
    out = ONE
    for bit in bin(exponent)[2:]:
        out *= out
        if bit == "1":
            out *= base
    return out


def line(left, right, at):
    """The line through two points of G2 at a point of G1, times w^3, which the final exponentiation makes 1."""
    m = slope(left, right)
    return F12([m * left[0] - left[1], ZERO, -(m * at[0]), at[1], ZERO, ZERO])


def pairing(p, q):
    """f_{x,q}(p) to the power of 3 (P^12 - 1) / Q, p of G1 and q of G2."""
    f, t = F12([ONE] + [ZERO] * 5), q
    for bit in bin(X)[3:]:
        f = f * f * line(t, t, p)
        t = add(t, t)
        if bit == "1":
            f = f * line(t, q, p)
            t = add(t, q)
    f = f.conjugate
    f = f.conjugate * f.inverse
    f = frobenius(f, 2) * f
    # From here on the conjugate is the inverse. 3 (P^4 - P^2 + 1) / Q = (x - 1)^2 (x + P) (x^2 + P^2 - 1) + 3
    g = f
    for _ in range(2):
        g = to_the_x(g) * g.conjugate
    g = to_the_x(g) * frobenius(g, 1)
    return to_the_x(to_the_x(g)) * frobenius(g, 2) * g.conjugate * f * f * f


def to_the_x(f):
    return (f**X).conjugate


if 3 * (P**4 - P**2 + 1) // Q != (-X - 1) ** 2 * (P - X) * (X**2 + P**2 - 1) + 3:
    raise ValueError("the final exponentiation is another")


def expand_message_xmd(msg, dst, length):
    """RFC 9380, section 5.3.1, with SHA-256."""
    dst += bytes([len(dst)])
    first = hashlib.sha256(bytes(64) + msg + length.to_bytes(2, "big") + b"\0" + dst).digest()
    block = hashlib.sha256(first + b"\1" + dst).digest()
    out = block
    for i in range(2, -(-length // 32) + 1):
        block = hashlib.sha256(bytes(a ^ b for a, b in zip(first, block, strict=True)) + bytes([i]) + dst).digest()
        out += block
    return out[:length]


ISO_A = 0x144698A3B8E9433D693A02C96D4982B0EA985383EE66A8D8E8981AEFD881AC98936F8DA0E0F97F5CF428082D584C1D
ISO_B = 0x12E2908D11688030018B12E8753EEE3B2016C1F0F24F4070A0B9C14FCEF35EF55A23215A316CEAA5D1CC48E98E172BE0
Z = 11
H_EFF = 0xD201000000010001


def simplified_swu(u):
    """RFC 9380, section 6.6.2."""
    tv = Z * Z * pow(u, 4, P) + Z * u * u
    inverse = pow(tv, P - 2, P)
    x = -ISO_B * pow(ISO_A, -1, P) * (1 + inverse) if inverse else ISO_B * pow(Z * ISO_A, -1, P)
    for x in (x % P, Z * u * u * x % P):
        square = (x**3 + ISO_A * x + ISO_B) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            break
    return x, y if y % 2 == u % 2 else -y % P


def isogenous(x, y):
    """RFC 9380, appendix E.2."""
    at = lambda k: sum(c * pow(x, i, P) for i, c in enumerate(k)) % P
    x_out = at(isogeny.X_NUM) * pow(at(isogeny.X_DEN), -1, P)
    y_out = y * at(isogeny.Y_NUM) * pow(at(isogeny.Y_DEN), -1, P)
    return F2(x_out), F2(y_out)


def hash_to_g1(msg, dst):
    """BLS12381G1_XMD:SHA-256_SSWU_RO_ of RFC 9380, section 8.8.1."""
    uniform = expand_message_xmd(msg, dst, 128)
    u = [int.from_bytes(uniform[at : at + 64], "big") % P for at in (0, 64)]
    first, second = (isogenous(*simplified_swu(x)) for x in u)
    return multiply(add(first, second), H_EFF)
