"""The dashboard in a real Chromium, on a served tape that grows by 10,000 ticks/s: paint, frames, bytes.

Needs playwright and a Chromium (scripts/browser.sh); CHROMIUM names another one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies, of_runs
from ticktape.bench.served import serving
from ticktape.bench.stream import market
from ticktape.errors import Unavailable
from ticktape.serve.keys import KeyStore, Scope

PER_S = 10_000
LOADS = 7
WATCHED_S = 20.0
ROW_PX, SHOWN = 46, 60
WAIT_MS = 60_000
VIEWS = ("overview", "market", "data", "query", "keys", "samples")
_ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]

# Long tasks as the browser counts them (W3C Long Tasks: above 50 ms), and the time between frames.
_WATCH = """
() => {
  window.long = [];
  new PerformanceObserver(list => window.long.push(...list.getEntries().map(each => each.duration)))
    .observe({type: 'longtask'});
  window.between = [];
  let last = performance.now();
  const tick = now => { window.between.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
}
"""
# How often what is known of each symbol changed: the page's own store, the same module that it draws from.
_VERSIONS = "async () => [...(await import('/desk/js/board.js')).rows.values()].map(row => row.version)"


@contextmanager
def desk(place: Place, seconds: float) -> Generator[tuple[Browser, str, str]]:
    """Give a browser, the address of a warm desk, and what signs a page in."""
    path = next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", "chromium"), "chromium-browser"))), None)
    if path is None:
        raise Unavailable("no Chromium", hint="scripts/browser.sh")
    with market(place, PER_S, seconds) as (folder, _), serving(folder) as (_, client), sync_playwright() as playwright:
        keys = KeyStore(folder)
        key = keys.create("desk", list(Scope)).key
        keys.close()
        browser = playwright.chromium.launch(executable_path=path, args=_ARGS)
        try:
            base = f"http://127.0.0.1:{client.port}/"
            sign = f"if (location.protocol === 'http:') sessionStorage.setItem('ticktape.key', '{key}')"
            with opened(browser, base, sign):  # reads and packs the files
                pass
            yield browser, base, sign
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, base: str, sign: str, where: str = "#/market", height: int = 800) -> Generator[Page]:
    """Give a page with an empty cache that shows its first price."""
    context = browser.new_context(viewport={"width": 1280, "height": height})
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.add_init_script(sign)
        page.goto(base + where)
        if where == "#/market":
            page.wait_for_selector(".watch-row .num b:text-matches('[0-9]')")
        yield page
    finally:
        context.close()


def _times(place: Place, what: str) -> Measured:
    took: list[float] = []
    with desk(place, 60.0) as (browser, base, sign):
        for _ in range(place.size(LOADS, 1)):
            with opened(browser, base, sign) as page:
                page.wait_for_function("name => performance.getEntriesByName(name).length > 0", arg=what)
                took.append(float(page.evaluate(f"performance.getEntriesByName('{what}')[0].startTime")))
    return of_runs(took)


def paint(place: Place) -> Measured:
    """Milliseconds from navigation to the first contentful paint, as Chromium says it; empty cache, warm server.

    The market view of 200 symbols while 10,000 ticks/s are written. Median of seven. Left out: starting the browser.
    """
    return _times(place, "first-contentful-paint")


def interactive(place: Place) -> Measured:
    """Milliseconds from navigation until the desk is drawn and hears keys, signed in by a key that the server checked.

    As `paint`. The first prices come with the stream a moment later.
    """
    return _times(place, "desk.interactive")


def frame(place: Place) -> Measured:
    """Milliseconds between frames with 60 of 200 symbols in sight, each changing ten times a second; p50 and p99.

    `long_tasks`: tasks above 50 ms in 20 s, by the Long Tasks API; `longest_ms` the longest. The first five seconds
    after loading are left out: compiling code is no frame.
    """
    seconds = place.seconds(WATCHED_S, 1.0)
    with (
        desk(place, seconds + 60) as (browser, base, sign),
        opened(browser, base, sign, height=SHOWN * ROW_PX + 160) as page,
    ):
        time.sleep(place.seconds(5.0, 0.2))
        before = page.evaluate(_VERSIONS)
        page.evaluate(f"({_WATCH})()")
        time.sleep(seconds)
        told: dict[str, Any] = page.evaluate("({long: window.long, between: window.between})")
        after, rows = page.evaluate(_VERSIONS), page.locator(".watch-row:visible").count()
    moved = [(each - was) / seconds for was, each in zip(before, after, strict=True)]
    if rows < SHOWN or not moved or min(moved) == 0:
        raise Wrong(f"{rows} rows in sight, and {sum(each > 0 for each in moved)} of {len(moved)} moved")
    long = [float(each) for each in told["long"]]
    return of_latencies(
        np.array(told["between"], dtype=np.float64),
        long_tasks=len(long),
        longest_ms=max(long, default=0.0),
        changes_per_s=float(np.median(moved)),
    )


def transferred(place: Place) -> Measured:
    """Kilobytes (1,000 bytes) that all six views together transfer with an empty cache, headers included, gzipped.

    Files only: what the API answers is data.
    """
    with desk(place, 60.0) as (browser, base, sign), opened(browser, base, sign, "#/overview") as page:
        for view in VIEWS:
            page.goto(f"{base}#/{view}")
            time.sleep(1.0)  # a view's code is fetched when it is first gone to
        entries = "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        found = page.evaluate(f"{entries}.map(each => [each.name, each.transferSize])")
    sizes = [int(size) for name, size in found if "/api/" not in name]
    if not sizes or 0 in sizes:
        raise Wrong("the browser does not say what it transferred")
    return of_runs([sum(sizes) / 1000])
