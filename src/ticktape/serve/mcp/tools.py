"""The tools by name. Each names the scopes that open it; there is no default, and none writes."""

from __future__ import annotations

from ticktape.serve.keys import Scope
from ticktape.serve.mcp import compare, past, present
from ticktape.serve.mcp import shapes as s
from ticktape.serve.mcp.asked import Tool

ANYONE = tuple(Scope)
REALTIME, HISTORY, SQL = (Scope.REALTIME,), (Scope.HISTORY,), (Scope.SQL,)

TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "instruments", ANYONE, s.ListInstruments, s.InstrumentsAnswer, present.instruments,
            "What is recorded: symbols with venue, tick size, calendar and how fresh each is. Ask this first.",
        ),
        Tool(
            "latest", REALTIME, s.AskLatest, s.LatestAnswer, present.latest,
            "The newest quote and the newest trades of some symbols, as they are now.",
        ),
        Tool(
            "ticks", HISTORY, s.AskTicks, s.TicksAnswer, past.ticks,
            "Single trades, quotes or book updates of a range, oldest first, in pages: give next_cursor back to go on. "
            "For more than a few minutes ask `bars`.",
        ),
        Tool(
            "bars", HISTORY, s.AskBars, s.BarsAnswer, past.bars,
            "Open, high, low, close, volume and VWAP of any width. A range that does not fit comes in wider bars, and "
            "`downsampled` says so; with downsample=false it comes in pages.",
        ),
        Tool(
            "gaps", ANYONE, s.AskGaps, s.GapsAnswer, present.gaps,
            "What is missing on the tape: since when, why, and whether it was filled since.",
        ),
        Tool(
            "certificate", HISTORY, s.AskCertificate, s.CertificateAnswer, past.certificate,
            "The proof of a day: what one symbol was expected to hold, what it holds, a verdict and hashes.",
        ),
        Tool(
            "status", ANYONE, s.AskStatus, s.StatusAnswer, present.status,
            "Whether recording works, with what is wrong in words, and what time it is here.",
        ),
        Tool(
            "snapshot_at", HISTORY, s.AskSnapshot, s.SnapshotAnswer, past.snapshot_at,
            "The newest trade and quote at or before a moment of the past, by the venue's clock. With as_known_at, as "
            "it was known then: nothing that came later is used.",
        ),
        Tool(
            "compare", HISTORY, s.AskCompare, s.CompareAnswer, compare.compare,
            "Two symbols, or one symbol in two ranges: change, range, volatility and volume of each, correlation, and "
            "the closes side by side.",
        ),
        Tool(
            "sql", SQL, s.AskSql, s.SqlAnswer, past.sql,
            "One read-only SELECT (DuckDB) over the lake: trades, quotes, book, bars, gaps. Prices and sizes there are "
            "integers at the instrument's scale. Recent rows may be on the tape only; `provenance.lake` says.",
        ),
    )
}  # fmt: skip
