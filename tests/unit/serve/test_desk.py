"""The dashboard's files and the link that signs the owner in: to whom, how, and under which headers."""

from __future__ import annotations

import gzip
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from serve_support import SECOND, House, serving, until

from ticktape.clock import ManualClock
from ticktape.serve.doors import desk
from ticktape.serve.keys import KeyStore
from ticktape.serve.links import GOOD_FOR_NS, Links
from ticktape.serve.rights import BadKey

NOBODY = {"Authorization": ""}


@pytest.mark.asyncio
async def test_the_pages_need_no_key_and_may_load_only_what_is_ours(house: House) -> None:
    async with serving(house) as client:
        for path in ("/", "/status.html", "/desk/js/boot.js", "/desk/base.css", "/desk/icon.svg"):
            answer = await client.get(path, headers=NOBODY)
            assert answer.status_code == 200, path
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http:" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
        assert (await client.get("/api/v1/status", headers=NOBODY)).status_code == 401


@pytest.mark.asyncio
async def test_a_file_that_the_browser_has_is_not_sent_again(house: House) -> None:
    async with serving(house) as client:
        first = await client.get("/desk/js/boot.js", headers=NOBODY)
        again = await client.get("/desk/js/boot.js", headers=NOBODY | {"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = await client.get("/desk/js/boot.js", headers=NOBODY | {"If-None-Match": '"else"'})
        assert other.content == first.content


@pytest.mark.asyncio
async def test_files_go_out_packed_to_whoever_unpacks(house: House) -> None:
    async with serving(house) as client:
        plain = await client.get("/", headers=NOBODY | {"Accept-Encoding": "identity"})
        packed = await client.get("/", headers=NOBODY | {"Accept-Encoding": "gzip"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == plain.content == (desk.FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/desk/", "/desk/../pyproject.toml", "/desk/%2e%2e/config.py", "/desk/lib/.made-runtime", "/desk//etc/passwd"],
)
@pytest.mark.asyncio
async def test_nothing_else_is_a_file_of_the_desk(house: House, path: str) -> None:
    async with serving(house) as client:
        assert (await client.get(path, headers=NOBODY)).status_code in (401, 404)


@pytest.mark.asyncio
async def test_x16_a_page_under_another_name_gets_nothing(house: House) -> None:
    async with serving(house) as client:
        assert (await client.get("/", headers=NOBODY | {"Host": "evil.example"})).status_code == 400


@pytest.mark.asyncio
async def test_a_link_signs_in_once_with_a_key_for_this_machine(house: House) -> None:
    with closing(Links(house.data, house.clock)) as links:
        code = links.make()
    async with serving(house) as client:
        made = await client.post("/desk/session", json={"code": code}, headers=NOBODY)
        assert made.status_code == 200
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        who = (await client.get("/api/v1/keys/self", headers=key)).json()
        assert set(who["scopes"]) == {"admin", "history", "realtime", "sql", "stream"}
        (kept,) = [each for each in house.keys.list() if each.prefix == who["prefix"]]
        assert kept.addresses == ("127.0.0.0/8", "::1/128")
        again = await client.post("/desk/session", json={"code": code}, headers=NOBODY)
        assert (again.status_code, again.json()["error"]["code"]) == (401, "bad_key")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/plain"}, b'{"code":"%s"}'),  # what a form elsewhere can send
        ({"Content-Type": "application/x-www-form-urlencoded"}, b'{"code":"%s"}'),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, b'{"code":"%s"}'),
        ({"Content-Type": "application/json", "Origin": "https://evil.example"}, b'{"code":"%s"}'),
    ],
)
@pytest.mark.asyncio
async def test_x15_a_page_from_elsewhere_cannot_use_a_link(house: House, headers: dict[str, str], body: bytes) -> None:
    links = Links(house.data, house.clock)
    code = links.make()
    async with serving(house) as client:
        sent: Any = body % code.encode()
        answer = await client.post("/desk/session", content=sent, headers=NOBODY | headers)
        assert answer.status_code == 403
    assert links.exchange(code, house.keys).key, "and it is not used up"
    links.close()


@pytest.mark.asyncio
async def test_who_guesses_links_is_held_back(house: House) -> None:
    async with serving(house, failed_keys_per_minute=3.0) as client:
        found = [
            (await client.post("/desk/session", json={"code": str(i)}, headers=NOBODY)).status_code for i in range(6)
        ]
        assert found[:3] == [401] * 3
        assert found[-1] == 429


def test_a_link_ends_after_ten_minutes(tmp_path: Path) -> None:
    clock = ManualClock(10**18)
    keys, links = KeyStore(tmp_path, clock), Links(tmp_path, clock)
    early, late = links.make(), links.make()
    clock.advance(GOOD_FOR_NS - SECOND)
    assert links.exchange(early, keys).info.expires_ns is not None
    clock.advance(2 * SECOND)
    with pytest.raises(BadKey):
        links.exchange(late, keys)
    links.close()
    keys.close()


def test_what_is_on_disk_is_no_link(tmp_path: Path) -> None:
    links = Links(tmp_path, ManualClock(10**18))
    code = links.make()
    links.close()
    assert (tmp_path / "links.sqlite").stat().st_mode & 0o077 == 0
    for path in tmp_path.iterdir():
        assert code.encode() not in path.read_bytes()


@pytest.mark.asyncio
async def test_sessions_are_those_of_the_symbols_calendar(house: House) -> None:
    house.enrol("BTCUSDT")
    async with serving(house) as client:
        path = "/api/v1/sessions/BTCUSDT"
        await until(lambda: client.get("/api/v1/status"), 200)  # the tape is open
        told = (await client.get(f"{path}?start_time=2025-11-20&end_time=2025-11-21")).json()
        assert (told["calendar"], told["sessions"]) == ("24/7", [])
        wrong = await client.get(f"{path}?start_time=2025-11-21&end_time=2025-11-20")
        assert wrong.status_code == 422


@pytest.mark.asyncio
async def test_the_machine_is_told_and_credentials_only_to_an_admin(house: House) -> None:
    house.enrol("BTCUSDT")
    house.keys.create("bot", ["realtime"], expires_s=86_400.0)
    reader = {"Authorization": f"Bearer {house.key(['realtime'])}"}
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/pipeline/alerts"), 200)  # the watch is up
        told = (await client.get("/api/v1/pipeline/host")).json()
        assert 0 < told["disk_free"] <= told["disk_total"]
        assert [each["table"] for each in told["tables"]] == ["trades", "quotes", "book", "bars", "gaps", "quality"]
        assert "bot" in told["credentials"][0]["name"]
        assert (await client.get("/api/v1/pipeline/host", headers=reader)).json()["credentials"] == []


def test_every_file_is_smaller_packed_and_all_are_within_budget() -> None:
    files = desk.read_files()
    assert {"/", "/status.html", "/desk/js/app.js"} <= set(files)
    for name, file in files.items():
        assert gzip.decompress(file.packed) == file.plain, name
    assert sum(len(file.packed) for name, file in files.items() if not name.endswith("LICENSE")) < 250_000
