"""The audit: every request leaves a line, and no line can be changed, removed, moved or cut off unnoticed (X23)."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from serve_support import MS, SECOND, T0, House, serving, until

from ticktape.clock import ManualClock
from ticktape.serve import audit_chain as chain
from ticktape.serve.audit import Audit, Entry, redacted
from ticktape.serve.audit_chain import Seal
from ticktape.serve.doors import rest

PEPPER = b"p" * 32


def audit_of(folder: Path, clock: ManualClock | None = None, **more: Any) -> Audit:
    return Audit(folder, PEPPER, clock or ManualClock(T0), **more)


def put(audit: Audit, n: int, **more: Any) -> None:
    for k in range(n):
        audit.put(Entry(ts=T0 + k, request_id=f"{k:016x}", address="127.0.0.1", key="aaaaaaaa", **more))
    audit.flush()


def found(folder: Path) -> list[str]:
    return [finding.what for finding in chain.verify(folder / "audit", Seal(PEPPER))[1]]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in chain.days(folder / "audit") for line in path.read_text().splitlines()]


# -- the chain -------------------------------------------------------------------------------------


def test_it_goes_on_over_days_restarts_and_writers(tmp_path: Path) -> None:
    clock = ManualClock(T0)
    first, second = audit_of(tmp_path, clock), audit_of(tmp_path, clock)
    put(first, 3)
    put(second, 2)
    clock.advance(86_400 * SECOND)
    put(first, 2)
    put(audit_of(tmp_path, clock), 1)
    assert [path.name for path in chain.days(tmp_path / "audit")] == ["2025-11-20.jsonl", "2025-11-21.jsonl"]
    assert [line["n"] for line in lines_of(tmp_path)] == list(range(1, 9))
    assert chain.verify(tmp_path / "audit", Seal(PEPPER)) == (8, [])
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "audit").glob("*.jsonl"))


def test_two_processes_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    writers = [audit_of(tmp_path) for _ in range(4)]

    def write(audit: Audit) -> None:
        for _ in range(10):
            put(audit, 3)

    threads = [threading.Thread(target=write, args=[audit]) for audit in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chain.verify(tmp_path / "audit", Seal(PEPPER)) == (120, [])


def change(lines: list[bytes], k: int) -> list[bytes]:
    return [*lines[:k], lines[k].replace(b"127.0.0.1", b"127.0.0.2"), *lines[k + 1 :]]


def remove(lines: list[bytes], k: int) -> list[bytes]:
    return lines[:k] + lines[k + 1 :]


def swap(lines: list[bytes], k: int) -> list[bytes]:
    return [*lines[:k], lines[k + 1], lines[k], *lines[k + 2 :]]


def repeat(lines: list[bytes], k: int) -> list[bytes]:
    return [*lines[: k + 1], *lines[k:]]


def cut(lines: list[bytes], k: int) -> list[bytes]:
    return lines[:k]


def tear(lines: list[bytes], k: int) -> list[bytes]:
    return [*lines[:k], lines[k][:-9]]


def reformat(lines: list[bytes], k: int) -> list[bytes]:
    return [*lines[:k], lines[k].replace(b",", b", ", 1), *lines[k + 1 :]]


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (change, "line {n} was changed"),
        (reformat, "line {n} was changed"),
        (remove, "line {n} is gone"),
        (swap, "line {n} is gone"),
        (repeat, "line {n} stands after line {n}"),
        (cut, "lines {n} to 20 were cut off"),
        (tear, "not a line of the audit"),
    ],
)
@pytest.mark.parametrize("k", [0, 7, 18])
def test_x23_whatever_is_done_to_a_line_is_found_and_said_where(
    tmp_path: Path, tamper: Callable[[list[bytes], int], list[bytes]], says: str, k: int
) -> None:
    put(audit_of(tmp_path), 20)
    (path,) = chain.days(tmp_path / "audit")
    path.write_bytes(b"".join(tamper(path.read_bytes().splitlines(keepends=True), k)))
    assert says.format(n=k + 1) in " / ".join(found(tmp_path))


def test_x23_any_byte_of_the_audit_that_flips_is_found(tmp_path: Path) -> None:
    put(audit_of(tmp_path), 5)
    (path,) = chain.days(tmp_path / "audit")
    whole, chance = path.read_bytes(), random.Random(1)
    for _ in range(300):
        at = chance.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        assert found(tmp_path), at
    path.write_bytes(whole)
    assert found(tmp_path) == []


def test_a_chain_made_anew_without_the_pepper_is_found(tmp_path: Path) -> None:
    put(audit_of(tmp_path), 5)
    forged = Audit(tmp_path / "forged", b"q" * 32, ManualClock(T0))
    put(forged, 5)
    for path in (tmp_path / "forged" / "audit").iterdir():
        path.rename(tmp_path / "audit" / path.name)
    assert "line 1 was changed" in found(tmp_path)


def test_what_was_cut_off_stays_found_although_writing_goes_on(tmp_path: Path) -> None:
    running = audit_of(tmp_path)
    put(running, 20)
    (path,) = chain.days(tmp_path / "audit")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:15]))
    put(audit_of(tmp_path), 2)
    assert found(tmp_path) == ["lines 16 to 20 are gone"]
    (tmp_path / "audit" / "head.json").unlink()
    put(running, 1)
    assert "lines 16 to 20 are gone" in found(tmp_path)


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"n":3}', b"\xff"])
def test_a_lost_head_is_found_and_writing_goes_on(tmp_path: Path, damage: bytes | None) -> None:
    put(audit_of(tmp_path), 3)
    head = tmp_path / "audit" / "head.json"
    head.unlink() if damage is None else head.write_bytes(damage)
    assert len(found(tmp_path)) == 1
    put(audit_of(tmp_path), 1)
    assert [line["n"] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5]
    assert "head.json was lost" in found(tmp_path)[0]


@pytest.mark.parametrize("left", [1, 40, 200])
def test_a_torn_last_line_is_cut_off_and_declared(tmp_path: Path, left: int) -> None:
    put(audit_of(tmp_path), 3)
    (path,) = chain.days(tmp_path / "audit")
    with path.open("ab") as file:  # a crash in the middle of the next batch
        file.write(path.read_bytes()[:left])
    put(audit_of(tmp_path), 1)
    assert [line.get("torn_bytes") for line in lines_of(tmp_path)] == [None] * 3 + [left, None]
    assert found(tmp_path) == []


def test_a_crash_between_the_lines_and_the_head_loses_neither(tmp_path: Path) -> None:
    put(audit_of(tmp_path), 3)
    head = (tmp_path / "audit" / "head.json").read_bytes()
    put(audit_of(tmp_path), 3)
    (tmp_path / "audit" / "head.json").write_bytes(head)
    assert found(tmp_path) == []
    put(audit_of(tmp_path), 3)
    assert [line["n"] for line in lines_of(tmp_path)] == list(range(1, 10))
    assert found(tmp_path) == []


# -- the queue -------------------------------------------------------------------------------------


def test_a_full_queue_leaves_out_the_newest_and_says_how_many(tmp_path: Path) -> None:
    audit = audit_of(tmp_path, most_waiting=5)
    put(audit, 12)
    put(audit, 1)
    assert [line.get("left_out") for line in lines_of(tmp_path)] == [None] * 5 + [7, None]
    assert found(tmp_path) == []


def test_what_cannot_be_written_waits_and_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        write(fd, data[:10])
        raise OSError(28, "No space left on device")

    write, audit = os.write, audit_of(tmp_path)
    put(audit, 2)
    monkeypatch.setattr("ticktape.serve.audit.os.write", full)
    with structlog.testing.capture_logs() as logs:
        put(audit, 2)
        put(audit, 1)
    monkeypatch.setattr("ticktape.serve.audit.os.write", write)
    assert [line["event"] for line in logs] == ["serve.audit_failed"]
    assert len(lines_of(tmp_path)) == 2, "a part of a batch is taken back"
    put(audit, 0)
    assert len(lines_of(tmp_path)) == 5
    assert found(tmp_path) == []


# -- history ---------------------------------------------------------------------------------------


def test_history_is_the_newest_of_one_key_oldest_first(tmp_path: Path) -> None:
    clock = ManualClock(T0)
    audit = audit_of(tmp_path, clock)
    for day in range(3):
        put(audit, 40, name="bot", model="alpha")
        put(audit, 40, name="other")
        clock.advance(86_400 * SECOND if day < 2 else MS)
    folder = tmp_path / "audit"
    for who, count in (("tt_aaaaaaaa", 240), ("aaaaaaaa", 240), ("bot", 120), ("alpha", 120), ("nobody", 0)):
        entries, whole = chain.history(folder, who, 1000)
        assert (len(entries), whole) == (count, True), who
        assert [e["n"] for e in entries] == sorted(e["n"] for e in entries)
    entries, whole = chain.history(folder, "bot", 50)
    assert ([e["n"] for e in entries], whole) == ([*range(111, 121), *range(161, 201)], False)
    assert chain.history(folder, "bot", 50, most_read=1000)[1] is False


def test_history_reads_files_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_BLOCK", 100)
    put(audit_of(tmp_path), 30)
    assert [e["n"] for e in chain.history(tmp_path / "audit", "aaaaaaaa", 99)[0]] == list(range(1, 31))


# -- through the door ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_x23_every_route_leaves_one_line_whatever_came_of_it(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 9)
    house.quotes(btc, 9)
    house.clock.advance(10 * SECOND)
    made = house.keys.create("bot", ["realtime", "history"], model="alpha")
    async with serving(house, made.key) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        endless = {"/quotes/stream", "/sse"}
        routes = [r for r in rest.routes(rest.Rest(None)) if r.path not in endless]  # type: ignore[arg-type]
        for route in routes:
            path = "/api/v1" + route.path.replace("{symbol:path}", "BTCUSDT").replace("{name}", "binance")
            path = path.replace("{date}", "2025-11-20").replace("{prefix}", made.info.prefix)
            await client.request(route.method, path + "?symbols=BTCUSDT&limit=5&start_time=2025-11-20&token=hunter2")
        await client.get("/api/v1/no/such/hunter2")
        await client.get("/api/v1/status", headers={"Authorization": "Bearer tt_AAAAAAAA_" + "A" * 43})
        await client.get("/healthz")
    lines = lines_of(house.data)
    asked = [line for line in lines if not line["route"].endswith("/status") or line["said"]]
    assert [line["route"] for line in asked[: len(routes)]] == [f"{r.method} /api/v1{r.path}" for r in routes]
    assert all(line["key"] == made.info.prefix and line["model"] == "alpha" for line in asked[: len(routes)])
    assert all(line["unsaid"] == 1 for line in asked[: len(routes)])
    by_route = {line["route"].partition(" ")[2]: line for line in asked[: len(routes)]}
    ticks = by_route["/api/v1/ticks/realtime"]
    assert (ticks["status"], ticks["rows"], ticks["said"]["symbols"]) == (200, 5, "BTCUSDT")
    assert (by_route["/api/v1/quotes/history/{symbol:path}"]["rows"], ticks["bytes"] > 500) == (5, True)
    assert by_route["/api/v1/ticks/historical"]["rows"] == 5
    assert (by_route["/api/v1/sql"]["status"], by_route["/api/v1/sql"]["code"]) == (403, "forbidden")
    unknown, refused = lines[-2:]
    assert (unknown["route"], unknown["status"], unknown["key"]) == ("", 404, made.info.prefix)
    assert (refused["key"], refused["status"], refused["code"]) == ("", 401, "bad_key")
    assert "hunter2" not in json.dumps(lines)
    assert chain.verify(house.data / "audit", Seal(house.keys.pepper)) == (len(lines), [])


@pytest.mark.asyncio
async def test_a_statement_is_written_down_without_what_looks_like_a_key(house: House) -> None:
    key = house.key(["sql"])
    async with serving(house, key) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        await client.post("/api/v1/sql", json={"query": f"SELECT '{key}'"})
    assert lines_of(house.data)[-1]["said"]["body"] == f"SELECT '{key[:11]}_...'"


def test_redaction_leaves_one_printable_line_of_bounded_length() -> None:
    key = "tt_AbCdEf12_" + "Z" * 43
    assert redacted(f"x{key}y{key}") == "xtt_AbCdEf12_...ytt_AbCdEf12_..."
    assert redacted("a\r\nb").isprintable()
    assert len(redacted("x" * 10_000)) < 600
