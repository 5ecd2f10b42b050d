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
            answer: dict[str, Any] = {}
            while "ticks" not in answer:  # the API opens a moment after the recorder
                said = subprocess.run(["sh", "-c", query], capture_output=True, text=True, env=environment, check=False)
                answer = json.loads(said.stdout or "{}")
        finally:
            up.terminate()
            up.communicate(timeout=20)
    shown = json.loads(blocks("json")[0])
    assert shape(answer) == shape(shown)
