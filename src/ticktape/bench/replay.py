"""Replays: flat out to one client and in process, and how punctual they are."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
import websockets

from ticktape.bench.feed import enrol
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Spread, Wrong
from ticktape.bench.scratch import appender
from ticktape.bench.stream import hub
from ticktape.bench.ticks import Rounds
from ticktape.serve.stream.bar_feed import BarFeed
from ticktape.serve.stream.past import Past, Span
from ticktape.serve.stream.reel import Reel
from ticktape.serve.stream.rows import Rows
from ticktape.serve.stream.wants import resolve
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

INSTRUMENTS = 20
IN_PROCESS = 1 << 16  # records at a time


def _filled(place: Place, folder: Path, trades: int, per_s: float) -> int:
    directory = TapeDirectory(folder / "tape")
    enrol(directory, INSTRUMENTS)
    directory.close()
    rounds, done = Rounds(INSTRUMENTS, batches=64, per_s=per_s), 0
    with appender(folder / "tape", quick=place.quick) as made:
        while done < trades:
            for batch in rounds.advance():
                made.append(batch)
                done += len(batch)
    return done


def fast(place: Place) -> Measured:
    """Events a second flat out: to one Python client over a socket, each as JSON, and in process as arrays.

    20 instruments, all trades; the client decodes every message (`websockets`, msgspec), so its decoding is in. In
    process: records and positions by the column, as `Reel.chosen` gives them.
    """
    with place.scratch("replay") as folder:
        trades = _filled(place, folder, place.size(2_000_000, 20_000), 100_000.0)
        inside = _in_process(folder, trades)
        with hub(folder) as (_, port, key):
            most = place.size(1_500_000, 10_000)
            told = {"from": "position:0", "speed": "max"}
            events, seconds = uvloop.run(_played(port, key, told, most, msgspec.json.Decoder()))
    return Measured(value=events / seconds, more={"in_process": inside})


def _in_process(folder: Path, trades: int) -> float:
    reader, directory = Reader(folder / "tape"), TapeDirectory(folder / "tape")
    reader.follow()
    wants = resolve(frozenset({("trades", "*")}), None, directory.all(), reader.heads)
    rates: list[float] = []
    for _ in range(4):
        reel = Reel(Past(folder, reader), Span(), wants, Rows(directory), BarFeed(directory))
        began = time.perf_counter()
        count = sum(len(chosen.records) for chosen in reel.chosen(IN_PROCESS))
        rates.append(count / (time.perf_counter() - began))
        if count != trades:
            raise Wrong(f"{trades} trades are on the tape, {count} were played")
    directory.close()
    return float(np.median(rates[1:]))


async def _played(port: int, key: str, told: dict[str, Any], most: int, decoder: Any) -> tuple[int, float]:
    url, headers = f"ws://127.0.0.1:{port}/api/v1/stream", {"Authorization": f"Bearer {key}"}
    async with websockets.connect(url, additional_headers=headers, max_size=None, compression=None) as ws:
        await ws.send(json.dumps({"op": "subscribe", "channels": ["trades"], "symbols": ["*"]} | told))
        events, began = 0, 0.0
        while events < most:
            message = decoder.decode(await ws.recv(decode=False))
            if message["type"] == "update":
                began = began or time.perf_counter()
                events += len(message["events"])
        return events, time.perf_counter() - began


def jitter(place: Place) -> Measured:
    """Milliseconds by which events at 1x come later than their time says, 1,000 a second; and how long a seek takes.

    Late by what the client sees, against the most punctual event of the run; `seek_ms` is from the word to the first
    event from there, the slowest of 20, over 2 M records.
    """
    seconds = place.seconds(10.0, 0.5)
    with place.scratch("replay") as folder:
        trades = _filled(place, folder, place.size(2_000_000, 20_000), 1_000.0)
        with hub(folder) as (_, port, key):
            late, seeks = uvloop.run(_listened(port, key, seconds, trades, place.size(20, 2)))
    spread = Spread(*(float(np.percentile(late, percent)) for percent in (50, 99, 100)))
    return Measured(value=spread.p99, spread=spread, more={"seek_ms": max(seeks)})


async def _listened(port: int, key: str, seconds: float, trades: int, seeks: int) -> tuple[list[float], list[float]]:
    url, headers = f"ws://127.0.0.1:{port}/api/v1/stream", {"Authorization": f"Bearer {key}"}
    offsets: list[float] = []
    took: list[float] = []
    async with websockets.connect(url, additional_headers=headers, max_size=None, compression=None) as ws:
        told = {"from": "position:0", "speed": 1.0}
        await ws.send(json.dumps({"op": "subscribe", "channels": ["trades"], "symbols": ["*"]} | told))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            message = json.loads(await ws.recv())
            now = time.perf_counter() * 1e3
            if message["type"] == "update":
                offsets += [now - event["ts_event"] / 1e6 for event in message["events"]]
        for number in range(1, seeks + 1):
            place = trades * number // (seeks + 1)
            began = time.perf_counter()
            await ws.send(json.dumps({"op": "seek", "to": f"position:{place}"}))
            while True:
                message = json.loads(await ws.recv())
                if message["type"] == "update" and abs(message["events"][0]["position"] - place) < 3:
                    break
            took.append((time.perf_counter() - began) * 1e3)
    return [offset - min(offsets) for offset in offsets], took
