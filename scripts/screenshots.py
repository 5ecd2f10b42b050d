"""`make screenshots`: docs/images/desk-*.png, from a running ticktape on the simulated venue, in Chromium.

    python scripts/screenshots.py [MINUTES]

starts `ticktape up --sample` in a folder of its own, lets it record for some minutes (5), and takes every view.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "desk"))  # where the browser is, and how it is started
from desk_support import ARGS, chromium  # noqa: E402

IMAGES = ROOT / "docs" / "images"
STATEMENT = (
    "SELECT%20ts_event%20%2F%2F%205000000000%20*%205000000000%20AS%20second%2C%20count(*)%20AS%20trades%0A"
    "FROM%20trades%0AGROUP%20BY%20second%0AORDER%20BY%20second"
)
VIEWS = {
    "overview": "overview",
    "market": "market/BTCUSDT?tf=1s",
    "data": "data",
    "query": f"query?q={STATEMENT}",
    "keys": "keys",
    "samples": "samples?symbol=MNQ",
}
PHONE = ("overview", "market")
SETTLE_MS = 6000  # the certificates of a day are worked out one after another


def main() -> None:
    """Take them all."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "ticktape.cli.main", "up", "--sample", "--port", port]
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        (Path(data) / "said.txt").open("w") as out,
        subprocess.Popen([*command, "--data", data], stdout=out, stderr=out) as process,  # noqa: S603 - our own
    ):
        try:
            time.sleep(minutes * 60)
            said = (Path(data) / "said.txt").read_text()
            key = next(line.split()[-1] for line in said.splitlines() if line.startswith("API key"))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium(), args=ARGS)
                take(browser, f"http://127.0.0.1:{port}/", key)
                browser.close()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def take(browser: Browser, base: str, key: str) -> None:
    """Write a picture of each view, and of some on a phone."""
    for name, (width, height), views in (("", (1280, 800), tuple(VIEWS)), ("-phone", (390, 844), PHONE)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.add_init_script(f"if (location.protocol === 'http:') sessionStorage.setItem('ticktape.key', '{key}')")
        page.goto(base)
        for view in views:
            page.goto(f"{base}#/{VIEWS[view]}")
            page.wait_for_timeout(1500)
            if view == "query":
                page.get_by_role("button", name="Run").click()
                page.get_by_role("button", name="Chart").click()
            if view == "overview":
                page.wait_for_selector(".days:not(:has-text('asking'))")
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=IMAGES / f"desk-{view}{name}.png")


if __name__ == "__main__":
    main()
