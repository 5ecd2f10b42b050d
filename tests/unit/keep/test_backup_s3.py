"""Backups in a bucket: against moto's server as a process of its own, where `moto_server` is on the path."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_support import Data

from ticktape.errors import Damaged, Misconfigured, Unavailable
from ticktape.keep.backup import backup
from ticktape.keep.backup_store import store_of
from ticktape.keep.restore import check, restore, source_of

pytest.importorskip("obstore", reason="the optional extra `s3` is not installed")
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        shutil.which("moto_server") is None, reason="no moto_server on the path: pip install moto[server]"
    ),
]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@pytest.fixture
def bucket(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        ["moto_server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while not answers(url):
                assert server.poll() is None
            for name, value in (
                ("AWS_ENDPOINT_URL", url), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_REGION", "us-east-1"),
            ):  # fmt: skip
                monkeypatch.setenv(name, value)
            urllib.request.urlopen(urllib.request.Request(f"{url}/vault", method="PUT"), timeout=10).close()
            yield "s3://vault/ticktape/live"
        finally:
            server.kill()


def test_a_bucket_takes_backups_and_gives_them_back(bucket: str, tmp_path: Path) -> None:
    data = Data(tmp_path / "data")
    data.grow(9000)
    first = backup(data.world, store_of(bucket))
    data.grow(500)
    second = backup(data.world, store_of(bucket), keep=1)
    assert second.copied < first.copied
    assert second.forgotten == [first.name]
    with source_of(bucket) as source:
        assert check(source) == second.files
    with source_of(bucket) as source:
        done = restore(source, tmp_path / "new")
    assert (done.ok, done.position) == (True, second.position)
    store = store_of(bucket)
    digest = next(iter(store.digests()))
    store.drop(digest)
    with pytest.raises(Damaged, match="is gone"), source_of(bucket) as source:
        check(source)
    data.close()


def test_a_bucket_that_is_not_there_is_told(bucket: str) -> None:
    with pytest.raises((Unavailable, Misconfigured)):
        store_of("s3://nowhere/at/all").names()
    with pytest.raises(Misconfigured, match="there is no backup"), source_of(bucket):
        pass
