"""What all commands have in common: help, errors, exit codes, and that nothing heavy is imported for help."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import Result

from ticktape.cli.main import app
from ticktape.cli.options import default_data, tape_of

Run = Callable[..., Result]
HEAVY = {"numpy", "numba", "msgspec", "fastapi", "rich", "uvicorn", "structlog", "httpx2", "sqlite3"}
TICKTAPE = (sys.executable, "-m", "ticktape.cli.main")


def test_help_lists_every_command(run: Run) -> None:
    shown = run("--help").stdout
    for name in cast(TyperGroup, get_command(app)).commands:
        assert f"\n  {name} " in shown


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, ticktape.cli.main; print({HEAVY!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_error_is_one_message_with_a_hint_on_stderr(run: Run, tmp_path: Path) -> None:
    done = run("tape", "verify", "--data", tmp_path)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == f"ticktape: no tape in {tmp_path / 'tape'}\n  hint: ticktape up\n"


@pytest.mark.parametrize(
    "args", [["bogus"], ["tape", "bogus"], ["tape", "verify", "--bogus"], ["doctor", "--port", "0"]]
)
def test_misuse_is_exit_2(run: Run, args: list[str]) -> None:
    assert run(*args).exit_code == 2


def test_a_reader_that_goes_away_is_no_error(data: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*TICKTAPE, "tape", "stat", "--data", str(data)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_data_folder_is_the_users_unless_somebody_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_data() == tmp_path / "data"
    monkeypatch.delenv("TICKTAPE_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data() == tmp_path / "ticktape"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data() == tmp_path / ".local" / "share" / "ticktape"


def test_a_tape_itself_will_do_for_a_data_folder(data: Path) -> None:
    assert tape_of(data) == tape_of(data / "tape") == data / "tape"


def test_version_says_what_runs(run: Run) -> None:
    assert run("version", "--json").stdout.startswith('{"ticktape":"')
    assert "tape format" in run("version").stdout
