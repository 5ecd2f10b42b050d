"""The API's document: complete, true to its examples, and held to by what the server answers (schemathesis)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serve_support import Client, House, serving, until

from ticktape.control import Server
from ticktape.keep.flush import Flusher
from ticktape.model.records import Status
from ticktape.serve.control import KeepRequest, Request
from ticktape.serve.doors import docs, past, rest
from ticktape.serve.past import formats
from ticktape.tape.reader import Reader

ROUTES = rest.routes(rest.Rest(None))  # type: ignore[arg-type]
# What cannot be said in a schema (a range that ends before it starts, a cursor of another question, a statement that
# is not SQL, a key that does not exist) is refused with 422 or 404 although its form is right.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "404", "422"]

[[operations]]
include-path = ["/api/v1/sse", "/api/v1/quotes/stream"]
parameters = { most = 1, "symbols" = "BTCUSDT" }
"""


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_every_route_says_what_it_answers_and_shows_it(route: rest.Route) -> None:
    said = docs.described(route)
    content = said["responses"][200]["content"]
    if route.answer is None:
        assert set(content) == {"text/event-stream"}
        return
    example = content["application/json"]["example"]
    assert set(example) == set(route.answer.__struct_fields__)
    if route.body is not None:
        msgspec.convert(said["openapi_extra"]["requestBody"]["content"]["application/json"]["example"], route.body)
    assert (route.method == "POST" and route.body is None) <= (route.answer.__name__ == "Done"), "a body it reads"


def test_the_forms_in_the_document_are_those_there_are() -> None:
    assert set(past.FORMS) == {media.partition(";")[0] for form, media in formats.MEDIA.items() if form != "json"}


@asynccontextmanager
async def furnished(house: House) -> AsyncGenerator[Client]:
    """Serve two instruments, half of it in the lake, with stand-ins for the recorder and keep."""
    for symbol in ("BTCUSDT", "/ES"):
        one = house.enrol(symbol)
        house.trades(one, 300)
        house.quotes(one, 300)
    house.status(Status.RECORDER_UP, source=0)
    Flusher(house.data / "lake", Reader(house.data / "tape")).flush(700)

    async def recorder(call: Request) -> Any:
        return [] if call.call == "sources" else {"call": call.call}

    async def keep(call: KeepRequest) -> Any:
        return {"done": True, "call": call.call}

    record = Server(house.data / "record.sock", Request, recorder)
    keeping = Server(house.data / "keep.sock", KeepRequest, keep)
    await record.start()
    await keeping.start()
    try:
        # Clocks stand still here: no bucket would ever fill again.
        async with serving(house, house.key(per_s=1e9), failed_keys_per_minute=1e9) as client:
            await until(lambda: client.get("/api/v1/status"), 200)
            yield client
    finally:
        await keeping.close()
        await record.close()


async def fuzzed(client: Client, folder: Path, *options: str) -> str:
    """Run schemathesis over the document. Returns what it says, which ends in its findings."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "run",
        f"http://127.0.0.1:{client.port}/openapi.json", "--header", f"Authorization: {client.bearer}",
        "--checks", "all", "--workers", "1", "--request-timeout", "30", "--continue-on-failure", "--no-color",
        # Not in scenarios: they list the keys, and would end the one that they ask with.
        "--generation-database", "none", "--phases", "examples,coverage,fuzzing",
        "--generation-with-security-parameters", "false", *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, told.decode()[-20_000:]
    return told.decode()


@pytest.mark.asyncio
@pytest.mark.timeout(300)  # a fifth of that, where nobody else is at work
async def test_a_fuzzer_that_reads_the_document_finds_nothing(house: House, tmp_path: Path) -> None:
    async with furnished(house) as client:
        said = await fuzzed(client, tmp_path, "--max-examples", "8", "--seed", "1")
    assert f"Tested: {len(ROUTES)}" in said, "every operation was tried"


@pytest.mark.asyncio
async def test_405_names_every_method_that_a_path_has(house: House) -> None:
    async with serving(house) as client:
        assert (await client.put("/api/v1/keys")).headers["allow"] == "GET, POST"
        assert (await client.delete("/api/v1/gaps")).headers["allow"] == "GET"
        other = await client.delete("/api/v1/keys/self")  # not the key of that name
        assert (other.status_code, other.headers["allow"]) == (405, "GET")


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_fuzzer_that_takes_its_time_finds_nothing_either(house: House, tmp_path: Path) -> None:
    async with furnished(house) as client:
        await fuzzed(client, tmp_path, "--max-examples", "200")
