"""What the desk's tests share: a running ticktape to talk to, and where the browser is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="the desk's tests need playwright: pip install 'ticktape[dev]'")
from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / "scripts" / "desk" / "node_modules" / "axe-core" / "axe.min.js"
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_MS = 30_000  # two busy cores


def chromium() -> str:
    """Return the path of a Chromium, or skip."""
    for name in (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    pytest.skip("no Chromium: scripts/browser.sh, or apt install chromium")


class Desk:
    """A running `ticktape up`."""

    def __init__(self, process: subprocess.Popen[str], port: int, data: Path) -> None:
        self.process, self.port, self.data = process, port, data
        self.base = f"http://127.0.0.1:{port}"
        self.key = self.link = ""

    def ask(self, path: str, body: Any = None, key: str | None = None) -> Any:
        """Ask the API."""
        request = urllib.request.Request(
            f"{self.base}/api/v1{path}",
            headers={"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def fault(self, what: dict[str, Any]) -> None:
        """Order a fault of the simulated venue."""
        sources = json.loads((self.data / "sample" / "run.json").read_text())["sources"]
        request = urllib.request.Request(
            f"{sources['sample']['rest_url']}/sim/faults",
            data=json.dumps(what).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def new_key(self, *scopes: str) -> str:
        """Return a new key."""
        return str(self.ask("/keys", {"name": "-".join(scopes), "scopes": list(scopes)})["key"])


Open = Callable[..., Page]
