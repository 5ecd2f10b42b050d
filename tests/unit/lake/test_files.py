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
