"""Archives: exact rows, both spellings and units, and no harm from a hostile file."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sources_support import Instruments, Kept

from ticktape.errors import Misconfigured
from ticktape.model.records import BadReason, Channel, Flag, Kind, Side
from ticktape.sources.archive import files as files_module
from ticktape.sources.archive.source import ArchiveSettings, ArchiveSource
from ticktape.sources.contract import Watched

AGG = "BTCUSDT-aggTrades-2024-08-08"
TRADES = "BTCUSDT-trades-2025-01-31"
AGG_ROW = "{id},61837.63000000,0.02000000,{id}0,{id}4,1723161255342,{maker},True"


def agg_rows(count: int, start: int = 1) -> str:
    return "".join(AGG_ROW.format(id=i, maker=i % 2 == 0) + "\n" for i in range(start, start + count))


def zipped(path: Path, text: str, member: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member or f"{path.stem}.csv", text)
    return path


async def read(*paths: Path, **fields: Any) -> tuple[ArchiveSource, Kept]:
    source = ArchiveSource(ArchiveSettings(paths=tuple(map(str, paths)), **fields), Instruments())
    sink = Kept()
    await source.connect(sink)
    return source, sink


@pytest.mark.asyncio
async def test_agg_trades_are_exact_and_flagged(tmp_path: Path) -> None:
    source, sink = await read(zipped(tmp_path / f"{AGG}.zip", agg_rows(2)))
    names = ["kind", "instrument", "ts_event", "ts_recv", "a", "b", "c", "d", "side", "flags"]
    common = (Kind.AGG_TRADE, 1, 1_723_161_255_342_000_000, sink.now_ns(), 6_183_763_000_000, 2_000_000)
    assert sink.records[names].tolist() == [
        (*common, 1, 14, Side.BUY, Flag.BACKFILLED),
        (*common, 2, 24, Side.SELL, Flag.BACKFILLED),
    ]
    assert sink.watched == [Watched(1, Channel.AGG_TRADE)]
    assert source.symbols == ["BTCUSDT"]
    assert source.finished


@pytest.mark.asyncio
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_trades_with_header_microseconds_and_small_booleans(tmp_path: Path, newline: str) -> None:
    text = newline.join(
        [
            "id,price,qty,quote_qty,time,is_buyer_maker,is_best_match",
            "7,0.00001234,10000000000.00000001,123400.0000000001234,1738281600000123,true,true",
            "8,0.00001234,1,0.00001234,1738281600000124,false,true",
        ]
    )
    (tmp_path / f"{TRADES}.csv").write_text(text)
    _, sink = await read(tmp_path / f"{TRADES}.csv")
    assert sink.records[["kind", "ts_event", "a", "b", "c", "d", "side"]].tolist() == [
        (Kind.TRADE, 1_738_281_600_000_123_000, 1234, 10**18 + 1, 7, 0, Side.SELL),
        (Kind.TRADE, 1_738_281_600_000_124_000, 1234, 10**8, 8, 0, Side.BUY),
    ]
    assert sink.bad == []


@pytest.mark.asyncio
async def test_many_rows_come_in_batches_and_are_what_a_plain_reading_says(tmp_path: Path) -> None:
    chance = random.Random(1)
    rows = [
        (i, f"{chance.randrange(10**12) / 10**8:.8f}", f"{chance.randrange(10**10) / 10**8:.8f}", i, i + 1)
        for i in range(1, 5001)
    ]
    text = "".join(f"{i},{p},{q},{f},{n},{1723161255342 + i},True,True\n" for i, p, q, f, n in rows)
    _, sink = await read(zipped(tmp_path / f"{AGG}.zip", text), rows_a_batch=500)
    assert len(sink.pieces) > 8
    assert sink.records[["c", "a", "b", "d"]].tolist() == [
        (i, int(Decimal(p) * 10**8), int(Decimal(q) * 10**8), n) for i, p, q, _, n in rows
    ]


@pytest.mark.asyncio
async def test_duplicates_are_passed_on_for_the_judge(tmp_path: Path) -> None:
    _, sink = await read(zipped(tmp_path / f"{AGG}.zip", agg_rows(2) + agg_rows(2)))
    assert sink.records["c"].tolist() == [1, 2, 1, 2]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        ("", BadReason.WRONG_TYPE, "1 fields, expected 8"),
        ("3,1,1,1,1,1723161255342,True", BadReason.WRONG_TYPE, "7 fields"),
        ("3,1,1,1,1,1723161255342,True,True,9", BadReason.WRONG_TYPE, "9 fields"),
        ("3,1,1,1,1,1723161255342,maybe,True", BadReason.WRONG_TYPE, "columns 7 and 8"),
        ("3,True,1,1,1,1723161255342,1,True", BadReason.WRONG_TYPE, "columns 7 and 8"),
        (
            "3,NaN,1,1,1,1723161255342,True,True",
            BadReason.BAD_NUMBER,
            "column 2: not a decimal number: 'NaN'",
        ),
        ("3,1,1e5,1,1,1723161255342,True,True", BadReason.BAD_NUMBER, "column 3"),
        ("3.5,1,1,1,1,1723161255342,True,True", BadReason.BAD_NUMBER, "column 1"),
        ("3,92233720369,1,1,1,1723161255342,True,True", BadReason.OUT_OF_RANGE, "column 2: beyond int64"),
        ("3,1,1,1,1,1723161255342000,True,True", BadReason.BAD_TIME, "years 2000 to 2100"),
        ("3,1,1,1,1,-5,True,True", BadReason.BAD_TIME, "years 2000 to 2100"),
        ("id,price,qty,first,last,time,maker,best", BadReason.WRONG_TYPE, "columns 7 and 8"),
    ],
)
async def test_a_row_that_cannot_be_a_record_is_bad_with_its_line_and_the_rest_is_read(
    tmp_path: Path, line: str, reason: BadReason, words: str
) -> None:
    path = zipped(tmp_path / f"{AGG}.zip", f"{agg_rows(2)}{line}\n{agg_rows(2, 4)}")
    _, sink = await read(path)
    assert sink.records["c"].tolist() == [1, 2, 4, 5]
    assert [(bad.reason, bad.payload) for bad in sink.bad] == [(reason, line.encode())]
    assert f"{AGG}.zip: line 3: " in sink.bad[0].detail
    assert words in sink.bad[0].detail


@pytest.mark.asyncio
async def test_the_checksum_beside_a_file_is_obeyed(tmp_path: Path) -> None:
    path = zipped(tmp_path / f"{AGG}.zip", agg_rows(2))
    beside = tmp_path / f"{AGG}.zip.CHECKSUM"
    beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    _, sink = await read(path)
    assert len(sink.records) == 2
    for wrong in ("0" * 64, "", "\udcff"):
        beside.write_bytes(wrong.encode("utf-8", "surrogateescape"))
        with pytest.raises(Misconfigured, match="sha256 differs"):
            await read(path)


@pytest.mark.asyncio
async def test_a_zip_bomb_is_refused_before_a_byte_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="zip bomb"):
        await read(zipped(tmp_path / f"{AGG}.zip", "0" * 20_000_000))


@pytest.mark.asyncio
async def test_size_has_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "MOST_UNPACKED_BYTES", 100)
    with pytest.raises(Misconfigured, match="zip bomb"):
        await read(zipped(tmp_path / f"{AGG}.zip", agg_rows(3)))


@pytest.mark.asyncio
async def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / f"{AGG}.csv").write_bytes(b"1" * 8_000_000)
    with pytest.raises(Misconfigured, match="no end of line"):
        await read(tmp_path / f"{AGG}.csv", rows_a_batch=100)


@pytest.mark.asyncio
async def test_names_inside_a_zip_are_never_paths(tmp_path: Path) -> None:
    path = zipped(tmp_path / f"{AGG}.zip", agg_rows(1), "../../escaped.csv")
    _, sink = await read(path)
    assert len(sink.records) == 1
    assert not any("escaped" in file.name for folder in (tmp_path, *tmp_path.parents[:2]) for file in folder.iterdir())


@pytest.mark.asyncio
async def test_damaged_odd_and_absent_files_are_misconfigured(tmp_path: Path) -> None:
    path = zipped(tmp_path / f"{AGG}.zip", "".join(agg_rows(500)))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[200] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(Misconfigured, match="damaged"):
        await read(path)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    path.write_bytes(empty.getvalue())
    with pytest.raises(Misconfigured, match="holds 0 files"):
        await read(path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        await read(tmp_path / f"{TRADES}.zip")


@pytest.mark.parametrize(
    "name", ["../x-trades-2024-01.zip", "BTCUSDT-klines-2024-01.zip", "btcusdt-trades-2024-01.zip"]
)
def test_a_file_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match="not the name of an archive"):
        ArchiveSource(ArchiveSettings(paths=(str(tmp_path / name),)), Instruments())
