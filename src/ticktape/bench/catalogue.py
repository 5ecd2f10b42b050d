"""Every bench by name: what it measures, its unit, what it must reach on two shared cores, and who stands beside us.

Nothing heavy is imported here: what runs a bench is named as `module:function` and loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ticktape.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INSTALL_PEERS = "pip install 'ticktape[peers]'"


class Goal(NamedTuple):
    """A bound on one figure of a result: `value`, `p50`, `p99`, `ratio` or one of its extra figures."""

    figure: str
    limit: float
    at_most: bool = False

    def reached(self, figures: dict[str, Any]) -> bool | None:
        """Say whether the figure keeps the bound; None when it was not measured."""
        found = figures.get(self.figure)
        if not isinstance(found, int | float):
            return None
        return found <= self.limit if self.at_most else found >= self.limit

    def text(self) -> str:
        """Return the bound as a person writes it."""
        number = f"{self.limit:,.0f}" if self.limit >= 1000 else f"{self.limit:g}"
        name = "" if self.figure == "value" else f"{self.figure} "
        return f"{name}{'<=' if self.at_most else '>='} {number}{'x' if self.figure == 'ratio' else ''}"


class Entry(NamedTuple):
    """One bench. `run` and `peer` are `module:function` under this package; a bench may have no peer."""

    name: str
    unit: str
    what: str
    goals: tuple[Goal, ...]
    run: str
    peer: str = ""

    def function(self) -> Callable[..., Any]:
        """Load what measures us."""
        return _load(self.run)

    def peer_function(self) -> Callable[..., Any]:
        """Load what measures the peer."""
        return _load(f"peers.{self.peer}")

    @property
    def peer_name(self) -> str:
        """The package of the peer, or an empty string."""
        return self.peer.partition(":")[0].removesuffix("_peer")


def _load(where: str) -> Callable[..., Any]:
    module, _, function = where.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"ticktape.bench.{module}"), function)
    return found


def _rate(limit: float) -> Goal:
    return Goal("value", limit)


def _most(figure: str, limit: float) -> Goal:
    return Goal(figure, limit, at_most=True)


ENTRIES = (
    Entry(
        "tape.append", "records/s", "judge, chain, commit; batches of 1,000; level process",
        (_rate(8e6),), "tape:append", "lmdb_peer:append",
    ),
    Entry(
        "tape.append_one", "records/s", "the same, one record a call",
        (_rate(4e5),), "tape:append_one", "lmdb_peer:append_one",
    ),
    Entry(
        "tape.append_power", "ms", "appended to durable at 100 k ticks/s, group commit 20 ms",
        (_most("p99", 30),), "tape:append_power",
    ),
    Entry(
        "tape.latest", "us", "last 100 of one instrument out of 36 M records of 1,000, in process",
        (_most("p50", 5),), "past:latest", "lmdb_peer:latest",
    ),
    Entry(
        "tape.reopen", "s", "36 M records after kill -9: open, rebuild, follow, first answer",
        (_most("value", 2),), "past:reopen",
    ),
    Entry(
        "tape.tail", "ms", "appended in one process, absorbed in another, at 100 k ticks/s",
        (_most("p50", 1), _most("p99", 10)), "tail:tail",
    ),
    Entry(
        "bars.build", "ticks/s", "all seven timeframes, 8 instruments, 1,000 ticks/s of market time",
        (_rate(4e7), Goal("ratio", 50)), "bars:build", "nautilus_trader_peer:build",
    ),
    Entry(
        "bars.build_1000", "ticks/s", "the same, 1,000 instruments, 10,000 ticks/s of market time",
        (), "bars:build_1000",
    ),
    Entry(
        "binance.decode", "frames/s", "raw trade frames to appended records, one core",
        (_rate(4e5), Goal("ratio", 2)), "binance:decode", "cryptofeed_peer:decode",
    ),
    Entry(
        "binance.wire", "frames/s", "simulated venue to tape over a real socket, none lost",
        (_rate(1.2e5),), "binance:wire",
    ),
    Entry(
        "query.realtime", "ms", "HTTP, latest 100 ticks while 100 k ticks/s come in",
        (_most("p50", 1.5), _most("p99", 10)), "query:realtime",
    ),
    Entry(
        "lake.flush", "rows/s", "tape to committed Parquet, trades; queries beside it (query_ratio)",
        (_rate(3e6), _most("query_ratio", 1.3)), "flushing:flush",
    ),
    Entry(
        "lake.bytes", "B", "a row of trades on disk: made-up MNQ (mnq), the real Binance capture where it is (real)",
        (_most("mnq", 10), _most("real", 12)), "flushing:size",
    ),
    Entry(
        "lake.restart", "s", "killed in mid-flush with 36 M records pending: consistent and answering",
        (_most("value", 5),), "flushing:restart",
    ),
    Entry(
        "lake.year_raw", "s", "a symbol's year, 125 M trades, to 1 h bars from raw",
        (_most("value", 3.5), Goal("ratio", 1)), "history:year_raw", "polars_peer:year_raw",
    ),
    Entry(
        "lake.year_bars", "ms", "the same from stored bars; 200 symbols 1 m to 1 d in seconds (many)",
        (_most("p50", 50), _most("many", 1.3)), "history:year_bars",
    ),
    Entry(
        "lake.day", "ms", "one symbol-day of 1 m bars among 200 symbols",
        (_most("p50", 15),), "history:day",
    ),
    Entry(
        "lake.asof", "ms", "as-of join of 500 k trades to 5 M quotes",
        (Goal("ratio", 1),), "history:asof", "polars_peer:asof",
    ),
    Entry(
        "lake.gaps", "s", "certificates of 200 symbols over a year",
        (_most("value", 10),), "history:gaps",
    ),
    Entry(
        "stream.latency", "ms", "tick in to WebSocket out, 100 k ticks/s in, 100 clients",
        (_most("p50", 5), _most("p99", 25)), "stream:latency",
    ),
    Entry(
        "stream.10k", "ms", "10,000 clients, 20 k messages/s conflated",
        (_most("p99", 150), _most("connected_s", 20), _most("client_kib", 30)), "stream:ten_thousand",
    ),
    Entry(
        "stream.slow", "x", "the others' p99 when 1 % of the clients stop reading",
        (_most("value", 1.2),), "stream:slow",
    ),
    Entry(
        "stream.send", "us", "one tick to 1,000 clients, processor time a send",
        (Goal("ratio", 1),), "stream_send:send", "picows_peer:send",
    ),
    Entry(
        "stream.broadcast", "us", "the same beside websockets.broadcast",
        (Goal("ratio", 2),), "stream_send:send", "websockets_peer:send",
    ),
    Entry("ui.paint", "ms", "first contentful paint, 10 k ticks/s written", (_most("value", 500),), "ui:paint"),
    Entry("ui.interactive", "ms", "the desk drawn and hearing keys", (_most("value", 1000),), "ui:interactive"),
    Entry(
        "ui.frame", "ms", "between frames, 60 symbols in sight at 10 Hz; tasks above 50 ms (long_tasks)",
        (_most("long_tasks", 0),), "ui:frame",
    ),
    Entry("ui.bytes", "kB", "transferred by all views, empty cache", (_most("value", 250),), "ui:transferred"),
    Entry(
        "replay.fast", "events/s", "flat out to one Python client; in process (in_process)",
        (_rate(3e5), Goal("in_process", 5e6)), "replay:fast",
    ),
    Entry(
        "replay.jitter", "ms", "late at 1x; seek (seek_ms)",
        (_most("p99", 5), _most("seek_ms", 200)), "replay:jitter",
    ),
    Entry(
        "query.100", "ms", "100 clients that never pause, for 30 s: latest 10 ticks each time, no error",
        (_most("p95", 50),), "crowd:hundred",
    ),
    Entry(
        "mcp.call", "ms", "a tool call by the official SDK's client: latest, bars, ticks, a moment",
        (_most("p95", 100),), "mcp:call",
    ),
    Entry(
        "client.arrow", "rows/s", "10 M rows of trades over HTTP into Polars",
        (_rate(3e6),), "client:arrow",
    ),
    Entry(
        "memory", "MB", "record and serve after 36 M ticks, an hour of 1,000 instruments; page cache apart",
        (_most("value", 600), _most("growth", 30)), "memory:memory",
    ),
)  # fmt: skip

NAMES = tuple(entry.name for entry in ENTRIES)


def chosen(names: Sequence[str]) -> list[Entry]:
    """Return the benches of those names in the order of the list; all when there are none. Raises BadInput."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise BadInput(f"no bench '{unknown[0][:60]}'; there are {', '.join(NAMES)}", hint="ticktape bench --list")
    return [entry for entry in ENTRIES if not names or entry.name in names]
