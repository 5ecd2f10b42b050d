"""Records of any kind and instrument as the JSON text of stream events, in the order given.

The fields are those of the REST answers (`answers.Tick`, `Quote`, `BookLevel`, `GapRow`); a test holds both to the
same. REST writes many rows of one instrument; here neighbours differ. `kind` says what an event is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ticktape.errors import UnknownSymbol
from ticktape.model.gaps import FOREVER_NS, read_gap
from ticktape.model.instruments import Instrument
from ticktape.model.records import Ints, Kind, Records, Side, Status
from ticktape.serve.encode import decimal_text, flag_names

_TRADE, _QUOTE, _AGG, _BOOK = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.AGG_TRADE), int(Kind.BOOK)
_CORRECT, _CANCEL, _GAP, _STATUS = int(Kind.CORRECT), int(Kind.CANCEL), int(Kind.GAP), int(Kind.STATUS)
_TRADES = frozenset((_TRADE, _AGG, _CORRECT, _CANCEL))
_KINDS = {int(kind): kind.name.lower() for kind in Kind}
_SIDES = {int(Side.NONE): "null", int(Side.BUY): '"buy"', int(Side.SELL): '"sell"'}
_BOOK_SIDES = {int(Side.NONE): "null", int(Side.BUY): '"bid"', int(Side.SELL): '"ask"'}
_STATUS_NAMES = {int(status): status.name.lower() for status in Status}
_FIELDS = ("ts_event", "ts_recv", "a", "b", "c", "d", "instrument", "flags", "source", "kind", "side")


class Directory(Protocol):
    """What gives instruments and sources their names."""

    def by_id(self, number: int) -> Instrument:
        """Return an instrument. Raises UnknownSymbol."""
        ...

    def sources(self) -> Sequence[Any]:
        """Return the sources, each with `id` and `name`."""
        ...


def quoted(text: str) -> str:
    """Return text as a JSON string."""
    return msgspec.json.encode(text).decode()


class Rows:
    """Writes events. Keeps what it learned of instruments and sources."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._named: dict[int, tuple[str, int, int]] = {}
        self._sources: dict[int, str] = {0: '"ticktape"'}
        self._flags: dict[int, str] = {}

    def texts(self, records: Records, positions: Ints) -> list[str]:
        """Return each record as the JSON text of an event."""
        columns = [records[name].tolist() for name in _FIELDS]
        out: list[str] = []
        for i, row in enumerate(zip(positions.tolist(), *columns, strict=True)):
            kind = row[10]
            if kind in _TRADES:
                out.append(self._trade(row))
            elif kind == _QUOTE:
                out.append(self._quote(row))
            elif kind == _BOOK:
                out.append(self._book(row))
            elif kind == _GAP:
                out.append(self._gap(records[i], row[0]))
            elif kind == _STATUS:
                out.append(self._status(row))
        return out

    # -- one kind each -----------------------------------------------------------------------------

    def _trade(self, row: Any) -> str:
        position, ts_event, ts_recv, a, b, c, _, who, flags, source, kind, side = row
        named, price, size = self._named.get(who) or self._name(who)
        value = '"price":null,"size":null' if kind == _CANCEL else (
            f'"price":{decimal_text(a, price)},"size":{decimal_text(b, size)}'
        )  # fmt: skip
        return (
            f'{{"position":{position},"kind":"{_KINDS[kind]}",{named},"ts_event":{ts_event},'
            f'"ts_recv":{ts_recv},{value},"venue_id":{c},"side":{_SIDES[side]},'
            f'"source":{self._sources.get(source) or self._source(source)},'
            f'"flags":{"[]" if not flags else self._flags.get(flags) or self._flag(flags)}}}'
        )

    def _quote(self, row: Any) -> str:
        position, ts_event, ts_recv, a, b, c, d, who, flags, source, _, _ = row
        named, price, size = self._named.get(who) or self._name(who)
        return (
            f'{{"position":{position},"kind":"quote",{named},"ts_event":{ts_event},'
            f'"ts_recv":{ts_recv},"bid_price":{decimal_text(a, price)},"ask_price":{decimal_text(b, price)},'
            f'"bid_size":{decimal_text(c, size)},"ask_size":{decimal_text(d, size)},'
            f'"source":{self._sources.get(source) or self._source(source)},'
            f'"flags":{"[]" if not flags else self._flags.get(flags) or self._flag(flags)}}}'
        )

    def _book(self, row: Any) -> str:
        position, ts_event, ts_recv, a, b, c, d, who, flags, source, _, side = row
        named, price, size = self._named.get(who) or self._name(who)
        return (
            f'{{"position":{position},"kind":"book",{named},"ts_event":{ts_event},'
            f'"ts_recv":{ts_recv},"side":{_BOOK_SIDES[side]},"price":{decimal_text(a, price)},'
            f'"size":{decimal_text(b, size)},"update_id":{c},"order_count":{d},'
            f'"source":{self._sources.get(source) or self._source(source)},'
            f'"flags":{"[]" if not flags else self._flags.get(flags) or self._flag(flags)}}}'
        )

    def _gap(self, record: Any, position: int) -> str:
        gap = read_gap(record, position)
        symbol = quoted(self.symbol(gap.instrument_id)) if gap.instrument_id else "null"
        end = "null" if gap.end_ns == FOREVER_NS else gap.end_ns
        return (
            f'{{"position":{position},"kind":"gap","gap_id":{gap.gap_id},'
            f'"state":"{gap.state.name.lower()}","cause":"{gap.cause.name.lower()}",'
            f'"channel":"{gap.channel.name.lower()}","instrument_id":{gap.instrument_id},"symbol":{symbol},'
            f'"source":{self._sources.get(gap.source_id) or self._source(gap.source_id)},"start":{gap.start_ns},'
            f'"end":{end},"first_missing":{_or_null(gap.first_missing)},"last_missing":{_or_null(gap.last_missing)},'
            f'"rows":{_or_null(gap.rows)},"ts_recv":{gap.ts_recv}}}'
        )

    def _status(self, row: Any) -> str:
        position, ts_event, ts_recv, a, b, *_, source, _, _ = row
        return (
            f'{{"position":{position},"kind":"status","ts_event":{ts_event},"ts_recv":{ts_recv},'
            f'"status":"{_STATUS_NAMES.get(a, f"status_{a}")}","detail":{b},'
            f'"source":{self._sources.get(source) or self._source(source)}}}'
        )

    # -- names -------------------------------------------------------------------------------------

    def symbol(self, instrument_id: int) -> str:
        """Return an instrument's symbol, made up where nobody enrolled it."""
        try:
            return self._directory.by_id(instrument_id).symbol
        except UnknownSymbol:
            return f"instrument-{instrument_id}"

    def _name(self, who: int) -> tuple[str, int, int]:
        about = self._directory.by_id(who)
        found = f'"instrument_id":{who},"symbol":{quoted(about.symbol)}', about.price_scale, about.size_scale
        self._named[who] = found
        return found

    def _source(self, number: int) -> str:
        self._sources |= {row.id: quoted(row.name) for row in self._directory.sources()}
        return self._sources.setdefault(number, quoted(f"source-{number}"))

    def _flag(self, flags: int) -> str:
        return self._flags.setdefault(flags, msgspec.json.encode(flag_names(flags)).decode())


def _or_null(value: int | None) -> str:
    return "null" if value is None else str(value)


_numbers_as_text = msgspec.json.Decoder(float_hook=str)
_pack = msgspec.msgpack.Encoder()


def packed(text: str) -> bytes:
    """Return an event's JSON text as MessagePack: the same fields; a number with a decimal point is its exact text.

    A double would hold 15 of its digits.
    """
    return _pack.encode(_numbers_as_text.decode(text))
