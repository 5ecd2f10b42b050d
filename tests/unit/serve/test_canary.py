"""X5: what is secret stays where it was put: not in a log line, an error, the audit, or what the server measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from serve_support import House, serving, until

from ticktape.serve.doors import rest

OTHER = "hunter2-canary"


@pytest.mark.asyncio
async def test_x05_a_secret_is_nowhere_whatever_carried_it(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    house.enrol("BTCUSDT")
    key = house.key()
    secret = key[12:]
    strange = f"tt_AbCdEf12_{secret}"  # of no key that there is
    monkeypatch.setenv("ACME_API_KEY", OTHER)
    (tmp_path / ".env").write_text(f"ACME_API_KEY={OTHER}\n")
    said: list[str] = []
    with structlog.testing.capture_logs() as logs:
        async with serving(house, key, failed_keys_per_minute=100_000) as client:
            await until(lambda: client.get("/api/v1/status"), 200)
            for target in _targets(key, strange):
                for headers in _headers(key, strange):
                    answer = await client.request("POST" if "sql" in target else "GET", target, headers=headers)
                    said.append(f"{answer.text} {answer.headers}")
            for body in (key, json.dumps({"query": f"SELECT {key}"}), json.dumps({"query": f"SELECT '{strange}"}),
                         json.dumps({key: 1}), json.dumps({"name": key, "scopes": [key]})):  # fmt: skip
                for path in ("sql", "keys", "sources/binance/symbols", "gaps/fill"):
                    answer = await client.post(f"/api/v1/{path}", content=body)
                    said.append(f"{answer.text} {answer.headers}")
            monkeypatch.setattr(rest.Parts, "ask", _broken)
            said.append((await client.get(f"/api/v1/quotes/latest/{strange}?symbols={strange}")).text)
            said += [(await client.get(path)).text for path in ("/metrics", "/healthz", "/api/v1/keys")]
    files = [path for path in (house.data / "audit").iterdir() if path.is_file()]
    assert len(said) > 40
    assert len(files) >= 2
    for text in [*said, *(path.read_text() for path in files), *(_text_of(line) for line in logs)]:
        assert secret not in text, text
        assert OTHER not in text, text


def _targets(key: str, strange: str) -> list[str]:
    paths = ["quotes/latest/{}", "ohlc/{}", "ticks/realtime?symbols={}", "gaps?state={}", "status?api_key={}",
             "completeness/BTCUSDT/{}", "ticks/historical?symbols=BTCUSDT&start_time={}", "keys/{}/history",
             "bars/BTCUSDT?start_time=2025-11-20&cursor={}", "sql?format={}", "{}"]  # fmt: skip
    return [f"/api/v1/{path.format(text)}" for path in paths for text in (key, strange)]


def _headers(key: str, strange: str) -> list[dict[str, str]]:
    return [{}, {"Authorization": f"Bearer {strange}"}, {"X-Api-Key": key, "Cookie": f"key={key}", "Accept": key}]


def _broken(_: object) -> None:
    raise RuntimeError("no")


def _text_of(line: Any) -> str:
    return repr({name: value for name, value in line.items() if name != "exc_info"})
