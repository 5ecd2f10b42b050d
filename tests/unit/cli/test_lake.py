"""`ticktape lake` over real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from ticktape.keep.process import Keeper, KeepSettings
from ticktape.tape.reader import Reader

Run = Callable[..., Result]


@pytest.fixture
def kept(data: Path) -> Path:
    """Return a data folder whose tape is in its lake."""
    keeper = Keeper(KeepSettings(data=data), Reader(data / "tape"))
    keeper.flush()
    keeper.close()
    return data


def test_stat_counts_what_the_tape_had(run: Run, kept: Path) -> None:
    done = run("lake", "stat", "--data", kept, "--json")
    assert done.exit_code == 0
    rows = {table["table"]: table["rows"] for table in json.loads(done.stdout)["tables"]}
    assert sum(rows.values()) - rows["bars"] == 10_001
    assert "trades" in run("lake", "stat", "--data", kept).stdout


def test_stat_and_verify_of_no_lake_are_empty_and_fine(run: Run, data: Path) -> None:
    assert {table["rows"] for table in json.loads(run("lake", "stat", "--data", data, "--json").stdout)["tables"]} == {
        0
    }
    assert run("lake", "verify", "--data", data).exit_code == 0


def test_verify_finds_a_flipped_bit_and_mend_makes_it_good(run: Run, kept: Path) -> None:
    path = next((kept / "lake" / "trades").glob("date=*/*.parquet"))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    done = run("lake", "verify", "--data", kept)
    assert done.exit_code == 1
    assert "positions 0-" in done.stdout
    assert "hint: ticktape lake verify --mend" in done.stderr
    assert run("lake", "verify", "--data", kept, "--mend").exit_code == 0
    assert (kept / "lake" / "quarantine" / "trades" / path.name).exists()


def test_compact_and_expire_say_when_there_is_nothing_and_who_keeps(run: Run, kept: Path) -> None:
    for command in ("compact", "expire"):
        assert "nothing" in run("lake", command, "--data", kept).stdout
    keeper = Keeper(KeepSettings(data=kept), Reader(kept / "tape"))
    done = run("lake", "compact", "--data", kept)
    keeper.close()
    assert done.exit_code == 1
    assert "(keep)" in done.stderr


def test_quality_says_how_checks_and_days_went_and_finds_what_is_unusual(run: Run, kept: Path) -> None:
    import msgspec

    from ticktape.lake.certificate_form import Check, Finding
    from ticktape.lake.certificate_quality import QualityReport
    from ticktape.lake.notes import Note, Noted, With

    day_ns = 1_763_596_800 * 10**9  # 2025-11-20
    assert "no day was settled yet" in run("lake", "quality", "--data", kept).stdout
    keeper = Keeper(KeepSettings(data=kept), Reader(kept / "tape"))
    finding = Finding(check=Check.SILENT, instrument_id=7, channel="trade", message="not one record", seen=0.0)
    for findings in ([], [finding]):
        report = msgspec.json.encode(
            {"date": "2025-11-20", "checked": 3, "findings": msgspec.to_builtins(findings), "coverage": []}
        )
        assert msgspec.json.decode(report, type=QualityReport).checked == 3
        keeper.note([Note(Noted.SETTLED, 0, day_ns, day_ns, body=report)], "settle")
        keeper.note([Note(Noted.SPOT, 1, day_ns, day_ns, With.TAPE, 10, 10)], "spot")
        done = run("lake", "quality", "--data", kept, "--json")
        said = json.loads(done.stdout)
        assert done.exit_code == bool(findings), done.output
        assert [len(each["findings"]) for each in said["days"]] == [len(findings)]
    keeper.close()
    shown = run("lake", "quality", "--data", kept)
    assert "7 trade silent: not one record" in shown.stdout
