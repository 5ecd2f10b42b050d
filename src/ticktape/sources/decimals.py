"""Exact decimal text -> int64 at a scale: value = integer / 10**scale, no float on the way.

Accepted: an optional minus, digits, and optionally a point with digits after it ("61837.63000000").
Everything else is refused: NaN, Inf, an exponent, a plus, an empty text, a sign alone, digits beyond the
scale that are not zero, and what int64 cannot hold. `parse` is the plain form and the oracle of the
kernel in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ticktape.errors import BadInput
from ticktape.jit import kernel
from ticktape.model.records import Ints
from ticktape.model.symbols import shown

INT64_MAX = 2**63 - 1
Bytes = npt.NDArray[np.uint8]


class Verdict(IntEnum):
    """What became of one text."""

    OK = 0
    MALFORMED = 1
    INEXACT = 2  # a digit beyond the scale is not zero
    OVERFLOW = 3  # int64 cannot hold it at this scale


WHY = {
    Verdict.MALFORMED: "not a decimal number",
    Verdict.INEXACT: "more decimals than the instrument's scale",
    Verdict.OVERFLOW: "beyond int64 at the instrument's scale",
}

_GRAMMAR = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)
_SEPARATOR = "\n"
NEWLINE, COMMA = 10, 44


def verdict(text: str, scale: int) -> tuple[int, Verdict]:
    """Return text as an integer at `scale` and OK, or 0 and why not."""
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        return 0, Verdict.MALFORMED
    sign, whole, fraction = match[1], match[2], match[3] or ""
    if fraction[scale:].strip("0"):
        return 0, Verdict.INEXACT
    digits = (whole + fraction[:scale].ljust(scale, "0")).lstrip("0") or "0"
    # Longer than any int64: refused before int(), which is quadratic (and limited) in the digits.
    if len(digits) > 19 or int(digits) > INT64_MAX:
        return 0, Verdict.OVERFLOW
    return (-int(digits) if sign else int(digits)), Verdict.OK


def parse(text: str, scale: int) -> int:
    """Return text as an integer at `scale`. Raises BadInput."""
    value, why = verdict(text, scale)
    if why is not Verdict.OK:
        raise BadInput(f"{WHY[why]}: '{shown(text)}' at scale {scale}")
    return value


def parse_many(texts: Sequence[str], scales: Ints) -> tuple[Ints, Bytes]:
    """Return the values at their scales, and a Verdict for each; the value of a refused text is 0.

    texts n strings, nothing assumed of them; scales (n,) int64; returns (n,) int64 and (n,) uint8.
    """
    n = len(texts)
    values, verdicts = np.zeros(n, np.int64), np.zeros(n, np.uint8)
    joined = _SEPARATOR.join(texts)
    # A text may hold the separator itself (JSON can say \n): then the columns would shift.
    if joined.count(_SEPARATOR) != max(n - 1, 0):
        for i, text in enumerate(texts):
            values[i], verdicts[i] = verdict(text, int(scales[i]))
    elif n:
        text = np.frombuffer(joined.encode("utf-8", "replace"), np.uint8)
        _parse(text, NEWLINE, scales, values, verdicts)
    return values, verdicts


def parse_grid(text: bytes, scales: Sequence[int], rows: int) -> tuple[Ints, Bytes]:
    """Return the fields of CSV text whose grid is known to be whole, each column at its scale.

    text rows lines of len(scales) fields; returns (rows, columns) int64 and (rows, columns) uint8 verdicts.
    """
    every = np.tile(np.array(scales, np.int64), rows)
    values, verdicts = np.zeros(len(every), np.int64), np.zeros(len(every), np.uint8)
    _parse(np.frombuffer(text, np.uint8), COMMA, every, values, verdicts)
    return values.reshape(rows, len(scales)), verdicts.reshape(rows, len(scales))


def warm() -> None:
    """Compile or load the kernel now: seconds the first time on a machine, then from numba's cache."""
    parse_many(["0"], np.zeros(1, np.int64))


@kernel
def _parse(  # a kernel is one loop
    text: Any, other: int, scales: Any, values: Any, verdicts: Any
) -> None:
    at, end = 0, text.size
    for i in range(values.size):
        negative = at < end and text[at] == 45
        if negative:
            at += 1
        value, digits, decimals = 0, 0, -1
        bad, inexact, overflow = False, False, False
        while at < end and text[at] != 10 and text[at] != other:
            c = text[at]
            at += 1
            if c == 46:
                bad |= decimals >= 0 or digits == 0
                decimals = max(decimals, 0)
                continue
            if c < 48 or c > 57:
                bad = True
                continue
            digit = np.int64(c) - 48
            digits += 1
            if decimals >= 0:
                decimals += 1
                if decimals > scales[i]:
                    inexact |= digit != 0
                    continue
            if value > 922337203685477580 or (value == 922337203685477580 and digit > 7):
                overflow = True
            else:
                value = value * 10 + digit
        at += 1
        for _ in range(scales[i] - max(decimals, 0)):
            overflow |= value > 922337203685477580
            value = value if overflow else value * 10
        if bad or digits == 0 or decimals == 0:
            verdicts[i] = 1
        elif inexact:
            verdicts[i] = 2
        elif overflow:
            verdicts[i] = 3
        else:
            values[i] = -value if negative else value
