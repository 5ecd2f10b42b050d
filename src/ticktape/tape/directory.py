"""The instruments of a tape, the vendors' names for them over time, and the sources: `directory.sqlite`.

Records carry only ids; this gives them their names. A row is durable before the first record that uses its id,
and an id is never used again for something else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec

from ticktape.clock import SystemClock
from ticktape.errors import BadSymbol, DiskFull, Misconfigured, UnknownSymbol
from ticktape.model.instruments import FOREVER_NS, Instrument, Listing, VendorName
from ticktape.model.symbols import parse_symbol, shown

_SCHEMA = """
create table if not exists instruments (
    id integer primary key autoincrement, symbol text not null, venue text not null, body text not null,
    unique (venue, symbol)
);
create table if not exists names (
    vendor text not null, name text not null, instrument_id integer not null references instruments (id),
    valid_from_ns integer not null, valid_to_ns integer not null,
    primary key (vendor, name, valid_from_ns)
);
create table if not exists sources (id integer primary key autoincrement, name text not null unique);
"""


MAX_SOURCE = 0xFFFF  # what a record can carry


class SourceRow(msgspec.Struct, frozen=True):
    """A source's id, as records carry it, and its name."""

    id: int
    name: str


class TapeDirectory:
    """Reads and writes `directory.sqlite`. The recorder writes; any process reads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "directory.sqlite", isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(_SCHEMA)
        self._bodies: dict[int, str] = {}  # rows as last read
        self._by_id: dict[int, Instrument] = {}
        self._by_symbol: dict[str, Instrument] = {}
        self._by_name: dict[tuple[str, str], Instrument] = {}
        self._version = -1
        self.refresh()

    # -- reading -----------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take in what another process enrolled since."""
        version = self._db.execute("pragma data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._load()

    def _load(self) -> None:
        self._db.execute("begin")  # one snapshot: a name enrolled between two reads would lack its instrument
        rows = self._db.execute("select id, body from instruments order by id").fetchall()
        names = self._db.execute("select vendor, name, instrument_id from names where valid_to_ns = ?", (FOREVER_NS,))
        current = names.fetchall()
        self._db.execute("commit")
        for number, body in rows:
            if self._bodies.get(number) != body:
                self._bodies[number] = body
                self._add(msgspec.convert(msgspec.json.decode(body) | {"id": number}, Instrument))
        self._by_name = {(vendor, name): self._by_id[number] for vendor, name, number in current}

    def _add(self, instrument: Instrument) -> None:
        self._by_id[instrument.id] = instrument
        if self._by_symbol.get(instrument.symbol, instrument).id == instrument.id:
            self._by_symbol[instrument.symbol] = instrument

    def all(self) -> list[Instrument]:
        """Return every instrument, by id."""
        return list(self._by_id.values())

    def by_id(self, number: int) -> Instrument:
        """Return an instrument by its id. Raises UnknownSymbol."""
        if number not in self._by_id:
            self.refresh()
        try:
            return self._by_id[number]
        except KeyError:
            raise UnknownSymbol(f"no instrument with id {number}", hint="ticktape instruments") from None

    def by_symbol(self, symbol: str) -> Instrument:
        """Return an instrument by its canonical symbol. Raises BadSymbol, UnknownSymbol with near names."""
        found = self._by_symbol.get(symbol)
        if found is None:
            self.refresh()
            found = self._by_symbol.get(parse_symbol(symbol))
        if found is None:
            near = sorted(s for s in self._by_symbol if s[:2].upper() == symbol[:2].upper())[:5]
            known = f"; did you mean {', '.join(near)}?" if near else ""
            raise UnknownSymbol(f"unknown symbol '{shown(symbol)}'{known}", hint="ticktape instruments")
        return found

    def find(self, vendor: str, name: str) -> Instrument | None:
        """Return the instrument a vendor calls `name` now, or None: never a guess."""
        return self._by_name.get((vendor, name))

    def find_at(self, vendor: str, name: str, at_ns: int) -> Instrument | None:
        """Return the instrument a vendor called `name` at a time, or None."""
        row = self._db.execute(
            "select instrument_id from names where vendor = ? and name = ? and valid_from_ns <= ? and valid_to_ns > ?",
            (vendor, name, at_ns, at_ns),
        ).fetchone()
        return self.by_id(row[0]) if row else None

    def names(self, instrument_id: int) -> list[VendorName]:
        """Return every name an instrument has or had."""
        rows = self._db.execute(
            "select vendor, name, instrument_id, valid_from_ns, valid_to_ns from names where instrument_id = ?"
            " order by vendor, valid_from_ns",
            (instrument_id,),
        )
        return [VendorName(vendor=v, name=n, instrument_id=i, valid_from_ns=a, valid_to_ns=b) for v, n, i, a, b in rows]

    def name_of(self, vendor: str, instrument_id: int) -> str | None:
        """Return what a vendor calls an instrument now, or None: a name that has gone to another is no name."""
        mine = (name for (who, name), it in self._by_name.items() if who == vendor and it.id == instrument_id)
        return next(mine, None)

    def sources(self) -> list[SourceRow]:
        """Return every source that ever wrote."""
        return [SourceRow(*row) for row in self._db.execute("select id, name from sources order by id")]

    # -- writing -----------------------------------------------------------------------------------

    def enrol(self, vendor: str, name: str, listing: Listing) -> Instrument:
        """Return the instrument a vendor calls `name`, created when it is new. Raises BadSymbol.

        An instrument two vendors list under one venue and symbol is one instrument with two names. What a later
        listing says of tick size or expiry updates the row; the scales, which give stored integers their
        meaning, never change.
        """
        parse_symbol(listing.symbol)
        if not name or len(name) > 100 or not name.isprintable():
            raise BadSymbol(f"not a vendor's name: '{shown(name)}'", hint="ticktape instruments")
        row = self._db.execute(
            "select id from instruments where venue = ? and symbol = ?", (listing.venue, listing.symbol)
        ).fetchone()
        instrument = self._update(row[0], listing) if row else self._insert(listing)
        called = self.find(vendor, name)
        if called is None or called.id != instrument.id:
            self.rename(vendor, name, instrument.id, 0 if called is None else SystemClock().wall_ns())
        self._by_name[vendor, name] = instrument
        return instrument

    def _insert(self, listing: Listing) -> Instrument:
        cursor = self._write(
            "insert into instruments (symbol, venue, body) values (?, ?, ?)",
            (listing.symbol, listing.venue, msgspec.json.encode(listing).decode()),
        )
        assert cursor.lastrowid is not None
        instrument = _with_id(listing, cursor.lastrowid)
        self._add(instrument)
        return instrument

    def _update(self, number: int, listing: Listing) -> Instrument:
        before = self.by_id(number)
        kept = msgspec.structs.replace(listing, price_scale=before.price_scale, size_scale=before.size_scale)
        instrument = _with_id(kept, number)
        if instrument != before:
            body = msgspec.json.encode(kept).decode()
            self._write("update instruments set body = ? where id = ?", (body, number))
            self._add(instrument)
        return instrument

    def rename(self, vendor: str, name: str, instrument_id: int, from_ns: int) -> None:
        """Say that from a time on a vendor's `name` means this instrument (a contract roll, a reused ticker)."""
        self._write("begin immediate")
        try:
            self._write(
                "update names set valid_to_ns = ? where vendor = ? and name = ? and valid_to_ns = ?",
                (from_ns, vendor, name, FOREVER_NS),
            )
            self._write(
                "insert or replace into names values (?, ?, ?, ?, ?)",
                (vendor, name, instrument_id, from_ns, FOREVER_NS),
            )
            self._write("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        self._by_name[vendor, name] = self.by_id(instrument_id)

    def source_id(self, name: str) -> int:
        """Return a source's id, given the first time it is asked for."""
        known = self._db.execute("select id from sources where name = ?", (name,)).fetchone()
        if known is None:
            self._write("insert into sources (name) values (?)", (name,))
            known = self._db.execute("select id from sources where name = ?", (name,)).fetchone()
        if known[0] > MAX_SOURCE:
            raise Misconfigured(
                f"source '{shown(name)}': a tape has room for {MAX_SOURCE} names, ever", hint="--data DIR"
            )
        return int(known[0])

    def _write(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, values)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise DiskFull(f"no room for a row of the directory: {error}", hint="df -h") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _with_id(listing: Listing, number: int) -> Instrument:
    fields = {name: getattr(listing, name) for name in Listing.__struct_fields__}
    return Instrument(id=number, **fields)


def price_text(value: int, scale: int) -> str:
    """Return an integer at a scale as exact decimal text, without trailing zeros."""
    return format(Decimal(value).scaleb(-scale).normalize(), "f")


def symbols_of(instruments: Iterable[Instrument]) -> list[str]:
    """Return canonical symbols, sorted."""
    return sorted(i.symbol for i in instruments)
