"""A range of rows as it came, in columns; handed on to Polars, pandas, Arrow or NumPy, or row by row as records.

Prices are decimals of fixed scale. NumPy has none: there they are int64 at that scale, unless floats are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ticktape.client.http import optional
from ticktape.client.picture import Candle, svg
from ticktape.client.records import Tape
from ticktape.errors import BadInput

TIMES = ("ts_event", "ts_recv", "start", "open_ts", "close_ts", "quote_ts_event")
_EXACT = 2**53  # integers up to here are doubles


class Table:
    """Rows in columns. `about` is what the server said of them, page by page: positions, gaps, missing, notes."""

    def __init__(self, arrow: Any, about: list[dict[str, Any]], constants: dict[str, Any] | None = None) -> None:
        self._arrow = arrow
        self.about = about
        self._constants = constants or {}  # what every row has and no column says

    def __len__(self) -> int:
        return int(self._arrow.num_rows)

    def __repr__(self) -> str:
        return f"Table({len(self):,} rows: {', '.join(self._arrow.column_names)})"

    def __iter__(self) -> Iterator[Tape]:
        """Yield each row as the record that the stream would have sent."""
        kind = self._arrow.schema
        bars = "open" in kind.names
        for batch in self._arrow.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                fields = {**row, **self._constants, **({"kind": "bar"} if bars else {})}
                yield msgspec.convert(fields, Tape)  # pyright: ignore[reportArgumentType]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """What is missing in the range, by the server's word, each gap once."""
        found = {gap["gap_id"]: gap for page in self.about for gap in page.get("gaps", [])}
        return [found[number] for number in sorted(found)]

    @property
    def missing(self) -> list[str]:
        """What was asked for and is not here, and why."""
        return list(dict.fromkeys(note for page in self.about for note in page.get("missing", [])))

    @property
    def sample(self) -> bool:
        """Whether the rows are simulated."""
        return any(page.get("sample", False) for page in self.about)

    # -- handing on --------------------------------------------------------------------------------

    def to_arrow(self, *, floats: bool = False) -> Any:
        """Return a pyarrow.Table: prices decimal128, or float64 on request."""
        return _with_floats(self._arrow) if floats else self._arrow

    def to_polars(self, *, floats: bool = False) -> Any:
        """Return a polars.DataFrame. Raises Misconfigured when Polars is not installed."""
        return optional("polars").from_arrow(self.to_arrow(floats=floats))

    def to_pandas(self, *, floats: bool = False, index: str | None = None) -> Any:
        """Return a pandas.DataFrame; times are UTC timestamps, decimals objects unless floats are asked for.

        `index` names the column that becomes the index. Raises Misconfigured when pandas is not installed.
        """
        pandas = optional("pandas")
        frame = self.to_arrow(floats=floats).to_pandas()
        for name in TIMES:
            if name in frame.columns:
                frame[name] = pandas.to_datetime(frame[name], unit="ns", utc=True)
        return frame if index is None else frame.set_index(index)

    def to_numpy(self, *, floats: bool = False) -> dict[str, Any]:
        """Return a NumPy array a column. Decimals are int64 at `scales[name]`, or float64; names are objects.

        Raises BadInput when a price does not fit 64 bits: ask for floats.
        """
        return {name: _array(self._arrow.column(name), name, floats) for name in self._arrow.column_names}

    def plot(self, path: str | Path) -> Path:
        """Write bars as a picture, SVG, and return its path. Raises BadInput for rows that are no bars, or none."""
        if "open" not in self._arrow.column_names or not len(self):
            raise BadInput("there are no bars to show", hint='get_range(..., schema="bars-1m")')
        columns = self.to_numpy(floats=True)
        names = ("start", "open", "high", "low", "close", "volume")
        candles = [Candle(*row) for row in zip(*(np.nan_to_num(columns[n]).tolist() for n in names), strict=True)]
        labels = [str(np.datetime64(candle.start, "ns"))[:19].replace("T", " ") for candle in candles]
        title = f"{columns['symbol'][0]} {self._constants.get('timeframe', '')}{' SAMPLE' if self.sample else ''}"
        written = Path(path)
        written.write_text(svg(candles, title, labels))
        return written

    @property
    def scales(self) -> dict[str, int]:
        """Of each decimal column: value = integer / 10**scale."""
        return {field.name: field.type.scale for field in self._arrow.schema if _is_decimal(field.type)}


def _is_decimal(kind: Any) -> bool:
    return bool(optional("pyarrow").types.is_decimal(kind))


def _with_floats(table: Any) -> Any:
    pa = optional("pyarrow")
    for place, field in enumerate(table.schema):
        if _is_decimal(field.type):
            column = table.column(place)
            floats = pa.array(_floats(column), mask=~_valid(column))
            table = table.set_column(place, pa.field(field.name, pa.float64()), floats)
    return table


def _array(column: Any, name: str, floats: bool) -> Any:
    if not _is_decimal(column.type):
        return column.to_numpy()
    if floats:
        return _floats(column)
    low, fits = _words(column)
    if not fits.all():
        raise BadInput(f"{name} does not fit 64 bits", hint="to_numpy(floats=True)")
    return low


def _valid(column: Any) -> Any:
    return np.ones(len(column), bool) if not column.null_count else column.is_valid().to_numpy()


def _words(column: Any) -> tuple[Any, Any]:
    """Return the low words of a decimal128 column, 0 where it is null, and where they are the whole number."""
    words = [np.zeros((0, 2), np.int64)]
    for chunk in column.chunks:
        both = np.frombuffer(chunk.buffers()[1], dtype=np.int64).reshape(-1, 2)
        words.append(both[chunk.offset : chunk.offset + len(chunk)])
    low, high = np.concatenate(words).T
    valid = _valid(column)
    return np.where(valid, low, 0), (high == low >> 63) | ~valid


def _floats(column: Any) -> Any:
    """Return the double nearest to each decimal (Arrow's own cast is off by one place now and then); NaN for null."""
    low, fits = _words(column)
    # Both are exact doubles, so their quotient is rounded once.
    near = fits & (np.abs(low) <= _EXACT)
    found = low / 10.0**column.type.scale
    found[~_valid(column)] = np.nan
    for place in np.flatnonzero(~near).tolist():
        found[place] = float(column[place].as_py())
    return found
