"""Bars of any width of a range, page by page: from stored minutes where they will do, else from ticks."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from ticktape.lake.history import Missing
from ticktape.lake.klines import NEVER
from ticktape.model.bars import BAR, BarFlag, Bars, Basis
from ticktape.model.gaps import Gap
from ticktape.model.instruments import Instrument
from ticktape.serve import answers as a
from ticktape.serve import encode
from ticktape.serve.past import cursors, formats
from ticktape.serve.past.about import About
from ticktape.serve.past.asks import AskBars, Fact, Reply
from ticktape.serve.past.cursors import Mark
from ticktape.serve.past.view import View

NOTHING = msgspec.Raw(b"null")
HOUR_NS = 3600 * 10**9
VENUE = "venue klines"  # where bars come from that no tick of ours made
_NAMES = ("start", "open", "high", "low", "close", "volume", "vwap", "count", "open_ts", "close_ts", "closed")


class Part(NamedTuple):
    """The bars of one instrument."""

    fact: Fact
    bars: Bars
    until: int  # venue time up to which they are closed


def answer_bars(ask: AskBars, view: View) -> tuple[Reply, bytes]:
    """Return a page of bars by instrument and start."""
    basis = Basis.QUOTES if ask.quotes else Basis.TRADES
    about = About(ask, view, "quotes" if ask.quotes else "trades")
    parts, mark, missing = _page(ask, view, basis)
    start, end = _window(ask, parts, mark)
    counts = {part.fact.instrument.id: len(part.bars) for part in parts}
    first_and_last = ask.after is None and mark is None
    empty = [fact for fact in ask.facts if not counts.get(fact.instrument.id)] if first_and_last else []
    facts = about.facts(start, end, empty, missing, last=mark is None)
    flagged = [(part, _gap_flags(part, ask, about)) for part in parts]
    flags = _flags(flagged)
    sources = {about.source(n) for fact in ask.facts for n in fact.sources}
    rest: dict[str, Any] = {
        **facts,
        "positions": a.Positions(None, None),
        "source": sorted(sources | ({VENUE} if flags & BarFlag.KLINES else set())),
        "flags": list(encode.bar_flag_names(flags)),
        "symbols": [_symbol(fact, counts) for fact in ask.facts],
        "next_cursor": cursors.encode(mark, ask.binding) if mark else None,
    }
    rows = [text for part, gaps in flagged for text in _texts(ask, part, basis, gaps)]
    answer = _one(ask, rest, basis, parts) if ask.one else a.Historical(
        **rest, kind="bars", interval=ask.interval, ticks=NOTHING, bars=NOTHING
    )  # fmt: skip

    def table() -> pa.Table:
        names = [*_NAMES, "revision", "flags"]
        return formats.table_of_bars(
            rows, names if ask.one else ["instrument_id", "symbol", *names], _scales(ask, basis)
        )

    return formats.reply_of(answer, "bars", lambda: rows, table, ask.format, ask.allowance.answer_mb << 20)


def _one(ask: AskBars, rest: dict[str, Any], basis: Basis, parts: list[Part]) -> a.BarsAnswer:
    fact = ask.facts[0]
    return a.BarsAnswer(
        **rest, symbol=fact.instrument.symbol, instrument_id=fact.instrument.id, interval=ask.interval,
        basis=basis.name.lower(), watermark=max([_watermark(ask, fact), *(part.until for part in parts)]), bars=NOTHING,
    )  # fmt: skip


# -- reading -----------------------------------------------------------------------------------------


def _page(ask: AskBars, view: View, basis: Basis) -> tuple[list[Part], Mark | None, list[Missing]]:
    """Return at most `limit` bars from where the last page ended."""
    parts, missing, room = list[Part](), list[Missing](), ask.limit
    facts = sorted(ask.facts, key=lambda fact: fact.instrument.id)
    mark = ask.after
    for fact in facts:
        who = fact.instrument.id
        if mark is not None and who < mark.instrument_id:
            continue
        begin = mark.ts_event if mark is not None and who == mark.instrument_id else ask.start_ns
        bars, until = _read(ask, view, basis, who, begin, room + 1, missing)
        parts.append(Part(fact, bars[:room], max(_watermark(ask, fact), until)))
        if len(bars) > room:
            ended = Mark(
                start_ns=ask.start_ns, end_ns=ask.end_ns, before=view.tape.end, instrument_id=who,
                ts_event=int(bars["start"][room]),
            )  # fmt: skip
            return parts, ended, missing
        room -= len(bars)
    return parts, None, missing


def _read(
    ask: AskBars, view: View, basis: Basis, who: int, begin: int, wanted: int, missing: list[Missing]
) -> tuple[Bars, int]:  # fmt: skip
    """Return the first `wanted` bars that start in [begin, end), and up to when the venue's own among them go.

    Reads no more of the range than that takes.
    """
    venue = NEVER
    width, at, found, count = ask.width_ns, -(-begin // ask.width_ns) * ask.width_ns, list[Bars](), 0
    step = max(wanted * width, 24 * HOUR_NS) // width * width or width
    while at < ask.end_ns and count < wanted:
        until = min(at + step, ask.end_ns)
        part = view.snapshot.bars(
            [who], at, until, width, basis=basis, tape=view.tape, raw=view.known, known_at_ns=view.known_ns,
            limits=view.limits,
        )  # fmt: skip
        missing += [piece for piece in part.missing if piece not in missing]
        found.append(part.bars)
        count += len(part.bars)
        venue = max(venue, part.until)
        at, step = until, step * 4  # a quiet instrument: further at once
    return np.concatenate([np.zeros(0, dtype=BAR), *found])[:wanted], venue


# -- saying ------------------------------------------------------------------------------------------


def _watermark(ask: AskBars, fact: Fact) -> int:
    return fact.quotes_until if ask.quotes else fact.trades_until


def _window(ask: AskBars, parts: list[Part], mark: Mark | None) -> tuple[int, int]:
    if len(ask.facts) > 1:
        return ask.start_ns, ask.end_ns
    start = ask.after.ts_event if ask.after else ask.start_ns
    end = mark.ts_event if mark else ask.end_ns
    return start, max(end, start + 1)


def _gap_flags(part: Part, ask: AskBars, about: About) -> list[int]:
    """Return GAP for each bar that has something missing inside its window."""
    starts, width = part.bars["start"], ask.width_ns
    flags = np.zeros(len(starts), dtype=np.int64)
    if len(starts):
        gaps: list[Gap] = about.gaps(part.fact.instrument.id, int(starts[0]), int(starts[-1]) + width)
        for gap in gaps:
            low = int(np.searchsorted(starts, gap.start_ns - width, "right"))
            high = int(np.searchsorted(starts, gap.end_ns, "right"))
            flags[low:high] = int(BarFlag.GAP)
    return flags.tolist()


def _flags(flagged: list[tuple[Part, list[int]]]) -> int:
    found = 0
    for part, gaps in flagged:
        found |= int(np.bitwise_or.reduce(part.bars["flags"])) if len(part.bars) else 0
        found |= max(gaps, default=0)
    return found


def _symbol(fact: Fact, counts: dict[int, int]) -> a.SymbolPart:
    return a.SymbolPart(
        symbol=fact.instrument.symbol, instrument_id=fact.instrument.id, count=counts.get(fact.instrument.id, 0),
        positions=a.Positions(None, None), freshness=fact.freshness,
    )  # fmt: skip


def _texts(ask: AskBars, part: Part, basis: Basis, gaps: list[int]) -> list[str]:
    instrument = part.fact.instrument
    rows = encode.bar_rows(part.bars, ask.width_ns, basis, instrument, part.until, gaps)
    if ask.one:
        return list(rows)
    named = f'{{"instrument_id":{instrument.id},"symbol":{msgspec.json.encode(instrument.symbol).decode()},'
    return [named + row[1:] for row in rows]


def _scales(ask: AskBars, basis: Basis) -> dict[str, int]:
    listed: list[Instrument] = [fact.instrument for fact in ask.facts]
    price = max(0, *(i.price_scale for i in listed)) + (basis == Basis.QUOTES)
    return {
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "volume": max(0, *(i.size_scale for i in listed)),
        "vwap": price + encode.VWAP_DIGITS,
    }
