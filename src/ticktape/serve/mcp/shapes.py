"""What the tools take and what they answer, as types: the schemas that a model sees are made of these.

Times are RFC 3339 text and prices, sizes and sums are decimal text, both exact: many programs that speak MCP keep
numbers as doubles, which hold neither nanoseconds nor every price. Positions, ids and counts are integers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ticktape.model.records import GapState
from ticktape.serve.answers import LakeState, Recorder, Tape

LEAST_TOKENS, DEFAULT_TOKENS, MOST_TOKENS = 1_000, 8_000, 32_000
MOST_SYMBOLS = 10
MOST_ROWS = 5_000

Tokens = Annotated[
    int, Meta(ge=LEAST_TOKENS, le=MOST_TOKENS, description="upper bound of this answer's size in tokens")
]
Symbol = Annotated[str, Meta(max_length=40, description="canonical symbol, as `instruments` lists them")]
Symbols = Annotated[list[Symbol], Meta(min_length=1, max_length=MOST_SYMBOLS)]
Moment = Annotated[
    str, Meta(max_length=40, description="RFC 3339 time, date (its midnight UTC) or nanoseconds since 1970")
]
Span = Annotated[str, Meta(max_length=12, description="instead of start: so long until now, as 90s, 30m, 4h, 2d")]
Width = Annotated[str, Meta(max_length=12, description="width of a bar: 100ms, 37s, 5m, 1h, 1d")]
Cursor = Annotated[
    str, Meta(max_length=1200, description="next_cursor of the answer before; repeat the rest as it was")
]
Known = Annotated[str, Meta(max_length=40, description="as it was known then: a time, or position:123")]
Rows = Annotated[int, Meta(ge=1, le=MOST_ROWS, description="rows at most")]
Basis = Literal["trades", "quotes"]


class Args(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every tool takes."""

    max_tokens: Tokens = DEFAULT_TOKENS


class ListInstruments(Args, frozen=True, kw_only=True):
    """Of instruments."""

    contains: Annotated[str, Meta(max_length=40, description="only symbols with this in them")] = ""
    cursor: Cursor | None = None


class AskLatest(Args, frozen=True, kw_only=True):
    """Of latest."""

    symbols: Symbols
    trades: Annotated[int, Meta(ge=1, le=MOST_ROWS, description="how many of the newest trades of each")] = 1


class Ranged(Args, frozen=True, kw_only=True):
    """Of a tool over a range [start, end)."""

    start: Moment | None = None
    end: Moment | None = None
    last: Span | None = None
    as_known_at: Known | None = None


class AskTicks(Ranged, frozen=True, kw_only=True):
    """Of ticks."""

    symbols: Symbols
    kind: Literal["trades", "quotes", "book"] = "trades"
    columns: Annotated[list[str], Meta(max_length=20, description="which columns; default the most useful")] = []
    limit: Rows = 1000
    cursor: Cursor | None = None


class AskBars(Ranged, frozen=True, kw_only=True):
    """Of bars."""

    symbol: Symbol
    interval: Width = "1m"
    basis: Basis = "trades"
    columns: Annotated[list[str], Meta(max_length=20, description="which columns; default the most useful")] = []
    limit: Rows = 1000
    downsample: Annotated[
        bool, Meta(description="when the range does not fit: wider bars (true), or pages with next_cursor (false)")
    ] = True
    cursor: Cursor | None = None


class AskGaps(Args, frozen=True, kw_only=True):
    """Of gaps."""

    symbol: Symbol | None = None
    state: Literal["opened", "closed", "filled", "unfillable"] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = 100


class AskCertificate(Args, frozen=True, kw_only=True):
    """Of certificate."""

    symbol: Symbol
    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="a day that has begun")]
    basis: Literal["utc", "trade_date"] = "utc"


class AskStatus(Args, frozen=True, kw_only=True):
    """Of status."""


class AskSnapshot(Args, frozen=True, kw_only=True):
    """Of snapshot_at."""

    symbols: Symbols
    time: Moment
    as_known_at: Known | None = None


