"""What `make setup` says when something is missing, and that the locks hold hashes and no addresses."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-peers.lock")
TOOLS = ("sh", "dirname", "grep", "cat", "rm")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a folder with scripts/setup.sh and a folder `bin` of the few tools that any machine has."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path / "scripts")
    return tmp_path


def setup(folder: Path) -> str:
    done = subprocess.run(
        ["/bin/sh", "scripts/setup.sh", "runtime"],
        cwd=folder,
        env={"PATH": str(folder / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def fake_python(folder: Path, script: str) -> None:
    path = folder / "bin" / "python3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_python_it_says_which_one_to_install(bare: Path) -> None:
    said = setup(bare)
    assert "needs Python 3.11 or newer; found none" in said
    assert "apt install python3 python3-venv" in said


def test_an_old_python_is_named(bare: Path) -> None:
    fake_python(bare, 'case "$*" in *version_info*) exit 1;; *) echo 3.9.2;; esac')
    assert "found only: 3.9.2" in setup(bare)


def test_a_python_without_venv_is_told_what_to_install(bare: Path) -> None:
    fake_python(bare, 'case "$*" in *ensurepip*) exit 1;; esac')
    said = setup(bare)
    assert "bin/python3 has no venv module" in said
    assert "apt install python3-venv" in said


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_for_each_package_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|file:|\s@\s|^-|[ =]/", text, re.MULTILINE)
    entries = re.split(r"\n(?=[a-z0-9])", text.split("\n", 1)[1])
    assert len(entries) > 40
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)


def test_the_locks_hold_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted: dict[str, list[str]] = {LOCKS[0]: [], LOCKS[1]: extras["dev"], LOCKS[2]: extras["peers"]}
    for name, more in wanted.items():
        locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / name).read_text(), re.MULTILINE))
        names = {re.split(r"[\[><=; ]", each)[0].replace("_", "-").lower() for each in project["dependencies"] + more}
        assert names <= locked
