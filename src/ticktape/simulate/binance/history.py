"""Every trade the venue ever made: what REST answers from, and the oracle a recorder is compared with.

Columns instead of objects, because a kill -9 campaign makes tens of millions. Trade ids are dense within an
era; a sequence reset (faults.py) starts a new era and REST answers from the newest.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from ticktape.simulate.binance.wire import Aggregate, decimal

Ints = npt.NDArray[np.int64]

HOLE_MAX = 100_000  # a longer jump of ids is another era


class Row(NamedTuple):
    """One trade of the ledger."""

    trade_id: int
    price: int
    size: int
    time_us: int
    buyer_is_maker: bool
    aggregate_id: int


class Era:
    """Trades of one symbol with dense ids."""

    def __init__(self, first_id: int) -> None:
        self.first_id = first_id
        self.price = array("q")
        self.size = array("q")
        self.time_us = array("q")
        self.maker = array("q")
        self.aggregate_id = array("q")
        self.key: object = None  # what the last trade shares with the next of its aggregate

    def __len__(self) -> int:
        return len(self.price)

    @property
    def columns(self) -> tuple[array[int], ...]:
        """All columns, in the order of Row after the id."""
        return self.price, self.size, self.time_us, self.maker, self.aggregate_id

    @property
    def next_id(self) -> int:
        """The id the next trade must have."""
        return self.first_id + len(self.price)

    def append(self, price: int, size: int, us: int, maker: int, aggregate_id: int) -> None:
        """One more trade, or with price 0 an id that never was one."""
        self.price.append(price)
        self.size.append(size)
        self.time_us.append(us)
        self.maker.append(maker)
        self.aggregate_id.append(aggregate_id)

    def rows(self, start: int, stop: int) -> list[Row]:
        """Trades by position, holes left out."""
        return [self.row(i) for i in range(max(0, start), min(stop, len(self))) if self.price[i]]

    def row(self, index: int) -> Row:
        """The trade at a position."""
        return Row(
            self.first_id + index,
            self.price[index],
            self.size[index],
            self.time_us[index],
            bool(self.maker[index]),
            self.aggregate_id[index],
        )

    def forget(self, keep: int) -> None:
        """Drop the oldest trades once a quarter more than `keep` are held."""
        excess = len(self) - keep
        if excess > keep // 4:
            for column in self.columns:
                del column[:excess]
            self.first_id += excess


class History:
    """The ledger of all symbols."""

    def __init__(self, limit: int, path: Path | None = None) -> None:
        self._limit = limit
        self._eras: dict[str, list[Era]] = {}
        self._file: TextIO | None = path.open("a", encoding="ascii") if path else None

    def close(self) -> None:
        """Flush and close the ledger file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def flush(self) -> None:
        """Hand the file to the system: called before the frames of these trades are sent."""
        if self._file is not None:
            self._file.flush()

    def new_era(self, symbol: str, first_id: int) -> None:
        """The venue's ids start again."""
        self._eras.setdefault(symbol, []).append(Era(first_id))

    def add(self, symbol: str, trade_id: int, price: int, size: int, us: int, maker: bool, key: object) -> int:
        """Append one trade; trades in a row with an equal `key` are one aggregate. A known id is ignored."""
        era = self._era_for(symbol, trade_id)
        if trade_id < era.next_id:
            return era.aggregate_id[trade_id - era.first_id]
        last = era.aggregate_id[-1] if era.aggregate_id else trade_id // 2
        while era.next_id < trade_id:  # a hole: kept as a row of zeros so that ids stay dense
            era.append(0, 0, us, 0, last)
        era.append(price, size, us, int(maker), last + (key != era.key))
        era.key = key
        era.forget(self._limit)
        if self._file is not None:
            self._file.write(f"{symbol},{trade_id},{decimal(price)},{decimal(size)},{us},{int(maker)}\n")
        return era.aggregate_id[-1]

    def _era_for(self, symbol: str, trade_id: int) -> Era:
        eras = self._eras.setdefault(symbol, [])
        if not eras or not eras[-1].first_id <= trade_id <= eras[-1].next_id + HOLE_MAX:
            eras.append(Era(trade_id))
        return eras[-1]

    def extend(self, symbol: str, first_id: int, price: Ints, size: Ints, us: int, maker: Ints) -> None:
        """Append a run of trades with dense ids and one time, each its own aggregate."""
        era = self._era_for(symbol, first_id)
        while era.next_id < first_id:
            era.append(0, 0, us, 0, era.next_id)
        ids = np.arange(first_id, first_id + len(price), dtype=np.int64)
        for column, values in zip(era.columns, (price, size, np.full(len(ids), us), maker, ids), strict=True):
            column.frombytes(values.astype(np.int64).tobytes())
        era.forget(self._limit)
        if self._file is not None:
            self._file.writelines(
                f"{symbol},{i},{decimal(p)},{decimal(s)},{us},{m}\n"
                for i, p, s, m in zip(ids.tolist(), price.tolist(), size.tolist(), maker.tolist(), strict=True)
            )

    def symbols(self) -> list[str]:
        """Symbols that traded."""
        return list(self._eras)

    def count(self, symbol: str) -> int:
        """Rows still remembered of a symbol, holes included."""
        return sum(len(era) for era in self._eras.get(symbol, []))

    def era(self, symbol: str) -> Era | None:
        """The newest era of a symbol."""
        eras = self._eras.get(symbol)
        return eras[-1] if eras else None

    def trades(self, symbol: str) -> list[Row]:
        """Everything still remembered of a symbol, all eras, in the order it happened."""
        return [row for era in self._eras.get(symbol, []) for row in era.rows(0, len(era))]

    def latest(self, symbol: str, limit: int) -> list[Row]:
        """The newest trades, oldest first."""
        era = self.era(symbol)
        return [] if era is None else era.rows(len(era) - limit, len(era))

    def since(self, symbol: str, from_id: int, limit: int) -> list[Row]:
        """Trades from an id on."""
        era = self.era(symbol)
        if era is None:
            return []
        start = max(0, from_id - era.first_id)
        rows = era.rows(start, start + limit)
        while len(rows) < limit and start + limit < len(era):  # holes made it short
            start += limit
            rows += era.rows(start, start + limit)
        return rows[:limit]

    def aggregates(self, symbol: str, from_id: int | None, limit: int, newest: bool = False) -> list[Aggregate]:
        """Aggregates from an aggregate id on, or the newest ones; the oldest come first."""
        era = self.era(symbol)
        if era is None or not len(era):
            return []
        if newest or from_id is None:
            from_id = max(era.aggregate_id[0], era.aggregate_id[-1] - limit + 1) if newest else 0
        return list(_grouped(era, bisect_left(era.aggregate_id, from_id), limit))

    def aggregates_between(self, symbol: str, start_us: int, end_us: int, limit: int) -> list[Aggregate]:
        """Aggregates with start <= time <= end, oldest first."""
        era = self.era(symbol)
        if era is None:
            return []
        first = bisect_left(era.time_us, start_us)
        if first:  # never start inside an aggregate
            first = bisect_left(era.aggregate_id, era.aggregate_id[min(first, len(era) - 1)])
        found = _grouped(era, first, limit + 1)
        return [agg for agg in found if start_us <= agg.time_us <= end_us][:limit]


def _grouped(era: Era, index: int, limit: int) -> Iterator[Aggregate]:
    while index < len(era) and limit:
        first = index
        while index < len(era) and era.aggregate_id[index] == era.aggregate_id[first]:
            index += 1
        rows = era.rows(first, index)
        if not rows:
            continue
        head, last = rows[0], rows[-1]
        yield Aggregate(
            head.aggregate_id,
            head.price,
            sum(row.size for row in rows),
            head.trade_id,
            last.trade_id,
            head.time_us,
            head.buyer_is_maker,
        )
        limit -= 1
