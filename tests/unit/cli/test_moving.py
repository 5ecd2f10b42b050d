"""`ticktape import`, `export`, `gaps` and `certify` over real tapes and lakes, through the real recorder."""

from __future__ import annotations

import asyncio
import json
import threading
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from ticktape.keep.process import Keeper, KeepSettings
from ticktape.model.records import GapCause, GapState, Kind, empty, pack_gap
from ticktape.record.control import Call, Control
from ticktape.tape.lock import Lock
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(180)

Run = Callable[..., Result]
FIRST_MS = 1_763_510_400_000  # 2025-11-19T00:00:00Z
DAY_MS = 86_400_000


def archive(folder: Path, day: int, ids: range, *, broken: int = 0) -> Path:
    """Write a day of trades as Binance's archive has it; some ids may be left out."""
    each = DAY_MS // max(len(ids), 1)
    start_us = (FIRST_MS + day * DAY_MS) * 1000
    lines = [
        f"{n},{60_000 + n % 100}.{n % 10}0,0.00{1 + n % 9},{n}.5,{start_us + k * each * 1000},{n % 2 == 1},True"
        for k, n in enumerate(ids)
    ]
    lines += ["nonsense"] * broken
    name = f"BTCUSDT-trades-2025-11-{19 + day:02d}"
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{name}.csv", "\n".join(lines) + "\n")
    return path


