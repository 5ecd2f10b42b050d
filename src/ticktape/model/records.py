"""The 64-byte record: what the tape holds, one cache line each. See docs/tape-format.md.

A record is self-describing by `kind`; the four integers a, b, c, d mean what the table says.
Prices and sizes are integers at the instrument's own scale (`model/instruments.py`).

| kind       | a           | b             | c                | d                 | side           |
| ---------- | ----------- | ------------- | ---------------- | ----------------- | -------------- |
| TRADE      | price       | size          | venue trade id   | 0                 | aggressor      |
| AGG_TRADE  | price       | size          | aggregate id     | last trade id     | aggressor      |
| QUOTE      | bid price   | ask price     | bid size         | ask size          | 0              |
| BOOK       | price       | size, 0 = gone| venue update id  | order count or 0  | BUY bid, SELL ask |
| CORRECT    | new price   | new size      | venue trade id   | reason            | aggressor      |
| CANCEL     | 0           | 0             | venue trade id   | reason            | 0              |
| GAP        | gap id      | first missing | last missing     | see pack_gap      | GapState       |
| STATUS     | Status      | detail        | 0                | 0                 | 0              |
| CLOCK      | wall ns     | monotonic ns  | step ns          | 0                 | 0              |
| QUARANTINE | blob offset | blob length   | CRC32C of blob   | BadReason         | 0              |
| BLOB       | blob offset | blob length   | CRC32C of blob   | BlobType          | 0              |
| COMMIT     | own position| record count  | CRC32C           | writer epoch      | 0              |
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

RECORD_BYTES = 64

RECORD = np.dtype(
    [
        ("ts_event", "<i8"),  # the venue's clock, ns UTC; equals ts_recv where the venue sends none
        ("ts_recv", "<i8"),  # our clock when the frame was read, ns UTC
        ("a", "<i8"),
        ("b", "<i8"),
        ("c", "<i8"),
        ("d", "<i8"),
        ("back", "<u4"),  # distance to the previous record of the instrument; 0 none, FAR beyond
        ("instrument", "<u4"),  # 0 = no instrument
        ("flags", "<u4"),  # Flag
        ("source", "<u2"),  # 0 = ticktape itself
        ("kind", "u1"),
        ("side", "u1"),
    ]
)
assert RECORD.itemsize == RECORD_BYTES

Records = npt.NDArray[Any]  # a one-dimensional array of RECORD
Ints = npt.NDArray[np.int64]

BACK_FAR = 0xFFFFFFFF


class Kind(IntEnum):
    """What a record is. EMPTY is never valid data: zeros are torn, not written."""

    EMPTY = 0
    TRADE = 1
    QUOTE = 2
    BOOK = 3
    AGG_TRADE = 4
    CORRECT = 5
    CANCEL = 6
    GAP = 16
    STATUS = 17
    CLOCK = 18
    QUARANTINE = 19
    BLOB = 20
    VOID = 30  # stands where damaged bytes were; see tape/recovery.py
    COMMIT = 31


MARKET_KINDS = (Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.AGG_TRADE, Kind.CORRECT, Kind.CANCEL)


class Side(IntEnum):
    """The side that crossed the spread (trades) or rests (book)."""

    NONE = 0
    BUY = 1
    SELL = 2


class Flag(IntFlag):
    """Quality bits. A flagged record is stored as it came; readers choose what to use."""

    OUT_OF_ORDER = 1 << 0  # older than one already stored of this instrument and kind
    LATE = 1 << 1  # out of order by more than `late_after_s`
    STALE = 1 << 2  # older than `max_age_s` when it reached us
    SPIKE = 1 << 3  # moved more than `max_move` from the last accepted price
    CROSSED = 1 << 4  # bid above ask (locked is allowed)
    NON_POSITIVE = 1 << 5  # price or size zero or below where the venue's rules forbid it
    CLOCK_SKEW = 1 << 6  # venue clock ahead of ours by more than `max_skew_s`
    BACKFILLED = 1 << 7  # came from history, not live
    SYNTHETIC = 1 << 8  # SAMPLE: made by the simulator, never real
    NO_VENUE_TIME = 1 << 9  # the venue sends no time; ts_event is ts_recv
    SNAPSHOT = 1 << 10  # part of a book snapshot
    FIRST = 1 << 11  # first record of its snapshot or venue message: the book is cleared here
    LAST = 1 << 12  # last record of its venue message: the book is consistent after it
    AFTER_GAP = 1 << 13  # first record of its channel after a hole
    REPLAYED = 1 << 14  # played from a recording at another time


class GapState(IntEnum):
    """Life of a gap: opened, closed by the first good record after, then filled or not."""

    OPENED = 1
    CLOSED = 2
    FILLED = 3
    UNFILLABLE = 4


class GapCause(IntEnum):
    """Why something is missing."""

    SEQUENCE = 1  # the venue's ids jumped
    DISCONNECTED = 2  # the socket died
    MUTE = 3  # the socket lived and said nothing
    RESTART = 4  # we were not running
    TORN = 5  # recovery cut an incomplete tail
    DAMAGED = 6  # bytes on disk differ from what was written
    DISK_FULL = 7  # we could not store
    NEVER_SEEN = 8  # subscribed, but nothing ever came
    OVERFLOW = 9  # a bounded queue was full
    BOOK_SYNC = 10  # the book's update ids jumped: it is rebuilt from a snapshot
    STOPPED = 11  # an operator stopped the source
    RESET = 12  # the venue began to number anew: what lies between has no ids


class Channel(IntEnum):
    """What was asked of a venue: the unit that is watched, sequenced and declared missing."""

    ALL = 0
    TRADE = 1
    QUOTE = 2
    BOOK = 3
    AGG_TRADE = 4


class Completeness(StrEnum):
    """How far a channel can prove that nothing is missing, strongest first."""

    SEQUENCE = "sequence"  # venue ids are dense per instrument: a hole is certain
    RISING = "rising"  # venue ids rise: a repeat is certain, a hole is not
    COUNT = "count"  # cumulative volume tells
    HEARTBEAT = "heartbeat"  # only liveness is known
    NONE = "none"


class Status(IntEnum):
    """What happened to a source or to the recorder; `b` carries a detail."""

    SOURCE_STARTING = 1
    SOURCE_UP = 2
    SOURCE_DOWN = 3
    SOURCE_STOPPED = 4
    RECORDER_UP = 5
    RECORDER_STOPPED = 6
    CLOCK_STEPPED = 7  # b = step in ns
    SYNC_FAILED = 8  # fsync failed; the segment was retired
    DISK_FULL = 9
    DISK_OK = 10
    SKEW = 11  # b = venue clock minus ours, ns, median
    RECOVERED = 12  # b = bytes cut, c = bytes voided


class BadReason(IntEnum):
    """Why bytes could not become a record."""

    NOT_JSON = 1
    WRONG_TYPE = 2
    BAD_NUMBER = 3
    UNKNOWN_SYMBOL = 4
    TOO_LARGE = 5
    UNKNOWN_MESSAGE = 6
    OUT_OF_RANGE = 7
    BAD_TIME = 8
    VENUE_ERROR = 9


class BlobType(IntEnum):
    """What a blob holds."""

    QUARANTINE = 1
    RAW_FRAMES = 2


class GapShape(NamedTuple):
    """Field d of a GAP record, unpacked. The window is [ts_event, ts_event + duration]."""

    cause: GapCause
    channel: Channel
    duration_ns: int  # kept in whole microseconds


def pack_gap(cause: int, channel: int, duration_ns: int) -> int:
    """Return field d of a GAP record: cause in bits 0-7, channel in 8-15, microseconds in 16-62."""
    return cause | channel << 8 | min(max(duration_ns, 0) // 1000, (1 << 47) - 1) << 16


def unpack_gap(d: int) -> GapShape:
    """Return what `pack_gap` packed."""
    return GapShape(GapCause(d & 0xFF), Channel(d >> 8 & 0xFF), (d >> 16) * 1000)


def empty(n: int) -> Records:
    """Return n zeroed records."""
    return np.zeros(n, dtype=RECORD)
