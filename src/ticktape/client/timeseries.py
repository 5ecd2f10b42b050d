"""Ranges of rows over HTTP: Arrow streams, page after page, put together without looking at a row."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import msgspec

from ticktape.client.http import Answer, Http, optional
from ticktape.client.table import Table
from ticktape.errors import BadInput

PAGE_ROWS = 250_000  # the most that the server gives at once
Schema = Literal["trades", "quotes", "book"]


class Timeseries:
    """What was recorded, by range."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def get_range(
        self, *, symbols: str | Sequence[str], schema: str = "trades", start: str | int, end: str | int | None = None,
        limit: int | None = None, as_known_at: str | None = None,
    ) -> Table:  # fmt: skip
        """Return the rows of [start, end): trades, quotes or book, or bars of a width as `bars-1m`.

        Times are RFC 3339, a date or ns UTC; `limit` bounds the rows. Raises ApiError.
        """
        pages = list(
            self.pages(symbols=symbols, schema=schema, start=start, end=end, limit=limit, as_known_at=as_known_at)
        )
        pa = optional("pyarrow")
        about = [page for part in pages for page in part.about]
        tables = [part.to_arrow() for part in pages]
        if len(tables) == 1:
            return Table(tables[0], about, _constants(schema))
        # Pages of one question have the same columns, but each its own dictionaries of names.
        whole = pa.concat_tables([table.replace_schema_metadata(None) for table in tables]).unify_dictionaries()
        return Table(whole, about, _constants(schema))

    def pages(
        self, *, symbols: str | Sequence[str], schema: str = "trades", start: str | int, end: str | int | None = None,
        limit: int | None = None, as_known_at: str | None = None, page_rows: int | None = None,
    ) -> Iterator[Table]:  # fmt: skip
        """Yield the same in pages as they come, for what does not fit in memory; at least one."""
        if limit is not None and limit < 1:
            raise BadInput(f"limit {limit}", hint="limit=1000, or none for all")
        params = {
            "symbols": symbols if isinstance(symbols, str) else ",".join(symbols), "start_time": start,
            "end_time": end, "as_known_at": as_known_at, "format": "arrow", **_what(schema),
        }  # fmt: skip
        most = page_rows or PAGE_ROWS
        left = sys.maxsize if limit is None else limit

        def ask(cursor: str | None) -> Answer:
            rows = min(most, left)
            return self._http.begin("/ticks/historical", params | {"limit": rows, "cursor": cursor})

        with ThreadPoolExecutor(1, "ticktape-pages") as ahead:
            coming = ahead.submit(ask, None)
            while True:
                answer = coming.result()
                left -= min(most, left)
                cursor = answer.headers.get("ticktape-next-cursor")
                more = cursor is not None and left > 0
                if more:  # the server makes the next page while this one comes
                    coming = ahead.submit(ask, cursor)
                table = _table(answer.read())
                yield Table(table, [_about(table)], _constants(schema))
                if not more:
                    return

    def estimate(
        self, *, symbols: str | Sequence[str], schema: str = "trades", start: str | int, end: str | int | None = None
    ) -> dict[str, Any]:
        """Return what a question would read, before it is asked."""
        names = symbols if isinstance(symbols, str) else ",".join(symbols)
        return self._http.get(
            "/estimate", dict[str, Any], symbols=names, start_time=start, end_time=end, **_what(schema)
        )


def _what(schema: str) -> dict[str, str]:
    if schema.startswith("bars-"):
        return {"interval": schema.removeprefix("bars-")}
    if schema not in ("trades", "quotes", "book"):
        raise BadInput(f"no schema '{schema[:40]}'", hint="trades, quotes, book, bars-1m")
    return {"kind": schema}


def _constants(schema: str) -> dict[str, Any]:
    return {"timeframe": schema.removeprefix("bars-")} if schema.startswith("bars-") else {}


def _table(body: bytes) -> Any:
    pa = optional("pyarrow")
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        return reader.read_all()


def _about(table: Any) -> dict[str, Any]:
    metadata: dict[bytes, bytes] = table.schema.metadata or {}
    return msgspec.json.decode(metadata.get(b"ticktape", b"{}"), type=dict[str, Any])
