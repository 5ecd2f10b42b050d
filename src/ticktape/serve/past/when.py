"""Times and widths as people and programs write them. Everything here is hostile until it is parsed."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from ticktape.errors import BadInput
from ticktape.model.symbols import shown

SECOND_NS = 10**9
MOST_NS = 2**63 - 1
_LEAST_INT_NS = 10**17  # 1973: what is below was meant as seconds, milliseconds or microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    # A plus sign in a query arrives as a space.
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:([Zz])|([+ -])(\d{2}):(\d{2}))",
    re.ASCII,
)
_WIDTH = re.compile(r"([1-9]\d{0,8})(ms|s|m|h|d)", re.ASCII)
_UNITS = {"ms": 10**6, "s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS, "d": 86_400 * SECOND_NS}
# The same for the API's document: what does not look like this is refused; what does may be still.
TIME_PATTERN = (
    r"^([0-9]{1,19}|[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+ -][0-9]{2}:[0-9]{2}))?)$"
)
WIDTH_PATTERN = r"^[1-9][0-9]{0,8}(ms|s|m|h|d)$"
MOST_WIDTH_NS = 366 * _UNITS["d"]
HINT = "2025-11-20, 2025-11-20T14:30:00.5Z or nanoseconds since 1970"


class Known(NamedTuple):
    """A moment of knowledge: by our clock, or by a place on the tape; what came at or after it was not known."""

    ns: int | None = None
    position: int | None = None


def parse_time(text: str, name: str) -> int:
    """Return ns since 1970 UTC of an integer, an RFC 3339 time or a date (its midnight). Raises BadInput."""
    if text.isascii() and text.isdigit() and len(text) <= 19:
        return _integer(int(text), name)
    try:
        if _DATE.fullmatch(text):
            return _in_range((date.fromisoformat(text) - date(1970, 1, 1)).days * _UNITS["d"], name)
        if (match := _TIME.fullmatch(text)) is not None:
            return _in_range(_rfc3339(match), name)
    except ValueError:
        pass
    raise BadInput(f"{name}: not a time: '{shown(text)}'", hint=HINT)


def _integer(value: int, name: str) -> int:
    if 0 < value < _LEAST_INT_NS:
        raise BadInput(f"{name}: {value} is no time in nanoseconds; integers here are", hint=HINT)
    return _in_range(value, name)


def _in_range(ns: int, name: str) -> int:
    if not 0 <= ns <= MOST_NS:
        raise BadInput(f"{name}: outside of 1970 to 2262", hint=HINT)
    return ns


def _rfc3339(match: re.Match[str]) -> int:
    day, hour, minute, second, fraction, _, sign, off_hours, off_minutes = match.groups()
    leap = second == "60"  # a leap second is the next one here
    at = datetime.fromisoformat(f"{day}T{hour}:{minute}:{'59' if leap else second}+00:00")
    if sign is not None:
        if int(off_hours) > 23 or int(off_minutes) > 59:
            raise ValueError("no such offset")
        offset = timedelta(hours=int(off_hours), minutes=int(off_minutes))
        at = at + offset if sign == "-" else at - offset
    past = at - _EPOCH
    return (past.days * 86_400 + past.seconds + leap) * SECOND_NS + int((fraction or "").ljust(9, "0"))


def parse_range(start: str, end: str | None, now_ns: int) -> tuple[int, int]:
    """Return [start, end) in ns; an end that is not given is now. Raises BadInput when nothing lies between."""
    first = parse_time(start, "start_time")
    last = max(now_ns, first + 1) if end is None else parse_time(end, "end_time")
    if last <= first:
        raise BadInput("end_time is not after start_time; the range is [start_time, end_time)", hint=HINT)
    return first, last


def parse_known(text: str | None) -> Known:
    """Return what `as_known_at` says: a time, or `position:123`. Raises BadInput."""
    if text is None:
        return Known()
    place = text.removeprefix("position:")
    if place == text:
        return Known(ns=parse_time(text, "as_known_at"))
    if not (place.isascii() and place.isdigit() and len(place) <= 18):
        raise BadInput(f"as_known_at: not a position: '{shown(text)}'", hint="as_known_at=position:12345")
    return Known(position=int(place))


def parse_width(text: str) -> int:
    """Return the width of a bar in ns: a whole number of ms, s, m, h or d. Raises BadInput."""
    match = _WIDTH.fullmatch(text)
    width = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < width <= MOST_WIDTH_NS:
        raise BadInput(f"no interval '{shown(text)}'", hint="interval=100ms, 37s, 5m, 1h or 1d; up to 366d")
    return width


def iso(ns: int) -> str:
    """Return ns UTC as RFC 3339, without a fraction where there is none."""
    seconds, rest = divmod(ns, SECOND_NS)
    fraction = f".{rest:09d}" if rest else ""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}{fraction}Z"
