"""Our CRC32C, by instruction and by table, is everybody's CRC32C."""

from __future__ import annotations

import numpy as np
import pytest
from google_crc32c import value as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from ticktape.tape import crc


@given(st.binary(max_size=400).map(lambda data: data[: len(data) // 8 * 8]))
@settings(deadline=None)
def test_both_ways_agree_with_google_crc32c(data: bytes) -> None:
    words = np.frombuffer(data, dtype=np.uint64)
    assert crc.crc32c_table(words, 0, len(words)) == crc32c(data)
    assert crc.crc32c_words(words, 0, len(words)) == crc32c(data)


def test_the_vectors_of_rfc_3720_appendix_b_4() -> None:
    for data, expected in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
        words = np.frombuffer(data, dtype=np.uint64)
        assert crc.crc32c_table(words, 0, 4) == crc.crc32c_words(words, 0, 4) == expected


@pytest.mark.skipif(not crc.HAS_INSTRUCTION, reason="this processor has no SSE4.2: both ways are the table")
def test_the_instruction_is_used_where_there_is_one() -> None:
    assert crc.step.__name__ == "_step_instruction"
