"""What `ticktape up` starts: which world, with which sources, as which processes."""

from __future__ import annotations

import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from ticktape.config import Config, use_world
from ticktape.errors import Busy, Misconfigured
from ticktape.supervise import Child

PROBE_S = 2.5
SAMPLE_SYMBOLS = ("BTCUSDT", "ETHUSDT", "MNQ", "MES", "NQ", "SPY", "QQQ", "VIX")
LIVE_SYMBOLS = ("BTCUSDT", "ETHUSDT")
BINANCE_REST = "https://api.binance.com"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is about to run."""

    world: Path
    kind: str  # live, sample, replay
    why: str
    config: Config
    children: list[Child]


def online(rest_url: str = BINANCE_REST) -> bool:
    """Say whether the venue answers, within PROBE_S."""
    try:
        answer = httpx2.get(f"{rest_url}/api/v3/ping", timeout=PROBE_S)
    except httpx2.HTTPError:
        return False
    return answer.status_code == 200


def plan(data: Path, config: Config, *, capture: Path | None, sample: bool, speed: float) -> Plan:
    """Choose the world and its processes. Raises Misconfigured, Busy."""
    data.mkdir(parents=True, exist_ok=True)
    _port_free(config)
    if capture is not None:
        return _replay(data, config, capture, speed)
    if config.sources and not sample:
        return _planned(data, config, "live", "sources from the configuration", [])
    if not sample and online():
        table = {"binance": {"symbols": list(LIVE_SYMBOLS)}}
        return _planned(data, msgspec.structs.replace(config, sources=table), "live", "Binance answers", [])
    return _sample(data, config, "asked for" if sample else "no venue within reach")


def _port_free(config: Config) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.serve.host, config.serve.port))
        except OSError as error:
            where, port = config.serve.host, config.serve.port
            raise Busy(f"port {port} on {where}: {error.strerror}", hint=f"ticktape up --port {port + 1}") from None


def _replay(data: Path, config: Config, capture: Path, speed: float) -> Plan:
    if not capture.is_file():
        raise Misconfigured(f"{capture}: no such file", hint="ticktape up --capture FILE")
    folder = data / "replay"
    if folder.exists():  # what a recording made can be made again
        shutil.rmtree(folder)
    table: dict[str, dict[str, Any]] = {"capture": {"path": str(capture.resolve()), "speed": speed}}
    forever = dict.fromkeys(("trades", "quotes", "book", "bars"), 0)  # it is old, and it stays
    kept = msgspec.structs.replace(config.keep, hot_hours=0.0, retain_days=forever)
    changed = msgspec.structs.replace(config, sources=table, keep=kept)
    return _planned(data, changed, "replay", f"plays {capture.name} at {speed:g}x", [])


def _sample(data: Path, config: Config, why: str) -> Plan:
    ws, rest = _two_ports()
    table: dict[str, dict[str, Any]] = {
        "sample": {
            "kind": "binance",
            "symbols": list(SAMPLE_SYMBOLS),
            "ws_url": f"ws://127.0.0.1:{ws}",
            "rest_url": f"http://127.0.0.1:{rest}",
            "venue": "sample",
            "synthetic": True,
        }
    }
    hot = config.keep.hot_hours or 1.0
    kept = msgspec.structs.replace(config.keep, hot_hours=hot)
    changed = msgspec.structs.replace(config, sources=table, sample=True, keep=kept)
    command = [
        sys.executable,
        "-m",
        "ticktape.simulate.binance",
        "--port",
        str(ws),
        "--rest-port",
        str(rest),
        "--supervised",
    ]
    return _planned(data, changed, "sample", why, [Child("venue", command, silent=True)])


def _two_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(two.getsockname()[1])


def _planned(data: Path, config: Config, kind: str, why: str, before: list[Child]) -> Plan:
    world = use_world(data, kind)
    file = world / "run.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(config)))
    own = [sys.executable, "-m", "ticktape.cli.main"]
    tail = ["--data", str(world), "--config", str(file), "--supervised"]
    parts = [Child(name, [*own, name, *tail]) for name in ("record", "serve", "keep")]
    return Plan(world, kind, why, config, [*before, *parts] if kind != "sample" else [*parts, *before])
