"""What a client may say, and how answers are written, as JSON or MessagePack. Everything from outside is hostile."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from ticktape.errors import BadInput
from ticktape.model.bars import TIMEFRAMES
from ticktape.model.symbols import parse_symbol, shown
from ticktape.serve.past.when import parse_time
from ticktape.serve.stream.rows import packed

Id = str | int | None
Place = str | int  # a time as in REST, ns, or "position:123"

CHANNELS = ("trades", "quotes", "book", *(f"bars.{name}" for name in TIMEFRAMES), "gaps", "status", "alerts")
EVERYWHERE = ("status", "alerts")  # channels that have no symbol
MOST_AT_ONCE = 1_000
SLOWEST, FASTEST = 0.1, 1000.0


class Policy(StrEnum):
    """What happens when there is more than a client takes."""

    EVERY = "every"  # nothing is left out; who stays behind is cut
    CONFLATE = "conflate"  # the newest of each symbol; the rest is counted as missed
    DISCONNECT = "disconnect"  # nothing is left out; who falls behind at all is cut


class _Said(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    id: Id = None  # comes back in the answer


class Auth(_Said, frozen=True, tag="auth"):
    """The key, for clients that cannot set a header."""

    key: str


class Subscribe(_Said, frozen=True, tag="subscribe"):
    """Channels of symbols or patterns; the rest concerns the whole connection."""

    channels: list[str]
    symbols: list[str] = []
    policy: Policy | None = None
    rate: float | None = None
    throttle: float | None = None
    snapshot: bool = True
    from_position: int | None = None
    start: Place | None = field(name="from", default=None)  # from here on it is a replay
    end: Place | None = field(name="to", default=None)
    speed: float | Literal["max"] | None = None
    loop: bool = False
    paused: bool = False


class Unsubscribe(_Said, frozen=True, tag="unsubscribe"):
    """The reverse, by the same names and patterns."""

    channels: list[str]
    symbols: list[str] = []


class Ping(_Said, frozen=True, tag="ping"):
    """Is answered."""


class Pause(_Said, frozen=True, tag="pause"):
    """Hold a replay."""


class Resume(_Said, frozen=True, tag="resume"):
    """Let it go on."""


class Step(_Said, frozen=True, tag="step"):
    """Let a paused replay play some events."""

    events: int = 1


class Seek(_Said, frozen=True, tag="seek"):
    """Go on elsewhere."""

    to: Place


class Speed(_Said, frozen=True, tag="speed"):
    """Go on at another speed."""

    speed: float | Literal["max"]


Op = Auth | Subscribe | Unsubscribe | Ping | Pause | Resume | Step | Seek | Speed
_from_json = msgspec.json.Decoder(Op)
_from_msgpack = msgspec.msgpack.Decoder(Op)
_HINT = "docs/stream.md"


def parse(data: bytes, *, binary: bool) -> Op:
    """Return what a client said. Raises BadInput."""
    try:
        return (_from_msgpack if binary else _from_json).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"message: {shown(str(error), 200)}", hint=_HINT) from None


def parse_pairs(channels: list[str], symbols: list[str]) -> frozenset[tuple[str, str]]:
    """Return each channel with each symbol or pattern, parsed. Raises BadInput, BadSymbol."""
    if not channels:
        raise BadInput("no channel given", hint=f"channels: {', '.join(CHANNELS)}")
    if len(channels) * max(len(symbols), 1) > MOST_AT_ONCE:
        raise BadInput(f"more than {MOST_AT_ONCE} subscriptions in one message", hint="patterns: BTC*")
    unknown = [channel for channel in channels if channel not in CHANNELS]
    if unknown:
        raise BadInput(f"no channel '{shown(unknown[0])}'", hint=f"channels: {', '.join(CHANNELS)}")
    named = [channel for channel in channels if channel not in EVERYWHERE]
    if named and not symbols:
        raise BadInput(f"{named[0]} of which symbols?", hint='"symbols": ["BTCUSDT", "ETH*"]')
    patterns = [parse_pattern(symbol) for symbol in symbols]
    pairs = {(channel, pattern) for channel in named for pattern in patterns}
    return frozenset(pairs | {(channel, "*") for channel in channels if channel in EVERYWHERE})


def parse_pattern(text: str) -> str:
    """Return a symbol, or a pattern: the beginning of symbols and a star. Raises BadSymbol."""
    if text == "*":
        return text
    parse_symbol(text.removesuffix("*"))
    return text


def parse_place(place: Place, name: str) -> tuple[int | None, int | None]:
    """Return (time in ns, None) or (None, position). Raises BadInput."""
    text = str(place)
    number = text.removeprefix("position:")
    if number == text:
        return parse_time(text, name), None
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise BadInput(f"{name}: not a position: '{shown(text)}'", hint='"position:12345"')
    return None, int(number)


def parse_speed(speed: float | str | None) -> float:
    """Return how many times as fast as it was; infinity is flat out. Raises BadInput."""
    if speed is None:
        return 1.0
    if isinstance(speed, str):
        return math.inf
    if not SLOWEST <= speed <= FASTEST:
        raise BadInput(f"speed {speed:g} is not within {SLOWEST:g} to {FASTEST:g}", hint='"max" is flat out')
    return float(speed)


class Encoding(StrEnum):
    """How messages are written."""

    JSON = "json"
    MSGPACK = "msgpack"


_to_json, _to_msgpack = msgspec.json.Encoder(), msgspec.msgpack.Encoder()


def message(encoding: Encoding, what: dict[str, Any]) -> bytes:
    """Return a message that is no update."""
    return _to_msgpack.encode(what) if encoding is Encoding.MSGPACK else _to_json.encode(what)


def events(
    encoding: Encoding, kind: str, texts: list[str], position: int, missed: int, *, replay: bool = False
) -> bytes:
    """Return a message with events, each given as JSON text.

    Everything the client asked for up to and including `position` has then been sent or counted in `missed`.
    """
    if encoding is Encoding.MSGPACK:
        head: dict[str, Any] = {"type": kind, "position": position, "missed": missed}
        head |= {"replay": True} if replay else {}
        return _to_msgpack.encode(head | {"events": [msgspec.Raw(packed(text)) for text in texts]})
    mark = '"replay":true,' if replay else ""
    return f'{{"type":"{kind}","position":{position},"missed":{missed},{mark}"events":[{",".join(texts)}]}}'.encode()
