"""API keys: nothing in the store opens anything, and one path for right and wrong (X1, X2)."""

from __future__ import annotations

import ast
import hmac
import inspect
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ticktape.clock import ManualClock
from ticktape.errors import BadInput, BadSymbol, Misconfigured
from ticktape.serve import keys
from ticktape.serve.keys import BadKey, Forbidden, KeyStore, Scope


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000_000_000)


def test_a_key_opens_until_it_is_revoked(tmp_path: Path, clock: ManualClock) -> None:
    store = KeyStore(tmp_path, clock)
    made = store.create("laptop", ["realtime"], symbols=["BTCUSDT", "/ES"])
    assert made.key.startswith(f"tt_{made.info.prefix}_")
    assert store.check(f"Bearer {made.key}") == made.info
    assert store.check(f"bearer {made.key}").symbols == {"BTCUSDT", "/ES"}
    store.revoke(f"tt_{made.info.prefix}")
    with pytest.raises(BadKey):
        store.check(f"Bearer {made.key}")
    store.close()


def test_a_dump_of_the_store_contains_no_usable_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    made = [store.create(f"k{n}", ["realtime"]).key for n in range(5)]
    db = sqlite3.connect(tmp_path / "keys.sqlite")
    dump = "\n".join(db.iterdump())
    stored: dict[str, bytes] = dict(db.execute("select prefix, digest from keys").fetchall())
    db.close()
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for key in made:
        assert key[12:] not in dump
        assert key[12:].encode() not in files
        # What the dump does hold of a key - its prefix and its digest - opens nothing.
        digest = stored[key[3:11]].hex()
        for guess in (f"tt_{key[3:11]}_{digest[:43]}", f"tt_{key[3:11]}", digest):
            with pytest.raises(BadKey):
                store.check(f"Bearer {guess}")
    store.close()


