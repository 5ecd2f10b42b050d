"""The kernel that writes rows says what Python says, to the last digit, for every integer, scale and name."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from ticktape.model.instruments import AssetClass, Instrument
from ticktape.model.records import Ints, Kind, empty
from ticktape.serve import encode
from ticktape.serve.row_texts import RowTexts

SCALES = [(8, 8), (0, 8), (2, 0), (-2, -1), (18, 12), (1, 1), (9, 30)]
KINDS = [Kind.TRADE, Kind.AGG_TRADE, Kind.QUOTE, Kind.BOOK, Kind.CORRECT, Kind.CANCEL]
WRITERS = {Kind.QUOTE: encode.quote_rows, Kind.BOOK: encode.book_rows}
ROWS = 5_000  # more than are written at once


def instrument(number: int) -> Instrument:
    """Return one whose scales go by its number."""
    price, size = SCALES[number % len(SCALES)]
    return Instrument(
        id=number, symbol=f"SYM{number}", venue="acme", asset_class=AssetClass.CRYPTO, tick_size=Decimal(1),
        size_step=Decimal(1), price_scale=price, size_scale=size,
    )  # fmt: skip


def numbers(chance: np.random.Generator) -> Ints:
    """Return integers of every length, the ends of their range, and round ones."""
    found = chance.integers(-(2**63), 2**63 - 1, ROWS) >> chance.integers(0, 63, ROWS)
    found[::7] = 0
    found[::11] = found[::11] // 10**6 * 10**6
    found[:4] = -(2**63), 2**63 - 1, -1, 1
    return found


def test_rows_of_any_kind_scale_and_name_are_those_of_python() -> None:
    chance, rows = np.random.default_rng(1), empty(ROWS)
    for name in ("a", "b", "c", "d", "ts_event", "ts_recv"):
        rows[name] = numbers(chance)
    rows["instrument"], rows["source"] = chance.integers(1, 300, ROWS), chance.integers(0, 40, ROWS)
    rows["flags"], rows["kind"] = chance.integers(0, 64, ROWS), chance.choice(KINDS, ROWS)
    rows["side"], positions = chance.integers(0, 3, ROWS), chance.integers(0, 2**62, ROWS)
    names = {number: f'é"{number}' * (1 + number) for number in range(40)}  # longer and longer
    found = RowTexts(instrument, names.__getitem__).of(rows, positions)
    for i, text in enumerate(found):
        row = slice(i, i + 1)
        write = WRITERS.get(Kind(rows["kind"][i]), encode.tick_rows)
        assert [text] == list(write(rows[row], positions[row], instrument(int(rows["instrument"][i])), names))


def test_a_row_of_another_kind_is_left_empty_and_nothing_of_it_is_learned() -> None:
    rows = empty(3)
    rows["kind"], rows["instrument"] = [Kind.TRADE, Kind.GAP, Kind.TRADE], [1, 2**32 - 1, 1]
    first, gap, last = RowTexts(instrument, str).of(rows, np.arange(3))
    assert gap == ""
    assert first.startswith('{"position":0,')
    assert last.startswith('{"position":2,')
