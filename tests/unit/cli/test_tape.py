"""`ticktape tape` and `ticktape instruments` over real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from typer.testing import Result

from ticktape.model.instruments import AssetClass, Listing
from ticktape.tape import segment
from ticktape.tape.directory import TapeDirectory

Run = Callable[..., Result]


def spoil(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_verify_of_a_good_tape_is_exit_0(run: Run, data: Path) -> None:
    done = run("tape", "verify", "--data", data, "--json")
    answer = json.loads(done.stdout)
    assert done.exit_code == 0
    assert answer["ok"]
    assert (answer["records"], answer["blobs"], answer["damaged"]) == (10_001, 1, [])
    assert "all as written" in run("tape", "verify", "--data", data).stdout


def test_verify_names_what_is_damaged_and_the_next_command(run: Run, data: Path) -> None:
    spoil(segment.path_of(data / "tape", 1), segment.HEADER_BYTES + 64_000)
    done = run("tape", "verify", "--data", data)
    assert done.exit_code == 1
    assert "segment 00000001: positions " in done.stdout
    assert "hint: ticktape tape repair" in done.stderr


def test_repair_mends_and_verify_is_content_again(run: Run, data: Path) -> None:
    spoil(segment.path_of(data / "tape", 1), segment.HEADER_BYTES + 64_000)
    done = run("tape", "repair", "--data", data, "--json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["gaps"], len(answer["damaged"])) == (0, 1, 1)
    assert json.loads(run("tape", "verify", "--data", data, "--json").stdout)["ok"]
    kinds = json.loads(run("tape", "stat", "--data", data, "--json").stdout)["kinds"]
    assert (kinds["gap"], kinds["status"]) == (1, 1)
    assert run("tape", "repair", "--data", data).stdout == "nothing to repair\n"


def test_stat_counts_the_kinds(run: Run, data: Path) -> None:
    answer = json.loads(run("tape", "stat", "--data", data, "--json").stdout)
    assert answer["kinds"]["trade"] == 10_000
    assert answer["position"] == sum(answer["kinds"].values())
    assert not answer["writing"]
    assert "10,000 trade" in run("tape", "stat", "--data", data).stdout


def test_instruments_lists_what_is_enrolled(run: Run, data: Path) -> None:
    directory = TapeDirectory(data / "tape")
    listing = Listing(
        symbol="BTCUSDT",
        venue="binance",
        asset_class=AssetClass.CRYPTO,
        tick_size=Decimal("0.01"),
        size_step=Decimal("0.00001"),
    )
    directory.enrol("binance", "BTCUSDT", listing)
    directory.close()
    (row,) = json.loads(run("instruments", "--data", data, "--json").stdout)
    assert (row["id"], row["symbol"], row["tick_size"]) == (1, "BTCUSDT", "0.01")
    assert row["names"][0]["vendor"] == "binance"
    assert "BTCUSDT\tbinance\tcrypto\t0.01" in run("instruments", "--data", data).stdout
