"""The examples and the README's doors: run as printed against a ticktape, and what is shown is what comes back."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serve"))

from mcp_support import answering
from serve_support import SECOND, T0, House

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".sh"))
LANGUAGE = {".py": "python", ".sh": "sh"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Yield a tape with five minutes of trades, one a second."""
    made = House(tmp_path / "data")
    one = made.enrol("BTCUSDT")
    for second in range(300):
        made.trades(one, 1, ts=T0 + second * SECOND, first_id=1 + second, price=(65_432 + second % 7) * 10**8)
    made.clock.advance(300 * SECOND)
    yield made
    made.close()


def shown(name: str) -> tuple[str, str]:
    """Return what the README shows of an example: its code, and what comes back."""
    language = LANGUAGE[Path(name).suffix]
    found = re.search(
        rf"\[{re.escape(name)}\]\(examples/.*?```{language}\n(.*?)```.*?```text\n(.*?)```", README, re.DOTALL
    )
    assert found, f"the README shows no [{name}](examples/{name}) with its answer"
    return found[1], found[2]


def body(name: str) -> str:
    """Return an example's code, without the words at its top."""
    text = (ROOT / "examples" / name).read_text()
    if name.endswith(".sh"):
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    return text.split('"""', 2)[2].lstrip("\n")


@pytest.mark.asyncio
@pytest.mark.timeout(180)
async def test_every_example_runs_as_printed_and_says_what_is_shown(house: House, tmp_path: Path) -> None:
    async with answering(house) as server:
        environment = {
            **os.environ,
            "KEY": house.key(),
            "TICKTAPE_API_KEY": house.key(),
            "TICKTAPE_ADDRESS": f"http://127.0.0.1:{server.port}",
            "TICKTAPE_STREAM": f"ws://127.0.0.1:{server.port}",
        }
        for name in EXAMPLES:
            program = ["sh"] if name.endswith(".sh") else [sys.executable, "-W", "error"]
            ran = await asyncio.to_thread(
                subprocess.run, [*program, str(ROOT / "examples" / name)], capture_output=True, text=True,
                env=environment, cwd=tmp_path, check=False, timeout=60,
            )  # fmt: skip
            assert ran.returncode == 0, f"{name}: {ran.stderr[-2000:]}"
            (tmp_path / f"{name}.said").write_text(ran.stdout)
    picture = ElementTree.fromstring((tmp_path / "day.svg").read_text())
    assert len(picture.findall("{http://www.w3.org/2000/svg}path")) == 5  # a candle a minute
    for name in EXAMPLES:
        code, answer = shown(name)
        assert code == body(name), f"the README shows another {name}"
        said = (tmp_path / f"{name}.said").read_text()
        assert _joined(answer) == _joined(said), f"{name} says:\n{said}"


def _joined(text: str) -> str:
    return "".join(text.split())  # the README breaks long lines
