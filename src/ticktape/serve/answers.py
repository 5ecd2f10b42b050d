"""What the doors answer: the shape of every answer and of its rows. One word per idea, the same in every door.

Rows are written by `encode.py` straight from integers and carried as raw JSON; `Tick`, `Quote` and `Bar` say what
is in them, for the API's schema and for clients (`msgspec.json.decode(answer.ticks, type=list[Tick])`).
Times are int ns UTC. Prices and sizes are exact decimal numbers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _rows_of(*names: str, null: bool = False) -> Any:
    """Say that raw rows are of these types, or null."""
    items = _ref(names[0]) if len(names) == 1 else {"anyOf": [_ref(name) for name in names]}
    rows = {"type": "array", "items": items}
    return Meta(extra_json_schema={"anyOf": [rows, {"type": "null"}]} if null else rows)


def _one_of(name: str) -> Any:
    return Meta(extra_json_schema={"anyOf": [_ref(name), {"type": "null"}]})


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every market record says of itself."""

    position: int  # place on the tape: unique, dense, total order
    kind: str
    instrument_id: int
    symbol: str
    ts_event: int  # the venue's clock
    ts_recv: int  # ours
    source: str
    flags: list[str]


class Tick(Row, frozen=True, kw_only=True):
    """A trade: `kind` is trade or agg_trade, or correct or cancel when a venue takes `venue_id` back."""

    price: Decimal | None
    size: Decimal | None
    venue_id: int
    side: Literal["buy", "sell"] | None  # the aggressor


class Quote(Row, frozen=True, kw_only=True):
    """Best bid and ask."""

    bid_price: Decimal
    ask_price: Decimal
    bid_size: Decimal
    ask_size: Decimal


class BookLevel(Row, frozen=True, kw_only=True):
    """What one level of the book became; size 0: it is gone."""

    side: Literal["bid", "ask"] | None
    price: Decimal
    size: Decimal
    update_id: int
    order_count: int


class AsofTick(Tick, frozen=True, kw_only=True):
    """A trade and the quote that was in force: the newest not after it; null where there was none."""

    bid_price: Decimal | None
    ask_price: Decimal | None
    bid_size: Decimal | None
    ask_size: Decimal | None
    quote_ts_event: int | None
    quote_position: int | None


class Bar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open, high, low, close of [start, start + timeframe). Not closed means still forming."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None  # null for bars of quotes
    vwap: Decimal | None
    count: int
    open_ts: int
    close_ts: int
    closed: bool
    revision: int  # how often it changed after it closed
    flags: list[str]


class NamedBar(Bar, frozen=True, kw_only=True):
    """A bar in an answer over several instruments."""

    instrument_id: int
    symbol: str


class Positions(Struct, frozen=True):
    """First and last place on the tape of the rows returned."""

    first: int | None
    last: int | None


class Freshness(Struct, frozen=True):
    """How old the newest record is: `age_s` by our clock since ts_recv."""

    last_ts_event: int | None
    last_ts_recv: int | None
    age_s: float | None


class GapRow(Struct, frozen=True, kw_only=True):
    """Something missing in [start, end]; `end` is null while the gap is open."""

    gap_id: int
    state: str
    cause: str
    channel: str
    instrument_id: int
    symbol: str | None  # null: everything the source carries
    source: str
    start: int
    end: int | None
    first_missing: int | None  # venue ids, where the venue numbers
    last_missing: int | None
    rows: int | None  # how many of the missing came back; null where that is not known (yet)
    ts_recv: int
    position: int


class Provenance(Struct, frozen=True, kw_only=True):
    """What every answer says about itself."""

    as_of_position: int  # the answer knows every record before this one
    sample: bool  # true: made by the simulator, not the market
    positions: Positions
    source: list[str]
    flags: list[str]  # any of the rows carries them
    gaps: list[GapRow]  # that touch the range of the rows, up to now
    freshness: Freshness  # of the stalest instrument asked for
    missing: list[str]  # what was asked for and is not here, and why


