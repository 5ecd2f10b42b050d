"""docs/faults.md claims only what a test holds, and tests carry only ids it explains."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^\| ([RX]\d\d) \|", re.MULTILINE)
NAME = re.compile(r"def test_((?:[rx]\d\d_)+)")


def test_each_line_has_tests_and_each_id_a_line() -> None:
    claimed = LINE.findall((ROOT / "docs" / "faults.md").read_text())
    assert len(claimed) == len(set(claimed))
    held = {
        number.upper()
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in NAME.findall(file.read_text())
        for number in name.strip("_").split("_")
    }
    assert sorted(claimed) == sorted(held)
