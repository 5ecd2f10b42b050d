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
    assert "good\thistory,realtime,stream\tBTCUSDT" in listed
    assert run("key", "revoke", key[:11], "--json").stdout.strip() == json.dumps(
        {"revoked": key[3:11]}, separators=(",", ":")
    )
    assert "revoked" in run("key", "list").stdout
    assert json.loads(run("key", "list", "--json").stdout)[0]["name"] == "model"


@pytest.mark.parametrize(
    "args", [["create", "--scopes", "bogus"], ["revoke", "tt_nobody00"], ["create", "--symbols", "../x"]]
)
def test_what_cannot_be_is_refused_with_a_hint(run: Run, args: list[str]) -> None:
    done = run("key", *args)
    assert done.exit_code == 2
    assert "hint: " in done.stderr
