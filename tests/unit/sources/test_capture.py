"""Capture files: every frame once, with its own stamps, at any speed."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import numpy as np
import pytest
import zstandard
from sources_support import REAL_CAPTURE, Instruments, Kept, needs_real_capture

from ticktape.errors import Misconfigured
from ticktape.model.book import Book
from ticktape.model.records import BadReason, Channel, Flag, Kind
from ticktape.sources.capture import lines as lines_module
from ticktape.sources.capture.lines import Line, read_lines
from ticktape.sources.capture.source import CaptureSettings, CaptureSource
from ticktape.sources.contract import Bad, Hole, Watched


def trade(trade_id: int, symbol: str = "BTCUSDT", time: str = "1735689600121") -> bytes:
    return b'{"e":"trade","E":%b,"s":"%b","t":%d,"p":"1.50000000","q":"2.00000000","T":%b,"m":false,"M":true}' % (
        time.encode(),
        symbol.encode(),
        trade_id,
        time.encode(),
    )


def recording(*items: tuple[int, bytes]) -> bytes:
    return b"".join(b"%d %b\n" % item for item in items)


TWO = recording((1_000_000_000, trade(1)), (1_050_000_000, trade(2)))


async def played(path: Path, **fields: object) -> tuple[CaptureSource, Kept]:
    settings = CaptureSettings(path=str(path), **({"speed": 0.0} | fields))  # pyright: ignore[reportArgumentType]
    source, sink = CaptureSource(settings, Instruments()), Kept()
    await source.connect(sink)
    return source, sink


@pytest.mark.asyncio
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
async def test_plain_gzip_and_zstd_are_told_by_their_bytes(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "whatever"
    path.write_bytes(pack(TWO) + pack(recording((1_060_000_000, trade(3)))))  # pyright: ignore[reportCallIssue, reportUnknownArgumentType]
    source, sink = await played(path)
    assert sink.records["c"].tolist() == [1, 2, 3]
    assert sink.records["ts_recv"].tolist() == [1_000_000_000, 1_050_000_000, 1_060_000_000]
    assert set(sink.records["flags"].tolist()) == {Flag.REPLAYED}
    assert sink.watched == [Watched(1, Channel.TRADE)]
    assert source.symbols == ["BTCUSDT"]
    assert source.finished


def test_a_frame_with_a_newline_in_it_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b'5 !"{\\n\\u00ff}"\n6 !"\n7 !x\n')
    assert list(read_lines(tmp_path / "c")) == [Line(5, b"{\n\xff}"), Line(6, b'!"'), Line(7, b"!x")]


@pytest.mark.asyncio
async def test_the_spacing_is_kept_and_divided_by_the_speed(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(TWO)
    times: list[float] = []

    class Timed(Kept):
        def batch(self, batch: object) -> None:
            times.append(asyncio.get_running_loop().time())

    for speed in (1.0, 5.0):
        source = CaptureSource(CaptureSettings(path=str(tmp_path / "c"), speed=speed), Instruments())
        await source.connect(Timed())
    assert times[1] - times[0] >= 0.05
    assert times[3] - times[2] >= 0.01


@pytest.mark.asyncio
async def test_microseconds_are_told_by_the_size_of_the_first_time(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(recording((1, trade(1, time="1735689600121456"))))
    _, sink = await played(tmp_path / "c")
    assert sink.records["ts_event"].tolist() == [1_735_689_600_121_456_000]


@pytest.mark.asyncio
async def test_lines_that_are_none_are_bad_with_their_number_and_the_rest_plays(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"junk\n\n-1 {}\n" + b"9" * 20 + b" {}\n" + TWO + b"7 {\n8")
    _, sink = await played(tmp_path / "c")
    assert sink.records["c"].tolist() == [1, 2]
    assert [bad.reason for bad in sink.bad] == [BadReason.BAD_TIME] * 4 + [BadReason.NOT_JSON] * 2
    assert "line 1:" in sink.bad[0].detail


def test_a_line_above_the_limit_is_bad_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 100)
    (tmp_path / "c").write_bytes(b"5 " + b"x" * 350 + b"\n6 {}\n")
    long, short = read_lines(tmp_path / "c")
    assert isinstance(long, Bad)
    assert long.reason is BadReason.TOO_LARGE
    assert short == Line(6, b"{}")


@pytest.mark.asyncio
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
async def test_a_cut_off_file_plays_what_is_whole(tmp_path: Path, pack: object) -> None:
    many = recording(*((i, trade(i)) for i in range(20_000)))
    packed: bytes = pack(many)  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
    (tmp_path / "c").write_bytes(packed[: len(packed) // 2])  # pyright: ignore[reportUnknownArgumentType]
    _, sink = await played(tmp_path / "c")
    ids = sink.records["c"].tolist()
    assert ids == list(range(len(ids)))
    assert len(sink.bad) <= 2


@pytest.mark.asyncio
async def test_a_missing_and_a_damaged_file_are_misconfigured(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        await played(tmp_path / "absent")
    packed = bytearray(gzip.compress(recording(*((i, trade(i)) for i in range(1000)))))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "c").write_bytes(packed)
    with pytest.raises(Misconfigured, match="damaged"):
        await played(tmp_path / "c")


@pytest.mark.asyncio
async def test_a_bare_order_book_is_refused_in_a_file_of_two_symbols(tmp_path: Path) -> None:
    bare = b'{"lastUpdateId":1,"bids":[["1.0","1.0"]],"asks":[]}'
    (tmp_path / "c").write_bytes(recording((1, trade(1)), (2, bare), (3, trade(1, "ETHUSDT"))))
    _, sink = await played(tmp_path / "c")
    assert [bad.reason for bad in sink.bad] == [BadReason.UNKNOWN_SYMBOL]


@pytest.mark.asyncio
async def test_a_file_has_no_history_and_no_other_symbols(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(TWO)
    source, _ = await played(tmp_path / "c")
    with pytest.raises(Misconfigured):
        await source.change(["ETHUSDT"], [])
    with pytest.raises(Misconfigured):
        await anext(source.fill(Hole(1, Channel.TRADE, 1, 2)))


@needs_real_capture
@pytest.mark.asyncio
async def test_the_real_capture_plays_whole_twice_the_same_with_its_book() -> None:
    _, first = await played(REAL_CAPTURE)
    _, second = await played(REAL_CAPTURE)
    assert first.records.tobytes() == second.records.tobytes()
    assert first.bad == []
    assert first.gaps == []
    trades = first.of(Kind.TRADE)
    assert (len(trades), len(first.of(Kind.QUOTE))) == (9757, 28_040)
    assert (np.diff(trades["c"]) == 1).all()
    # The capturing machine's clock was 1.25 s behind: latency is negative, and kept so.
    assert -1_300_000_000 < np.median(trades["ts_recv"] - trades["ts_event"]) < -1_200_000_000
    book = Book(1)
    book.apply(first.records)
    assert book.synced
    quote = first.of(Kind.QUOTE)[-1]
    best_bid, best_ask = book.best()
    assert best_bid is not None
    assert best_ask is not None
    assert abs(best_bid - int(quote["a"])) < 10**10
    assert best_bid < best_ask
