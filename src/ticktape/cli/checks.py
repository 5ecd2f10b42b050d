"""What `ticktape doctor` looks at: each check answers ok, warn or fail, what it saw, and the next command."""

from __future__ import annotations

import errno
import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from ticktape.errors import TicktapeError

REACH_S = 3.0
LOW_BYTES, SHORT_BYTES = 1 << 30, 10 << 30
FILES = 4096  # a socket a client and a file a segment
OLDEST_PYTHON = (3, 11)
BUILT_NS = 1_760_000_000_000_000_000  # a clock before this code was written is wrong: October 2025

State = Literal["ok", "warn", "fail"]


class Check(NamedTuple):
    """What one check found."""

    name: str
    state: State
    detail: str
    hint: str = ""


def existing(path: Path) -> Path:
    """Return the nearest folder above `path` that exists: where `path` will be."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())


def python() -> Check:
    """Is this Python one that we run on?"""
    detail = f"{platform.python_version()} ({platform.machine()}, {platform.system()})"
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", "fail", detail, "install Python 3.11 or newer")
    if sys.platform != "linux":
        return Check("python", "warn", f"{detail}: tested on Linux only")
    return Check("python", "ok", detail)


def kernels() -> Check:
    """Can compiled kernels be kept for the next start?"""
    folder = Path(__file__).parent.parent / "tape" / "__pycache__"
    for place in (Path(os.environ["NUMBA_CACHE_DIR"]),) if "NUMBA_CACHE_DIR" in os.environ else (folder, Path.home()):
        if os.access(existing(place), os.W_OK):
            return Check("kernels", "ok", f"compiled code is kept in {place}")
    return Check(
        "kernels", "warn", f"{folder} is read-only: each start compiles anew", "export NUMBA_CACHE_DIR=/tmp/numba"
    )


def folder(data: Path) -> Check:
    """Can we write where the data go?"""
    place = existing(data)
    if not os.access(place, os.W_OK | os.X_OK):
        return Check("folder", "fail", f"{place} cannot be written", f"ls -ld {place}")
    return Check("folder", "ok", str(data) if data.exists() else f"{data} (will be created)")


def disk(data: Path) -> Check:
    """Is there room?"""
    free = shutil.disk_usage(existing(data)).free
    detail = f"{free / (1 << 30):.1f} GiB free, about {free // 64 // 1_000_000:,} M records"
    if free < LOW_BYTES:
        return Check("disk", "fail", detail, f"df -h {existing(data)}")
    return Check("disk", "warn" if free < SHORT_BYTES else "ok", detail)


def reserve(data: Path) -> Check:
    """Does the file system reserve space, so that a full disk is an error and never a crash?"""
    size = 1 << 20
    try:
        with tempfile.TemporaryFile(dir=existing(data)) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            reserved = os.fstat(file.fileno()).st_blocks * 512 >= size
    except OSError as error:
        return Check("reserve", "fail", f"fallocate: {error.strerror}", "use another file system: --data DIR")
    if not reserved:
        return Check("reserve", "warn", "this file system promises space without keeping it", "use another: --data DIR")
    return Check("reserve", "ok", "space is reserved before it is written")


def files() -> Check:
    """May we open enough files and sockets?"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        return Check("files", "warn", f"{soft} open files (hard limit {hard})", f"ulimit -n {min(FILES, hard)}")
    return Check("files", "ok", f"{soft} open files")


def clock() -> Check:
    """Does the machine's clock make sense?"""
    now_ns = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ns // 10**9))
    if now_ns < BUILT_NS:
        return Check("clock", "fail", f"{stamp} is in the past", "timedatectl set-ntp true")
    before_wall, before = time.time_ns(), time.monotonic_ns()
    time.sleep(0.05)
    drift_ns = (time.time_ns() - before_wall) - (time.monotonic_ns() - before)
    if abs(drift_ns) > 5_000_000:
        return Check(
            "clock", "warn", f"{stamp}, and it moved by {drift_ns / 1e6:.0f} ms by itself", "timedatectl status"
        )
    return Check("clock", "ok", stamp)


def port(number: int) -> Check:
    """Is the port free?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            why = "in use" if error.errno == errno.EADDRINUSE else (error.strerror or "refused")
            return Check("port", "fail", f"{number} is {why}", f"ticktape up --port {number + 1}")
    return Check("port", "ok", f"{number} is free")


def tape(folder: Path) -> Check:
    """Is there a tape, and who writes it?"""
    from ticktape.tape.reader import Reader
    from ticktape.tape.verify import owner_alive

    if not (folder / "tape.json").exists():
        return Check("tape", "ok", f"none yet in {folder}")
    try:
        reader = Reader(folder)
    except TicktapeError as error:
        return Check("tape", "fail", error.message, error.hint)
    except (OSError, ValueError) as error:
        return Check("tape", "fail", f"{folder}: {error}", "ticktape tape verify")
    detail = f"{'SAMPLE data, ' if reader.meta.sample else ''}{reader.end - reader.first:,} positions"
    if reader.low_space:
        return Check("tape", "fail", f"{detail}; no room for the next segment", f"df -h {folder}")
    return Check("tape", "ok", f"{detail}, {'being recorded to' if owner_alive(folder) else 'nobody records'}")


def reach(url: str, within_s: float = REACH_S) -> Check:
    """Does the venue answer? Without it, `ticktape up` plays SAMPLE data."""
    host, number = urlsplit(url).hostname or url, urlsplit(url).port or 443
    start = time.monotonic()
    try:
        socket.create_connection((host, number), timeout=within_s).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        return Check("venue", "warn", f"{host}:{number}: {why}; `ticktape up` will play SAMPLE data", f"curl -I {url}")
    return Check("venue", "ok", f"{host}:{number} answered in {1000 * (time.monotonic() - start):.0f} ms")


def checks(data: Path, tape_folder: Path, number: int, venue: str) -> list[Callable[[], Check]]:
    """Return every check, in the order in which they are shown. `venue` is a URL, or empty to ask nobody."""
    found: list[Callable[[], Check]] = [
        python,
        kernels,
        lambda: folder(data),
        lambda: disk(data),
        lambda: reserve(data),
        files,
        clock,
        lambda: port(number),
        lambda: tape(tape_folder),
    ]
    return [*found, lambda: reach(venue)] if venue else found
