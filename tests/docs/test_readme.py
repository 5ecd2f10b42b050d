"""The README's first query works as printed, and what it shows coming back is what comes back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def shape(value: Any) -> Any:
    """Return the names and kinds of an answer, without its values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [shape(part) for part in cast("list[Any]", value)[:1]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.timeout(120)
def test_the_first_query_works_as_printed(tmp_path: Path, port: int) -> None:
    query = next(block for block in blocks("sh") if block.startswith("KEY="))
    query = query.replace(".venv/bin/ticktape", f"{sys.executable} -m ticktape.cli.main").replace(":8877", f":{port}")
    environment = {**os.environ, "TICKTAPE_DATA": str(tmp_path)}
    command = [sys.executable, "-m", "ticktape.cli.main", "up", "--sample", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as up:
        assert up.stderr is not None
        try:
            for line in up.stderr:
                if "first 1s bar" in line and "BTCUSDT" in line:
                    break
            past = past_as_printed(query, tmp_path, port, environment)
            answer: dict[str, Any] = {}
            while "ticks" not in answer:  # the API opens a moment after the recorder
                said = subprocess.run(["sh", "-c", query], capture_output=True, text=True, env=environment, check=False)
                answer = json.loads(said.stdout or "{}")
        finally:
            up.terminate()
            up.communicate(timeout=20)
    shown = json.loads(blocks("json")[0])
    assert shape(answer) == shape(shown)
    printed = next(block for block in blocks("text") if '"kind":"bars"' in block)
    bars, shown_bars = json.loads(past[0]), json.loads(printed.replace("\n", ""))
    assert set(bars) == set(shown_bars)
    assert shape(bars["bars"]) == shape(shown_bars["bars"])
    assert re.match(r"BTCUSDT \d{4}-\d\d-\d\d: complete \(the day still runs", past[1])
    assert "btcusdt.parquet: " in past[-1]
    assert (tmp_path / "btcusdt.parquet").stat().st_size > 0


def past_as_printed(first: str, folder: Path, port: int, environment: dict[str, str]) -> list[str]:
    """Run the commands on the past one after the other. Returns what each printed."""
    lines = next(block for block in blocks("sh") if block.startswith("TODAY=")).splitlines()
    lines = [
        line.replace(".venv/bin/ticktape", f"{sys.executable} -m ticktape.cli.main").replace(":8877", f":{port}")
        for line in lines
    ]
    setting = "\n".join([first.splitlines()[0], lines[0]])
    said: list[str] = []
    for line in lines[1:]:
        while True:  # the API opens a moment after the recorder, and the first bar closes later
            run = subprocess.run(
                ["sh", "-c", f"{setting}\n{line}"], capture_output=True, text=True, env=environment, check=False,
                cwd=folder,
            )  # fmt: skip
            if run.returncode == 0 and '"bars":[]' not in run.stdout and '{"error"' not in run.stdout:
                break
        said.append(run.stdout or run.stderr)
    return said
