"""Records of any kind and instrument as the JSON text of stream events, in the order given.

The fields are those of the REST answers (`answers.Tick`, `Quote`, `BookLevel`, `GapRow`); a test holds both to the
same. `kind` says what an event is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ticktape.errors import UnknownSymbol
from ticktape.model.gaps import FOREVER_NS, read_gap
from ticktape.model.instruments import Instrument
from ticktape.model.records import Ints, Kind, Records, Status
from ticktape.serve.row_texts import RowTexts

_GAP, _STATUS = int(Kind.GAP), int(Kind.STATUS)
_STATUS_NAMES = {int(status): status.name.lower() for status in Status}


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
        self._sources: dict[int, str] = {0: "ticktape"}
        self._rows = RowTexts(directory.by_id, self._source)

    def texts(self, records: Records, positions: Ints) -> list[str]:
        """Return each record as the JSON text of an event."""
        out = self._rows.of(records, positions)
        if all(out):
            return out
        for i in [i for i, text in enumerate(out) if not text]:
            kind = int(records[i]["kind"])
            if kind == _GAP:
                out[i] = self._gap(records[i], int(positions[i]))
            elif kind == _STATUS:
                out[i] = self._status(records[i], int(positions[i]))
        return [text for text in out if text]

    # -- one kind each -----------------------------------------------------------------------------

    def _gap(self, record: Any, position: int) -> str:
        gap = read_gap(record, position)
        symbol = quoted(self.symbol(gap.instrument_id)) if gap.instrument_id else "null"
        end = "null" if gap.end_ns == FOREVER_NS else gap.end_ns
        return (
            f'{{"position":{position},"kind":"gap","gap_id":{gap.gap_id},'
            f'"state":"{gap.state.name.lower()}","cause":"{gap.cause.name.lower()}",'
            f'"channel":"{gap.channel.name.lower()}","instrument_id":{gap.instrument_id},"symbol":{symbol},'
            f'"source":{quoted(self._source(gap.source_id))},"start":{gap.start_ns},'
            f'"end":{end},"first_missing":{_or_null(gap.first_missing)},"last_missing":{_or_null(gap.last_missing)},'
            f'"rows":{_or_null(gap.rows)},"ts_recv":{gap.ts_recv}}}'
        )

    def _status(self, record: Any, position: int) -> str:
        status = int(record["a"])
        return (
            f'{{"position":{position},"kind":"status","ts_event":{record["ts_event"]},"ts_recv":{record["ts_recv"]},'
            f'"status":"{_STATUS_NAMES.get(status, f"status_{status}")}","detail":{record["b"]},'
            f'"source":{quoted(self._source(int(record["source"])))}}}'
        )

    # -- names -------------------------------------------------------------------------------------

    def symbol(self, instrument_id: int) -> str:
        """Return an instrument's symbol, made up where nobody enrolled it."""
        try:
            return self._directory.by_id(instrument_id).symbol
        except UnknownSymbol:
            return f"instrument-{instrument_id}"

    def _source(self, number: int) -> str:
        if number not in self._sources:
            self._sources |= {row.id: row.name for row in self._directory.sources()}
        return self._sources.setdefault(number, f"source-{number}")


def _or_null(value: int | None) -> str:
    return "null" if value is None else str(value)


_numbers_as_text = msgspec.json.Decoder(float_hook=str)
_pack = msgspec.msgpack.Encoder()


def packed(text: str) -> bytes:
    """Return an event's JSON text as MessagePack: the same fields; a number with a decimal point is its exact text.

    A double would hold 15 of its digits.
    """
    return _pack.encode(_numbers_as_text.decode(text))
