"""Backups in an S3-compatible bucket, through obstore. Keys, region and endpoint are those of AWS_* in the environment.

An object appears whole or not at all, so there is nothing half-written to clear away. There is no lock: let one
machine write to a prefix.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticktape.errors import Damaged, Misconfigured, Unavailable
from ticktape.keep.backup_manifest import MOST_BYTES, NAME
from ticktape.keep.backup_store import LABEL, chunks

if TYPE_CHECKING:
    from obstore.store import S3Store as Bucket

_HINT = "echo $AWS_ACCESS_KEY_ID $AWS_REGION $AWS_ENDPOINT_URL"


def _bucket(where: str) -> Bucket:
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415  # an optional library
        from obstore.store import S3Store as Opened  # noqa: PLC0415
    except ImportError:
        raise Misconfigured(f"{where}: obstore is not installed", hint="pip install 'ticktape[s3]'") from None
    options: Any = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint.startswith("http://"):  # a store of one's own in the next room; said by its owner, so no guess
        options["client_options"] = {"allow_http": True}
    try:
        return Opened.from_url(where, **options)
    except (BaseError, ValueError) as error:
        raise Misconfigured(f"{where}: {error}", hint=_HINT) from None


class S3Store:
    """Backups under one prefix of a bucket."""

    def __init__(self, where: str) -> None:
        """Raises Misconfigured without obstore, or when the environment names no way in."""
        self.where = where.rstrip("/")
        self._bucket = _bucket(self.where)

    @contextlib.contextmanager
    def _asked(self) -> Generator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            yield
        except BaseError as error:
            raise Unavailable(f"{self.where}: {str(error)[:300]}", hint=_HINT) from error

    def _get(self, path: str) -> bytes | None:
        import obstore  # noqa: PLC0415

        with self._asked():
            try:
                found = obstore.get(self._bucket, path)
            except FileNotFoundError:
                return None
            if found.meta["size"] > MOST_BYTES:
                raise Damaged(f"{self.where}/{path}: {found.meta['size']} bytes is no list of a backup")
            return bytes(found.bytes())

    def _put(self, path: str, data: bytes | Iterator[bytes]) -> None:
        import obstore  # noqa: PLC0415

        with self._asked():
            obstore.put(self._bucket, path, data)

    def _paths(self, prefix: str) -> Iterator[tuple[str, int]]:
        import obstore  # noqa: PLC0415

        with self._asked():
            for page in obstore.list(self._bucket, prefix=prefix):
                for meta in page:
                    yield meta["path"], meta["size"]

    def label(self) -> bytes | None:
        """Return what `mark` wrote, or None."""
        return self._get(LABEL)

    def mark(self, label: bytes) -> None:
        """Say whose backups these are."""
        self._put(LABEL, label)

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Keep nobody out: a bucket has no lock."""
        yield

    def names(self) -> list[str]:
        """Return the names of the backups, oldest first."""
        stems = (path.rpartition("/")[2].removesuffix(".json") for path, _ in self._paths("backups"))
        return sorted(stem for stem in stems if NAME.fullmatch(stem))

    def manifest(self, name: str) -> bytes:
        """Return the list of a backup. Raises Misconfigured when there is none."""
        data = self._get(f"backups/{name}.json") if NAME.fullmatch(name) else None
        if data is None:
            raise Misconfigured(f"{self.where}: no backup '{name[:40]}'", hint="ticktape restore FROM --list")
        return data

    def finish(self, name: str, data: bytes) -> None:
        """Give a backup its list: from here on it exists."""
        self._put(f"backups/{name}.json", data)

    def forget(self, name: str) -> None:
        """Delete the list of a backup."""
        self._delete(f"backups/{name}.json")

    def _delete(self, path: str) -> None:
        import obstore  # noqa: PLC0415

        with self._asked(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._bucket, path)

    def size(self, digest: str) -> int | None:
        """Return how long a stored file is, or None when it is not there."""
        import obstore  # noqa: PLC0415

        with self._asked():
            try:
                return obstore.head(self._bucket, _object(digest))["size"]
            except FileNotFoundError:
                return None

    def put(self, digest: str, source: Path, size: int) -> None:
        """Store the first `size` bytes of a file."""
        self._put(_object(digest), chunks(source, size) if size else b"")

    def read(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes of a stored file. Raises Damaged when it is not there."""
        import obstore  # noqa: PLC0415

        with self._asked():
            try:
                found = obstore.get(self._bucket, _object(digest))
            except FileNotFoundError:
                raise Damaged(f"{self.where}/{_object(digest)}: is gone") from None
            for piece in found.stream(min_chunk_size=1 << 20):
                yield bytes(piece)

    def digests(self) -> Iterator[str]:
        """Yield every stored file."""
        for path, _ in self._paths("objects"):
            yield path.rpartition("/")[2]

    def drop(self, digest: str) -> None:
        """Delete a stored file."""
        self._delete(_object(digest))


def _object(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"
