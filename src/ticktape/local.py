"""`ticktape.open(path)`: the tape and the lake of a data folder on this machine, read in place.

The tape comes as NumPy views of the file itself, nothing copied; the lake as Arrow, every byte checked. Numbers are
the integers that are stored: value = integer / 10**scale of the instrument. No server is asked and no lock is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticktape.config import world_of
from ticktape.errors import BadInput, Damaged
from ticktape.model.instruments import Instrument
from ticktape.model.records import MARKET_KINDS, Records
from ticktape.tape import meta
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.kernels import CHAIN_AGG, CHAIN_QUOTE, CHAIN_TRADE
from ticktape.tape.reader import Found, Reader

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

TABLES = ("trades", "quotes", "book", "bars", "gaps", "quality")


class Opened:
    """A data folder. `refresh` takes in what the recorder published since."""

    def __init__(self, path: Path) -> None:
        """Open the world in use in `path`, or a world. Raises Misconfigured when there is no tape."""
        self.path = world_of(path)
        meta.load(self.path / "tape")  # no tape: say so, and create nothing
        self._reader = Reader(self.path / "tape")
        self._directory = TapeDirectory(self.path / "tape")
        self._followed = False

    def __repr__(self) -> str:
        return f"Opened({self.path}, positions {self.first}..{self.end})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Views of the tape stay readable."""
        self._directory.close()

    # -- the tape ----------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """First position on the tape."""
        return self._reader.first

    @property
    def end(self) -> int:
        """The position after the last one that was read."""
        return self._reader.end

    @property
    def sample(self) -> bool:
        """Whether it was made by a simulator."""
        return self._reader.meta.sample

    def refresh(self) -> int:
        """Take in what was published since, and return the new `end`."""
        self._directory.refresh()
        self._reader.refresh()
        self._followed = False
        return self.end

    def instruments(self) -> list[Instrument]:
        """Return what is recorded, with its scales."""
        return list(self._directory.all())

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument. Raises UnknownSymbol."""
        return self._directory.by_symbol(symbol)

    def tape(self, start: int | None = None, stop: int | None = None) -> Records:
        """Return the records at positions [start, stop): a view of the mapped file, 64 bytes a record, read-only.

        Fields are those of `model/records.py`; commits stand between. Row k is at position max(start, first) + k.
        """
        return self._reader.view(self.first if start is None else start, self.end if stop is None else stop)

    def market(self, symbol: str, start: int | None = None, stop: int | None = None) -> Records:
        """Return copies of one instrument's market records at positions [start, stop), in tape order."""
        records, number = self.tape(start, stop), self.instrument(symbol).id
        mine = records[records["instrument"] == number]
        return mine[mine["kind"] < max(MARKET_KINDS) + 1]

    def latest(self, symbol: str, n: int = 1, *, quotes: bool = False) -> Found:
        """Return the last n trades (or quotes) of an instrument and their positions, by its chain: microseconds."""
        if not self._followed:
            self._reader.follow()
            self._followed = True
        number = self.instrument(symbol).id
        if quotes:
            return self._reader.latest(number, CHAIN_QUOTE, n)
        found = self._reader.latest(number, CHAIN_TRADE, n)
        return found if len(found.records) else self._reader.latest(number, CHAIN_AGG, n)

    # -- the lake ----------------------------------------------------------------------------------

    def read(self, table: str, symbols: str | Sequence[str] | None, start_ns: int = 0, end_ns: int = 2**63 - 1) -> Any:
        """Return the rows of [start_ns, end_ns) as a pyarrow.Table, lake and tape as one, every row once.

        Raises BadInput, Damaged when a file is not what was written.
        """
        from ticktape.lake.history import Lake  # noqa: PLC0415  # Arrow and Delta load with the first call

        if table not in TABLES:
            raise BadInput(f"no table '{table[:40]}'", hint=", ".join(TABLES))
        names = [symbols] if isinstance(symbols, str) else symbols
        ids = None if names is None else [self.instrument(name).id for name in names]
        self.refresh()
        page = Lake(self.path / "lake").snapshot().read(table, ids, start_ns, end_ns, tape=self._reader)
        if page.missing:
            raise Damaged(f"{len(page.missing)} files of {table} are damaged", hint="ticktape lake verify")
        return page.rows


def open(path: str | Path) -> Opened:  # noqa: A001  # `ticktape.open` is its name
    """Return what is recorded in a data folder. Raises Misconfigured when there is no tape."""
    return Opened(Path(path))
