"""Archives: what is cut off, damaged or hostile is refused, and nothing of it is left on the disk (R35, X9)."""

from __future__ import annotations

import hashlib
import io
import lzma
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backup_support import Data, archive, restored, whole

from ticktape.errors import Damaged, Misconfigured
from ticktape.keep.backup_manifest import File, Manifest, sealed
from ticktape.keep.restore import check, source_of

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Data]:
    made = Data(tmp_path / "data")
    yield made
    made.close()


def refused(path: Path, to: Path, match: str | None = None) -> None:
    with pytest.raises(Damaged, match=match), source_of(str(path)) as source:
        check(source)
    with pytest.raises(Damaged, match=match):
        restored(path, to)
    assert not to.exists() or list(to.iterdir()) == []


def test_an_archive_restores_and_tar_reads_it_too(data: Data, tmp_path: Path) -> None:
    data.grow(9000)
    data.grow(300, flush=False)
    made = archive(data, tmp_path / "all.tar.xz")
    done = restored(tmp_path / "all.tar.xz", tmp_path / "new")
    assert (done.ok, done.position) == (True, made.position)
    before, after = whole(data.folder / "live"), whole(tmp_path / "new" / "live")
    assert all(len(before[name]) == len(after[name]) for name in before)
    names = subprocess.run(["tar", "tJf", tmp_path / "all.tar.xz"], check=True, capture_output=True, text=True).stdout
    assert names.splitlines()[0] == "manifest.json"
    assert "live/tape/00000000.tape" in names
    with pytest.raises(Misconfigured, match="exists already"):
        archive(data, tmp_path / "all.tar.xz")
    with pytest.raises(Misconfigured, match=r"called \*\.tar\.xz"):
        archive(data, tmp_path / "all.zip")


def test_r35_a_cut_or_flipped_archive_is_refused(data: Data, tmp_path: Path) -> None:
    data.grow(500)
    archive(data, tmp_path / "all.tar.xz")
    good = (tmp_path / "all.tar.xz").read_bytes()
    bad = tmp_path / "bad.tar.xz"
    for length in [1, 6, 100, *range(1000, len(good), len(good) // 12), len(good) - 1]:
        bad.write_bytes(good[:length])
        refused(bad, tmp_path / "new")
    for at in range(0, len(good), len(good) // 40):
        bad.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        refused(bad, tmp_path / "new")
    bad.write_bytes(good + b"more")
    refused(bad, tmp_path / "new", "follows its end")
    bad.write_bytes(b"")
    refused(bad, tmp_path / "new")


# -- hostile ---------------------------------------------------------------------------------------------

Members = list[tuple[tarfile.TarInfo, bytes]]


def member(path: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.size = len(content)
    for name, value in more.items():
        setattr(info, name, value)
    return info, content


def manifest(*files: File, **more: Any) -> bytes:
    return sealed(
        Manifest(
            name="20251120T120000.000Z", made_ns=0, ticktape="0", tape_format=1, tape_id="0" * 32, sample=False,
            world="live", first=0, position=0, epoch=0, lake={}, left_out=[], files=list(files), **more,
        )
    )  # fmt: skip


def listed(path: str, content: bytes, size: int | None = None) -> File:
    return File(path, len(content) if size is None else size, hashlib.sha256(content).hexdigest())


def packed(path: Path, members: Members, raw: Callable[[bytes], bytes] = lambda tar: tar) -> Path:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(lzma.compress(raw(out.getvalue())))
    return path


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/etc/passwd",
        "live/../../evil",
        "live/./x",
        "live//x",
        "",
        "a\\b",
        "a b",
        "x" * 200,
        "live/\x00",
        "é",
    ],
)
def test_x10_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    made = packed(tmp_path / "bad.tar.xz", [member("manifest.json", manifest(listed(path, b"x")))])
    refused(made, tmp_path / "new", "refused a path")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "manifest.json"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.DIRTYPE, ""),
    ],
)
def test_only_regular_files_are_taken(tmp_path: Path, kind: bytes, target: str) -> None:
    first = member("manifest.json", manifest(listed("live/x", b"")))
    made = packed(tmp_path / "bad.tar.xz", [first, member("live/x", type=kind, linkname=target)])
    refused(made, tmp_path / "new", "something else where live/x should be")


