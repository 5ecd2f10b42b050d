"""docs/commands.md and the code agree: each command and option is there, and nothing that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from ticktape.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "commands.md"


def commands(command: Any, path: str = "ticktape") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with how it is called."""
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from commands(each, f"{path} {name}")
    else:
        yield path, command


COMMANDS = dict(commands(get_command(app)))

COMMON = {"--help", "--data", "--json"}  # said once, at the top of the page


def section(path: str) -> str:
    """Return what the page says of one command."""
    found = re.search(rf"^## `{path}[ `].*?(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"docs/commands.md has no section `{path}`"
    return found[0]


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_and_its_options_are_documented(path: str) -> None:
    text = section(path)
    shown = [parameter for parameter in COMMANDS[path].params if not getattr(parameter, "hidden", False)]
    options = {name for parameter in shown for name in parameter.opts if name.startswith("--")}
    assert options - COMMON == set(re.findall(r"`(--[a-z-]+)", text)) - COMMON


def test_every_documented_command_exists() -> None:
    documented = re.findall(r"^## `(ticktape(?: [a-z]+)+)", PAGE.read_text(), re.MULTILINE)
    assert set(documented) == set(COMMANDS)


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_make_targets_named_in_the_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(
            r"`?\bmake ([a-z-]+)[`\s]", "\n".join(re.findall(r"`[^`]+`|^    .*$", page.read_text(), re.MULTILINE))
        )
    )
    assert named <= targets
