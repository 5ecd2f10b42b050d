"""R36: backups that older versions made keep restoring. golden/make_backup.py made them; they are never made anew."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from backup_support import restored, whole

from ticktape.model.records import Kind
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

GOLDEN = Path(__file__).parent / "golden"
ARCHIVES = sorted(GOLDEN.glob("backup-[0-9]*.tar.xz"))
FOLDERS = sorted(GOLDEN.glob("backup-folder-*.tar.xz"))


def same_as_ever(where: Path, to: Path) -> None:
    done = restored(where, to)
    assert done.ok, done.wrong
    rows = {name: (len(records), int(records["b"].sum())) for name, records in whole(to / "live").items()}
    assert rows == {
        "trades": (915, 461_852_818_820), "quotes": (330, 171_902_495_003),
        "book": (339, 171_835_436_879), "gaps": (49, 26_724_588_588),
    }  # fmt: skip
    reader = Reader(to / "live" / "tape")
    place = int((reader.view(0, reader.end)["kind"] == Kind.BLOB).argmax())
    assert reader.blob(place) == b"what did not fit"
    directory = TapeDirectory(to / "live" / "tape")
    assert [i.symbol for i in directory.all()] == ["BTCUSDT", "ETHUSDT", "MNQ"]
    directory.close()


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_r36_an_archive_of_any_version_restores(path: Path, tmp_path: Path) -> None:
    same_as_ever(path, tmp_path / "new")


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_r36_a_folder_of_any_version_restores(path: Path, tmp_path: Path) -> None:
    with tarfile.open(path) as packed:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 and newer
        packed.extractall(tmp_path, **safely)  # pyright: ignore[reportArgumentType]
    same_as_ever(tmp_path / "backups", tmp_path / "new")


def test_there_is_one_of_each_format() -> None:
    assert [path.name for path in ARCHIVES] == ["backup-1.tar.xz"]
    assert len(FOLDERS) == len(ARCHIVES)
