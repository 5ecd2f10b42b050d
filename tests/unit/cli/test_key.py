"""`ticktape key`: shown once, listed without the secret, ended at once."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_create_prints_the_key_and_nothing_else_as_json(run: Run) -> None:
    answer = json.loads(run("key", "create", "--json").stdout)
    assert list(answer) == ["key"]
    assert answer["key"].startswith("tt_")


def test_a_key_is_listed_without_its_secret_and_can_be_revoked(run: Run) -> None:
    key = run("key", "create", "model", "--symbols", "BTCUSDT", "--expires-days", 30).stdout.strip()
    listed = run("key", "list").stdout
    assert key[:11] in listed
    assert key not in listed
    assert "-\tgood\thistory,realtime,stream\tBTCUSDT\tanywhere" in listed
    assert run("key", "revoke", key[:11], "--json").stdout.strip() == json.dumps(
        {"revoked": key[3:11]}, separators=(",", ":")
    )
    assert "revoked" in run("key", "list").stdout
    assert json.loads(run("key", "list", "--json").stdout)[0]["name"] == "model"


def test_a_key_is_made_for_a_model_and_some_addresses(run: Run) -> None:
    args = ["--from", "127.0.0.1,10.1.2.3/32", "--model", "alpha-7", "--per-second", 5, "--at-once", 2]
    assert run("key", "create", "bot", *args).exit_code == 0
    (made,) = json.loads(run("key", "list", "--json").stdout)
    assert (made["model"], made["addresses"]) == ("alpha-7", ["10.1.2.3/32", "127.0.0.1/32"])
    assert (made["per_s"], made["at_once"]) == (5, 2)
    assert "alpha-7\tgood" in run("key", "list").stdout


def test_a_rotated_key_has_the_same_rights_and_the_old_one_an_end(run: Run) -> None:
    old = run("key", "create", "bot", "--symbols", "BTCUSDT").stdout.strip()
    new = json.loads(run("key", "rotate", old[:11], "--overlap", "30m", "--json").stdout)["key"]
    assert new != old
    first, second = json.loads(run("key", "list", "--json").stdout)
    assert (first["prefix"], second["prefix"]) == (old[3:11], new[3:11])
    assert second["symbols"] == ["BTCUSDT"]
    assert (first["expires_ns"] - second["created_ns"], second["expires_ns"]) == (30 * 60 * 10**9, None)


@pytest.mark.parametrize(
    "args",
    [
        ["create", "--scopes", "bogus"],
        ["revoke", "tt_nobody00"],
        ["create", "--symbols", "../x"],
        ["create", "--from", "10.0.0.1/8"],
        ["create", "--from", "example.com"],
        ["create", "--per-second", "0"],
        ["rotate", "tt_nobody00"],
        ["rotate", "tt_nobody00", "--overlap", "soon"],
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(run: Run, args: list[str]) -> None:
    done = run("key", *args)
    assert done.exit_code == 2
    assert "hint: " in done.stderr
