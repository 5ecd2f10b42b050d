"""Exact decimals: the kernel, the plain form and decimal.Decimal agree on everything."""

from __future__ import annotations

import re
from decimal import Context, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticktape.errors import BadInput
from ticktape.sources import decimals
from ticktape.sources.decimals import Verdict

EXACT = Context(prec=200)
HOSTILE = [
    "", "-", "+1", "NaN", "nan", "Inf", "-Infinity", "1e5", "1E-5", ".5", "5.", "1..2", "1.2.3", "--1", "1-",
    " 1", "1 ", "1_000", "0x10", "\u0661", "1\n2", "1,2", "\n", "1\x00", "\ud800", ".", "-.", "1.-2",
]  # fmt: skip

digits = st.text("0123456789", min_size=1, max_size=25)


def _written(sign: str, whole: str, fraction: str) -> str:
    return f"{sign}{whole}{'.' + fraction if fraction else ''}"


written = st.builds(
    _written,
    st.sampled_from(["", "-"]),
    digits,
    st.one_of(st.just(""), digits),
)
texts = st.one_of(written, st.sampled_from(HOSTILE), st.text(max_size=8), st.text("0123456789.-", max_size=12))
scales = st.integers(0, 18)


def by_decimal(text: str, scale: int) -> tuple[int, Verdict]:
    """What the standard library says."""
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII) is None:
        return 0, Verdict.MALFORMED
    value = EXACT.scaleb(Decimal(text), scale)
    if value != value.to_integral_value():
        return 0, Verdict.INEXACT
    if abs(value) > decimals.INT64_MAX:
        return 0, Verdict.OVERFLOW
    return int(value), Verdict.OK


@settings(deadline=None)  # the first example loads the kernel
@given(st.lists(st.tuples(texts, scales), max_size=20))
def test_kernel_plain_form_and_decimal_agree(cases: list[tuple[str, int]]) -> None:
    values, verdicts = decimals.parse_many([text for text, _ in cases], np.array([s for _, s in cases], np.int64))

    expected = [by_decimal(text, scale) for text, scale in cases]
    assert [decimals.verdict(text, scale) for text, scale in cases] == expected
    assert list(zip(values.tolist(), verdicts.tolist(), strict=True)) == expected


@settings(deadline=None)  # the first example loads the kernel
@given(st.integers(-(2**63) + 1, 2**63 - 1), scales)
def test_every_int64_round_trips_at_every_scale(value: int, scale: int) -> None:
    text = f"{EXACT.scaleb(Decimal(value), -scale):f}"
    assert decimals.parse(text, scale) == value


def test_the_largest_is_taken_and_one_more_is_not() -> None:
    limit = np.array([0, 0, 8, 8], np.int64)
    texts = ["9223372036854775807", "9223372036854775808", "92233720368.54775807", "92233720368.54775808"]
    values, verdicts = decimals.parse_many(texts, limit)
    assert values.tolist() == [2**63 - 1, 0, 2**63 - 1, 0]
    assert verdicts.tolist() == [Verdict.OK, Verdict.OVERFLOW, Verdict.OK, Verdict.OVERFLOW]


def test_a_trade_of_ten_billion_units_is_exact() -> None:
    assert decimals.parse("10000000000.00000001", 8) == 10**18 + 1


def test_ten_million_digits_are_refused_without_harm() -> None:
    text = "9" * 10_000_000
    assert decimals.verdict(text, 8) == (0, Verdict.OVERFLOW)
    assert decimals.parse_many([text, "1"], np.array([8, 8], np.int64))[1].tolist() == [Verdict.OVERFLOW, 0]


def test_a_refused_number_says_what_and_where() -> None:
    with pytest.raises(BadInput, match=r"more decimals.*'0\.001' at scale 2"):
        decimals.parse("0.001", 2)