def test_x01_another_pepper_makes_every_key_worthless(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    key = store.create("k", ["realtime"]).key
    store.close()
    (tmp_path / "pepper").write_bytes(os.urandom(32))
    store = KeyStore(tmp_path)
    with pytest.raises(BadKey):
        store.check(f"Bearer {key}")
    store.close()


def test_a_lost_pepper_is_said_and_not_replaced(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.create("k", ["realtime"])
    store.close()
    (tmp_path / "pepper").unlink()
    with pytest.raises(Misconfigured, match="is gone"):
        KeyStore(tmp_path)
    assert not (tmp_path / "pepper").exists()


def test_x22_the_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    KeyStore(tmp_path).close()
    assert (tmp_path / "pepper").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys.sqlite").stat().st_mode & 0o077 == 0
    (tmp_path / "pepper").chmod(0o644)
    with pytest.raises(Misconfigured, match="read by others"):
        KeyStore(tmp_path)


def test_digests_are_compared_in_one_place_and_in_constant_time() -> None:
    source = inspect.getsource(keys)
    assert source.count("hmac.compare_digest(") == 1
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            assert "digest" not in ast.unparse(node), ast.unparse(node)


def test_every_header_right_or_wrong_is_digested_and_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KeyStore(tmp_path)
    made = store.create("k", ["realtime"])
    known, right = made.info.prefix, f"Bearer {made.key}"
    seen: list[int] = []
    compare = hmac.compare_digest

    def watched(stored: bytes, given: bytes) -> bool:
        seen.append(len(given))
        return compare(stored, given)

    monkeypatch.setattr("ticktape.serve.keys.hmac.compare_digest", watched)
    wrong = [
        None,
        "",
        "Bearer",
        "Basic abc",
        f"Bearer tt_{known}_{'A' * 43}",
        f"Bearer tt_00000000_{'A' * 43}",
        "Bearer ü",
    ]
    for header in [*wrong, f"Bearer tt_{known}_{'é' * 43}", f"Bearer {'x' * 10_000}"]:
        with pytest.raises(BadKey, match="no valid API key"):
            store.check(header)
    store.check(right)
    assert seen == [32] * 10
    store.close()


def test_a_revoke_in_another_process_holds_at_the_next_check(tmp_path: Path) -> None:
    serving, command = KeyStore(tmp_path), KeyStore(tmp_path)
    made = command.create("k", ["realtime"])
    serving.check(f"Bearer {made.key}")
    command.revoke(made.info.prefix)
    with pytest.raises(BadKey):
        serving.check(f"Bearer {made.key}")
    serving.close()
    command.close()


def test_a_key_expires(tmp_path: Path, clock: ManualClock) -> None:
    store = KeyStore(tmp_path, clock)
    made = store.create("k", ["realtime"], expires_s=60)
    store.check(f"Bearer {made.key}")
    clock.advance(60_000_000_000)
    with pytest.raises(BadKey):
        store.check(f"Bearer {made.key}")
    store.close()


def test_last_use_is_kept(tmp_path: Path, clock: ManualClock) -> None:
    store = KeyStore(tmp_path, clock)
    made = store.create("k", ["realtime"])
    assert made.info.last_used_ns is None
    clock.advance(5_000_000_000)
    store.check(f"Bearer {made.key}")
    store.close()
    store = KeyStore(tmp_path, clock)
    assert store.list()[0].last_used_ns == clock.wall_ns()
    store.close()


@pytest.mark.parametrize(
    ("name", "scopes", "symbols", "error"),
    [
        ("", ["realtime"], None, BadInput),
        ("a\nb", ["realtime"], None, BadInput),
        ("k", [], None, BadInput),
        ("k", ["everything"], None, BadInput),
        ("k", ["realtime"], ["../x"], BadSymbol),
    ],
)
def test_what_makes_no_sense_makes_no_key(
    tmp_path: Path, name: str, scopes: list[str], symbols: list[str] | None, error: type[Exception]
) -> None:
    store = KeyStore(tmp_path)
    with pytest.raises(error):
        store.create(name, scopes, symbols)
    assert store.list() == []
    store.close()


def test_revoking_a_key_nobody_has_is_said(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    with pytest.raises(BadInput, match="no key"):
        store.revoke("tt_zzzzzzzz")
    store.close()


def test_a_scope_grants_itself_and_nothing_else(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    for scope in Scope:
        key = store.create("k", [scope]).info
        key.require([scope])
        for other in set(Scope) - {scope}:
            with pytest.raises(Forbidden, match=other):
                key.require([other])
    store.close()


# -- rotation, and stores of earlier versions ------------------------------------------------------


def test_a_rotated_key_opens_the_same_and_its_old_one_only_for_the_overlap(tmp_path: Path, clock: ManualClock) -> None:
    store = KeyStore(tmp_path, clock)
    old = store.create("bot", ["sql"], ["BTCUSDT"], 86_400, 5, addresses=["::1"], model="m", at_once=3)
    clock.advance(3_600_000_000_000)
    new = store.rotate(old.info.prefix, 60)
    same = ("name", "scopes", "symbols", "per_s", "addresses", "model", "at_once", "expires_ns")
    assert [getattr(new.info, field) for field in same] == [getattr(old.info, field) for field in same]
    store.check(f"Bearer {old.key}")
    clock.advance(60_000_000_000)
    with pytest.raises(BadKey):
        store.check(f"Bearer {old.key}")
    store.check(f"Bearer {new.key}")
    with pytest.raises(BadInput, match="revoked or expired"):
        store.rotate(old.info.prefix, 60)
    store.close()


def test_a_rotation_prolongs_nothing(tmp_path: Path, clock: ManualClock) -> None:
    store = KeyStore(tmp_path, clock)
    old = store.create("bot", ["sql"], expires_s=60)
    new = store.rotate(old.info.prefix, 3600)
    assert store.find(old.info.prefix).expires_ns == new.info.expires_ns == old.info.expires_ns
    store.close()


def test_a_rotation_that_fails_leaves_the_old_key_as_it_was(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    store = KeyStore(tmp_path, clock)
    old = store.create("bot", ["sql"])
    monkeypatch.setattr(KeyStore, "_insert", full)
    with pytest.raises(sqlite3.OperationalError):
        store.rotate(old.info.prefix, 0)
    assert store.list() == [old.info]
    store.close()


def test_x30_a_clock_set_back_brings_no_expired_key_back(tmp_path: Path, clock: ManualClock) -> None:
    store = KeyStore(tmp_path, clock)
    made = store.create("k", ["realtime"], expires_s=60)
    clock.advance(61_000_000_000)
    with pytest.raises(BadKey):
        store.check(f"Bearer {made.key}")
    clock.step(-3_600_000_000_000)
    with pytest.raises(BadKey):
        store.check(f"Bearer {made.key}")
    store.close()


def test_a_store_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    made = store.create("old", ["realtime"])
    store.close()
    db = sqlite3.connect(tmp_path / "keys.sqlite")
    for column in ("addresses", "model", "at_once"):
        db.execute(f"alter table keys drop column {column}")
    db.close()
    store, other = KeyStore(tmp_path), KeyStore(tmp_path)
    assert store.check(f"Bearer {made.key}") == other.check(f"Bearer {made.key}") == made.info
    store.close()
    other.close()


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "address", "may"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),  # what a dual-stack socket shows
        ("10.0.0.0/8", "::ffff:11.0.0.1", False),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "11.1.2.3", False),
        ("2001:db8::/32", "2001:db8:1::9", True),
        ("2001:db8::/32", "2001:db9::9", False),
        ("::1", "::1", True),
        ("0.0.0.0/0", "::1", False),
        ("0.0.0.0/0", "", False),  # a Unix socket
        ("0.0.0.0/0", "testclient", False),
    ],
)
def test_x03_a_key_for_some_addresses_opens_from_there_only(
    tmp_path: Path, allowed: str, address: str, *, may: bool
) -> None:
    store = KeyStore(tmp_path)
    key = store.create("k", ["realtime"], addresses=[allowed]).info
    store.close()
    if may:
        key.require_address(address)
    else:
        with pytest.raises(Forbidden, match="may not be used from"):
            key.require_address(address)


@pytest.mark.parametrize("more", [{"per_s": 1e300}, {"at_once": 2**63}, {"expires_s": 1e300}])
def test_a_number_that_no_column_holds_is_refused(tmp_path: Path, clock: ManualClock, more: dict[str, Any]) -> None:
    store = KeyStore(tmp_path, clock)
    with pytest.raises(BadInput):
        store.create("bot", ["realtime"], **more)
    made = store.create("bot", ["realtime"])
    with pytest.raises(BadInput):
        store.rotate(made.info.prefix, 1e300)
    store.close()


def test_r07_on_a_full_disk_keys_go_on_opening_and_their_last_use_is_written_later(
    tmp_path: Path, clock: ManualClock
) -> None:
    store = KeyStore(tmp_path, clock)
    key = store.create("bot", ["realtime"]).key
    assert store.check(f"Bearer {key}").name == "bot"
    store._db.execute("pragma query_only = on")  # every write fails  # pyright: ignore[reportPrivateUsage]
    store.flush()
    assert store.check(f"Bearer {key}").last_used_ns is None
    store._db.execute("pragma query_only = off")  # pyright: ignore[reportPrivateUsage]
    assert store.list()[0].last_used_ns == clock.wall_ns()
