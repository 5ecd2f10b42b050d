"""The dashboard's files: `/`, `/status.html` and what they load under `/desk/`, all from the package.

Files are read once and kept with a gzip of each and a strong ETag: a page that is open already costs a 304 a file.
No page may run, style or fetch anything that is not one of these files (Content-Security-Policy), be framed, or be
read from a name that is not ours.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

FOLDER = Path(__file__).parents[2] / "desk"
PAGES = {"/": "index.html", "/status.html": "status.html"}
UNDER = "/desk/"
NEEDED = ("lib/preact.js", "lib/lightweight-charts.js", "lib/uplot.js")  # scripts/desk.sh puts them there

# Sockets: 'self' is ours at our port, whichever the scheme; nothing else is talked to.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".LICENSE": b"text/plain; charset=utf-8",
}
_HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-cache"),  # kept, and asked about each time: an update shows with the next load
    (b"vary", b"Accept-Encoding"),
]


class File(NamedTuple):
    """One file as it is sent."""

    plain: bytes
    packed: bytes
    tag: bytes
    kind: bytes


def read_files(folder: Path = FOLDER) -> dict[str, File]:
    """Return every file of the dashboard by the path it is asked for with."""
    found = {
        UNDER + path.relative_to(folder).as_posix(): _file(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES and path.is_file()
    }
    pages = {asked: found.pop(UNDER + name) for asked, name in PAGES.items() if UNDER + name in found}
    return found | pages


def lacking(folder: Path = FOLDER) -> list[str]:
    """Return which libraries were not put in at set-up."""
    return [name for name in NEEDED if not (folder / name).is_file()]


def _file(path: Path) -> File:
    plain = path.read_bytes()
    tag = b'"' + hashlib.sha256(plain).hexdigest()[:20].encode() + b'"'
    return File(plain, gzip.compress(plain, 9, mtime=0), tag, _TYPES[path.suffix])


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class DeskDoor:
    """ASGI middleware in front of the gate: these files need no key, hold no data, and touch nothing behind it."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None, folder: Path = FOLDER) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._folder = folder
        self._files: dict[str, File] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, or hand on."""
        file = self._asked(scope)
        if file is None:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        common = [*_HEADERS, (b"etag", file.tag)]
        if file.tag.decode() in headers.get("if-none-match", ""):
            await send({"type": "http.response.start", "status": 304, "headers": common})
            await send({"type": "http.response.body", "body": b""})
            return
        gzipped = "gzip" in headers.get("accept-encoding", "")
        body = file.packed if gzipped else file.plain
        common += [(b"content-type", file.kind), (b"content-length", str(len(body)).encode())]
        common += [(b"content-encoding", b"gzip")] if gzipped else []
        await send({"type": "http.response.start", "status": 200, "headers": common})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _asked(self, scope: Scope) -> File | None:
        """Return the file that is asked for; None: not one of ours, or not by one of our names."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return None
        path: str = scope["path"]
        if path not in PAGES and not path.startswith(UNDER):
            return None
        if self._hosts is not None and _name(Headers(scope=scope).get("host", "")) not in self._hosts:
            return None  # the gate says why not (X16)
        if self._files is None:
            self._files = read_files(self._folder)  # 20 ms, with the first page: commands that show none pay nothing
        return self._files.get(path)
