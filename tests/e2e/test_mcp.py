"""`ticktape mcp` as an assistant starts it: a program on standard input and output, in front of a running serve."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serve"))

from mcp.client.client import Client as Sdk
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_support import CALLS, answering, called, furnish
from serve_support import House

from ticktape.serve.keys import Scope
from ticktape.serve.mcp.tools import TOOLS


@asynccontextmanager
async def program(
    house: House, address: str, errors: Path, mode: str = "auto", **variables: str
) -> AsyncGenerator[Sdk]:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "ticktape.cli.main", "mcp", "--data", str(house.data), "--address", address],
        env={**os.environ, **variables},
    )
    with errors.open("w") as log:
        async with Sdk(stdio_client(command, errlog=log), mode=mode) as models:
            yield models


@pytest.fixture
def house(tmp_path: Path) -> Any:
    made = House(tmp_path / "data")
    yield made
    made.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_every_tool_answers_over_stdio_with_a_key_that_ends_with_the_program(
    house: House, tmp_path: Path, mode: str
) -> None:
    furnish(house)
    async with answering(house) as client:
        address = f"http://127.0.0.1:{client.port}"
        async with program(house, address, tmp_path / "errors", mode) as models:
            assert [tool.name for tool in (await models.list_tools()).tools] == list(TOOLS)
            for name, arguments in CALLS.items():
                answer = await called(models, name, **arguments)
                assert answer["provenance"]["as_of_position"] > 0
    (own,) = [key for key in house.keys.list() if key.name == "ticktape mcp"]
    assert own.revoked_ns is not None
    assert Scope.ADMIN not in own.scopes
    assert (tmp_path / "errors").read_text() == ""


@pytest.mark.asyncio
async def test_a_key_from_the_environment_brings_its_own_scopes(house: House, tmp_path: Path) -> None:
    furnish(house)
    async with answering(house) as client:
        address = f"http://127.0.0.1:{client.port}"
        key = house.key(["realtime"])
        async with program(house, address, tmp_path / "errors", TICKTAPE_API_KEY=key) as models:
            opened = [tool.name for tool in TOOLS.values() if Scope.REALTIME in tool.scopes]
            assert [tool.name for tool in (await models.list_tools()).tools] == opened
            result = await models.call_tool("sql", CALLS["sql"])
            text: Any = result.content[0]
            assert result.is_error
            assert msgspec.json.decode(text.text)["error"]["code"] == "forbidden"
    assert [k.name for k in house.keys.list() if k.name == "ticktape mcp"] == []


@pytest.mark.asyncio
async def test_without_a_serve_a_call_says_so_and_the_program_stays(house: House, tmp_path: Path, port: int) -> None:
    furnish(house)
    async with program(house, f"http://127.0.0.1:{port}", tmp_path / "errors") as models:
        for _ in range(2):
            result = await models.call_tool("status", {})
            text: Any = result.content[0]
            assert result.is_error
            assert "ticktape up" in text.text
