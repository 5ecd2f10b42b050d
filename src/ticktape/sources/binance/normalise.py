"""Binance frames -> records, by columns: one typed decode a frame, then arrays. No I/O, no clock.

web-socket-streams.md: trade, aggTrade, bookTicker, depthUpdate, bare (`/ws`) or wrapped (`/stream`), and
the answers to control messages. A frame of `<symbol>@depthSnapshot` is ours: connect.py wraps the REST
order book in it, so that a raw capture replays the same books.

Nothing the venue sends raises here: what cannot be a record becomes a Bad with msgspec's own sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np

from ticktape.model.records import BadReason, Ints, Records
from ticktape.model.symbols import shown
from ticktape.sources.binance import columns
from ticktape.sources.binance import messages as wire
from ticktape.sources.binance.columns import Diff, Rows, Snapshot
from ticktape.sources.binance.names import Names, unknown
from ticktape.sources.contract import Bad

MAX_FRAME_BYTES = 4 << 20  # a snapshot of 5000 levels a side is 0.3 MB
MILLISECOND_NS, MICROSECOND_NS = 1_000_000, 1_000
SNAPSHOT_STREAM = "@depthSnapshot"

_WRAPPED = b'{"stream'
_DATA = b'","data":'
_TICKER = b'{"u":'
_CLOSING = ord("}")
MOST_HEADS = 10_000
_PLAIN_HEADS: set[bytes] = set()  # `{"stream":"btcusdt@trade` and so on, looked at once


class Parsed(NamedTuple):
    """What a list of frames holds, in arrival order."""

    records: Records
    bad: list[Bad]
    diffs: list[Diff]
    snapshots: list[Snapshot]
    control: list[wire.Answer | wire.Shutdown]


class Refused(Exception):
    """A message that cannot be a record: the reason and the sentence."""

    def __init__(self, reason: BadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


# What a typed decoder, or the look at a frame before it, can raise for bytes of any kind.
_FAULTS = (msgspec.MsgspecError, UnicodeError, RecursionError, Refused)


class _Kind(NamedTuple):
    """How messages of one kind are decoded, alone and as a list, and where they go."""

    decode: Callable[[bytes], Any]
    decode_all: Callable[[bytes], list[Any]]
    rows: Rows[Any]
    at: list[int]
    payloads: list[bytes]


class _Sorting:
    """The messages of one call by kind. `kinds` maps the first 8 bytes Binance writes to a decoder."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.trades: Rows[wire.Trade] = Rows()
        self.agg_trades: Rows[wire.AggTrade] = Rows()
        self.tickers: Rows[wire.BookTicker] = Rows()
        self.depths: Rows[wire.DepthUpdate] = Rows()
        self.snapshots: Rows[wire.DepthSnapshot] = Rows()
        self.bad: columns.Faults = {}
        self.control: list[wire.Answer | wire.Shutdown] = []
        self.events = {
            "trade": _Kind(wire.decode_trade, wire.decode_trades, self.trades, [], []),
            "aggTrade": _Kind(wire.decode_agg_trade, wire.decode_agg_trades, self.agg_trades, [], []),
            "depthUpdate": _Kind(wire.decode_depth_update, wire.decode_depth_updates, self.depths, [], []),
        }
        self.ticker = _Kind(wire.decode_book_ticker, wire.decode_book_tickers, self.tickers, [], [])
        self.kinds = {
            b'{"e":"tr': self.events["trade"],
            b'{"e":"ag': self.events["aggTrade"],
            b'{"e":"de': self.events["depthUpdate"],
        }

    def sort(self, frames: Sequence[bytes]) -> None:
        """Decode every frame as Binance spells it, a kind at a time; anything else goes the slow way."""
        others = range(len(frames))
        if b"".join(frames).isascii() and max(map(len, frames), default=0) <= MAX_FRAME_BYTES:
            others = self._spread(frames)
            for kind in (*self.events.values(), self.ticker):
                if kind.at:
                    self._decode(kind)
        for at in others:
            try:
                self._other(at, frames[at])
            except _FAULTS as fault:
                self.bad[at] = _why(fault)
        if others:
            for rows in (self.trades, self.agg_trades, self.tickers, self.depths):
                rows.sort()

    def _spread(self, frames: Sequence[bytes]) -> list[int]:
        """Lay each frame's payload with its kind. Returns the indices of those that are spelled otherwise."""
        kinds, ticker, others = self.kinds, self.ticker, list[int]()
        for at, frame in enumerate(frames):
            payload = _unwrapped(frame) if frame.startswith(_WRAPPED) else frame
            kind = kinds.get(payload[:8])
            if kind is None:
                if not payload.startswith(_TICKER):
                    others.append(at)
                    continue
                kind = ticker
            kind.at.append(at)
            kind.payloads.append(payload)
        return others

    def _decode(self, kind: _Kind) -> None:
        """Decode a kind's payloads in one call; when one of them is not right, one by one."""
        try:
            messages = kind.decode_all(b"[" + b",".join(kind.payloads) + b"]")
        except _FAULTS:
            messages = []
        slots = list(map(self.names.slots.get, (m.s for m in messages)))
        if len(messages) == len(kind.at) and None not in slots:
            kind.rows.at, kind.rows.messages, kind.rows.slots = kind.at, messages, cast("list[int]", slots)
            return
        for at, payload in zip(kind.at, kind.payloads, strict=True):
            try:
                message = kind.decode(payload)
                kind.rows.add(at, message, self._slot(message.s))
            except _FAULTS as fault:
                self.bad[at] = _why(fault)

    def _slot(self, symbol: str) -> int:
        slot = self.names.find(symbol)
        if slot is None:
            raise Refused(BadReason.UNKNOWN_SYMBOL, unknown(symbol))
        return slot

    def _other(self, at: int, frame: bytes) -> None:
        """Take a frame that is spelled in another way, is not market data, or is not what it should be."""
        if len(frame) > MAX_FRAME_BYTES:
            raise Refused(BadReason.TOO_LARGE, f"{len(frame)} bytes, at most {MAX_FRAME_BYTES}")
        frame.decode()  # msgspec does not look into what it skips
        peek, stream, payload = wire.decode_peek(frame), "", frame
        if peek.stream is not msgspec.UNSET:
            wrapper = wire.decode_wrapper(frame)
            stream, payload = wrapper.stream, bytes(wrapper.data)
            peek = wire.decode_peek(payload)
        if peek.e is not msgspec.UNSET:
            self._event(at, peek.e, payload)
        elif peek.last_update_id is not msgspec.UNSET:
            self._snapshot(at, stream, payload)
        elif peek.u is not msgspec.UNSET:
            ticker = wire.decode_book_ticker(payload)
            self.tickers.add(at, ticker, self._slot(ticker.s))
        elif peek.result is not msgspec.UNSET or peek.code is not msgspec.UNSET:
            self._answer(payload)
        else:
            raise Refused(BadReason.UNKNOWN_MESSAGE, "binance: neither an event nor an answer")

    def _event(self, at: int, event: str, payload: bytes) -> None:
        if event == "serverShutdown":
            self.control.append(wire.decode_shutdown(payload))
            return
        if event not in self.events:
            raise Refused(BadReason.UNKNOWN_MESSAGE, f"binance: unknown event type '{shown(event)}'")
        message = self.events[event].decode(payload)
        self.events[event].rows.add(at, message, self._slot(message.s))

    def _snapshot(self, at: int, stream: str, payload: bytes) -> None:
        """Take a REST order book: named by our wrapper, or bare where only one symbol can be meant."""
        if stream and not stream.endswith(SNAPSHOT_STREAM):
            raise Refused(BadReason.UNKNOWN_MESSAGE, f"binance: partial books are not recorded: {shown(stream)}")
        symbol = stream.removesuffix(SNAPSHOT_STREAM).upper() or self.names.only()
        if symbol is None:
            raise Refused(BadReason.UNKNOWN_SYMBOL, "binance: an order book that does not say of which symbol")
        self.snapshots.add(at, wire.decode_depth_snapshot(payload), self._slot(symbol))

    def _answer(self, payload: bytes) -> None:
        answer = wire.decode_answer(payload)
        self.control.append(answer)
        if answer.code is not msgspec.UNSET:
            raise Refused(BadReason.VENUE_ERROR, f"binance: error {answer.code}: {shown(answer.msg, 200)}")


