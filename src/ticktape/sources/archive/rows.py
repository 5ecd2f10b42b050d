"""CSV rows of an archive -> records, a block of lines at a time. binance-public-data, README "Trades".

aggTrades: id, price, qty, first id, last id, time, buyer is maker, best match.
trades:    id, price, qty, quote qty, time, buyer is maker, best match.

A block is parsed by one call of the decimals kernel: the grid is checked with numpy first, and only a
block with a broken line is looked at line by line. Booleans are True/False (spot) or true/false (futures)
and become 1/0 beforehand. Spot times are microseconds from 2025-01-01 on and milliseconds before: the
first row of a file decides for the file, by size, and a row of the other unit is refused as a bad time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ticktape.model.instruments import Instrument
from ticktape.model.records import BadReason, Flag, Ints, Kind, Records, Side, empty
from ticktape.model.symbols import shown
from ticktape.sources import decimals
from ticktape.sources.binance.columns import EARLIEST_NS, LATEST_NS
from ticktape.sources.binance.normalise import MICROSECOND_NS, MILLISECOND_NS
from ticktape.sources.contract import Bad, Batch

# Milliseconds reach 10**14 in the year 5138 and microseconds passed it in 1973.
_FIRST_MICROSECOND = 10**14
_WORDS = {b"True": b"1", b"False": b"0", b"true": b"1", b"false": b"0"}
_WHY = {
    decimals.Verdict.MALFORMED: BadReason.BAD_NUMBER,
    decimals.Verdict.INEXACT: BadReason.BAD_NUMBER,
    decimals.Verdict.OVERFLOW: BadReason.OUT_OF_RANGE,
}


class Layout(NamedTuple):
    """Where the columns are."""

    kind: Kind
    columns: int
    last_id: int | None
    time: int
    maker: int
    quote: int | None = None


LAYOUT = {
    "aggTrades": Layout(Kind.AGG_TRADE, 8, last_id=4, time=5, maker=6),
    "trades": Layout(Kind.TRADE, 7, last_id=None, time=4, maker=5, quote=3),
}


class Reader:
    """Turns the blocks of one file into batches; remembers its time unit and line number."""

    def __init__(self, layout: Layout, instrument: Instrument) -> None:
        self._layout = layout
        self._instrument = instrument
        self._unit_ns = 0
        self._line = 0  # lines before the block
        self._scales = [0] * layout.columns
        self._scales[1], self._scales[2] = instrument.price_scale, instrument.size_scale

    def batch(self, text: bytes, ts_recv: int) -> Batch:
        """Return the records of whole lines, all received at ts_recv (ns UTC), flagged BACKFILLED."""
        text = text.replace(b"\r\n", b"\n")
        if self._line == 0 and text[:1].isalpha():
            _, _, text = text.partition(b"\n")  # a header, as futures archives have
            self._line = 1
        if not text:
            return Batch(empty(0))
        text = text if text.endswith(b"\n") else text + b"\n"
        numbers = np.arange(text.count(b"\n"), dtype=np.int64) + self._line + 1
        self._line += len(numbers)
        bad: list[tuple[int, Bad]] = []
        if not self._is_whole(text, len(numbers)):
            text, numbers = self._without_broken(text, numbers, bad)
        records = self._records(text, numbers, bad)
        records["ts_recv"] = ts_recv
        return Batch(records, [it for _, it in sorted(bad)])

    def _is_whole(self, text: bytes, rows: int) -> bool:
        """Return whether every line has its fields, booleans where they belong and nowhere else."""
        codes = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero((codes == decimals.COMMA) | (codes == decimals.NEWLINE))
        columns, maker = self._layout.columns, self._layout.maker
        if len(ends) != rows * columns or sum(map(text.count, _WORDS)) != 2 * rows:
            return False
        grid = ends.reshape(rows, columns)
        newlines = codes[grid[:, -1]] == decimals.NEWLINE
        words = codes[grid[:, maker - 1 : maker + 1] + 1] >= ord("A")
        return bool(newlines.all() and words.all())

    def _without_broken(self, text: bytes, numbers: Ints, bad: list[tuple[int, Bad]]) -> tuple[bytes, Ints]:
        """Return the lines whose fields are in place; the others go to `bad`."""
        maker, columns = self._layout.maker, self._layout.columns
        words = [False] * maker + [True, True]
        kept: list[tuple[bytes, int]] = []
        for line, number in zip(text.split(b"\n")[:-1], numbers.tolist(), strict=True):
            fields = line.split(b",")
            if len(fields) != columns:
                detail = f"line {number}: {len(fields)} fields, expected {columns}"
            elif [field in _WORDS for field in fields] != words:
                detail = f"line {number}: True or False expected in columns {maker + 1} and {maker + 2} alone"
            else:
                kept.append((line, number))
                continue
            bad.append((number, Bad(BadReason.WRONG_TYPE, detail, line)))
        return b"".join(line + b"\n" for line, _ in kept), np.array([n for _, n in kept], np.int64)

    def _records(self, text: bytes, numbers: Ints, bad: list[tuple[int, Bad]]) -> Records:
        plain, layout = text, self._layout
        for word, digit in _WORDS.items():
            plain = plain.replace(b"," + word + b",", b"," + digit + b",")
            plain = plain.replace(b"," + word + b"\n", b"," + digit + b"\n")
        values, verdicts = decimals.parse_grid(plain, self._scales, len(numbers))
        if layout.quote is not None:  # not kept, so it need only be a number
            verdicts[:, layout.quote] *= verdicts[:, layout.quote] == decimals.Verdict.MALFORMED
        wrong_time = self._wrong_times(values[:, layout.time])
        refused = np.flatnonzero((verdicts != 0).any(axis=1) | wrong_time)
        if len(refused):
            lines = text.split(b"\n")
            bad += [(int(numbers[i]), _bad(lines[i], int(numbers[i]), verdicts[i])) for i in refused.tolist()]
            values = np.delete(values, refused, axis=0)
        out = empty(len(values))
        out["kind"], out["instrument"], out["flags"] = layout.kind, self._instrument.id, Flag.BACKFILLED
        out["ts_event"] = values[:, layout.time] * max(self._unit_ns, 1)
        out["c"], out["a"], out["b"] = values[:, 0], values[:, 1], values[:, 2]
        if layout.last_id is not None:
            out["d"] = values[:, layout.last_id]
        out["side"] = np.where(values[:, layout.maker] == 1, np.uint8(Side.SELL), np.uint8(Side.BUY))
        return out

    def _wrong_times(self, times: Ints) -> npt.NDArray[np.bool_]:
        """Return which times are not of the file's unit, or are not in the years 2000 to 2100."""
        if not self._unit_ns and len(times):
            self._unit_ns = MICROSECOND_NS if times[0] >= _FIRST_MICROSECOND else MILLISECOND_NS
        unit_ns = max(self._unit_ns, 1)
        return (times < EARLIEST_NS // unit_ns) | (times >= LATEST_NS // unit_ns)


def _bad(line: bytes, number: int, verdicts: decimals.Bytes) -> Bad:
    """Return what is wrong with a row: its first bad field, or its time."""
    columns = np.flatnonzero(verdicts)
    if not len(columns):
        return Bad(BadReason.BAD_TIME, f"line {number}: time outside the years 2000 to 2100", line)
    column = int(columns[0])
    why = decimals.Verdict(int(verdicts[column]))
    text = shown(line.split(b",")[column].decode("utf-8", "replace"))
    return Bad(_WHY[why], f"line {number}: column {column + 1}: {decimals.WHY[why]}: '{text}'", line)
