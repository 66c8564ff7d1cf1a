# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The published vectors, recomputed with a library the implementation does not use."""

from dataclasses import dataclass, replace

import ibe
import opener
import option
import pytest
import schedule
import verify


@pytest.mark.parametrize("number", range(len(verify.PRINTED)))
def test_printed_in_the_decisions(number):
    assert verify.differences(verify.PRINTED[number]) == []


def test_published_key_schedule():
    vectors = verify.published()
    assert len(vectors) >= len(verify.PRINTED)
    for vector in vectors:
        assert set(verify.recompute(vector)) <= set(vector), "an output is missing"
        assert verify.differences(vector) == []


def test_published_negotiation():
    assert verify.negotiation_differences() == []


@pytest.mark.parametrize("vector", verify.hpke_vectors(), ids=lambda vector: f"{vector['suite']}-{vector['mode']}")
def test_published_hpke(vector):
    assert verify.hpke_differences(vector) == []
    spoilt = {**vector, "enc": vector["enc"][:-1] + ("0" if vector["enc"][-1] != "0" else "1")}
    assert [difference[0] for difference in verify.hpke_differences(spoilt)] == ["enc"]


@pytest.mark.parametrize("vector", verify.x_wing_vectors(), ids=lambda vector: vector["seed"][:16])
def test_published_x_wing(vector):
    assert verify.x_wing_differences(vector) == []
    spoilt = {**vector, "ss": vector["ss"][:-1] + ("0" if vector["ss"][-1] != "0" else "1")}
    assert [difference[0] for difference in verify.x_wing_differences(spoilt)] == ["ss", "ss of the receiver"]


def test_hashing_to_the_curve_is_that_of_rfc_9380():
    ibe.check_published()


@pytest.mark.parametrize(("kind", "vector"), ibe.published())
def test_published_identity_based(kind, vector):
    assert ibe.differences(kind, vector) == []


def test_a_wrong_vector_of_an_exchange_is_noticed():
    (vector, *_) = ibe.exchange_inputs()
    right, other = ibe.recompute_exchange(vector), ibe.recompute_exchange({**vector, "session": "5f" * 16})
    differing = {name for name in right if right[name] != other[name]}
    # The session is not in the secret; it is in what confirms it.
    assert differing == {"m1", "m1_with_cookie", "m2", "m3", "m4", "m5", "transcript"}


def test_a_wrong_vector_is_noticed():
    """The checks above can fail: each output is spoilt once."""
    vector = dict(verify.PRINTED[0])
    for name in ("prk", "key", "base_nonce", "aad", "sealed"):
        spoilt = {**vector, name: vector[name][:-1] + ("0" if vector[name][-1] != "0" else "1")}
        assert [difference[0] for difference in verify.differences(spoilt)] == [name]


@dataclass(frozen=True)
class Seen:
    """What the opener wants of a packet and of its option."""

    flow: schedule.Tuple5
    mechanism: str = "v2-encrypted"
    body: bytes = b""


class KriSender:
    """Seals options of profile v2-kri."""

    def __init__(self, suite=schedule.Suite()):
        self.secret = schedule.Secret(bytes(range(64))[: suite.hash.digest_size], b"salt", suite, profile="v2-kri")
        self.flow = schedule.Tuple5(17, "fd00::1", 1000, "fd00::2", 2000)

    def seal(self, kri, random, psn):
        fields = option.Fields(psn, 7, 8, 10, 9, 20, globalptr=psn, random=random, flag=kri % 2, kri=kri)
        clear = option.write_kri_clear(fields)
        key, base_nonce = self.secret.flow_key(kri, self.flow)
        interior = option.write_kri_interior(fields)
        sealed = schedule.seal(self.secret.suite, key, base_nonce, random, option.aad(clear), interior)
        return fields, replace(Seen(self.flow), body=clear + sealed)

    def opener(self, path):
        path.touch()
        opener.write_key_log(path, "peer", self.secret, "fd00::1", "fd00::2")
        return opener.Opener(opener.read_key_log(path), plain="v2-kri")


@pytest.mark.parametrize("kdf", schedule.KDFS)
@pytest.mark.parametrize("aead", schedule.AEADS)
def test_the_opener_finds_a_kri_that_is_not_on_the_wire(tmp_path, kdf, aead):
    """The current one, late packets of the one before, steps, and what was lost in between; in every suite."""
    sender = KriSender(schedule.Suite(kdf=kdf, aead=aead))
    reader = sender.opener(tmp_path / "keys")
    for psn, kri in enumerate([0, 0, 1, 0, 1, 2, 3, 2, 9, 8, 9, 25, 24, 26]):
        fields, seen = sender.seal(kri, 1 + psn * 2340, psn)
        opened = reader.open(seen, seen)
        assert (opened.fields, opened.nonce, opened.direction) == (fields, fields.random, "out")
    # Within bounds: what is further ahead, or was sealed as something else, is not opened.
    for kri in (26 + opener.KRI_AHEAD, 26 + opener.KRI_AHEAD + 1, 23):
        with pytest.raises(opener.NotOpened):
            seen = sender.seal(kri, 5, 99)[1]
            reader.open(seen, seen)
    for bit in range(0, 34 * 8, 7):
        body = bytearray(sender.seal(26, 4, 100)[1].body)
        body[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(opener.NotOpened):
            reader.open(replace(Seen(sender.flow), body=bytes(body)), replace(Seen(sender.flow), body=bytes(body)))


def test_the_profile_of_plain_options_is_told_to_the_opener(tmp_path):
    sender = KriSender()
    fields = option.Fields(0x1234, 7, 8, 10, 9, 20, globalptr=1, random=0x7FFF, flag=1)
    body = option.write_kri_clear(fields) + option.write_kri_interior(fields)
    assert body.hex() == "2000ffff" + "0a14000000011234000700080009"
    seen = replace(Seen(sender.flow), mechanism="v2", body=body)
    assert sender.opener(tmp_path / "keys").open(seen, seen).fields == fields
    assert opener.Opener([]).open(seen, seen).fields.psntp == 0xFFFF, "read as v2 it is another option"


def test_every_suite_and_profile_has_a_vector():
    have = {(v["suite"], v["profile"]) for v in verify.published()}
    suites = [schedule.Suite(kdf=kdf, aead=aead) for kdf in schedule.KDFS for aead in schedule.AEADS]
    assert {(s.id[4:].hex(), f"{p:02x}") for s in suites for p in schedule.PROFILES.values()} <= have
