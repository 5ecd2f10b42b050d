"""From REST's answers to what a model reads: tables, times as text, foreign text as data, all within a budget."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import msgspec

from ticktape.errors import BadInput, TooCostly
from ticktape.model.symbols import shown
from ticktape.serve import answers as a
from ticktape.serve.mcp import shapes as s
from ticktape.serve.past.when import iso

T = TypeVar("T", bound=s.Answer)

CHARS_A_TOKEN = 3  # digits and JSON take about three characters a token; prose four
MOST_TEXT = 300  # characters of one text that is not ours
MOST_GAPS, MOST_NOTES = 10, 8
_TIMES = frozenset({"ts_event", "ts_recv", "start", "end", "open_ts", "close_ts", "quote_ts_event"})
_SHUT = str.maketrans("<>", "\u2039\u203a")  # angle quotation marks: nothing reads them as markup
_exact: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=str)  # digits as they are written


def decoded(body: bytes) -> Any:
    """Return JSON as plain data, with decimal numbers as their text."""
    return _exact.decode(body)


def clean(text: str) -> str:
    """Return foreign text as data: no control, invisible or direction-changing characters, no markup, not long."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text)
    kept = kept.translate(_SHUT)
    return kept if len(kept) <= MOST_TEXT else f"{kept[:MOST_TEXT]}... ({len(text)} characters)"


def cleaned(value: Any) -> Any:
    """Return plain data with every text in it cleaned, names of fields too."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): cleaned(field) for name, field in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [cleaned(entry) for entry in cast("list[Any]", value)]
    return value


def time_text(ns: int | None) -> str | None:
    """Return ns UTC as RFC 3339, with no more of a fraction than it has."""
    if ns is None:
        return None
    text = iso(ns)
    return text if "." not in text else text[:-1].rstrip("0") + "Z"


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str], asked: Sequence[str] = ()) -> s.Table:
    """Return rows as arrays. Raises BadInput for a column that the rows do not have."""
    chosen = list(dict.fromkeys(asked or columns))
    if rows and (unknown := [name for name in chosen if name not in rows[0]]):
        raise BadInput(f"no column '{shown(unknown[0])}'", hint=f"columns: {', '.join(rows[0])}")
    return s.Table(columns=chosen, rows=[[_cell(name, row.get(name)) for name in chosen] for row in rows])


def _cell(name: str, value: Any) -> Any:
    if name in _TIMES and isinstance(value, int):
        return time_text(value)
    if name == "flags" and isinstance(value, list):
        return "|".join(cast("list[str]", value))
    return value


# -- provenance ----------------------------------------------------------------------------------------


def came(about: a.Provenance, **more: Any) -> s.Came:
    """Return what one of REST's answers says of itself; gaps and notes beyond a few are counted."""
    fresh = [s.Age(symbol=p.symbol, **_age(p.freshness)) for p in getattr(about, "symbols", [])]
    notes = [note.text for note in getattr(about, "notes", [])]
    lacking = [*about.missing, *(note for note in notes if note not in about.missing)]
    return s.Came(
        as_of_position=about.as_of_position,
        sample=about.sample,
        first_position=about.positions.first,
        last_position=about.positions.last,
        sources=about.source,
        flags=about.flags,
        freshness=fresh or [s.Age(symbol=getattr(about, "symbol", None), **_age(about.freshness))],
        missing=lacking[:MOST_NOTES],
        lake=[about.lake] if isinstance(about, a.Past) else [],
        **_gaps(about.gaps, getattr(about, "more_gaps", 0)),
        **more,
    )


def _age(freshness: a.Freshness) -> dict[str, Any]:
    return {"last_ts_event": time_text(freshness.last_ts_event), "age_s": freshness.age_s}


def _gaps(rows: Sequence[a.GapRow], more: int) -> dict[str, Any]:
    return {"gaps": [gap(row) for row in rows[-MOST_GAPS:]], "more_gaps": more + max(0, len(rows) - MOST_GAPS)}


def gap(row: a.GapRow) -> s.Gap:
    """Return a gap as a model reads it."""
    return s.Gap(
        symbol=row.symbol, channel=row.channel, state=row.state, cause=row.cause, source=row.source,
        start=time_text(row.start) or "", end=time_text(row.end), rows=row.rows, position=row.position,
    )  # fmt: skip


def joined(several: Iterable[s.Came]) -> s.Came:
    """Return one provenance for several answers."""
    parts = list(several)
    firsts = [p.first_position for p in parts if p.first_position is not None]
    lasts = [p.last_position for p in parts if p.last_position is not None]
    gaps = {g.position: g for p in parts for g in p.gaps}
    kept = [gaps[k] for k in sorted(gaps)]
    return s.Came(
        as_of_position=max(p.as_of_position for p in parts),
        sample=any(p.sample for p in parts),
        first_position=min(firsts, default=None),
        last_position=max(lasts, default=None),
        sources=sorted({name for p in parts for name in p.sources}),
        flags=sorted({flag for p in parts for flag in p.flags}),
        freshness=list({age.symbol: age for p in parts for age in p.freshness}.values()),
        gaps=kept[-MOST_GAPS:],
        more_gaps=max(p.more_gaps for p in parts) + max(0, len(kept) - MOST_GAPS),
        missing=list(dict.fromkeys(note for p in parts for note in p.missing))[:MOST_NOTES],
        lake=parts[-1].lake,
    )


# -- the budget ----------------------------------------------------------------------------------------


def tokens_of(answer: s.Answer) -> int:
    """Return how many tokens an answer takes, rather too many than too few."""
    return -(-len(text_of(answer)) // CHARS_A_TOKEN)


def text_of(answer: s.Answer) -> str:
    """Return an answer as JSON text."""
    return msgspec.json.encode(cleaned(msgspec.to_builtins(answer))).decode()


async def fitted(most_tokens: int, rows: int, ask: Callable[[int], Awaitable[T]]) -> T:
    """Return the answer with as many rows, up to `rows`, as fit. Raises TooCostly when not even one does.

    Asking anew with fewer, rather than cutting what came, keeps the cursor and the provenance those of the rows.
    """
    rows = min(rows, most_tokens * CHARS_A_TOKEN // 20)  # no row is shorter
    while True:
        answer = await ask(rows)
        size = tokens_of(answer)
        if size <= most_tokens:
            return answer
        if rows == 1:
            raise TooCostly(f"one row alone takes {size} tokens", hint=f"max_tokens={min(2 * size, s.MOST_TOKENS)}")
        rows = max(1, min(rows - 1, int(rows * 0.95 * most_tokens / size)))
