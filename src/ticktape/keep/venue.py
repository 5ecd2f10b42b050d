"""Asks a venue of Binance's kind again, by id, for a spot check, within a small part of the recorder's weight."""

from __future__ import annotations

import asyncio

import numpy as np

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Misconfigured, Unavailable
from ticktape.model.instruments import FOREVER_NS
from ticktape.model.records import Channel, Records, empty
from ticktape.sources.binance.backfill import fill
from ticktape.sources.binance.names import Names
from ticktape.sources.binance.normalise import MICROSECOND_NS, MILLISECOND_NS
from ticktape.sources.binance.rest import BinanceRest
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.weights import Weights
from ticktape.sources.contract import Hole
from ticktape.tape.directory import TapeDirectory

SHARE = 0.1  # of what the recorder may use: the venue counts both together
TIMEOUT_S = 20.0


async def _never_wait(seconds: float) -> None:
    # The recorder's own questions come first: a sample without an answer is one of many, and told as such.
    raise Unavailable(f"the weight of this minute is used up, {seconds:.0f} s are left of it", hint="it is tried again")


class BinanceVenue:
    """One configured source, seen from keep."""

    def __init__(self, settings: BinanceSettings, directory: TapeDirectory, clock: Clock | None = None) -> None:
        self._settings, self._directory, self._clock = settings, directory, clock or SystemClock()
        self._names = Names(directory, settings.venue)
        self._weights = Weights(settings.weight_share * SHARE, sleep=_never_wait)
        self._unit_ns = MICROSECOND_NS if settings.time_unit == "us" else MILLISECOND_NS

    async def records(self, instrument_id: int, channel: Channel, first_id: int, last_id: int) -> Records:
        """Return what its history has of some ids. Raises Unavailable, Misconfigured."""
        self._learn(instrument_id)
        settings = self._settings
        rest = BinanceRest(
            settings.rest_url,
            self._weights,
            time_unit=settings.time_unit,
            timeout_s=settings.answer_timeout_s,
            proxy=settings.proxy,
        )
        hole = Hole(instrument_id, channel, first_id, last_id)
        try:
            async with rest, asyncio.timeout(TIMEOUT_S):
                pages = [b.records async for b in fill(rest, self._names, hole, self._clock, self._unit_ns)]
        except TimeoutError:
            raise Unavailable(f"{settings.rest_url}: no answer in {TIMEOUT_S:g} s", hint="ticktape doctor") from None
        return np.concatenate([empty(0), *pages])

    def _learn(self, instrument_id: int) -> None:
        """Look the venue's name of an instrument up. Raises Misconfigured when it has none there now."""
        if self._names.symbol_of(instrument_id) is not None:
            return
        self._directory.refresh()
        for name in self._directory.names(instrument_id):
            if name.vendor == self._settings.venue and name.valid_to_ns == FOREVER_NS:
                self._names.find(name.name)
                return
        raise Misconfigured(
            f"{self._settings.venue} has no name for instrument {instrument_id}", hint="ticktape instruments"
        )