class SymbolPart(Struct, frozen=True, kw_only=True):
    """One instrument's part of an answer over several."""

    symbol: str
    instrument_id: int
    count: int
    positions: Positions
    freshness: Freshness


class Ticks(Provenance, frozen=True, kw_only=True):
    """The latest trades, in tape order, oldest first."""

    symbols: list[SymbolPart]
    ticks: Annotated[Raw, _rows_of("Tick")]


class LatestQuote(Provenance, frozen=True, kw_only=True):
    """The newest quote and the newest trade of one instrument; null when there is none."""

    symbol: str
    instrument_id: int
    quote: Annotated[Raw, _one_of("Quote")]
    trade: Annotated[Raw, _one_of("Tick")]


class Quotes(Provenance, frozen=True, kw_only=True):
    """The latest quotes of one instrument, in tape order, oldest first."""

    symbol: str
    instrument_id: int
    quotes: Annotated[Raw, _rows_of("Quote")]


class Ohlc(Provenance, frozen=True, kw_only=True):
    """Bars of one instrument, oldest first, the forming one last. A window without a tick has no bar."""

    symbol: str
    instrument_id: int
    timeframe: str
    basis: str
    watermark: int  # venue time up to which bars are closed
    bars: Annotated[Raw, _rows_of("Bar")]


class OhlcLatest(Provenance, frozen=True, kw_only=True):
    """The newest bar of each timeframe, forming or closed."""

    symbol: str
    instrument_id: int
    basis: str
    watermark: int
    timeframes: Annotated[
        Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Bar"}})
    ]


class GapsAnswer(Provenance, frozen=True, kw_only=True):
    """The latest gaps, oldest first, are in `gaps`; `open` counts those open now on the whole tape."""

    open: int
    forgotten: int  # older ones, no longer in memory


class Note(Struct, frozen=True, kw_only=True):
    """Why something that was asked for is not in the answer.

    `code` is future, before_retention, not_recorded_yet, never_recorded, market_closed, gap, damaged, no_rows or
    only_tape.
    """

    code: str
    text: str
    symbol: str | None = None
    start: int | None = None
    end: int | None = None


class LakeState(Struct, frozen=True):
    """Which version of the lake an answer is from: rows below `position` come from it, the others from the tape."""

    table: str
    version: int  # -1: there is none yet
    position: int


class Past(Provenance, frozen=True, kw_only=True):
    """What every answer about a range says about itself."""

    start: int  # the range is [start, end)
    end: int
    symbols: list[SymbolPart]
    lake: LakeState
    notes: list[Note]
    next_cursor: str | None  # null: there is no more
    more_gaps: int  # gaps in range that `gaps` has no room for


class Historical(Past, frozen=True, kw_only=True):
    """Rows by UTC day, then instrument, venue time and position; or bars by instrument and start."""

    kind: str  # trades, quotes, book, bars
    interval: str | None
    # Of kind quotes Quote, of book BookLevel; null when bars were asked for.
    ticks: Annotated[Raw, _rows_of("Tick", "Quote", "BookLevel", null=True)]
    bars: Annotated[Raw, _rows_of("NamedBar", null=True)]  # null when ticks were asked for


class BarsAnswer(Past, frozen=True, kw_only=True):
    """Bars of one instrument that start in the range, oldest first. A window without a tick has no bar."""

    symbol: str
    instrument_id: int
    interval: str
    basis: str
    watermark: int
    bars: Annotated[Raw, _rows_of("Bar")]


class AsofAnswer(Past, frozen=True, kw_only=True):
    """Trades of one instrument by venue time, each with the quote in force."""

    symbol: str
    instrument_id: int
    ticks: Annotated[Raw, _rows_of("AsofTick")]


