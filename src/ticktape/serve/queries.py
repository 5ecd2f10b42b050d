"""The one place that answers. Doors are thin over it: same names, same shapes, whoever asks.

Every call first takes in what the recorder has published, so an answer is never older than the tape.
Raises BadInput for what no answer can exist for, UnknownSymbol for a name nobody enrolled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from ticktape.clock import Clock
from ticktape.errors import BadInput
from ticktape.model.bars import TIMEFRAMES, BarFlag, Bars, Basis
from ticktape.model.gaps import Gap
from ticktape.model.instruments import Instrument
from ticktape.model.records import Channel, GapState
from ticktape.model.symbols import shown
from ticktape.serve import answers as a
from ticktape.serve import encode, health
from ticktape.serve.live import Live
from ticktape.serve.past.asks import Fact
from ticktape.serve.provenance import Base, Part, Provenance, positions_of
from ticktape.serve.row_texts import RowTexts
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.kernels import CHAIN_AGG, CHAIN_QUOTE, CHAIN_TRADE
from ticktape.tape.reader import Found

MOST_ROWS = 20_000  # in one answer: symbols x limit
LOOK_BACK = 16  # records among which the newest by venue time is sought
_TRADES, _QUOTES = (Channel.TRADE, Channel.AGG_TRADE), (Channel.QUOTE,)
_CHANNELS = {Basis.TRADES: _TRADES, Basis.QUOTES: _QUOTES}
_CHAINS = {Basis.TRADES: (CHAIN_TRADE, CHAIN_AGG), Basis.QUOTES: (CHAIN_QUOTE,)}
_NULL = msgspec.Raw(b"null")


class Queries:
    """Answers from the live state. `allowed`, where it is asked for, names the only symbols to speak of."""

    def __init__(self, live: Live, directory: TapeDirectory, clock: Clock) -> None:
        self._live = live
        self._directory = directory
        self._clock = clock
        self._from = Provenance(live, directory, clock)
        self._texts = RowTexts(directory.by_id, self._from.source_name)

    # -- ticks and quotes --------------------------------------------------------------------------

    def ticks(self, symbols: Sequence[str], limit: int) -> a.Ticks:
        """Return the last `limit` trades of each symbol, in tape order.

        An instrument of which only aggregated trades are recorded answers with those.
        """
        if limit * len(symbols) > MOST_ROWS:
            raise BadInput(f"{len(symbols)} symbols x {limit} rows is more than {MOST_ROWS}", hint="a smaller limit")
        instruments = [self._directory.by_symbol(symbol) for symbol in symbols]
        self._live.step()
        parts = [Part(i, self._trades(i.id, limit)) for i in instruments]
        return a.Ticks(
            **self._from.of(parts, _TRADES, "trade", limit),
            symbols=[self._symbol_part(part) for part in parts],
            ticks=encode.json_array(self._texts.of(*_merged([part.found for part in parts]))),
        )

    def _trades(self, instrument_id: int, n: int) -> Found:
        found = self._live.reader.latest(instrument_id, CHAIN_TRADE, n)
        return found if len(found.records) else self._live.reader.latest(instrument_id, CHAIN_AGG, n)

    def _symbol_part(self, part: Part) -> a.SymbolPart:
        return a.SymbolPart(
            symbol=part.instrument.symbol,
            instrument_id=part.instrument.id,
            count=len(part.found.records),
            positions=positions_of([part.found]),
            freshness=self._from.freshness(part.instrument.id),
        )

    def latest_quote(self, symbol: str) -> a.LatestQuote:
        """Return the newest quote and the newest trade of a symbol, by venue time."""
        instrument = self._directory.by_symbol(symbol)
        self._live.step()
        quote = _newest(self._live.reader.latest(instrument.id, CHAIN_QUOTE, LOOK_BACK))
        trade = _newest(self._trades(instrument.id, LOOK_BACK))
        return a.LatestQuote(
            **self._from.of([Part(instrument, quote)], _QUOTES, "quote"),
            symbol=instrument.symbol,
            instrument_id=instrument.id,
            quote=_first(self._texts.of(*quote)),
            trade=_first(self._texts.of(*trade)),
        )

    def quote_history(self, symbol: str, limit: int) -> a.Quotes:
        """Return the last `limit` quotes of a symbol, in tape order."""
        instrument = self._directory.by_symbol(symbol)
        self._live.step()
        found = self._live.reader.latest(instrument.id, CHAIN_QUOTE, limit)
        return a.Quotes(
            **self._from.of([Part(instrument, found)], _QUOTES, "quote", limit),
            symbol=instrument.symbol,
            instrument_id=instrument.id,
            quotes=encode.json_array(self._texts.of(*found)),
        )

    def listed(self) -> list[Instrument]:
        """Return every instrument as it is listed, by id."""
        self._directory.refresh()
        return self._directory.all()

    def calendar_of(self, symbol: str) -> str:
        """Return the name of the calendar that a symbol trades by. Raises BadSymbol."""
        return self._directory.by_symbol(symbol).calendar

    # -- bars --------------------------------------------------------------------------------------

    def ohlc(self, symbol: str, timeframe: str, limit: int, basis: Basis = Basis.TRADES) -> a.Ohlc:
        """Return the last `limit` bars of a symbol. Raises BadInput for a timeframe nobody builds."""
        if timeframe not in TIMEFRAMES:
            raise BadInput(f"no timeframe '{shown(timeframe)}'", hint=f"timeframe={'|'.join(TIMEFRAMES)}")
        instrument = self._directory.by_symbol(symbol)
        self._live.step()
        bars = self._live.bars.latest(instrument.id, timeframe, basis, limit)
        gaps = self._gaps_of_bars(instrument.id, [bars], basis)
        return a.Ohlc(
            **self._bar_base(instrument, [bars], basis, gaps),
            symbol=instrument.symbol,
            instrument_id=instrument.id,
            timeframe=timeframe,
            basis=basis.name.lower(),
            watermark=self._live.bars.watermark_ns(instrument.id, basis),
            bars=encode.json_array(self._bar_rows(instrument, bars, TIMEFRAMES[timeframe], basis, gaps)),
        )

    def ohlc_latest(self, symbol: str, basis: Basis = Basis.TRADES) -> a.OhlcLatest:
        """Return the newest bar of each timeframe of a symbol."""
        instrument = self._directory.by_symbol(symbol)
        self._live.step()
        newest = {name: self._live.bars.latest(instrument.id, name, basis, 1) for name in TIMEFRAMES}
        gaps = self._gaps_of_bars(instrument.id, list(newest.values()), basis)
        rows = {
            name: _first(self._bar_rows(instrument, bars, TIMEFRAMES[name], basis, gaps))
            for name, bars in newest.items()
        }
        return a.OhlcLatest(
            **self._bar_base(instrument, list(newest.values()), basis, gaps),
            symbol=instrument.symbol,
            instrument_id=instrument.id,
            basis=basis.name.lower(),
            watermark=self._live.bars.watermark_ns(instrument.id, basis),
            timeframes=msgspec.Raw(msgspec.json.encode(rows)),
        )

    def _bar_rows(self, instrument: Instrument, bars: Bars, width: int, basis: Basis, gaps: list[Gap]) -> Iterator[str]:
        # The kernel builds bars from ticks alone; which of them span a hole is the ledger's to say.
        starts = bars["start"].tolist()
        flags = [BarFlag.GAP if _spans_gap(start, width, gaps) else 0 for start in starts]
        return encode.bar_rows(
            bars, width, basis, instrument, self._live.bars.watermark_ns(instrument.id, basis), flags
        )

    def _gaps_of_bars(self, instrument_id: int, several: list[Bars], basis: Basis) -> list[Gap]:
        starts = [int(bars["start"][0]) for bars in several if len(bars)]
        sources = self._live.board.sources  # bars do not say who wrote their ticks
        return self._from.gaps_since(instrument_id, min(starts, default=0), _CHANNELS[basis], sources)

    def _bar_base(self, instrument: Instrument, several: list[Bars], basis: Basis, gaps: list[Gap]) -> Base:
        newest = [self._live.reader.latest(instrument.id, chain, 1) for chain in _CHAINS[basis]]
        filled = [bars for bars in several if len(bars)]
        flags = int(np.bitwise_or.reduce(np.concatenate([bars["flags"] for bars in filled]))) if filled else 0
        missing = [] if filled else [f"no bar of {instrument.symbol} from {basis.name.lower()}"]
        return {
            **self._from.common(),
            "positions": a.Positions(None, positions_of(newest).last),
            "source": self._from.source_names(found.records for found in newest),
            "flags": list(encode.bar_flag_names(flags | (BarFlag.GAP if gaps and filled else 0))),
            "gaps": [self._from.gap_row(gap) for gap in gaps],
            "freshness": self._from.freshness(instrument.id),
            "missing": missing + self._from.unread(),
        }

    # -- gaps, instruments, health -----------------------------------------------------------------

    def gaps(
        self, symbol: str | None, state: str | None, limit: int, allowed: frozenset[str] | None = None
    ) -> a.GapsAnswer:
        """Return the last `limit` gaps, of one symbol or all, in one state or any. Raises BadInput."""
        wanted = _gap_state(state)
        instrument = self._directory.by_symbol(symbol) if symbol is not None else None
        self._live.step()
        most = limit if allowed is None else len(self._live.gaps)
        found = self._live.gaps.latest(most, instrument.id if instrument else None, wanted)
        rows = [self._from.gap_row(gap) for gap in found]
        rows = [row for row in rows if allowed is None or row.symbol is None or row.symbol in allowed][-limit:]
        places = [row.position for row in rows]
        return a.GapsAnswer(
            **self._from.common(),
            positions=a.Positions(min(places, default=None), max(places, default=None)),
            source=sorted({row.source for row in rows}),
            flags=[],
            gaps=rows,
            freshness=self._from.freshness(instrument.id) if instrument else self._from.newest(),
            missing=self._from.unread(),
            open=self._live.gaps.open_count(),
            forgotten=self._live.gaps.forgotten,
        )

    def instruments(self, allowed: frozenset[str] | None = None) -> a.Instruments:
        """Return every instrument with its scales and freshness, by id."""
        self._directory.refresh()
        self._live.step()
        listed = [i for i in self._directory.all() if allowed is None or i.symbol in allowed]
        rows = [_instrument_row(i, self._from.freshness(i.id)) for i in listed]
        return a.Instruments(**self._from.common(), instruments=rows)

    def sources(self) -> list[a.SourceStatus]:
        """Return every source that ever wrote, by id."""
        self._live.step()
        return health.sources(self._live, self._from, self._clock.now_ns())

    # -- what the past needs to know of the present ------------------------------------------------

    def now_ns(self) -> int:
        """Return the time by our clock."""
        return self._clock.now_ns()

    def source_names(self) -> dict[int, str]:
        """Return the names of all sources by id; 0 is ticktape itself."""
        return self._from.read_sources()

    def facts(self, symbols: Sequence[str]) -> list[Fact]:
        """Return what the live state says of some instruments. Raises UnknownSymbol."""
        instruments = [self._directory.by_symbol(symbol) for symbol in symbols]
        self._live.step()
        return [self._fact(instrument) for instrument in instruments]

    def _fact(self, instrument: Instrument) -> Fact:
        newest = [self._live.reader.latest(instrument.id, chain, 1) for chain in (CHAIN_TRADE, CHAIN_AGG, CHAIN_QUOTE)]
        wrote = {number for found in newest for number in found.records["source"].tolist()}
        return Fact(
            instrument=instrument,
            freshness=self._from.freshness(instrument.id),
            trades_until=self._live.bars.watermark_ns(instrument.id, Basis.TRADES),
            quotes_until=self._live.bars.watermark_ns(instrument.id, Basis.QUOTES),
            sources=sorted(wrote),
        )

    def common(self) -> tuple[int, bool]:
        """Return (as_of_position, sample)."""
        return self._live.reader.end, self._live.reader.meta.sample

    def status(self) -> a.StatusAnswer:
        """Return how the system is doing, with what is wrong in words."""
        self._directory.refresh()
        self._live.step()
        return health.status(self._live, self._from, self._clock.now_ns(), len(self._directory.all()))


def _merged(several: list[Found]) -> Found:
    # Several instruments in one list: tape order, which is total.
    if len(several) == 1:
        return several[0]
    positions = np.concatenate([found.positions for found in several])
    order = np.argsort(positions)
    return Found(np.concatenate([found.records for found in several])[order], positions[order])


def _newest(found: Found) -> Found:
    # Out of order and backfilled records stand later on the tape than they happened.
    if len(found.records) < 2:
        return found
    ts = found.records["ts_event"]
    k = len(ts) - 1 - int(np.argmax(ts[::-1]))
    return Found(found.records[k : k + 1], found.positions[k : k + 1])


def _first(rows: Iterable[str]) -> msgspec.Raw:
    row = next(iter(rows), None)
    return _NULL if row is None else msgspec.Raw(row.encode())


def _spans_gap(start: int, width: int, gaps: list[Gap]) -> bool:
    return any(gap.start_ns < start + width and gap.end_ns >= start for gap in gaps)


def _gap_state(text: str | None) -> GapState | None:
    if text is None:
        return None
    try:
        return GapState[text.upper()]
    except KeyError:
        names = "|".join(state.name.lower() for state in GapState)
        raise BadInput(f"no gap state '{shown(text)}'", hint=f"state={names}") from None


def _instrument_row(i: Instrument, freshness: a.Freshness) -> a.InstrumentRow:
    return a.InstrumentRow(
        instrument_id=i.id,
        symbol=i.symbol,
        venue=i.venue,
        asset_class=i.asset_class,
        tick_size=msgspec.Raw(format(i.tick_size, "f").encode()),
        size_step=msgspec.Raw(format(i.size_step, "f").encode()),
        multiplier=msgspec.Raw(format(i.multiplier, "f").encode()),
        price_scale=i.price_scale,
        size_scale=i.size_scale,
        currency=i.currency,
        calendar=i.calendar,
        expiry=i.expiry or None,
        freshness=freshness,
    )
