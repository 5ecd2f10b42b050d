"""R30: a backfill refused, killed halfway and begun again while live goes on: each once, nothing fetched twice."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from crash_support import Venue, poll, start_recorder, venue
from test_kill import compare, fresh_trades, kill, published, stop

from ticktape.model.records import Flag, Kind
from ticktape.tape.reader import Reader

SYMBOLS = 2
HISTORY = "/api/v3/historicalTrades"


class Between:
    """Stands between a recorder and the venue's REST: counts what history was fetched, and can refuse or hold."""

    def __init__(self, rest_url: str) -> None:
        self.rest_url = rest_url
        self.fetched: list[tuple[str, int]] = []  # (symbol, id) of every row that went out
        self.pages = self.refused = 0
        self.refuse_at = self.hold_at = -1  # number of a page of history
        self.holding, self.let_go = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def answer(self, target: str, own: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Return what the venue says, or our refusal."""
        if not target.startswith(HISTORY):
            return self._ask(target, own)
        with self._lock:
            number = self.pages
            self.pages += 1
        if number == self.refuse_at:
            self.refused += 1
            return 429, b'{"code":-1003,"msg":"Too many requests"}', {"Retry-After": "1"}
        status, body, headers = self._ask(target, own)
        if number == self.hold_at:
            self.holding.set()
            self.let_go.wait(30)
        symbol = target.partition("symbol=")[2].partition("&")[0]
        self.fetched += [(symbol, row["id"]) for row in json.loads(body)]
        return status, body, headers

    def _ask(self, target: str, own: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(self.rest_url + target, headers=own)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read(), {}
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read(), {}


@contextmanager
def between(market: Venue) -> Generator[Between]:
    middle = Between(market.rest_url)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own = {name: value for name, value in self.headers.items() if name.lower().startswith("x-mbx")}
            status, body, headers = middle.answer(self.path, own)
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                return  # the recorder was killed

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    market.rest_url, own = f"http://127.0.0.1:{server.server_address[1]}", market.rest_url
    try:
        yield middle
    finally:
        market.rest_url = own
        middle.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.timeout(120)
def test_r30_a_fill_that_is_refused_and_killed_halfway_goes_on_and_fetches_nothing_twice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with venue(tmp_path, paced=10_000, symbols=SYMBOLS) as market, between(market) as middle:
        process = start_recorder(market, data, tmp_path / "log", SYMBOLS)
        poll(lambda: len(fresh_trades(data, 0)) == SYMBOLS if published(data) else False)
        kill(process, data)
        made = market.ledger_lines()
        poll(lambda: market.ledger_lines() > made + 20_000)  # about twenty pages are missed

        middle.refuse_at, middle.hold_at = 4, 12
        before = published(data)
        process = start_recorder(market, data, tmp_path / "log", SYMBOLS)
        poll(middle.holding.is_set)
        assert len(fresh_trades(data, before)) == SYMBOLS  # live goes on while history comes
        promise = kill(process, data)
        middle.let_go.set()
        stored = backfilled(data)
        assert middle.refused == 1
        assert 5_000 < stored < 20_000  # halfway, and what came is on the tape

        before = published(data)
        last = start_recorder(market, data, tmp_path / "log", SYMBOLS)
        poll(lambda: len(fresh_trades(data, before)) == SYMBOLS)
        promise.check(data)
        market.rest_url, ours = middle.rest_url, market.rest_url
        market.order(fault="burst", factor=0.0, seconds=3600)
        market.rest_url = ours
        compare(market, data)
        stop(last, data)
        twice = len(middle.fetched) - len(set(middle.fetched))
        # The page in the air when it was killed, and what a page has beyond the hole it was asked for.
        assert twice <= 1000 + 1000 * SYMBOLS
        assert backfilled(data) > 20_000


def backfilled(data: Path) -> int:
    """Return how many trades of a tape came from history."""
    reader = Reader(data / "tape")
    records = reader.view(reader.first, reader.end)
    return int(((records["kind"] == Kind.TRADE) & (records["flags"] & Flag.BACKFILLED > 0)).sum())
