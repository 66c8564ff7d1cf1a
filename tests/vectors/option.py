# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The option on the wire (docs/protocol.md, section 1), read and written from that text alone.

    pdm           0F 0A | scaleDTLR scaleDTLS PSNTP16 PSNLR16 DTLR16 DTLS16
    v2            0F 12 | ver4 epoch12 PSNTP16 | reserved16 GLOBALPTR32 scaleDTLR scaleDTLS PSNLR16 DTLR16 DTLS16
    v2-encrypted  0F 22 | ver4 epoch12 PSNTP16 | those last 14 bytes sealed, 30 bytes

and in profile v2-kri, which nothing but configuration tells from v2:

    v2            0F 12 | ver4 reserved12 random15 F1 | scaleDTLR scaleDTLS GLOBALPTR32 PSNTP16 PSNLR16 DTLR16 DTLS16
    v2-encrypted  0F 22 | ver4 reserved12 random15 F1 | those last 14 bytes sealed, 30 bytes
"""

import struct
from dataclasses import dataclass

TYPE = 0x0F
LENGTHS = {"pdm": 0x0A, "v2": 0x12, "v2-encrypted": 0x22}
ATTOSECONDS = 10**18


@dataclass(frozen=True)
class Fields:
    """What an option says. Delays are the 16-bit value and its scale."""

    psntp: int
    psnlr: int = 0
    dtlr: int = 0
    scale_dtlr: int = 0
    dtls: int = 0
    scale_dtls: int = 0
    epoch: int = 0
    globalptr: int = 0
    version: int = 2
    reserved: int = 0
    # Of profile v2-kri alone; its Kri is found by opening.
    random: int | None = None
    flag: int | None = None
    kri: int | None = None

    @property
    def dtlr_seconds(self):
        return (self.dtlr << self.scale_dtlr) / ATTOSECONDS

    @property
    def dtls_seconds(self):
        return (self.dtls << self.scale_dtls) / ATTOSECONDS


def read_pdm(body):
    scale_dtlr, scale_dtls, psntp, psnlr, dtlr, dtls = struct.unpack("!BBHHHH", body)
    return Fields(psntp, psnlr, dtlr, scale_dtlr, dtls, scale_dtls)


def read_clear(body):
    """Version, epoch and PSNTP of a `v2` body, sealed or not."""
    word, psntp = struct.unpack_from("!HH", body)
    return word >> 12, word & 0xFFF, psntp


def read_v2(clear, interior):
    version, epoch, psntp = read_clear(clear)
    reserved, globalptr, scale_dtlr, scale_dtls, psnlr, dtlr, dtls = struct.unpack("!HIBBHHH", interior)
    return Fields(psntp, psnlr, dtlr, scale_dtlr, dtls, scale_dtls, epoch, globalptr, version, reserved)


def read_kri_clear(body):
    """Version, reserved bits, the 15-bit field and F of a `v2-kri` body, sealed or not."""
    first, second = struct.unpack_from("!HH", body)
    return first >> 12, first & 0xFFF, second >> 1, second & 1


def read_kri(clear, interior, kri=None):
    version, reserved, random, flag = read_kri_clear(clear)
    scale_dtlr, scale_dtls, globalptr, psntp, psnlr, dtlr, dtls = struct.unpack("!BBIHHHH", interior)
    return Fields(
        psntp, psnlr, dtlr, scale_dtlr, dtls, scale_dtls, 0, globalptr, version, reserved, random, flag, kri
    )  # fmt: skip


def write_pdm(f):
    return struct.pack("!BBHHHH", f.scale_dtlr, f.scale_dtls, f.psntp, f.psnlr, f.dtlr, f.dtls)


def write_clear(f):
    return struct.pack("!HH", f.version << 12 | f.epoch, f.psntp)


def write_interior(f):
    return struct.pack("!HIBBHHH", f.reserved, f.globalptr, f.scale_dtlr, f.scale_dtls, f.psnlr, f.dtlr, f.dtls)


def write_kri_clear(f):
    return struct.pack("!HH", f.version << 12 | f.reserved, f.random << 1 | f.flag)


def write_kri_interior(f):
    return struct.pack("!BBIHHHH", f.scale_dtlr, f.scale_dtls, f.globalptr, f.psntp, f.psnlr, f.dtlr, f.dtls)


def aad(body):
    """Type, length and the four clear bytes of an encrypted option."""
    return bytes([TYPE, LENGTHS["v2-encrypted"]]) + body[:4]