class EstimateAnswer(Struct, frozen=True, kw_only=True):
    """What a question would read, at most, and whether it may."""

    as_of_position: int
    sample: bool
    table: str
    lake: LakeState
    files: int
    rows: int
    bytes: int  # on disk
    tape_records: int  # looked at for what the lake has not yet
    most_rows: int
    allowed: bool


class CompletenessAnswer(Struct, frozen=True, kw_only=True):
    """The certificate of one instrument and day, and its verdict: while the day runs, of what was recorded so far."""

    as_of_position: int
    sample: bool
    symbol: str
    instrument_id: int
    date: str
    running: bool
    verdict: Literal["complete", "complete after fill", "incomplete", "not provable"]
    notes: list[str]
    lake: list[LakeState]
    certificate: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]  # lake/certificate.py says what is in it


class SqlAnswer(Struct, frozen=True, kw_only=True):
    """Rows of a statement, each an array in the order of `columns`."""

    as_of_position: int
    sample: bool
    lake: list[LakeState]
    columns: list[str]
    types: list[str]
    count: int
    cut: bool  # there are more than `limit`
    missing: list[str]
    rows: Annotated[Raw, Meta(extra_json_schema={"type": "array", "items": {"type": "array"}})]


class SourceStatus(Struct, frozen=True, kw_only=True):
    """One source, as the tape tells."""

    source_id: int
    name: str
    status: str  # starting, up, down, stopped, unknown
    since: str | None  # ISO 8601
    records: int
    per_s: float
    doubtful: int  # records with a quality flag
    quarantined: int
    last_ts_event: int | None
    last_ts_recv: int | None
    age_s: float | None
    skew_s: float | None  # venue clock minus ours, median


class Recorder(Struct, frozen=True, kw_only=True):
    """The process that writes."""

    status: str  # up, stopped, silent, down
    since: str | None
    pid: int
    disk_full: bool
    low_space: bool
    sync_failures: int
    clock_steps: int


class Tape(Struct, frozen=True, kw_only=True):
    """The tape: readable positions are [first, end)."""

    tape_id: str
    first: int
    end: int
    durable: int  # first position that a power loss may still take
    behind: int  # published, not yet in bars and gaps


class StatusAnswer(Struct, frozen=True, kw_only=True):
    """How the system is doing. `ok` is false when a person should look."""

    ok: bool
    problems: list[str]
    now: str
    version: str
    sample: bool
    as_of_position: int
    recorder: Recorder
    tape: Tape
    sources: list[SourceStatus]
    instruments: int
    open_gaps: int
    keep: Raw  # what keep says of itself; null when it does not run


class PipelineStats(Struct, frozen=True, kw_only=True):
    """How recording and keeping go: `keep` is what keep says of itself, null when it does not run."""

    as_of_position: int
    sample: bool
    recorder: Recorder
    tape: Tape
    sources: list[SourceStatus]
    keep: Raw
    missing: list[str]


class SourcesAnswer(Struct, frozen=True, kw_only=True):
    """The sources, and what the recorder itself says of them when it is there (null when not)."""

    as_of_position: int
    sample: bool
    sources: list[SourceStatus]
    record: Raw
    missing: list[str]


class InstrumentRow(Struct, frozen=True, kw_only=True):
    """An instrument and how fresh it is."""

    instrument_id: int
    symbol: str
    venue: str
    asset_class: str
    tick_size: Annotated[Raw, Meta(extra_json_schema={"type": "number"})]
    size_step: Annotated[Raw, Meta(extra_json_schema={"type": "number"})]
    multiplier: Annotated[Raw, Meta(extra_json_schema={"type": "number"})]
    price_scale: int
    size_scale: int
    currency: str
    calendar: str
    expiry: str | None
    freshness: Freshness


class Instruments(Struct, frozen=True, kw_only=True):
    """Every instrument, by id."""

    as_of_position: int
    sample: bool
    instruments: list[InstrumentRow]


class Done(Struct, frozen=True):
    """An order was carried out; what of it, in the words of whoever did."""

    ok: Raw
