"""Questions through the Python client, over a real server: exact, typed, in every library's form, refused in words."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest
from mcp_support import answering, furnish
from serve_support import MS, T0, House

import ticktape
from ticktape.client import ApiError, Away, Client, Denied, Refused, Trade, http, records, timeseries
from ticktape.errors import BadInput, Misconfigured, Unavailable
from ticktape.serve import answers as a

T = TypeVar("T")
DAY: dict[str, Any] = {"start": "2025-11-20", "end": "2025-11-21"}


async def asked(house: House, question: Callable[[Client], T], **key: Any) -> T:
    """Ask over a real server, off its loop."""
    async with answering(house) as server:
        with Client(house.key(**key), f"http://127.0.0.1:{server.port}") as client:
            return await asyncio.to_thread(question, client)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (records.Trade, a.Tick),
        (records.AggregatedTrade, a.Tick),
        (records.Quote, a.Quote),
        (records.BookLevel, a.BookLevel),
        (records.Bar, a.NamedBar),
        (records.Gap, a.GapRow),
    ],
)
def test_records_have_the_fields_of_the_server(ours: type[msgspec.Struct], theirs: type[msgspec.Struct]) -> None:
    own = {"kind"} if ours is not records.Gap and ours is not records.Bar else set[str]()
    only_stream = {"position", "timeframe", "basis"} if ours is records.Bar else set[str]()
    assert set(ours.__struct_fields__) | own == set(theirs.__struct_fields__) | only_stream


@pytest.mark.asyncio
async def test_a_range_is_exact_in_every_form(house: House) -> None:
    furnish(house, 300)

    def ask(client: Client) -> None:
        table = client.timeseries.get_range(symbols="BTCUSDT", schema="trades", **DAY)
        prices = [Decimal(6543210000000 + k * MS) / 10**8 for k in range(300)]
        assert len(table) == 300
        assert table.to_arrow().column("price").to_pylist() == prices
        assert table.to_polars()["price"].to_list() == prices
        assert table.to_pandas()["price"].tolist() == prices
        columns = table.to_numpy()
        assert columns["price"].dtype == np.int64
        assert columns["price"].tolist() == [int(p.scaleb(table.scales["price"])) for p in prices]
        assert columns["ts_event"].tolist() == [T0 + k * MS for k in range(300)]
        assert table.to_polars(floats=True)["price"].to_list() == [float(p) for p in prices]
        assert table.to_numpy(floats=True)["price"].tolist() == [float(p) for p in prices]
        assert table.to_pandas()["ts_event"][0].isoformat() == "2025-11-20T12:00:00+00:00"
        assert [trade.price for trade in table if isinstance(trade, Trade)] == prices
        assert not table.sample

    await asked(house, ask)


@pytest.mark.asyncio
async def test_pages_become_one_range_and_limits_hold(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(house, 300)
    monkeypatch.setattr(timeseries, "PAGE_ROWS", 110)

    def ask(client: Client) -> None:
        pages = list(client.timeseries.pages(symbols=["BTCUSDT", "/ES"], **DAY, page_rows=70))
        assert [len(page) for page in pages] == [70] * 8 + [40]
        limited = list(client.timeseries.pages(symbols=["BTCUSDT"], **DAY, limit=100, page_rows=70))
        assert [len(page) for page in limited] == [70, 30]
        whole = client.timeseries.get_range(symbols=["BTCUSDT", "/ES"], **DAY)
        assert whole.to_numpy()["position"].tolist() == [
            place for page in pages for place in page.to_numpy()["position"].tolist()
        ]
        assert whole.to_polars()["symbol"].to_list() == ["BTCUSDT"] * 300 + ["/ES"] * 300
        assert [gap["state"] for gap in whole.gaps] == ["closed"]
        bars = client.timeseries.get_range(symbols="BTCUSDT", schema="bars-100ms", **DAY)
        assert bars.to_arrow().column("count").to_pylist() == [100] * 3
        nothing = client.timeseries.get_range(symbols="BTCUSDT", start="2025-11-19", end="2025-11-20")
        assert len(nothing) == 0
        assert nothing.missing
        assert client.timeseries.estimate(symbols="BTCUSDT", **DAY)["allowed"] is True

    await asked(house, ask)


@pytest.mark.asyncio
async def test_every_question_is_answered(house: House) -> None:
    furnish(house)

    def ask(client: Client) -> None:
        latest = client.latest("/ES")
        assert latest.quote is not None
        assert latest.trade is not None
        assert latest.trade.venue_id == 300
        bars = client.bars("BTCUSDT", "1s", limit=5)
        assert isinstance(bars, list)
        assert [(bar.symbol, bar.timeframe, bar.count) for bar in bars] == [("BTCUSDT", "1s", 300)]
        assert len(client.bars("BTCUSDT", "100ms", **DAY)) == 3
        assert [gap.state for gap in client.gaps("/ES", state="closed")] == ["closed"]
        assert client.status()["version"] == ticktape.__version__
        assert [row["symbol"] for row in client.instruments()] == ["BTCUSDT", "/ES"]
        assert client.certificate("BTCUSDT", "2025-11-20")["symbol"] == "BTCUSDT"
        assert client.sql("select 1 as one, 'x' as two") == [{"one": 1, "two": "x"}]

    await asked(house, ask)


@pytest.mark.asyncio
async def test_refusals_are_typed_and_carry_the_hint_and_the_id(house: House) -> None:
    furnish(house)

    def ask(client: Client) -> None:
        for question, kind, code in (
            (lambda: client.latest("NOBODY"), Refused, "unknown_symbol"),
            (lambda: client.timeseries.get_range(symbols="BTCUSDT", start="soon"), Refused, "bad_input"),
            (lambda: client.timeseries.get_range(symbols="BTCUSDT", start="2025-11-20", schema="x"), BadInput, None),
            (lambda: client.sql("drop table trades"), Refused, "bad_input"),
        ):
            with pytest.raises(kind) as told:
                question()
            assert told.value.hint
            if isinstance(told.value, ApiError):
                assert told.value.code == code
                assert told.value.request_id
                assert told.value.status in (404, 422)

    await asked(house, ask)
    with pytest.raises(Denied) as told:
        await asked(house, lambda client: client.sql("select 1"), scopes=["realtime"])
    assert told.value.status == 403


@pytest.mark.asyncio
async def test_a_client_that_is_told_to_wait_waits_and_asks_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.enrol("BTCUSDT")
    waited = list[float]()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        house.clock.advance(int(seconds * 1e9))

    monkeypatch.setattr("ticktape.client.http.time.sleep", wait)
    found = await asked(house, lambda client: [client.status() for _ in range(3)], per_s=1.0)
    assert len(found) == 3
    assert waited
    assert all(seconds >= 1 for seconds in waited)


def test_without_a_server_it_says_what_to_start(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TRIES", 1)
    with pytest.raises(Away) as told:
        Client("tt_x", f"http://127.0.0.1:{port}").status()
    assert told.value.hint == "ticktape up"
    assert isinstance(told.value, Unavailable)


def test_key_and_address_come_from_the_environment_and_the_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKTAPE_API_KEY", raising=False)
    with pytest.raises(Misconfigured, match="no API key"):
        Client()
    monkeypatch.setenv("TICKTAPE_API_KEY", "tt_abcdefgh_SECRET")
    monkeypatch.setenv("TICKTAPE_ADDRESS", "https://ticks.example:1/")
    with Client() as client:
        assert client._settings.address == "https://ticks.example:1"  # pyright: ignore[reportPrivateUsage]
        assert client._settings.stream == "wss://ticks.example:1"  # pyright: ignore[reportPrivateUsage]
        assert "SECRET" not in repr(client) + repr(client._settings)  # pyright: ignore[reportPrivateUsage]
    for address in ("ftp://x", "nonsense", "http://"):
        with pytest.raises(Misconfigured, match="not an address"):
            Client(address=address)
    with pytest.raises(Misconfigured, match="no API key"):
        Client("two words")


def test_a_missing_library_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(Misconfigured) as told:
        http.optional("polars")
    assert told.value.hint == "pip install polars"


@pytest.mark.asyncio
async def test_download_is_one_line(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(house)
    async with answering(house) as server:
        monkeypatch.setenv("TICKTAPE_API_KEY", house.key())
        monkeypatch.setenv("TICKTAPE_ADDRESS", f"http://127.0.0.1:{server.port}")
        frame = await asyncio.to_thread(ticktape.download, "BTCUSDT", interval="100ms", **DAY)
        assert list(frame.columns) == ["Open", "High", "Low", "Close", "Volume"]
        assert frame["Open"].tolist() == [65432.1, 65433.1, 65434.1]
        assert frame.index[0].isoformat() == "2025-11-20T12:00:00+00:00"
        with pytest.raises(BadInput, match="no period"):
            ticktape.download("BTCUSDT", period="a while")


def test_opening_a_folder_reads_tape_and_lake_in_place(house: House) -> None:
    furnish(house)
    with ticktape.open(house.data) as opened:
        view = opened.tape()
        assert view.base is not None  # a view, not a copy
        assert not view.flags.writeable
        assert len(view) == opened.end - opened.first
        assert len(opened.market("BTCUSDT")) == 600
        assert opened.latest("/ES", 3).records["c"].tolist() == [298, 299, 300]
        assert opened.read("trades", "BTCUSDT").num_rows == 300
        assert opened.read("trades", None, T0 + 10 * MS, T0 + 20 * MS).num_rows == 20
        house.trades(opened.instrument("BTCUSDT"), 5, first_id=301)
        assert opened.latest("BTCUSDT").records["c"].tolist() == [300]
        opened.refresh()
        assert opened.latest("BTCUSDT").records["c"].tolist() == [305]
        assert opened.read("trades", "BTCUSDT").num_rows == 305
        with pytest.raises(BadInput):
            opened.read("secrets", None)


def test_opening_what_is_no_data_folder_creates_nothing(house: House) -> None:
    with pytest.raises(Misconfigured):
        ticktape.open(house.data / "nowhere")
    assert not (house.data / "nowhere").exists()


def test_importing_ticktape_loads_no_client() -> None:
    code = "import ticktape, sys; print({'numpy', 'httpx2', 'pyarrow', 'ticktape.client'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
