"""A browser on a running ticktape: real processes, the simulated venue, Chromium. Skipped where there is no Chromium.

Every page's console errors and requests to anywhere else are collected, and fail the test that caused them.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # desk_support is found by that name alone
pytest.importorskip("playwright", reason="the desk's tests need playwright: pip install 'ticktape[dev]'")
from desk_support import ARGS, WAIT_MS, Desk, Open, chromium
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from ticktape.serve.doors.desk import lacking


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Generator[Desk]:
    """Start everything once for all of these tests."""
    chromium()
    if lacking():
        pytest.skip(f"the desk's libraries are not here ({', '.join(lacking())}): scripts/desk.sh dev")
    data = tmp_path_factory.mktemp("desk")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        sys.executable, "-m", "ticktape.cli.main", "up", "--sample", "--data", str(data), "--port", str(port),
    ]  # fmt: skip
    said = data / "said.txt"
    with said.open("w") as out, subprocess.Popen(command, stderr=out, stdout=out, text=True) as process:
        running = Desk(process, port, data)
        try:
            _until_up(running, said)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _until_up(running: Desk, said: Path) -> None:
    # The first start compiles kernels; the deadline is the test's own.
    while True:
        assert running.process.poll() is None, said.read_text()
        for line in said.read_text().splitlines():
            if line.startswith("API key"):
                running.key = line.split()[-1]
            if line.startswith("Desk"):
                running.link = line.split()[-1]
        try:
            if running.key and running.ask("/ticks/realtime?symbols=VIX&limit=1")["ticks"]:
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    """One Chromium for a file of tests: while playwright is there, no other test may run an event loop."""
    path = chromium()
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield made
        made.close()


@pytest.fixture
def show(desk: Desk, browser: Browser) -> Generator[Open]:
    """Return what opens a page of the desk, signed in; afterwards nothing may have been wrong on any of them."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    expected: list[str] = []

    def open_page(
        where: str = "#/overview", *, key: str | None = None, width: int = 1280, height: int = 800, expect: str = "",
        before: Callable[[Page], None] | None = None, **more: Any,
    ) -> Page:  # fmt: skip
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        expected.extend([expect] if expect else [])
        page.on("console", lambda message: wrong.extend(_complaint(message)))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda request: wrong.extend(_outside(request, desk.base)))
        if key != "":
            page.add_init_script(
                f"if (location.protocol === 'http:') sessionStorage.setItem('ticktape.key', '{key or desk.key}')"
            )
        if before is not None:
            before(page)
        page.goto(f"{desk.base}/{where}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [each for each in wrong if not any(word in each for word in expected)] == []


def _complaint(message: ConsoleMessage) -> list[str]:
    return [f"{message.type}: {message.text}"] if message.type in ("error", "warning") else []


def _outside(request: Request, base: str) -> list[str]:
    ours = (f"{base}/", "data:", "blob:", base.replace("http", "ws"))
    return [] if request.url.startswith(ours) else [f"a request to {request.url}"]