class Side(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the two that are compared."""

    symbol: Symbol
    start: Moment | None = None
    end: Moment | None = None
    last: Span | None = None


class AskCompare(Args, frozen=True, kw_only=True):
    """Of compare."""

    a: Side
    b: Side
    interval: Width = "1m"
    basis: Basis = "trades"


class AskSql(Args, frozen=True, kw_only=True):
    """Of sql."""

    query: Annotated[str, Meta(max_length=20_000, description="one SELECT over trades, quotes, book, bars, gaps")]
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = 1000


# -- answers -------------------------------------------------------------------------------------------

Cell = str | int | float | bool | None | list[Any] | dict[str, Any]


class Gap(Struct, frozen=True, kw_only=True):
    """Something missing in [start, end]; `end` is null while it is open."""

    symbol: str | None
    channel: str
    state: Annotated[str, Meta(extra_json_schema={"enum": [state.name.lower() for state in GapState]})]
    cause: str
    source: str
    start: str
    end: str | None
    rows: int | None  # how many of the missing came back
    position: int


class Age(Struct, frozen=True, kw_only=True):
    """How old the newest record is: `age_s` since we received it."""

    symbol: str | None
    last_ts_event: str | None
    age_s: float | None


class Came(Struct, frozen=True, kw_only=True):
    """Where an answer comes from and what it lacks."""

    as_of_position: int  # the answer knows every record before this one
    sample: bool  # true: made by a simulator, not the market
    first_position: int | None = None
    last_position: int | None = None
    sources: list[str] = []
    flags: list[str] = []  # what is doubtful about any of the rows
    freshness: list[Age] = []
    gaps: list[Gap] = []
    more_gaps: int = 0  # for which there was no room
    missing: list[str] = []  # what was asked for and is not here, and why
    lake: list[LakeState] = []


class Table(Struct, frozen=True, kw_only=True):
    """Rows as arrays in the order of `columns`."""

    columns: list[str]
    rows: list[list[Cell]]


class Downsampled(Struct, frozen=True, kw_only=True):
    """The bars are wider than was asked for, because those did not fit."""

    asked: str
    given: str
    why: str


class Answer(Struct, frozen=True, kw_only=True):
    """What every tool answers."""

    provenance: Came
    cut: bool = False  # there is more than fits
    next_cursor: str | None = None  # give it back as `cursor` to go on


class InstrumentsAnswer(Answer, frozen=True, kw_only=True):
    """Instruments by id."""

    instruments: Table


class LatestAnswer(Answer, frozen=True, kw_only=True):
    """The newest trades, oldest first, and the newest quote of each symbol."""

    trades: Table
    quotes: Table


class TicksAnswer(Answer, frozen=True, kw_only=True):
    """Rows of [start, end) by UTC day, instrument, venue time and position."""

    start: str
    end: str
    kind: str
    ticks: Table


class BarsAnswer(Answer, frozen=True, kw_only=True):
    """Bars that start in [start, end), oldest first; a window without a tick has none."""

    symbol: str
    start: str
    end: str
    interval: str
    basis: str
    downsampled: Downsampled | None
    bars: Table


class GapsAnswer(Answer, frozen=True, kw_only=True):
    """The latest gaps, oldest first, are in `provenance.gaps`; `open` counts those open now."""

    open: int


class CertificateAnswer(Answer, frozen=True, kw_only=True):
    """What a day was expected to hold and what it holds."""

    symbol: str
    date: str
    running: bool
    verdict: str
    notes: list[str]
    certificate: dict[str, Any]


class Source(Struct, frozen=True, kw_only=True):
    """A source of ticks."""

    name: str
    status: str
    records: int
    per_s: float
    doubtful: int
    quarantined: int
    age_s: float | None


class StatusAnswer(Answer, frozen=True, kw_only=True):
    """How the system is doing; `ok` is false when a person should look."""

    ok: bool
    problems: list[str]
    now: str
    version: str
    recorder: Recorder
    tape: Tape
    sources: list[Source]
    instruments: int
    open_gaps: int


class SnapshotAnswer(Answer, frozen=True, kw_only=True):
    """The newest trade and quote at or before `time` of each symbol, by venue time."""

    time: str
    trades: Table
    quotes: Table


class Summary(Struct, frozen=True, kw_only=True):
    """One side in numbers. `change` and `range` are fractions of the open; `vwap` is of the bars' own."""

    symbol: str
    start: str
    end: str
    bars: int
    trades: int
    open: str | None
    high: str | None
    low: str | None
    close: str | None
    volume: str | None
    change: float | None
    range: float | None
    volatility: float | None  # standard deviation of the log returns from bar to bar


class CompareAnswer(Answer, frozen=True, kw_only=True):
    """Two symbols, or one symbol in two ranges, bar beside bar: by time, or by distance from the start."""

    interval: str
    downsampled: Downsampled | None
    a: Summary
    b: Summary
    matched: int  # bars that both have
    correlation: float | None  # of the log returns of matched bars
    closes: Table


class SqlAnswer(Answer, frozen=True, kw_only=True):
    """Rows of a statement."""

    types: list[str]
    result: Table


def schema_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the JSON schema of a type, with an object at its root as MCP wants it."""
    (root,), defs = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = str(root["$ref"]).rpartition("/")[2]
    found: dict[str, Any] = defs.pop(name)
    return {**found, "$defs": defs} if defs else found
