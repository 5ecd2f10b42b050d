"""Two symbols, or one symbol at two times, bar beside bar. Floats begin here: what is compared is analytics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec
import numpy as np

from ticktape.errors import BadInput, TooCostly
from ticktape.model.bars import Basis
from ticktape.serve import answers as a
from ticktape.serve.mcp import plain
from ticktape.serve.mcp import shapes as s
from ticktape.serve.mcp.asked import Asked, Range, range_of
from ticktape.serve.mcp.past import bars_of, wider
from ticktape.serve.past import when

LEAST_BARS = 3  # two returns: below, a deviation or a correlation says nothing


class Leg(msgspec.Struct, frozen=True):
    """One side: its range and its bars."""

    symbol: str
    within: Range
    answer: a.BarsAnswer
    bars: list[a.Bar]


async def compare(asked: Asked, args: s.AskCompare) -> s.CompareAnswer:
    """Return both in numbers and their closes side by side, in bars wide enough to fit."""
    now = asked.queries.now_ns()
    symbols = [asked.symbols([side.symbol])[0] for side in (args.a, args.b)]
    ranges = [range_of(side, now) for side in (args.a, args.b)]
    for width in wider(args.interval):
        legs = [await _leg(asked, args, symbol, each, width) for symbol, each in zip(symbols, ranges, strict=True)]
        if any(leg.answer.next_cursor is not None for leg in legs):
            continue
        answer = _answer(args, width, *legs)
        if plain.tokens_of(answer) <= args.max_tokens:
            return answer
    raise TooCostly("the ranges do not fit, even in the widest bars", hint="shorter ranges")


async def _leg(asked: Asked, args: s.AskCompare, symbol: str, within: Range, width: str) -> Leg:
    found = await bars_of(asked, symbol, within, width, s.MOST_ROWS, basis=args.basis)
    return Leg(symbol, within, found, msgspec.json.decode(bytes(found.bars), type=list[a.Bar]))


def _answer(args: s.AskCompare, width: str, one: Leg, other: Leg) -> s.CompareAnswer:
    pairs, column = _paired(one, other, when.parse_width(width))
    why = f"bars of {args.interval} do not fit"
    return s.CompareAnswer(
        provenance=plain.joined([plain.came(one.answer), plain.came(other.answer)]),
        interval=width,
        downsampled=None if width == args.interval else s.Downsampled(asked=args.interval, given=width, why=why),
        a=_summary(one),
        b=_summary(other),
        matched=len(pairs),
        correlation=_correlation([x.close for _, x, _ in pairs], [y.close for _, _, y in pairs]),
        closes=s.Table(
            columns=[column, "a_close", "b_close"],
            rows=[[at, format(x.close, "f"), format(y.close, "f")] for at, x, y in pairs],
        ),
    )


def _paired(one: Leg, other: Leg, width_ns: int) -> tuple[list[tuple[str, a.Bar, a.Bar]], str]:
    """Return the bars that both have: of one time where the ranges are one, else so far from the start of each."""
    same = one.within == other.within
    if not same and one.within.start_ns % width_ns != other.within.start_ns % width_ns:
        raise BadInput("the ranges begin at different places within a bar", hint="starts that are whole bars")
    shift = 0 if same else other.within.start_ns - one.within.start_ns
    others = {bar.start - shift: bar for bar in other.bars}
    found = [(bar, others[bar.start]) for bar in one.bars if bar.start in others]
    if same:
        return [(plain.time_text(x.start) or "", x, y) for x, y in found], "start"
    begin = one.within.start_ns
    return [(f"{(x.start - begin) / 1e9:g}", x, y) for x, y in found], "seconds_from_start"


def _summary(leg: Leg) -> s.Summary:
    bars, within = leg.bars, leg.within
    ends = {"start": plain.time_text(within.start_ns) or "", "end": plain.time_text(within.end_ns) or ""}
    if not bars:
        return s.Summary(
            symbol=leg.symbol, **ends, bars=0, trades=0, open=None, high=None, low=None, close=None, volume=None,
            change=None, range=None, volatility=None,
        )  # fmt: skip
    opened, closed = bars[0].open, bars[-1].close
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    returns = _returns([bar.close for bar in bars])
    return s.Summary(
        symbol=leg.symbol, **ends, bars=len(bars),
        trades=sum(bar.count for bar in bars) if leg.answer.basis == Basis.TRADES.name.lower() else 0,
        open=format(opened, "f"), high=format(high, "f"), low=format(low, "f"), close=format(closed, "f"),
        volume=_volume(bars),
        change=float(closed / opened - 1) if opened else None,
        range=float((high - low) / opened) if opened else None,
        volatility=float(np.std(returns, ddof=1)) if len(returns) >= LEAST_BARS - 1 else None,
    )  # fmt: skip


def _volume(bars: Sequence[a.Bar]) -> str | None:
    known = [bar.volume for bar in bars if bar.volume is not None]
    return format(sum(known, Decimal(0)), "f") if known else None


def _returns(closes: Sequence[Decimal]) -> list[float]:
    # A price at or below zero (a spread, a future in April 2020) has no log return.
    return [math.log(y / x) for x, y in pairwise(closes) if x > 0 and y > 0]


def _correlation(one: Sequence[Decimal], other: Sequence[Decimal]) -> float | None:
    if len(one) < LEAST_BARS or min(*one, *other) <= 0:
        return None
    x, y = np.array(_returns(one)), np.array(_returns(other))
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else None
