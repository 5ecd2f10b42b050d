"""What a set of subscriptions comes down to: bits by instrument, chains, bars. Patterns are looked up here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ticktape.model.bars import Basis
from ticktape.model.instruments import Instrument
from ticktape.model.records import Ints
from ticktape.serve.stream import stream_kernel as kernel
from ticktape.tape.kernels import CHAIN_AGG, CHAIN_QUOTE, CHAIN_TRADE, CHAINS

Pairs = frozenset[tuple[str, str]]  # channel, symbol or pattern
_BITS = {"trades": kernel.TRADES, "quotes": kernel.QUOTES, "book": kernel.BOOK, "gaps": kernel.GAPS}
NEWEST_ONLY = kernel.TRADES | kernel.QUOTES | kernel.BOOK | kernel.AGG  # what conflation may leave out


@dataclass(frozen=True, slots=True)
class Wants:
    """mask: bits by instrument id; chains: which to look at for the newest; bars: timeframes by instrument."""

    mask: Any
    instruments: tuple[Instrument, ...]
    chains: Ints
    books: tuple[int, ...]
    bars: dict[int, frozenset[str]]
    alerts: bool

    @property
    def bar_keys(self) -> list[tuple[int, Basis]]:
        """What has to be watched for bars."""
        return [(instrument_id, Basis.TRADES) for instrument_id in self.bars]

    def without_newest(self) -> Any:
        """Return the mask of what conflation never leaves out."""
        return self.mask & np.uint8(0xFF & ~NEWEST_ONLY)


def matches(pattern: str, symbol: str) -> bool:
    """Say whether a symbol is meant by a pattern."""
    return symbol.startswith(pattern[:-1]) if pattern.endswith("*") else symbol == pattern


def resolve(pairs: Pairs, allowed: frozenset[str] | None, instruments: Sequence[Instrument], heads: Ints) -> Wants:
    """Look up what subscriptions mean now. `heads` are the chain heads of the tape.

    An instrument of which only aggregated trades are recorded sends those as its trades.
    """
    by_id: dict[int, int] = {}
    bars: dict[int, set[str]] = {}
    exact: dict[str, list[str]] = {}
    for channel, pattern in pairs:
        exact.setdefault(pattern, []).append(channel)
    stars = [(pattern, channels) for pattern, channels in exact.items() if pattern.endswith("*")]
    for about in instruments:
        if allowed is not None and about.symbol not in allowed:
            continue
        for channels in (exact.get(about.symbol, ()), *(c for pattern, c in stars if matches(pattern, about.symbol))):
            for channel in channels:
                _add(about, channel, heads, by_id, bars)
    mask = np.zeros(max([*by_id, 0]) + 1, dtype=np.uint8)
    mask[list(by_id)] = list(by_id.values())
    named = {channel for channel, _ in pairs}
    mask[0] |= (kernel.GAPS if "gaps" in named else 0) | (kernel.STATUS if "status" in named else 0)
    wanted = by_id.keys() | bars.keys()
    return Wants(
        mask=mask,
        instruments=tuple(about for about in instruments if about.id in wanted),
        chains=np.array(sorted(_chains(by_id)), dtype=np.int64),
        books=tuple(sorted(number for number, bits in by_id.items() if bits & kernel.BOOK)),
        bars={number: frozenset(names) for number, names in bars.items()},
        alerts="alerts" in named and allowed is None,  # they speak of every symbol
    )


def _add(about: Instrument, channel: str, heads: Ints, by_id: dict[int, int], bars: dict[int, set[str]]) -> None:
    if channel.startswith("bars."):
        bars.setdefault(about.id, set()).add(channel.removeprefix("bars."))
        return
    bits = _BITS.get(channel, 0)
    if channel == "trades" and not _has_trades(about.id, heads):
        bits |= kernel.AGG
    if bits:
        by_id[about.id] = by_id.get(about.id, 0) | bits


def _has_trades(instrument_id: int, heads: Ints) -> bool:
    key = instrument_id * CHAINS + CHAIN_TRADE
    return key < len(heads) and int(heads[key]) >= 0


def _chains(by_id: dict[int, int]) -> list[int]:
    pairs = ((kernel.TRADES, CHAIN_TRADE), (kernel.AGG, CHAIN_AGG), (kernel.QUOTES, CHAIN_QUOTE))
    return [number * CHAINS + chain for number, bits in by_id.items() for bit, chain in pairs if bits & bit]