def normalise(
    frames: Sequence[bytes],
    ts_recv: int | Ints,
    names: Names,
    unit_ns: int,
    newest_quotes: dict[int, int] | None = None,
) -> Parsed:
    """Return what the frames hold; records are in arrival order, the messages' kinds mixed.

    ts_recv ns UTC, one for all frames or one for each; unit_ns is the venue's time unit on this connection.
    `newest_quotes` (slot -> update id) is given, and kept, while two sockets bring the same: a quote that is not newer
    is left out, because its record has no room for the id by which the judge would know it.
    """
    sorting = _Sorting(names)
    sorting.sort(frames)
    if newest_quotes is not None:
        sorting.tickers = _newer(sorting.tickers, newest_quotes)
    bad = sorting.bad
    stamps = np.broadcast_to(np.asarray(ts_recv, np.int64), len(frames))
    blocks = [
        columns.trades(sorting.trades, names, unit_ns, bad) if sorting.trades.at else None,
        columns.agg_trades(sorting.agg_trades, names, unit_ns, bad) if sorting.agg_trades.at else None,
        columns.quotes(sorting.tickers, names, stamps, bad) if sorting.tickers.at else None,
        columns.depths(sorting.depths, names, unit_ns, bad) if sorting.depths.at else None,
    ]
    records, ats = columns.merged([block for block in blocks if block is not None])
    records["ts_recv"] = stamps[ats]
    return Parsed(
        records=records,
        diffs=columns.diffs(sorting.depths, names, ats, bad) if sorting.depths.at else [],
        snapshots=columns.snapshots(sorting.snapshots, names, stamps, ats, bad),
        control=sorting.control,
        bad=[Bad(reason, detail, frames[at]) for at, (reason, detail) in sorted(bad.items())],
    )


