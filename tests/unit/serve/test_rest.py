"""The REST door over a real server: what each route answers, and to whom."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from fastapi.routing import APIRoute
from serve_support import MS, SECOND, T0, House, serving, until

from ticktape.model.records import GapState, Status
from ticktape.serve import answers as a
from ticktape.serve.control import Control
from ticktape.serve.doors import docs, rest
from ticktape.serve.doors.gate import PUBLIC
from ticktape.serve.keys import KeyStore, Scope
from ticktape.serve.limits import Limits

READS = [
    ("/api/v1/ticks/realtime?symbols=BTCUSDT&limit=2", a.Ticks),
    ("/api/v1/quotes/latest/BTCUSDT", a.LatestQuote),
    ("/api/v1/quotes/history/BTCUSDT?limit=2", a.Quotes),
    ("/api/v1/ohlc/BTCUSDT?timeframe=1s&limit=2", a.Ohlc),
    ("/api/v1/ohlc/latest/BTCUSDT", a.OhlcLatest),
    ("/api/v1/gaps", a.GapsAnswer),
    ("/api/v1/status", a.StatusAnswer),
    ("/api/v1/instruments", a.Instruments),
    ("/api/v1/sources", a.SourcesAnswer),
]
WITH_RAW = {
    a.Historical,
    a.BarsAnswer,
    a.AsofAnswer,
    a.CompletenessAnswer,
    a.SqlAnswer,
    a.Ticks,
    a.LatestQuote,
    a.Quotes,
    a.Ohlc,
    a.OhlcLatest,
    a.Instruments,
    a.SourcesAnswer,
    a.StatusAnswer,
    a.PipelineStats,
    a.Done,
}
ROW_FIELDS = {"ticks": list[a.Tick], "quotes": list[a.Quote], "bars": list[a.Bar], "quote": a.Quote, "trade": a.Tick}


def furnish(house: House) -> None:
    """Give the tape one of everything."""
    btc = house.enrol("BTCUSDT")
    house.status(Status.RECORDER_UP, source=0)
    house.status(Status.SOURCE_UP)
    house.trades(btc, 2)
    house.gap(btc.id, GapState.CLOSED, start=T0 + MS, duration_ns=400 * MS, ids=(3, 41))
    house.trades(btc, 2, T0 + SECOND, 42)
    house.quotes(btc, 2, T0 + SECOND)
    house.clock.advance(SECOND + 31 * MS)


def hold_to_type(body: Any, kind: type[msgspec.Struct]) -> None:
    """Check an answer, rows included, against its declared type: no field more, none less."""
    assert set(body) == set(kind.__struct_fields__)
    for name, rows in (ROW_FIELDS | ({"ticks": list[a.AsofTick]} if kind is a.AsofAnswer else {})).items():
        if body.get(name) is not None:
            msgspec.convert(body[name], rows, strict=False)
    for bar in body.get("timeframes", {}).values():
        msgspec.convert(bar, a.Bar, strict=False)
    if kind not in WITH_RAW:
        msgspec.convert(body, kind, strict=False)


@pytest.mark.asyncio
async def test_every_read_answers_its_declared_type(house: House) -> None:
    furnish(house)
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        for target, kind in READS:
            answer = await client.get(target)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), target
            hold_to_type(answer.json(parse_float=Decimal), kind)


@pytest.mark.asyncio
async def test_numbers_on_the_wire_are_exact_json_numbers(house: House) -> None:
    furnish(house)
    async with serving(house) as client:
        answer = await until(lambda: client.get("/api/v1/ticks/realtime?symbols=BTCUSDT&limit=1"), 200)
    assert '"price":65432.11,"size":0.12345,"venue_id":43' in answer.text
    assert f'"ts_event":{T0 + SECOND + MS},"ts_recv":{T0 + SECOND + 2 * MS}' in answer.text
    assert answer.json()["freshness"]["age_s"] == 0.029


@pytest.mark.asyncio
async def test_odd_symbols_come_back_as_they_were_asked_for(house: House) -> None:
    symbols = ["/ES", "BRK/B", ".SPXW240119P4975", "NQ=F", "^VIX", "/NQZ26:XCME", "latest"]
    paths = ["quotes/latest/", "quotes/history/", "ohlc/", "ohlc/latest/", "gaps?symbol=", "ticks/realtime?symbols="]
    for symbol in symbols:
        house.trades(house.enrol(symbol), 1)
        house.quotes(house.enrol(symbol), 1)
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        for symbol, path in product(symbols, paths):
            encoded = "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in symbol)
            for said in (symbol.replace("^", "%5E"), encoded):
                status, body = await client.exactly(f"/api/v1/{path}{said}")
                assert status == 200, (path, said, body)
                found = json.loads(body)
                assert found.get("symbol", symbol) == symbol
                assert [part["symbol"] for part in found.get("symbols", ())] in ([], [symbol])


# -- who may -------------------------------------------------------------------------------------


def app_of(house: House) -> Any:
    keys = KeyStore(house.data, house.clock)
    app = rest.build(rest.Parts(keys, Limits(house.clock), Control(house.data / "record.sock")))
    keys.close()
    return app


def needs_of(route: APIRoute) -> list[rest.Needs]:
    return [d.call for d in route.dependant.dependencies if isinstance(d.call, rest.Needs)]


def concrete(route: APIRoute) -> str:
    path = route.path.replace("{symbol:path}", "BTCUSDT").replace("{name}", "binance")
    return path.replace("{date}", "2025-11-20").replace("{prefix}", "nobody00")


def test_x03_every_route_is_public_by_name_or_names_its_scopes(house: House) -> None:
    routes = [route for route in app_of(house).routes if isinstance(route, APIRoute)]
    assert len(routes) == len(app_of(house).routes)  # nothing of another kind stands beside
    for route in routes:
        assert len(needs_of(route)) == (0 if route.path in PUBLIC else 1), route.path
    assert {route.path for route in routes if not needs_of(route)} == PUBLIC


@pytest.mark.asyncio
async def test_without_a_key_nothing_is_answered_not_even_what_exists(house: House) -> None:
    routes = [(method, concrete(r)) for r in app_of(house).routes for method in r.methods if r.path not in PUBLIC]
    async with serving(house) as client:
        client.headers.pop("Authorization")
        for method, path in [*routes, ("GET", "/api"), ("GET", "/api/v1/nothing"), ("DELETE", "/api/v1/status")]:
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) in {(401, "bad_key"), (429, "too_many")}, path
            assert answer.status_code == 429 or answer.headers["www-authenticate"].startswith("Bearer")
        assert (await client.get("/healthz")).json() == {"ok": True}


@pytest.mark.asyncio
@pytest.mark.parametrize("scope", list(Scope))
async def test_x03_each_scope_opens_its_routes_and_no_others(house: House, scope: Scope) -> None:
    furnish(house)
    routes = [r for r in app_of(house).routes if r.path not in PUBLIC]
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        client.headers["Authorization"] = f"Bearer {house.key([scope])}"
        for route in routes:
            (method,) = route.methods
            asked = "?symbols=BTCUSDT&symbol=BTCUSDT&start_time=2025-11-20&end_time=2025-11-21&most=1"
            body = b'{"query": "SELECT 1"}' if route.path.endswith("/sql") else b"{}" if method == "POST" else None
            answer = await client.request(method, concrete(route) + asked, content=body)
            allowed = scope in needs_of(route)[0].scopes
            orders = method == "POST" and not route.path.endswith("/sql")
            expected = ({503} if orders else {200}) if allowed else {403}  # no recorder is running
            if "/keys" in route.path and allowed:
                expected = {200, 422}  # there is no such key, and a key needs a name
            assert answer.status_code in expected, (scope, route.path, answer.text)
            if not allowed:
                assert answer.json()["error"]["code"] == "forbidden"
                assert "lacks scope" in answer.json()["error"]["message"]


@pytest.mark.asyncio
async def test_x03_a_key_for_some_symbols_reads_no_others(house: House) -> None:
    furnish(house)
    house.trades(house.enrol("ETHUSDT"), 1)
    async with serving(house, house.key(symbols=["ETHUSDT"])) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        for path in ("ticks/realtime?symbols=ETHUSDT,BTCUSDT", "quotes/latest/BTCUSDT", "quotes/history/BTCUSDT",
                     "ohlc/BTCUSDT", "ohlc/latest/BTCUSDT", "gaps?symbol=BTCUSDT"):  # fmt: skip
            assert (await client.get(f"/api/v1/{path}")).status_code == 403, path
        assert (await client.get("/api/v1/ohlc/ETHUSDT")).status_code == 200
        assert [i["symbol"] for i in (await client.get("/api/v1/instruments")).json()["instruments"]] == ["ETHUSDT"]
        assert (await client.get("/api/v1/gaps")).json()["gaps"] == []


# Routes that speak of no instrument: a key for some symbols may ask them. Any other must refuse the rest.
NOT_BY_SYMBOL = {"/gaps/fill", "/status", "/instruments", "/sources", "/pipeline/stats", "/metrics"} | {
    "/pipeline/health",
    "/pipeline/feed-health",
    "/pipeline/alerts",
    "/admin/pipeline/cleanup",
    "/pipeline/host",
    "/keys/self",
    *(f"/sources/{{name}}/{order}" for order in ("start", "stop", "restart", "symbols")),
}


async def ask_every(client: Any, house: House) -> list[tuple[str, Any]]:
    """Ask every route that needs a key about BTCUSDT."""
    answers: list[tuple[str, Any]] = []
    for route in app_of(house).routes:
        if route.path not in PUBLIC:
            (method,) = route.methods
            asked = "?symbols=BTCUSDT&symbol=BTCUSDT&start_time=2025-11-20&end_time=2025-11-21&most=1"
            body = b'{"query": "SELECT 1"}' if route.path.endswith("/sql") else b"{}" if method == "POST" else None
            answers.append((route.path, await client.request(method, concrete(route) + asked, content=body)))
    return answers


@pytest.mark.asyncio
async def test_x03_no_route_forgets_the_symbols_of_a_key(house: House) -> None:
    furnish(house)
    house.enrol("ETHUSDT")
    async with serving(house, house.key(symbols=["ETHUSDT"])) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        for path, answer in await ask_every(client, house):
            if path.removeprefix(rest.PREFIX).removeprefix(rest.FORMER_PREFIX) not in NOT_BY_SYMBOL:
                assert answer.status_code == 403, (path, answer.text)
                assert "BTCUSDT" not in answer.text.replace("may not read BTCUSDT", "")


@pytest.mark.asyncio
@pytest.mark.parametrize(("scope", "allowed"), list(product(Scope, ["127.0.0.0/8", "10.0.0.0/8"])))
async def test_x03_no_route_forgets_the_addresses_of_a_key(house: House, scope: Scope, allowed: str) -> None:
    furnish(house)
    async with serving(house, house.key([scope], addresses=[allowed])) as client:
        for path, answer in await ask_every(client, house):
            foreign = answer.status_code == 403 and "may not be used from 127.0.0.1" in answer.text
            assert foreign == (allowed == "10.0.0.0/8"), (path, answer.text)
            if foreign:
                assert (answer.json()["error"]["code"], bool(answer.json()["error"]["hint"])) == ("forbidden", True)


@pytest.mark.asyncio
async def test_x03_no_route_forgets_the_end_of_a_key(house: House) -> None:
    furnish(house)
    async with serving(house, house.key(expires_s=60), failed_keys_per_minute=1000) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        house.clock.advance(60 * SECOND)
        for path, answer in await ask_every(client, house):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "bad_key"), path


@pytest.mark.asyncio
@pytest.mark.parametrize(("trusted", "status"), [((), 200), (("127.0.0.1",), 403)])
async def test_x03_a_forwarded_address_counts_only_from_a_proxy_we_trust(
    house: House, trusted: tuple[str, ...], status: int
) -> None:
    furnish(house)
    async with serving(house, house.key(addresses=["127.0.0.1"]), trusted_proxies=trusted) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        answer = await client.get("/api/v1/status", headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.status_code == status
        # Whoever is not let in by the key's list is told the address that counted, not the one it claims.
        assert status == 200 or "203.0.113.9" in answer.json()["error"]["message"]


@pytest.mark.asyncio
async def test_a_key_may_have_only_so_many_requests_under_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> msgspec.Raw:
        entered.set()
        await go_on.wait()
        return msgspec.Raw(b"null")

    furnish(house)
    monkeypatch.setattr(Control, "ask", slow)
    async with serving(house, house.key(at_once=1)) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        first = asyncio.create_task(client.get("/api/v1/sources"))
        await entered.wait()
        refused = await client.get("/api/v1/status")
        other = await client.get("/api/v1/status", headers={"Authorization": f"Bearer {house.key()}"})
        go_on.set()
        assert (refused.status_code, refused.headers["retry-after"], other.status_code) == (429, "1", 200)
        assert (await first).status_code == 200
        assert (await client.get("/api/v1/status")).status_code == 200


@pytest.mark.asyncio
async def test_x04_a_key_revoked_by_another_process_is_refused_at_once(house: House) -> None:
    made = house.keys.create("phone", ["realtime"])
    async with serving(house, made.key) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        house.keys.revoke(made.info.prefix)
        assert (await client.get("/api/v1/status")).status_code == 401


# -- how often -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_x06_asking_too_often_is_429_and_says_when_to_come_back(house: House) -> None:
    async with serving(house, house.key(per_s=4)) as client:
        answers = [await client.get("/api/v1/nothing") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [404] * 4 + [429]
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].json()["error"]["code"] == "too_many"
        house.clock.advance(250 * MS)
        assert (await client.get("/api/v1/nothing")).status_code == 404


@pytest.mark.asyncio
async def test_bad_keys_are_held_back_and_good_ones_not_with_them(house: House) -> None:
    async with serving(house, failed_keys_per_minute=3) as client:
        wrong = {"Authorization": "Bearer tt_AAAAAAAA_" + "A" * 43}
        assert [(await client.get("/api/v1/x", headers=wrong)).status_code for _ in range(5)] == [401] * 3 + [429] * 2
        assert (await client.get("/api/v1/x")).status_code == 404


# -- the document --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_document_has_every_route_with_an_example_and_needs_no_key(house: House) -> None:
    async with serving(house) as client:
        client.headers.pop("Authorization")
        document = (await client.get("/openapi.json")).json()
        page = await client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert len([m for methods in document["paths"].values() for m in methods]) == len(rest.routes(rest.Rest(None)))  # type: ignore[arg-type]
    text = json.dumps(document)
    for ref in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert ref in document["components"]["schemas"], ref


@pytest.mark.parametrize("route", [r for r in rest.routes(rest.Rest(None)) if r.answer], ids=lambda r: r.path)  # type: ignore[arg-type]
def test_every_example_is_what_the_route_answers(route: rest.Route) -> None:
    assert route.answer is not None
    hold_to_type(docs.example_of(f"{route.method} {route.path}"), route.answer)
    assert docs.summary(route.handler)
