"""Configuration: a TOML file and the environment, read into each part's own settings. Unknown keys are refused.

Order: defaults, then the file, then the environment (`TICKTAPE_RECORD__SYNC_EVERY_MS=5`), then flags. Every key,
its default and its unit is in config.example.toml.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from ticktape.errors import Misconfigured

PREFIX = "TICKTAPE_"
_OWN_VARIABLES = {"TICKTAPE_DATA"}  # settings of the command line itself

SourceKind = Literal["binance", "capture", "archive"]
T = TypeVar("T")


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[record.limits]`: where doubt begins."""

    late_after_s: float = 1.0
    max_age_s: float = 60.0
    max_skew_s: float = 1.0
    max_move: float = 0.10
    max_hole: int = 10_000_000


class RecordConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[record]`."""

    durability: Literal["process", "power"] = "power"
    sync_every_ms: float = 20.0
    segment_records: int = 1 << 20
    keep_raw: bool = False
    limits: LimitsConfig = LimitsConfig()


class PastConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[serve.past]`: what questions about the past may take."""

    seconds: float = 30.0
    memory_mb: int = 1024
    rows_read: int = 50_000_000
    answer_mb: int = 48
    workers: int = 2
    queue: int = 8
    per_key: int = 4


class ServeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[serve]`."""

    host: str = "127.0.0.1"
    port: int = 8877
    past: PastConfig = PastConfig()
    stream_port: int = 0  # 0: the one after `port`
    stream_workers: int = 1
    origins: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    alerts: dict[str, Any] = {}  # checked against serve/alarms/rules.py, as sources are against their own settings
    webhook: dict[str, Any] = {}


class KeepConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[keep]`."""

    hot_hours: float = 1.0
    flush_every_s: float = 600.0
    retain_days: dict[str, int] = {}
    spot_every_s: float = 60.0
    spot_venue: bool = True
    quality_every_s: float = 60.0
    backup_to: str = ""
    backup_every_h: float = 24.0
    backup_keep: int = 7
    drill_every_days: float = 7.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `sources` is checked against the settings of each kind when it is built."""

    record: RecordConfig = RecordConfig()
    serve: ServeConfig = ServeConfig()
    keep: KeepConfig = KeepConfig()
    sources: dict[str, dict[str, Any]] = {}
    sample: bool = False  # the sources are simulated: the tape takes nothing real


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Config:
    """Return the configuration. Raises Misconfigured naming the file, the key and what is wrong with it."""
    found: dict[str, Any] = {}
    if path is not None:
        found = _read(path)
    _overlay(found, os.environ if environment is None else environment)
    config = convert(found, Config, str(path or "environment"))
    if config.record.segment_records % 1024 or config.record.segment_records < 1024:
        raise Misconfigured("record.segment_records must be a multiple of 1024", hint="see config.example.toml")
    return config


def stream_port(config: Config) -> int:
    """Return the port that the hub streams from."""
    return config.serve.stream_port or config.serve.port + 1


def convert(found: Any, kind: type[T], where: str) -> T:
    """Return plain data as a settings type. Raises Misconfigured."""
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{where}: {error}", hint="see config.example.toml") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}", hint="cp config.example.toml ticktape.toml") from None
    try:
        decode = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
        return decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(f"{path}: {error}", hint="see config.example.toml") from None


def _overlay(found: dict[str, Any], environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in _OWN_VARIABLES:
            continue
        *tables, key = name.removeprefix(PREFIX).lower().split("__")
        if not tables:
            continue  # TICKTAPE_API_KEY and the like belong to the client
        place: dict[str, Any] = found
        for table in tables:
            place = place.setdefault(table, {})
        place[key] = value


# -- worlds ----------------------------------------------------------------------------------------
# A data folder holds worlds that never mix: `live` (real), `sample` (simulated), `replay` (a recording).


def world_of(data: Path) -> Path:
    """Return the folder of the world in use: `data` itself when it holds a tape, else the one `up` last started."""
    if (data / "tape" / "tape.json").exists():
        return data
    current = data / "current"
    if current.exists():
        return data / current.read_text().strip()
    return data


def use_world(data: Path, name: str) -> Path:
    """Make a world the one in use and return its folder."""
    world = data / name
    world.mkdir(parents=True, exist_ok=True)
    beside = data / "current.new"
    beside.write_text(f"{name}\n")
    beside.rename(data / "current")
    return world


def keys_of(folder: Path) -> Path:
    """Return where the API keys of a data folder or of one of its worlds are: one store for all worlds."""
    return folder.parent if (folder.parent / "current").exists() else folder
