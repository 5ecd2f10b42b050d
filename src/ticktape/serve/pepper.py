"""The pepper, 32 secret bytes in `<data>/pepper`: without it the stored digests of keys are of no use."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from ticktape.errors import Misconfigured

BYTES = 32


def read_pepper(path: Path, *, used: bool) -> bytes:
    """Return the pepper, made at first use; `used` says that something depends on it. Raises Misconfigured."""
    if not path.exists():
        if used:
            raise Misconfigured(
                f"{path} is gone, and without it no stored key can be checked",
                hint=f"restore it, or remove {path.with_name('keys.sqlite')} and create new keys",
            )
        _write(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Misconfigured(f"{path} can be read by others", hint=f"chmod 600 {path}")
    pepper = path.read_bytes()
    if len(pepper) != BYTES:
        raise Misconfigured(f"{path} holds {len(pepper)} bytes, not {BYTES}", hint="restore it from a backup")
    return pepper


def _write(path: Path) -> None:
    beside = path.with_name(f"pepper.{secrets.token_hex(4)}.new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secrets.token_bytes(BYTES))
        os.fsync(fd)
        os.link(beside, path)  # fails where another process was first: then its pepper is the one
    except FileExistsError:
        pass
    finally:
        os.close(fd)
        beside.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