def test_what_is_not_listed_missing_or_of_another_size_is_refused(tmp_path: Path) -> None:
    one = member("manifest.json", manifest(listed("live/x", b"abc")))
    for rest, why in (
        ([], "is missing"),
        ([member("live/x", b"abcd")], "something else"),
        ([member("live/y", b"abc")], "something else"),
        ([member("live/x", b"abc"), member("live/y", b"abc")], "more than it lists"),
        ([member("live/x", b"abd")], "not what was backed up"),
    ):
        refused(packed(tmp_path / "bad.tar.xz", [one, *rest]), tmp_path / "new", why)
    refused(packed(tmp_path / "bad.tar.xz", [member("live/x", b"abc"), one]), tmp_path / "new", "its list is not its")


def test_a_list_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    for files, why in (
        ([listed("live/x", b""), listed("live/x", b"")], "listed twice"),
        ([listed("live/x", b""), listed("live/x/y", b"")], "a file and a folder"),
        ([listed("live/x", b"", size=-1)], "no size"),
        ([listed("live/x", b"", size=1 << 50)], "no size"),
        ([File("live/x", 0, "../../etc/passwd")], "no size and SHA"),
    ):
        made = packed(tmp_path / "bad.tar.xz", [member("manifest.json", manifest(*files))])
        refused(made, tmp_path / "new", why)


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_does(tmp_path: Path) -> None:
    says = member("manifest.json", manifest(listed("live/x", b"", size=1 << 39)))
    refused(packed(tmp_path / "bad.tar.xz", [says]), tmp_path / "new", "unpacks from")
    # A header of 300 MiB in front of the list, in 50 KiB.
    pax, _ = member("pax", type=tarfile.XHDTYPE)
    pax.size = 300 << 20
    header = pax.tobuf(tarfile.USTAR_FORMAT)
    packer = lzma.LZMACompressor()
    with (tmp_path / "bomb.tar.xz").open("wb") as out:
        out.write(packer.compress(header))
        for _ in range(300):
            out.write(packer.compress(bytes(1 << 20)))
        out.write(packer.flush())
    refused(tmp_path / "bomb.tar.xz", tmp_path / "new", "more than it lists")


def test_xz_that_wants_a_gigabyte_to_be_unpacked_is_refused(tmp_path: Path) -> None:
    first, content = member("manifest.json", manifest())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(first, io.BytesIO(content))
    head = lzma.compress(out.getvalue(), filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}])
    # The dictionary's size stands in the block header: 12 bytes of stream header, size, flags, filter, 1 byte of it.
    block = bytearray(head[12:24])
    block[4] = 36  # 1 GiB
    block[8:12] = zlib.crc32(bytes(block[:8])).to_bytes(4, "little")
    (tmp_path / "bad.tar.xz").write_bytes(head[:12] + bytes(block) + head[24:])
    refused(tmp_path / "bad.tar.xz", tmp_path / "new", "(?i)memory")


def test_a_list_with_fields_of_later_versions_is_read(tmp_path: Path) -> None:
    plain = msgspec.json.decode(manifest(), type=dict[str, Any])
    del plain["sha256"]
    plain |= {"signed_by": "someone later", "sha256": ""}
    digest = hashlib.sha256(msgspec.json.encode(plain)).hexdigest()
    made = packed(tmp_path / "new.tar.xz", [member("manifest.json", msgspec.json.encode(plain | {"sha256": digest}))])
    with source_of(str(made)) as source:
        assert check(source) == 0
