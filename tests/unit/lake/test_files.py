"""A file of the lake is encoded by what its values are like, and only what varies is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ticktape.errors import Damaged
from ticktape.lake import files
from ticktape.lake.arrow import numpy_of
from ticktape.lake.files import Maker, Stored, pieces_of
from ticktape.lake.room import Room
from ticktape.lake.schema import TABLES

ROWS = 10_000
TRADES = TABLES["trades"]


def columns(sizes: Any) -> dict[str, Any]:
    """Return trades of one instrument, one kind, no flags."""
    count = np.arange(len(sizes))
    made = {name: np.zeros(len(sizes), dtype=np.int64) for name in TRADES.names()}
    return made | {"position": count, "ts_event": count * 1000, "kind": made["kind"] + 1, "size": sizes}


def written(folder: Path, values: dict[str, Any], bounds: list[int]) -> Stored:
    image = Maker().image(TRADES, pieces_of(values), bounds)
    home = folder / "trades" / "date=1970-01-01"
    home.mkdir(parents=True)
    (home / image.name).write_bytes(b"".join(bytes(piece) for piece in image.pieces))
    return files.stored(home / image.name, image.size)


def encodings_of(file: Stored, name: str) -> set[str]:
    chunk: Any = file.metadata.row_group(0).column(file.column[name])
    return set(chunk.encodings)


@pytest.mark.parametrize(("different", "encoding"), [(50, "RLE_DICTIONARY"), (2**62, "BYTE_STREAM_SPLIT")])
def test_sizes_that_repeat_are_a_dictionary_and_others_are_split(tmp_path: Path, different: int, encoding: str) -> None:
    sizes = np.random.default_rng(1).integers(0, different, ROWS)
    file = written(tmp_path, columns(sizes), [ROWS])
    assert encoding in encodings_of(file, "size")
    assert np.array_equal(numpy_of(files.read(file, [0], ["size"]).column("size")), sizes)


def test_a_column_of_one_value_is_told_by_the_footer_and_not_read(tmp_path: Path) -> None:
    values = columns(np.arange(ROWS))
    values["side"] = np.where(np.arange(ROWS) < ROWS // 2, 1, 2)  # one value in each row group, but not the same
    file = written(tmp_path, values, [ROWS // 2, ROWS])
    data = bytearray(file.path.read_bytes())
    for name in ("kind", "flags"):
        at = int(file.starts[0, file.column[name]])
        data[at] ^= 255
    file.path.write_bytes(data)
    found = files.read(file, [0, 1], ["kind", "ts_event", "side", "flags"])
    assert found.column_names == ["kind", "ts_event", "side", "flags"]
    for name in found.column_names:
        assert np.array_equal(numpy_of(found.column(name)), values[name]), name
    only = files.read(file, [1], ["kind"])
    assert (only.num_rows, only.schema.field("kind").type) == (ROWS // 2, pa.int8())
    with pytest.raises(Damaged):  # who checks a file looks at every byte
        files.check(file)


def test_a_name_in_the_footer_that_is_no_text_any_more_is_damage(tmp_path: Path) -> None:
    file = written(tmp_path, columns(np.arange(ROWS)), [ROWS])
    data = bytearray(file.path.read_bytes())
    data[data.rindex(b"ts_event")] |= 0x80
    file.path.write_bytes(data)
    files.stored.cache_clear()
    with pytest.raises(Damaged, match="footer"):
        files.stored(file.path, file.size)


def test_many_rows_of_several_row_groups_come_back_exactly_and_are_not_written_over(tmp_path: Path) -> None:
    chance, count = np.random.default_rng(1), 3 * files.BATCH + 7
    values = columns(chance.integers(-(2**62), 2**62, count))
    values["side"] = chance.integers(0, 3, count).astype(np.int8)
    file = written(tmp_path, values, [count // 2, count])
    names = ["size", "side", "ts_event", "kind"]
    first = files.read(file, [0, 1], names)
    kept = numpy_of(first.column("size"))
    del first  # the array alone keeps its memory from being given out again
    for _ in range(3):
        again = files.read(file, [0, 1], names)
        for name in names:
            assert np.array_equal(numpy_of(again.column(name)), values[name]), name
        other = files.read(file, [1], ["position"])
        assert np.array_equal(numpy_of(other.column("position")), values["position"][count // 2 :])
        assert np.array_equal(kept, values["size"])


def test_memory_that_nobody_looks_at_is_given_out_again_and_other_is_not() -> None:
    room = Room(most=1)

    def where(block: Any) -> int:
        return np.frombuffer(block, dtype=np.uint8).ctypes.data

    first = room.take(1000)
    at = where(first)
    assert where(room.take(1000)) != at
    array = pa.Array.from_buffers(pa.int64(), 125, [None, first]).slice(7)
    del first
    assert where(room.take(1000)) != at, "an array is still there"
    view = numpy_of(array)[3:]
    del array
    assert where(room.take(1000)) != at, "a view is still there"
    del view
    assert where(room.take(900)) == at
    assert len(room.take(1 << 24)) == 1 << 24  # too large for what is kept
