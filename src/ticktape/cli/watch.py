"""What `ticktape up` shows while it runs: the first bars as they close, then one line that stays true."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import typer

from ticktape.errors import TicktapeError
from ticktape.model.bars import Bars, Basis
from ticktape.model.records import Kind
from ticktape.serve.readers.bars import BarReader
from ticktape.tape.directory import TapeDirectory, price_text
from ticktape.tape.reader import Reader

FIRST_BARS = 4
EVERY_S = 0.5


async def watch(plan: Any, stop: asyncio.Event) -> None:
    """Follow the tape of a plan until `stop`; everything goes to stderr."""
    folder = plan.world / "tape"
    reader = await _opened(folder, stop)
    if reader is None:
        return
    directory = TapeDirectory(folder)
    watching = Watching(reader, directory)
    try:
        while not stop.is_set():
            watching.look()
            await asyncio.sleep(EVERY_S)
    finally:
        directory.close()


async def _opened(folder: Any, stop: asyncio.Event) -> Reader | None:
    while not stop.is_set():
        try:
            return Reader(folder)
        except (TicktapeError, FileNotFoundError):  # the recorder is about to make it
            await asyncio.sleep(0.2)
    return None


class Watching:
    """What has been shown so far."""

    def __init__(self, reader: Reader, directory: TapeDirectory) -> None:
        self._reader, self._directory = reader, directory
        self._bars = BarReader()
        self._position = reader.refresh()
        self._ticks = self._gaps = self._looks = 0
        self._shown: set[int] = set()
        self._instruments: set[int] = set()
        self._terminal = sys.stderr.isatty()

    def look(self) -> None:
        """Take in what came, show what is new."""
        end = self._reader.refresh()
        view = self._reader.view(self._position, end)
        kinds = view["kind"]
        came = int((kinds <= Kind.AGG_TRADE).sum()) - int((kinds == Kind.EMPTY).sum())
        self._ticks += came
        self._gaps += int((kinds == Kind.GAP).sum())
        self._instruments.update(int(i) for i in set(view["instrument"][kinds == Kind.TRADE].tolist()))
        self._bars.absorb(self._reader, self._position, end)
        self._position = end
        self._looks += 1
        self._show_bars()
        if self._terminal:
            rate = int(came / EVERY_S)
            line = (
                f"{self._ticks:,} ticks, {rate:,}/s, {len(self._instruments)} symbols trade, {self._gaps} gap records"
            )
            typer.echo(f"\r{line}\x1b[K\r", err=True, nl=False)  # a log line may come next: it begins at the edge

    def _show_bars(self) -> None:
        for instrument in sorted(self._instruments - self._shown):
            if len(self._shown) >= FIRST_BARS:
                return
            bars = self._bars.latest(instrument, "1s", Basis.TRADES, 3)
            closed = bars[bars["start"] + 1_000_000_000 <= self._bars.watermark_ns(instrument)]
            if len(closed):
                self._shown.add(instrument)
                self._show(instrument, closed)

    def _show(self, instrument: int, closed: Bars) -> None:
        about = self._directory.by_id(instrument)
        bar = closed[-1]
        prices = " ".join(
            f"{name[0]} {price_text(int(bar[name]), about.price_scale)}" for name in ("open", "high", "low", "close")
        )
        end = "\x1b[K" if self._terminal else ""
        typer.echo(f"{about.symbol:<9}first 1s bar  {prices}  trades {int(bar['count'])}{end}", err=True)
