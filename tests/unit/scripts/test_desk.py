"""scripts/desk.sh on a machine that reaches no npm: it says plainly what is missing, and stops nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = ("sh", "dirname", "cat", "cksum", "rm", "mkdir")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a folder with the script, what it reads, and a folder `bin` of the few tools that any machine has."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    (tmp_path / "scripts" / "desk").mkdir(parents=True)
    (tmp_path / "src" / "ticktape" / "desk").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "desk.sh", tmp_path / "scripts")
    for name in ("package.json", "package-lock.json", "node.lock"):
        shutil.copy(ROOT / "scripts" / "desk" / name, tmp_path / "scripts" / "desk")
    return tmp_path


def desk(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "scripts/desk.sh", *words],
        cwd=folder,
        env={"PATH": str(folder / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_npm_it_says_what_is_missing_and_how_to_finish(bare: Path) -> None:
    done = desk(bare)
    assert done.returncode == 0, "an installation goes on"
    assert "could not be taken from npm" in done.stderr
    assert "Recording, REST, the stream, MCP and every command work" in done.stderr
    assert "then: scripts/desk.sh" in done.stderr
    assert not (bare / "src" / "ticktape" / "desk" / "lib").exists()


def test_who_asks_for_them_strictly_is_told_by_the_exit_code(bare: Path) -> None:
    assert desk(bare, "--strict").returncode == 1
    assert desk(bare, "nonsense").returncode == 2


def test_the_lock_holds_hashes_and_no_addresses() -> None:
    for name in ("package-lock.json", "node.lock"):
        text = (ROOT / "scripts" / "desk" / name).read_text()
        assert "sha" in text
        assert "http" not in text, name
