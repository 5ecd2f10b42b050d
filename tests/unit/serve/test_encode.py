"""Rows as text: exact whatever the integer, and of the type the answers promise."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticktape.model.records import Flag
from ticktape.serve.encode import decimal_text, flag_names


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 18))
def test_a_price_keeps_every_digit(value: int, scale: int) -> None:
    text = decimal_text(value, scale)
    assert Decimal(text) == Decimal(value).scaleb(-scale)
    assert msgspec.json.decode(text.encode(), type=Decimal) == Decimal(text)  # JSON's grammar, too


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (6543210000000, 8, "65432.1"),
        (6500000000000, 8, "65000.0"),
        (1, 18, "0.000000000000000001"),
        (0, 8, "0.0"),
        (-5, 1, "-0.5"),
        (-37_63, 2, "-37.63"),  # oil on 2020-04-20
        (10**18, 8, "10000000000.0"),  # 10^10 units of PEPE with 8 decimals
        (12, 0, "12"),
        (12, -2, "1200"),
    ],
)
def test_a_price_is_written_as_a_person_would(value: int, scale: int, text: str) -> None:
    assert decimal_text(value, scale) == text


def test_every_flag_has_its_name() -> None:
    assert flag_names(0) == ()
    assert flag_names(int(Flag.SPIKE | Flag.BACKFILLED)) == ("spike", "backfilled")