def _newer(tickers: Rows[wire.BookTicker], newest: dict[int, int]) -> Rows[wire.BookTicker]:
    kept: Rows[wire.BookTicker] = Rows()
    for at, message, slot in zip(tickers.at, tickers.messages, tickers.slots, strict=True):
        if message.u > newest.get(slot, -1):
            newest[slot] = message.u
            kept.add(at, message, slot)
    return kept


def _unwrapped(frame: bytes) -> bytes:
    """Return the payload of a wrapper spelled exactly as Binance does, else the frame as it is."""
    cut = frame.find(_DATA, 11, 90)
    head = frame[:cut]
    if frame[-1] != _CLOSING or cut < 0:
        return frame
    if head not in _PLAIN_HEADS:
        if head[8:11] != b'":"' or b'"' in head[11:] or b"\\" in head:
            return frame
        if len(_PLAIN_HEADS) < MOST_HEADS:
            _PLAIN_HEADS.add(head)
    return frame[cut + 9 : -1]


def _why(fault: Exception) -> tuple[BadReason, str]:
    """Return the reason and the sentence for what a decoder raised."""
    detail = shown(str(fault), 300)
    if isinstance(fault, Refused):
        return fault.reason, str(fault)
    if not isinstance(fault, msgspec.ValidationError):
        return BadReason.NOT_JSON, detail
    if detail.startswith("Invalid value") and detail.endswith("$.e`"):
        return BadReason.UNKNOWN_MESSAGE, f"binance: unknown event type: {detail}"
    if ">=" not in detail and "<=" not in detail:
        return BadReason.WRONG_TYPE, detail
    return (BadReason.BAD_TIME if detail.endswith(("$.E`", "$.T`")) else BadReason.OUT_OF_RANGE), detail
