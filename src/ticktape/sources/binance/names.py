"""The symbols of one Binance source and the instruments they stand for, as the normaliser needs them."""

from __future__ import annotations

import numpy as np

from ticktape.model.instruments import Instrument
from ticktape.model.records import Ints
from ticktape.model.symbols import MAX_SYMBOL, shown
from ticktape.sources.contract import Directory


class Names:
    """Symbol -> slot -> instrument, remembered; a new symbol is looked up in the directory, never guessed.

    A slot is a row of `ids`, `price_scales` and `size_scales`; slots are never reused.
    """

    def __init__(self, directory: Directory, vendor: str = "binance") -> None:
        self._directory = directory
        self._vendor = vendor
        self._symbol_of: dict[int, str] = {}
        self.slots: dict[str, int] = {}
        self.ids: Ints = np.zeros(0, np.int64)
        self.price_scales: Ints = np.zeros(0, np.int64)
        self.size_scales: Ints = np.zeros(0, np.int64)

    def learn(self, symbol: str, instrument: Instrument) -> int:
        """Remember the instrument of a symbol and return its slot."""
        slot = self.slots.get(symbol, len(self.ids))
        if slot == len(self.ids):
            self.ids, self.price_scales, self.size_scales = (
                np.append(column, 0) for column in (self.ids, self.price_scales, self.size_scales)
            )
        self.ids[slot] = instrument.id
        self.price_scales[slot] = instrument.price_scale
        self.size_scales[slot] = instrument.size_scale
        self.slots[symbol] = slot
        self._symbol_of[instrument.id] = symbol
        return slot

    def find(self, symbol: str) -> int | None:
        """Return the slot of a symbol, from memory or from the directory, or None."""
        slot = self.slots.get(symbol)
        if slot is None and 0 < len(symbol) <= MAX_SYMBOL:
            instrument = self._directory.find(self._vendor, symbol)
            slot = None if instrument is None else self.learn(symbol, instrument)
        return slot

    def id_of(self, symbol: str) -> int | None:
        """Return the instrument id of a symbol, or None."""
        slot = self.find(symbol)
        return None if slot is None else int(self.ids[slot])

    def symbol_of(self, instrument_id: int) -> str | None:
        """Return the symbol of an instrument, from memory or from the directory, or None."""
        symbol = self._symbol_of.get(instrument_id)
        if symbol is None:  # one that is not configured any more
            symbol = self._directory.name_of(self._vendor, instrument_id)
        return symbol if symbol is not None and self.id_of(symbol) == instrument_id else None

    def only(self) -> str | None:
        """Return the symbol when there is exactly one: what a bare snapshot must be of."""
        return next(iter(self.slots)) if len(self.slots) == 1 else None


def unknown(symbol: str) -> str:
    """Return the sentence about a symbol that nobody enrolled."""
    return f"binance: unknown symbol '{shown(symbol)}'"
