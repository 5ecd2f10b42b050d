"""What a page in a browser may do: nothing from elsewhere unless it is listed; and the headers that tell it so."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest
from serve_support import House, serving, until

from ticktape.errors import Misconfigured
from ticktape.serve.process import ServeSettings, serve

DESK = "https://desk.example"
EVIL = ["https://evil.example", "null", "https://desk.example.evil.example", "http://desk.example",
        "https://desk.example:444", "https://127.0.0.1", "http://127.0.0.1.evil.example", "desk.example"]  # fmt: skip


@pytest.mark.asyncio
async def test_x14_pages_from_elsewhere_are_refused_and_listed_ones_may_read(house: House) -> None:
    async with serving(house, origins=(DESK,)) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        for path, origin in [(path, origin) for path in ("/healthz", "/api/v1/status") for origin in EVIL]:
            answer = await client.get(path, headers={"Origin": origin})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "bad_origin"), origin
            assert "access-control-allow-origin" not in answer.headers
        own = await client.get("/api/v1/status", headers={"Origin": f"http://127.0.0.1:{client.port}"})
        assert (own.status_code, "access-control-allow-origin" in own.headers) == (200, False)
        for path in ("/api/v1/status", "/api/v1/nothing"):  # an error has to be readable too
            listed = await client.get(path, headers={"Origin": DESK})
            assert listed.headers["access-control-allow-origin"] == DESK
            assert "Origin" in listed.headers["vary"]
            assert "access-control-allow-credentials" not in listed.headers


@pytest.mark.asyncio
@pytest.mark.parametrize(("origin", "status"), [(DESK, 204), ("https://evil.example", 403)])
async def test_x14_a_page_that_asks_first_is_told_what_it_may(house: House, origin: str, status: int) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with serving(house, origins=(DESK,)) as client:
        client.headers.pop("Authorization")
        answer = await client.options("/api/v1/sql", headers=asked)
        assert answer.status_code == status
        assert ("access-control-allow-methods" in answer.headers) == (status == 204)
        assert (await client.options("/api/v1/sql", headers={"Origin": DESK})).status_code == 401, "no question at all"


@pytest.mark.asyncio
async def test_x15_no_page_is_listed_by_default(house: House) -> None:
    async with serving(house) as client:
        answer = await client.post("/api/v1/sources/binance/stop", headers={"Origin": DESK})
        assert answer.status_code == 403


@pytest.mark.asyncio
async def test_headers_without_end_are_refused(house: House) -> None:
    async with serving(house) as client:
        for headers in ({"X-Long": "x" * 20_000}, {f"X-{n}": "1" for n in range(200)}):
            answer = await client.get("/api/v1/status", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (431, "headers_too_large")


@pytest.mark.asyncio
async def test_every_answer_tells_a_browser_what_it_may_not(house: House) -> None:
    async with serving(house) as client:
        for path in ("/healthz", "/docs", "/openapi.json", "/api/v1/nothing", "/api/v1/keys"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "strict-transport-security" not in headers


# -- TLS -------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path, ssl.SSLContext]:
    """Return a certificate of 127.0.0.1, its key, and a context that trusts it."""
    trustme = pytest.importorskip("trustme")
    authority: Any = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key, trusting = folder / "cert.pem", folder / "key.pem", ssl.create_default_context()
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    authority.configure_trust(trusting)
    return cert, key, trusting


@pytest.mark.asyncio
async def test_x28_over_tls_it_answers_those_who_trust_its_certificate(house: House, tmp_path: Path) -> None:
    cert, key, trusting = certificate(tmp_path)
    stop, listen = asyncio.Event(), socket.socket()
    listen.bind(("127.0.0.1", 0))
    listen.listen()
    told = ServeSettings(data=house.data, tls_cert=cert, tls_key=key)
    task = asyncio.create_task(serve(told, stop, listen=listen, clock=house.clock))
    address = f"https://127.0.0.1:{listen.getsockname()[1]}"
    async with httpx2.AsyncClient(base_url=address, verify=trusting) as client:
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.headers["strict-transport-security"]) == (200, "max-age=31536000")
    async with httpx2.AsyncClient(base_url=address) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("/healthz")
    stop.set()
    await task


@pytest.mark.asyncio
async def test_a_certificate_that_cannot_be_used_is_said_before_the_port_is_taken(house: House, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    bad = tmp_path / "bad.pem"
    wrong: list[dict[str, Any]] = [
        {"tls_cert": bad}, {"tls_key": bad}, {"tls_cert": bad, "tls_key": bad},
        {"tls_cert": tmp_path / "x", "tls_key": bad}
    ]  # fmt: skip
    for told in wrong:
        with pytest.raises(Misconfigured):
            await serve(ServeSettings(data=house.data, **told), asyncio.Event())
