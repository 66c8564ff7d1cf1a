# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""The published vectors, recomputed with a library the implementation does not use."""

import pytest
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


def test_a_wrong_vector_is_noticed():
    """The checks above can fail: each output is spoilt once."""
    vector = dict(verify.PRINTED[0])
    for name in ("prk", "key", "base_nonce", "aad", "sealed"):
        spoilt = {**vector, name: vector[name][:-1] + ("0" if vector[name][-1] != "0" else "1")}
        assert [difference[0] for difference in verify.differences(spoilt)] == [name]
