"""What the source tests share: a directory in memory, a sink that keeps, and the real capture's place."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from ticktape.model.instruments import AssetClass, Instrument, Listing
from ticktape.model.records import GapCause, Kind, Records, empty
from ticktape.sources.contract import Bad, Batch, Watched

REAL_CAPTURE = Path(__file__).parents[4] / "shared" / "fixtures" / "binance" / "hftbacktest_spot_btcusdt_20240808.gz"
needs_real_capture = pytest.mark.skipif(
    not REAL_CAPTURE.exists(),
    reason="the real capture is not committed; expected in ../shared/fixtures/binance",
)
STEP = Decimal("0.00000001")


class Instruments:
    """A directory in memory. It enrols what it is told to, and knows `symbols` from the start."""

    def __init__(self, *symbols: str) -> None:
        self.rows: dict[tuple[str, str], Instrument] = {}
        for symbol in symbols:
            listing = Listing(
                symbol=symbol, venue="binance", asset_class=AssetClass.CRYPTO, tick_size=STEP, size_step=STEP
            )
            self.enrol("binance", symbol, listing)

    def find(self, vendor: str, name: str) -> Instrument | None:
        return self.rows.get((vendor, name))

    def find_at(self, vendor: str, name: str, at_ns: int) -> Instrument | None:
        return self.find(vendor, name)

    def name_of(self, vendor: str, instrument_id: int) -> str | None:
        return next((name for (who, name), it in self.rows.items() if (who, it.id) == (vendor, instrument_id)), None)

    def enrol(self, vendor: str, name: str, listing: Listing) -> Instrument:
        fields = {field: getattr(listing, field) for field in listing.__struct_fields__}
        return self.rows.setdefault((vendor, name), Instrument(id=len(self.rows) + 1, **fields))


class Kept:
    """A sink for sources that deliver batches."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.watched: list[Watched] = []
        self.pieces: list[Records] = []
        self.bad: list[Bad] = []
        self.gaps: list[tuple[Watched, GapCause, str]] = []
        self._now_ns = now_ns

    def up(self, watched: Sequence[Watched]) -> None:
        self.watched = list(watched)

    def frames(self, frames: list[bytes], ts_recv: int) -> None:
        raise AssertionError("no frames expected")

    def batch(self, batch: Batch) -> None:
        self.pieces.append(batch.records)
        self.bad += batch.bad

    def lost(self, watched: Watched, cause: GapCause, detail: str) -> None:
        self.gaps.append((watched, cause, detail))

    def alive(self) -> None:
        raise AssertionError("no sign of life expected")

    def now_ns(self) -> int:
        return self._now_ns

    @property
    def records(self) -> Records:
        return np.concatenate(self.pieces) if self.pieces else empty(0)

    def of(self, kind: Kind) -> Records:
        return self.records[self.records["kind"] == kind]