def answer(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def flushed(world: Path) -> None:
    keeper = Keeper(KeepSettings(data=world, hot_hours=0), Reader(world / "tape"))
    keeper.flush()
    keeper.close()


def test_archives_are_judged_counted_and_certified(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "store"
    days = [archive(tmp_path, day, range(1 + 500 * day, 501 + 500 * day), broken=2 * (day == 1)) for day in range(3)]
    done = answer(run("import", *days, "--data", data, "--json"))
    assert [(each["stored"], each["duplicates"], each["quarantined"], each["gaps"]) for each in done] == [
        (500, 0, 0, 0), (500, 0, 2, 0), (500, 0, 0, 0),
    ]  # fmt: skip
    flushed(data / "live")
    proof = answer(run("certify", "BTCUSDT", "2025-11-20", "--data", data, "--json"))
    assert proof["verdict"] == "complete"
    assert proof["certificate"]["channels"][0]["expected"] == 500
    shown = run("certify", "BTCUSDT", "2025-11-20", "--data", data, "--deep")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("BTCUSDT 2025-11-20: complete\n")
    assert proof["certificate"]["hash"] in shown.stdout


def test_a_second_import_stores_nothing_twice(run: Run, tmp_path: Path) -> None:
    path = archive(tmp_path, 0, range(1, 501))
    first = answer(run("import", path, "--data", tmp_path / "store", "--json"))[0]
    again = answer(run("import", path, "--data", tmp_path / "store", "--json"))[0]
    forced = answer(run("import", path, "--again", "--data", tmp_path / "store", "--json"))[0]
    assert (first["stored"], again["skipped"], forced["stored"], forced["duplicates"]) == (500, True, 0, 500)


def test_a_hole_in_an_archive_is_a_gap_with_its_ids(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "store"
    path = archive(tmp_path, 0, range(1, 501))
    with zipfile.ZipFile(path) as packed:
        lines = packed.read(packed.namelist()[0]).decode().splitlines()
        name = packed.namelist()[0]
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(name, "\n".join(lines[:200] + lines[230:]) + "\n")
    assert answer(run("import", path, "--data", data, "--json"))[0]["gaps"] == 1
    (gap,) = answer(run("gaps", "list", "--data", data, "--json"))
    assert (gap["state"], gap["cause"], gap["symbol"], gap["source"]) == ("closed", "sequence", "BTCUSDT", "archive")
    assert (gap["first_missing"], gap["last_missing"], gap["missing"], gap["rows"]) == (201, 230, 30, 0)
    done = run("certify", "BTCUSDT", "2025-11-19", "--data", data)
    assert done.exit_code == 1
    # The whole file fills it: what lies in a hole is no repeat.
    rest = archive(tmp_path, 0, range(1, 501))
    assert answer(run("import", rest, "--data", data, "--json"))[0]["stored"] == 30
    assert answer(run("gaps", "list", "--data", data, "--json"))[0]["rows"] == 30
    assert answer(run("gaps", "list", "--symbol", "BTCUSDT", "--state", "opened", "--data", data, "--json")) == []
    shown = run("gaps", "list", "--data", data).stdout.splitlines()
    assert shown[1].split("\t")[1:5] == ["closed", "sequence", "trade", "BTCUSDT"]


def test_nobody_imports_while_somebody_records(run: Run, tmp_path: Path) -> None:
    path = archive(tmp_path, 0, range(1, 10))
    answer(run("import", path, "--data", tmp_path / "store", "--json"))
    lock = Lock(tmp_path / "store" / "live" / "tape" / "writer.lock", "record")
    done = run("import", path, "--again", "--data", tmp_path / "store")
    lock.release()
    assert done.exit_code == 1
    assert "hint: stop `ticktape up`" in done.stderr


def test_a_damaged_file_ends_early_and_says_so(run: Run, tmp_path: Path) -> None:
    path = archive(tmp_path, 0, range(1, 501))
    path.write_bytes(path.read_bytes()[:-200])
    assert run("import", path, "--data", tmp_path / "store").exit_code == 2  # no zip any more
    content = bytearray(archive(tmp_path, 0, range(1, 501)).read_bytes())
    content[1000:1100] = bytes(100)
    path.write_bytes(content)
    done = run("import", path, "--data", tmp_path / "store")
    assert done.exit_code == 1
    assert "ended early" in done.stderr
    for name, content in (("odd.csv", "a,b\n1,2\n"), ("odd.parquet", "no"), ("odd.frames", "nonsense\n")):
        (tmp_path / name).write_text(content)
    assert run("import", tmp_path / "odd.csv", "--data", tmp_path / "store").exit_code == 1
    assert run("import", tmp_path / "odd.parquet", "--data", tmp_path / "store").exit_code == 1
    odd = run("import", tmp_path / "odd.frames", "--data", tmp_path / "store", "--json")
    assert (odd.exit_code, json.loads(odd.stdout)[0]["quarantined"]) == (1, 1)
    assert run("import", tmp_path / "none.zip", "--data", tmp_path / "store").exit_code == 2


# -- export ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
def test_what_is_exported_imports_to_the_same_certificate(run: Run, tmp_path: Path, form: str) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    answer(run("import", archive(tmp_path, 0, range(1, 801)), "--data", one, "--json"))
    flushed(one / "live")
    answer(run("import", archive(tmp_path, 1, range(801, 1601)), "--data", one, "--json"))  # not in the lake
    out = tmp_path / f"all.{form}"
    args = ("export", "BTCUSDT", "--from", "2025-11-19", "--to", "2025-11-21", "--data", one, "--out", out)
    assert answer(run(*args, "--json"))["rows"] == 1600
    assert run(*args).exit_code == 2  # it exists
    done = answer(run("import", out, "--data", other, "--json"))[0]
    assert (done["stored"], done["quarantined"], done["gaps"]) == (1600, 0, 0)
    hashes = [
        answer(run("certify", "BTCUSDT", day, "--data", data, "--json"))["certificate"]["hash"]
        for data in (one, other)
        for day in ("2025-11-19",)
        if run("certify", "BTCUSDT", day, "--data", data, "--json").exit_code == 0
    ]
    assert len(set(hashes)) == 1


def test_every_form_has_the_same_exact_values(run: Run, tmp_path: Path) -> None:
    import duckdb
    import polars as pl

    data = tmp_path / "one"
    answer(run("import", archive(tmp_path, 0, range(1, 201)), "--data", data, "--json"))
    for form in ("parquet", "csv", "ndjson", "arrow"):
        out = tmp_path / f"all.{form}"
        answer(run("export", "BTCUSDT", "--from", "2025-11-19", "--data", data, "--out", out, "--json"))
    columnar = pl.read_parquet(tmp_path / "all.parquet")
    prices = [str(price) for price in columnar["price"].to_list()]
    assert prices[0] == "60001.10000000"
    assert [line.split(",")[7] for line in (tmp_path / "all.csv").read_text().splitlines()[1:]] == prices
    rows = (tmp_path / "all.ndjson").read_text().splitlines()
    assert [row.partition('"price":')[2].partition(",")[0] for row in rows] == prices
    assert pl.read_ipc(tmp_path / "all.arrow").equals(columnar)
    ((total,),) = duckdb.execute("select sum(price) from read_csv($1)", [f"{tmp_path}/all.csv"]).fetchall()
    assert float(total) == pytest.approx(sum(float(price) for price in prices))


def test_a_changed_row_of_a_csv_is_quarantined_and_the_rest_taken(run: Run, tmp_path: Path) -> None:
    answer(run("import", archive(tmp_path, 0, range(1, 101)), "--data", tmp_path / "one", "--json"))
    out = tmp_path / "all.csv"
    args = ("--data", tmp_path / "one", "--out", out, "--json")
    answer(run("export", "BTCUSDT", "--from", "2025-11-19", *args))
    lines = out.read_text().splitlines()
    for row, (was, now) in {
        3: (",60003.30000000,", ",60003.3e4,"), 4: (",60004.40000000,", ",60004.400000001,"),
        5: (",BTCUSDT,", ",ETHUSDT,"), 6: ("trade,", "gossip,"), 7: (",60007.70000000,", ",,"),
    }.items():  # fmt: skip
        assert was in lines[row]
        lines[row] = lines[row].replace(was, now)
    out.write_text("\n".join(lines) + "\n")
    done = answer(run("import", out, "--data", tmp_path / "other", "--json"))[0]
    assert (done["stored"], done["quarantined"], done["gaps"]) == (95, 5, 1)


def test_sample_data_never_reach_a_real_tape(run: Run, tmp_path: Path) -> None:
    tape = Writer(tmp_path / "one" / "tape", sample=True, sync_every_ms=0)
    tape.close()
    answer(run("import", archive(tmp_path, 0, range(1, 10)), "--data", tmp_path / "real", "--json"))
    assert run("import", archive(tmp_path, 0, range(1, 10)), "--data", tmp_path / "one").exit_code == 2
    out = tmp_path / "all.csv"
    args = ("--data", tmp_path / "real", "--out", out, "--json")
    answer(run("export", "BTCUSDT", "--from", "2025-11-19", *args))
    out.write_text(out.read_text().replace("backfilled", "synthetic"))
    done = run("import", out, "--data", tmp_path / "other")
    assert done.exit_code == 1
    assert "SAMPLE" in done.stderr


# -- gaps ------------------------------------------------------------------------------------------------


@contextmanager
def answering(path: Path, reply: Any) -> Generator[list[Call]]:
    """Answer calls on a recorder's socket, by the recorder's own door."""
    heard: list[Call] = []
    ready, stop = threading.Event(), threading.Event()

    async def handler(call: Call) -> Any:
        heard.append(call)
        return reply

    async def main() -> None:
        control = Control(path, handler)
        await control.start()
        ready.set()
        await asyncio.to_thread(stop.wait)
        await control.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(20)
        yield heard
    finally:
        stop.set()
        thread.join()


def test_fill_asks_the_recorder(run: Run, data: Path) -> None:
    done = run("gaps", "fill", "--data", data)
    assert done.exit_code == 1
    assert "the recorder is not running" in done.stderr
    with answering(data / "record.sock", {"waiting": 3}) as heard:
        assert "3 gap(s) are tried again now" in run("gaps", "fill", "--data", data).stdout
    assert [call.call for call in heard] == ["fill"]


def test_gaps_are_listed_from_lake_and_tape_as_one(run: Run, tmp_path: Path) -> None:
    world = tmp_path / "world"
    tape = Writer(world / "tape", sync_every_ms=0)
    told = empty(1)
    told["kind"], told["side"], told["source"], told["c"] = Kind.GAP, GapState.OPENED, 1, -1
    told["d"], told["ts_event"], told["ts_recv"] = pack_gap(GapCause.MUTE, 1, 0), 10**18, 10**18
    told["instrument"] = 1
    tape.append(told)
    flushed(world)
    told["side"], told["a"], told["d"] = GapState.CLOSED, 0, pack_gap(GapCause.MUTE, 1, 5_000_000)
    tape.append(told)
    tape.close()
    (gap,) = answer(run("gaps", "list", "--data", world, "--json"))
    assert (gap["state"], gap["cause"], gap["end"] - gap["start"]) == ("closed", "mute", 5_000_999)
    assert np.isclose(gap["start"], 10**18)
    assert run("gaps", "list", "--state", "lost", "--data", world).exit_code == 2
    assert run("gaps", "list", "--symbol", "XRPUSDT", "--data", world).exit_code == 2
